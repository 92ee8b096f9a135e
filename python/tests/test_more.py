"""What the standard library cannot do."""

import asyncio
import multiprocessing
import threading

import pytest

import shmpipe


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
