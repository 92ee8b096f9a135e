"""Arrays, whose buffers go out of band."""

import threading

import pytest

import shmpipe

numpy = pytest.importorskip("numpy")


@pytest.mark.parametrize("size", [10, 2000, 4000, 5000, 30_000, 1_000_000])
def test_arrays_arrive_whole_and_can_be_written(size, backend):
    a, b = shmpipe.Pipe()
    array = numpy.arange(size, dtype=numpy.int64)
    other = numpy.random.default_rng(7).random((7, size // 7))
    sender = threading.Thread(target=a.send, args=({"array": array, "other": other, "name": "x"},))
    sender.start()
    received = b.recv()
    sender.join()
    assert (received["array"] == array).all() and (received["other"] == other).all() and received["name"] == "x"
    received["array"][0] = 9
    assert received["array"][0] == 9


def test_recv_bytes_of_an_array_gives_the_pickle_within():
    a, b = shmpipe.Pipe()
    a.send(numpy.zeros(3000))
    message = b.recv_bytes()
    assert message.startswith(b"\x80\x05") and message.endswith(b".") and len(message) < 1000


class Registered:
    """One whose reducers are registered, and replaced, while picklers are there."""


def test_reducers_count_from_their_registration_on():
    import copyreg
    from multiprocessing.reduction import ForkingPickler

    def sent():
        near, far = shmpipe.Pipe()
        near.send(Registered())
        return far.recv()

    assert isinstance(sent(), Registered)
    try:
        copyreg.pickle(Registered, lambda _: (int, (1,)))
        assert sent() == 1
        copyreg.pickle(Registered, lambda _: (int, (2,)))
        assert sent() == 2
        ForkingPickler.register(Registered, lambda _: (int, (3,)))
        assert sent() == 3
        ForkingPickler.register(Registered, lambda _: (int, (4,)))
        assert sent() == 4
    finally:
        ForkingPickler._extra_reducers.pop(Registered, None)
        copyreg.dispatch_table.pop(Registered, None)
    assert isinstance(sent(), Registered)
