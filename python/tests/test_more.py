"""What the standard library cannot do."""

import asyncio
import gc
import multiprocessing
import os
import pickle
import threading

import pytest

import shmpipe


def in_thread(call, *arguments):
    raised = []

    def run():
        try:
            call(*arguments)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert not raised, raised


def test_many_are_sent_and_received_in_order(backend):
    a, b = shmpipe.Pipe()
    values = [(number, "x" * number) for number in range(150)] + [bytes(20_000)]
    assert a.send_many(iter(values)) == len(values)
    received = []
    while len(received) < len(values):
        received += b.recv_many()
    assert received == values
    a.send_many(range(10))
    assert b.recv_many(3) == [0, 1, 2] or b.backend == "kernel"
    with pytest.raises(ValueError):
        b.recv_many(0)


def test_send_many_ends_with_what_the_iterable_raises(backend):
    def values():
        yield 1
        raise KeyError("stop")

    a, b = shmpipe.Pipe()
    with pytest.raises(KeyError):
        a.send_many(values())


def test_recv_many_loses_nothing_before_an_object_that_cannot_be_unpickled(backend):
    a, b = shmpipe.Pipe()
    for message in [1, 2]:
        a.send(message)
    a.send_bytes(b"no pickle")
    a.send(3)
    received, error = [], None
    while error is None:
        try:
            received += b.recv_many()
        except Exception as raised:
            error = raised
    assert received + getattr(error, "received", []) == [1, 2]
    assert b.recv() == 3


@pytest.mark.parametrize("size", [0, 8, 4000, 30_000, 200_000])
def test_a_message_is_written_and_read_in_place(size, backend):
    a, b = shmpipe.Pipe()
    with a.reserve(size) as view:
        assert len(view) == size and not view.readonly
        view[:] = bytes(range(256)) * (size // 256) + bytes(range(size % 256))
    with pytest.raises(ValueError):
        view[:]
    with b.recv_in_place() as view:
        assert view.readonly and bytes(view) == bytes(range(256)) * (size // 256) + bytes(range(size % 256))
    with pytest.raises(ValueError):
        bytes(view)
    assert not b.poll()


def test_a_reservation_that_raises_sends_nothing(backend):
    a, b = shmpipe.Pipe()
    with pytest.raises(KeyError):
        with a.reserve(10) as view:
            view[0] = 1
            raise KeyError
    assert not b.poll()
    a.send("next")
    assert b.recv() == "next"


def test_a_view_that_is_still_used_is_an_error(backend):
    numpy = pytest.importorskip("numpy")
    a, b = shmpipe.Pipe()
    block = a.reserve(8)
    array = numpy.frombuffer(block.__enter__(), numpy.uint8)
    with pytest.raises(BufferError):
        block.__exit__(None, None, None)
    array[:] = 7
    del array
    block.__exit__(None, None, None)
    assert b.recv_bytes() == bytes([7] * 8)


def test_memory_of_a_block_that_is_over_cannot_be_had_again(backend):
    a, b = shmpipe.Pipe()
    with a.reserve(4000) as view:
        sent = view.obj
    with b.recv_in_place() as view:
        received = view.obj
    for memory in [sent, received]:
        with pytest.raises(BufferError):
            memoryview(memory)


def test_a_block_that_ends_with_its_view_in_use_is_over_when_that_is_gone(backend):
    a, b = shmpipe.Pipe()
    with pytest.raises(BufferError):
        with a.reserve(8) as view:
            kept = memoryview(view)
    kept[:] = bytes(8)
    kept.release()
    # Nothing of it was sent, and others send again.
    a.send("next")
    assert b.poll()
    with pytest.raises(BufferError):
        with b.recv_in_place() as view:
            kept = memoryview(view)
    assert pickle.loads(kept) == "next"
    kept.release()
    a.send("last")
    assert b.recv() == "last"


def test_what_a_block_raises_comes_out_of_it_though_its_view_is_in_use(backend):
    a, b = shmpipe.Pipe()
    with pytest.raises(KeyError):
        with a.reserve(8) as view:
            kept = memoryview(view)
            raise KeyError
    kept.release()
    a.send("next")
    assert b.recv() == "next"


def test_another_thread_may_end_a_block(backend):
    a, b = shmpipe.Pipe()
    block = a.reserve(8)
    block.__enter__()[:] = b"the same"
    in_thread(block.__exit__, None, None, None)
    block = b.recv_in_place()
    assert bytes(block.__enter__()) == b"the same"
    in_thread(block.__exit__, None, None, None)
    assert not b.poll()


def test_tasks_send_and_receive(backend):
    async def main():
        a, b = shmpipe.Pipe(capacity=4096)

        async def send():
            for number in range(500):
                await a.send_async((number, bytes(100)))
            await a.send_async(bytes(1_000_000))
            a.close()

        task = asyncio.ensure_future(send())
        for number in range(500):
            assert (await b.recv_async())[0] == number
        assert len(await b.recv_async()) == 1_000_000
        await task
        with pytest.raises(EOFError):
            await b.recv_async()

    asyncio.run(asyncio.wait_for(main(), 60))


def test_two_tasks_wait_on_one_connection(backend):
    async def main():
        a, b = shmpipe.Pipe()
        tasks = [asyncio.ensure_future(b.recv_async()) for _ in range(3)]
        await asyncio.sleep(0)
        tasks.pop().cancel()
        a.send(1)
        a.send(2)
        return sorted(await asyncio.gather(*tasks))

    assert asyncio.run(asyncio.wait_for(main(), 60)) == [1, 2]


def test_receives_of_several_threads_get_messages_of_any_length(backend):
    lengths = [1, 3000, 15, 20_000, 2, 60_000] * 200
    r, w = shmpipe.Pipe(False)
    got, errors = [], []

    def receive(take):
        try:
            while length := take():
                got.append(length)
        except BaseException as error:
            errors.append(error)

    def take_into():
        try:
            return r.recv_bytes_into(bytearray(100))
        except multiprocessing.BufferTooShort as error:
            return len(error.args[0])

    takes = [lambda: len(r.recv_bytes()), lambda: len(r.recv_bytes(100_000)), take_into, take_into]
    threads = [threading.Thread(target=receive, args=[take]) for take in takes]
    for thread in threads:
        thread.start()
    for length in lengths:
        w.send_bytes(bytes(length))
    for _ in threads:
        w.send_bytes(b"")
    for thread in threads:
        thread.join(60)
    assert not errors
    assert sorted(got) == sorted(lengths)


def test_a_close_ends_the_waits_of_tasks(backend):
    async def main():
        a, b = shmpipe.Pipe(capacity=4096)
        task = asyncio.ensure_future(b.recv_async())
        await asyncio.sleep(0)
        b.close()
        with pytest.raises(OSError, match="handle is closed"):
            await task
        a.close()
        gc.collect()
        # New descriptors have the lowest numbers that are free: no others than those that the pipes give back.
        most = max(map(int, os.listdir("/proc/self/fd")))
        others = []
        while not others or others[-1].fileno() < most:
            others.append(open(os.devnull))
        # Those of another pipe that has the numbers of the descriptors then wait as ever.
        for other_closes in [False, True]:
            a, b = shmpipe.Pipe()
            task = asyncio.ensure_future(b.recv_async())
            await asyncio.sleep(0)
            number = b.fileno()
            if other_closes:
                in_thread(b.close)
            else:
                b.close()
            a.close()
            c, d = shmpipe.Pipe()
            assert number in [c.fileno(), d.fileno()]
            tasks = [asyncio.ensure_future(end.recv_async()) for end in [c, d]]
            await asyncio.sleep(0)
            c.send("to d")
            d.send("to c")
            assert await asyncio.gather(*tasks) == ["to c", "to d"]
            with pytest.raises(OSError, match="handle is closed"):
                await task
            c.close()
            d.close()

    asyncio.run(asyncio.wait_for(main(), 10))


def test_a_descriptor_that_a_loop_refuses_once_is_watched_later(backend):
    async def main():
        a, b = shmpipe.Pipe()
        loop = asyncio.get_running_loop()
        add_reader = loop.add_reader

        def refuse(fd, *_):
            raise OSError("refused")

        loop.add_reader = refuse
        with pytest.raises(OSError, match="refused"):
            await b.recv_async()
        loop.add_reader = add_reader
        task = asyncio.ensure_future(b.recv_async())
        await asyncio.sleep(0)
        a.send("heard")
        assert await task == "heard"

    asyncio.run(asyncio.wait_for(main(), 10))


def test_a_wait_beside_a_receive_of_another_thread_misses_nothing(backend):
    for _ in range(20):
        r, w = shmpipe.Pipe(False)
        found = []
        receiver = threading.Thread(target=lambda: found.append(r.recv()))
        waiter = threading.Thread(target=lambda: found.append(shmpipe.wait([r], 50) == [r]))
        receiver.start()
        waiter.start()
        w.send_many(["first", "second"])
        receiver.join()
        waiter.join()
        assert sorted(map(str, found)) == ["True", "first"]
        assert r.recv() == "second"
        at_end = []
        receiver = threading.Thread(target=lambda: at_end.append(pytest.raises(EOFError, r.recv)))
        waiter = threading.Thread(target=lambda: found.append(shmpipe.wait([r], 50) == [r]))
        receiver.start()
        waiter.start()
        w.close()
        receiver.join()
        waiter.join()
        assert at_end and found[-1]


def test_a_wait_ends_in_its_time_beside_a_receive_of_another_thread(backend):
    r, w = shmpipe.Pipe(False)
    receiver = threading.Thread(target=r.recv)
    receiver.start()
    assert shmpipe.wait([r], 0) == [] and shmpipe.wait([r], 0.05) == []
    w.send(None)
    receiver.join()
