"""CPython's own test classes, on shmpipe: one run for each start method, side by side, since they mostly wait."""

import importlib.util
import pathlib
import subprocess
import sys

import pytest

METHODS = ["fork", "spawn", "forkserver"]
PROGRAM = pathlib.Path(__file__).parent / "cpython_classes.py"


def has_the_classes():
    try:
        return importlib.util.find_spec("test._test_multiprocessing") is not None
    except ImportError:
        return False


@pytest.fixture(autouse=True)
def watchdog():
    """Longer than that of other tests: see the time-out below."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    runs = {}
    for method in METHODS:
        output = open(folder / method, "w+")
        command = [sys.executable, PROGRAM, method]
        runs[method] = subprocess.Popen(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT), output
    yield runs
    for run, output in runs.values():
        run.kill()
        run.wait()
        output.close()


@pytest.mark.skipif(not has_the_classes(), reason="this interpreter has no test package")
@pytest.mark.parametrize("method", METHODS)
def test_the_classes_of_cpython(method, runs, capfd):
    run, output = runs[method]
    try:
        run.wait(240)
    finally:
        output.seek(0)
        text = output.read()
    with capfd.disabled():
        print("\n" + (text.strip().splitlines() or ["no outcome"])[-1])
    assert run.returncode == 0, text[-8000:]
