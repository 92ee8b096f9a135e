"""CPython's own test classes, on shmpipe."""

import importlib.util
import pathlib
import subprocess
import sys

import pytest

PROGRAM = pathlib.Path(__file__).parent / "cpython_classes.py"


def has_the_classes():
    try:
        return importlib.util.find_spec("test._test_multiprocessing") is not None
    except ImportError:
        return False


@pytest.mark.skipif(not has_the_classes(), reason="this interpreter has no test package")
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_the_classes_of_cpython(method, capfd):
    outcome = subprocess.run([sys.executable, PROGRAM, method], capture_output=True, text=True, timeout=280)
    with capfd.disabled():
        print("\n" + (outcome.stdout.strip().splitlines() or ["no outcome"])[-1])
    assert outcome.returncode == 0, outcome.stderr[-8000:]
