"""Each example runs to its end, on both backends."""

import pathlib
import subprocess
import sys

import pytest

EXAMPLES = pathlib.Path(__file__).parent.parent / "examples"


def run(*arguments):
    outcome = subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, timeout=100)
    assert (outcome.returncode, outcome.stderr) == (0, "")
    return outcome.stdout


def test_five_children(backend):
    output = run(EXAMPLES / "five_children.py")
    assert sorted(line for line in output.splitlines() if line.startswith("received")) == [
        f"received hello{number}" for number in range(5)
    ]


def test_ticker(backend):
    lines = run(EXAMPLES / "ticker.py", "0.01").splitlines()
    assert sorted(int(line.rsplit(": ")[1]) for line in lines if "receiver" in line) == list(range(5))


def test_hello(backend):
    assert run(EXAMPLES / "hello.py") == "hello from the child\nthe child has exited: end of file\n"


def test_worker_pool(backend):
    assert run(EXAMPLES / "worker_pool.py") == f"sum of squares {sum(n * n for n in range(100))}\n"


def test_vector_environment(backend):
    assert "100 steps of 2 environments" in run(EXAMPLES / "vector_environment.py", 100)


def test_numpy_frames(backend):
    assert run(EXAMPLES / "numpy_frames.py").startswith("30 frames, ")


@pytest.mark.parametrize("name", ["five_children.py", "hello.py", "worker_pool.py"])
def test_an_unmodified_program_runs_on_shmpipe(name, tmp_path):
    program = (EXAMPLES / name).read_text().replace("from shmpipe import Pipe", "from multiprocessing import Pipe")
    program = program.replace(
        "if __name__ ==", "import multiprocessing.connection\nassert 'shmpipe' in Pipe.__module__ + str(Pipe())\nif __name__ =="
    )
    path = tmp_path / name
    path.write_text(program)
    run("-m", "shmpipe", path)
