"""The type stubs say what is there."""

import importlib.util
import subprocess
import sys

import pytest

PROGRAM = """
import shmpipe

a, b = shmpipe.Pipe(capacity=1 << 16, label="x")
a.send(1)
label: str | None = a.label
stats: dict[str, int] = a.stats()
with a.reserve(8) as view:
    view[:] = b"12345678"
received: bytes = b.recv_bytes()
ready: list[object] = shmpipe.wait([b], 1.0)
with shmpipe.installed():
    pass
"""

pytestmark = pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is not installed")


def test_the_stubs_are_those_of_the_module(tmp_path):
    outcome = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "shmpipe._shmpipe"], cwd=tmp_path, capture_output=True, text=True, timeout=55
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_a_program_is_checked_by_them(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    outcome = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "program.py"], cwd=tmp_path, capture_output=True, text=True, timeout=55
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
