"""Queues whose short messages go into the pipe at once, and pools whose worker handler does not wake for results."""

import gc
import multiprocessing
import multiprocessing.pool
import queue as queues
import threading
import time

import pytest

import shmpipe

context = multiprocessing.get_context("fork")
METHODS = ["fork", "spawn", "forkserver"]


@pytest.fixture
def installed(backend):
    with shmpipe.installed():
        yield backend


class Unpicklable:
    def __reduce__(self):
        raise ValueError("not to be pickled")


class Plain:
    """One that pickling calls code for."""

    def __init__(self, number):
        self.number = number

    def __eq__(self, other):
        return self.number == other.number


class Putting:
    """Puts into a queue when it is pickled."""

    def __init__(self, queue):
        self.queue = queue

    def __reduce__(self):
        self.queue.put("from within")
        return int, (7,)


@pytest.mark.parametrize("kind", ["Queue", "JoinableQueue"])
def test_a_short_object_is_there_at_once(kind, monkeypatch):
    monkeypatch.setenv("SHMPIPE_BACKEND", "shm")
    with shmpipe.installed():
        queue = getattr(context, kind)()
        # The first object of a process goes by the thread, which then waits for more.
        queue.put("first")
        assert queue.get(timeout=30) == "first"
        wait_for_sleep(queue)
        for number in range(100):
            queue.put((number, "two", 3.0))
            # Without a wait.
            assert queue.get_nowait() == (number, "two", 3.0)
    queue.close()
    queue.join_thread()


def wait_for_sleep(queue):
    deadline = time.monotonic() + 30
    while not queue._notempty._waiters:
        assert time.monotonic() < deadline
        time.sleep(0.001)


class PutsWhenCollected:
    def __init__(self, queue):
        self.queue = queue
        self.itself = self

    def __del__(self):
        self.queue.put("collected")


def test_an_object_that_puts_when_it_is_collected(installed):
    queue = context.Queue()
    queue.put("first")
    assert queue.get(timeout=30) == "first"
    wait_for_sleep(queue)
    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for number in range(300):
            PutsWhenCollected(queue)
            queue.put((number, [number]))
    finally:
        gc.set_threshold(*before)
    gc.collect()
    got = [queue.get(timeout=30) for _ in range(600)]
    assert [obj[0] for obj in got if obj != "collected"] == list(range(300))
    queue.close()
    queue.join_thread()


@pytest.mark.parametrize("fault", [OSError("not woken"), ValueError("not sent")])
def test_an_object_is_sent_once_whatever_comes_of_it(installed, monkeypatch, fault):
    queue = context.Queue(2)
    queue.put("first")
    assert queue.get(timeout=30) == "first"
    wait_for_sleep(queue)
    errors = []
    queue._on_queue_feeder_error = lambda error, obj: errors.append((error, obj))
    send_now = shmpipe.Connection._send_now

    def faulty(self, message):
        if isinstance(fault, OSError):
            # As if a receiver had slept that could not be woken.
            return fault if send_now(self, message) else False
        raise fault

    monkeypatch.setattr(shmpipe.Connection, "_send_now", faulty, raising=False)
    queue.put(7)
    assert queue.get(timeout=30) == 7
    with pytest.raises(queues.Empty):
        queue.get(timeout=0.1)
    # On kernel pipes the thread sends all.
    is_reported = installed == "shm" and isinstance(fault, OSError)
    assert errors == ([(fault, 7)] if is_reported else [])
    queue.put(8)
    assert queue.get(timeout=30) == 8
    queue.close()
    queue.join_thread()


class Codec:
    """Instead of a pickler."""

    @staticmethod
    def dumps(obj):
        return repr(obj).encode()

    @staticmethod
    def loads(data):
        return eval(bytes(data))


def test_another_pickler_of_queues_is_used(installed, monkeypatch):
    queue = context.Queue()
    monkeypatch.setattr("multiprocessing.queues._ForkingPickler", Codec)
    for number in range(20):
        queue.put((number, "text"))
        assert queue.get(timeout=30) == (number, "text")
    queue.close()
    queue.join_thread()


def test_a_put_that_fails_takes_no_place(installed, monkeypatch):
    queue = context.Queue(1)

    def fail(_):
        raise MemoryError

    monkeypatch.setattr("shmpipe._queues._plain_message", fail)
    for number in range(5):
        queue.put(number, timeout=30)
        assert queue.get(timeout=30) == number
    queue.close()
    queue.join_thread()


def test_objects_of_all_kinds_keep_their_order(installed):
    queue = context.Queue()
    kinds = [
        lambda n: n,
        lambda n: (n, "text", None, [1.5, True]),
        lambda n: bytes([n % 256]) * 20_000,
        Plain,
        lambda n: "x" * 40_000 + str(n),
        lambda n: {n: b"y" * 100},
        lambda n: [n] * 1000,
    ]
    objects = [kind(number) for number in range(200) for kind in kinds]
    for at in range(0, len(objects), 100):
        for obj in objects[at : at + 100]:
            queue.put(obj)
        assert [queue.get(timeout=30) for _ in range(100)] == objects[at : at + 100]
    queue.close()
    queue.join_thread()


def test_a_full_pipe_blocks_nobody_and_keeps_the_order(installed):
    queue = context.Queue()
    count = 40_000
    for number in range(count):
        queue.put(number)
    assert [queue.get(timeout=30) for _ in range(count)] == list(range(count))
    queue.close()
    queue.join_thread()


def _put_many(queue, who, count):
    for number in range(count):
        queue.put((who, number) if number % 7 else Numbered(who, number))


class Numbered(tuple):
    def __new__(cls, who, number):
        return super().__new__(cls, (who, number))

    def __reduce__(self):
        return Numbered, tuple(self)


@pytest.mark.parametrize("are_processes", [False, True])
def test_each_putter_keeps_its_order(installed, are_processes):
    queue = context.Queue()
    make = context.Process if are_processes else threading.Thread
    putters = [make(target=_put_many, args=(queue, who, 2000)) for who in range(3)]
    for putter in putters:
        putter.start()
    seen = {who: [] for who in range(3)}
    for _ in range(6000):
        who, number = queue.get(timeout=30)
        seen[who].append(number)
    assert seen == {who: list(range(2000)) for who in range(3)}
    for putter in putters:
        putter.join()
    queue.close()
    queue.join_thread()


def test_what_cannot_be_pickled_is_reported_by_the_thread_and_takes_no_place(installed, capfd):
    queue = context.Queue(1)
    queue.put(Unpicklable())
    # There is room again once the thread has reported it.
    queue.put(1, timeout=30)
    assert queue.get(timeout=30) == 1
    assert "ValueError: not to be pickled" in capfd.readouterr().err
    queue.close()
    queue.join_thread()


def test_an_object_that_puts_as_it_is_pickled(installed):
    queue = context.Queue()
    queue.put(Putting(queue))
    assert {queue.get(timeout=30), queue.get(timeout=30)} == {"from within", 7}
    queue.close()
    queue.join_thread()


def test_bounds_and_closes_are_those_of_the_standard_library(installed):
    queue = context.Queue(2)
    queue.put(1)
    queue.put(2)
    assert queue.full()
    with pytest.raises(queues.Full):
        queue.put(3, timeout=0.01)
    with pytest.raises(queues.Full):
        queue.put_nowait(3)
    assert [queue.get(), queue.get()] == [1, 2]
    queue.put(3)
    queue.close()
    queue.join_thread()
    with pytest.raises(ValueError, match="is closed"):
        queue.put(4)
    assert queue._reader.closed and queue._writer.closed


def test_readers_that_are_all_gone_are_no_error_of_put(installed):
    queue = context.Queue()
    errors = queues.SimpleQueue()
    queue._on_queue_feeder_error = lambda error, _: errors.put(error)
    queue._reader.close()
    queue.put(1)
    assert isinstance(errors.get(timeout=30), BrokenPipeError)
    queue.cancel_join_thread()


def _echo(asked, answers):
    for value in iter(asked.get, None):
        answers.put(value)
        asked.task_done()
    asked.task_done()


@pytest.mark.parametrize("method", METHODS)
def test_joinable_queues_between_processes(method, installed):
    context = multiprocessing.get_context(method)
    asked, answers = context.JoinableQueue(), context.Queue()
    child = context.Process(target=_echo, args=(asked, answers))
    child.start()
    for number in range(500):
        asked.put(number)
    asked.put(None)
    asked.join()
    assert [answers.get(timeout=30) for _ in range(500)] == list(range(500))
    child.join()
    assert child.exitcode == 0


def _put_and_close(queue):
    queue.put("child")
    queue.close()


def test_a_child_goes_on_with_its_parents_queue(installed):
    queue = context.Queue()
    queue.put("parent")
    child = context.Process(target=_put_and_close, args=[queue])
    child.start()
    child.join()
    assert {queue.get(timeout=30), queue.get(timeout=30)} == {"parent", "child"}
    queue.put("again")
    assert queue.get(timeout=30) == "again"


def test_a_queue_outlives_uninstall(backend):
    with shmpipe.installed():
        queue = context.Queue()
        queue.put(1)
    queue.put(2)
    with shmpipe.installed():
        queue.put(3)
    assert [queue.get(timeout=30) for _ in range(3)] == [1, 2, 3]
    queue.close()
    queue.join_thread()


def square(number):
    return number * number


def test_a_pools_worker_handler_waits_for_no_results(installed, monkeypatch):
    waits = []
    original = multiprocessing.pool.wait

    def counted(object_list, timeout=None):
        objects = list(object_list)
        waits.append(objects)
        return original(objects, timeout)

    monkeypatch.setattr(multiprocessing.pool, "wait", counted)
    with context.Pool(2) as pool:
        assert pool.map(square, range(200), 1) == [number * number for number in range(200)]
        results = pool._outqueue._reader
        assert waits and not any(item is results for objects in waits for item in objects)
        pool.close()
        pool.join()


@pytest.mark.parametrize("method", METHODS)
def test_a_pool_ends_when_its_last_result_is_there_and_replaces_workers(method, installed):
    with multiprocessing.get_context(method).Pool(2, maxtasksperchild=3) as pool:
        found = pool.map_async(square, range(30), 1)
        pool.close()
        pool.join()
        assert found.get(timeout=0) == [number * number for number in range(30)]
