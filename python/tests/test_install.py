"""The standard library's own users of pipes, on ours."""

import concurrent.futures
import multiprocessing
import multiprocessing.connection
import multiprocessing.pool
import subprocess
import sys

import pytest

import shmpipe

METHODS = ["fork", "spawn", "forkserver"]


@pytest.fixture
def installed(backend):
    with shmpipe.installed():
        yield


def square(number):
    return number * number


def class_of_a_pipe(_):
    return type(multiprocessing.Pipe()[0]).__module__


def test_install_and_uninstall():
    before = multiprocessing.connection.Pipe, multiprocessing.connection.wait, multiprocessing.pool.wait
    shmpipe.install()
    shmpipe.install()
    assert isinstance(multiprocessing.Pipe()[0], shmpipe.Connection)
    assert isinstance(multiprocessing.get_context("spawn").Pipe()[0], shmpipe.Connection)
    shmpipe.uninstall()
    shmpipe.uninstall()
    assert not isinstance(multiprocessing.Pipe()[0], shmpipe.Connection)
    after = multiprocessing.connection.Pipe, multiprocessing.connection.wait, multiprocessing.pool.wait
    assert after == before
    with shmpipe.installed():
        with shmpipe.installed():
            pass
        assert isinstance(multiprocessing.Pipe()[0], shmpipe.Connection)
    assert not isinstance(multiprocessing.Pipe()[0], shmpipe.Connection)


@pytest.mark.parametrize("method", METHODS)
def test_pool(method, installed):
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(square, range(100)) == [n * n for n in range(100)]
        assert pool.apply(square, (7,)) == 49
        assert sorted(pool.imap_unordered(square, range(10))) == [n * n for n in range(10)]
        assert set(pool.map(class_of_a_pipe, range(2))) == {"shmpipe.connection"}


@pytest.mark.parametrize("method", METHODS)
def test_executor(method, installed):
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as executor:
        assert list(executor.map(square, range(50))) == [n * n for n in range(50)]
        assert executor.submit(square, 3).result() == 9


def exit_hard(_):
    import os

    os._exit(1)


def test_a_broken_executor_says_so(installed):
    context = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as executor:
        with pytest.raises(concurrent.futures.process.BrokenProcessPool):
            list(executor.map(exit_hard, range(4)))


@pytest.mark.parametrize("method", METHODS)
def test_manager(method, installed):
    with multiprocessing.get_context(method).Manager() as manager:
        shared = manager.dict(a=1)
        shared["b"] = [2]
        assert shared.copy() == {"a": 1, "b": [2]}
        queue = manager.Queue()
        queue.put(1)
        assert queue.get() == 1


def put(queue, simple, count):
    for number in range(count):
        queue.put(number)
        simple.put(number)


@pytest.mark.parametrize("method", METHODS)
def test_queues(method, installed):
    context = multiprocessing.get_context(method)
    queue, simple, joinable = context.Queue(), context.SimpleQueue(), context.JoinableQueue(3)
    child = context.Process(target=put, args=(queue, simple, 100))
    child.start()
    assert [queue.get(timeout=30) for _ in range(100)] == list(range(100))
    assert [simple.get() for _ in range(100)] == list(range(100))
    child.join()
    assert queue.empty() and simple.empty()
    joinable.put(1)
    assert joinable.get() == 1
    joinable.task_done()
    joinable.join()


PROGRAM = """
import multiprocessing, sys
from multiprocessing import Pipe, Pool

def kind(_):
    return type(multiprocessing.Pipe()[0]).__module__

if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    with Pool(2) as pool:
        kinds = set(pool.map(kind, range(4)))
    print(kind(None), *kinds, *sys.argv[1:])
"""


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("form", ["path", "module"])
def test_a_program_and_its_children_run_on_shmpipe(method, form, tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    name = ["program.py"] if form == "path" else ["-m", "program"]
    outcome = subprocess.run(
        [sys.executable, "-m", "shmpipe", *name, method, "more"], cwd=tmp_path, capture_output=True, text=True, timeout=100
    )
    assert (outcome.stderr, outcome.stdout) == ("", f"shmpipe.connection shmpipe.connection {method} more\n")


def test_the_exit_status_is_that_of_the_program(tmp_path):
    outcome = subprocess.run([sys.executable, "-m", "shmpipe", "-c", "raise SystemExit(7)"])
    assert outcome.returncode == 7
    assert subprocess.run([sys.executable, "-m", "shmpipe"], capture_output=True).returncode == 2
