"""What ours promises beside what the standard library does."""

import multiprocessing
import os
import pickle
import select
import threading

import pytest

import shmpipe


def test_options_are_what_the_pipe_has():
    a, b = shmpipe.Pipe(capacity=1 << 20, backend="shm", label="test")
    assert (a.capacity, a.backend, b.backend, a.fallback_reason) == (1 << 20, "shm", "shm", None)
    assert shmpipe.Pipe(backend="kernel")[0].backend == "kernel"
    assert shmpipe.Pipe(backend="shm")[0].capacity == 256 << 10


def test_the_variable_chooses_the_backend(backend):
    assert shmpipe.Pipe()[0].backend == backend


def test_options_that_cannot_be_are_value_errors():
    for named in [{"backend": "fast"}, {"label": "x" * 1000}]:
        with pytest.raises((ValueError, OSError)):
            shmpipe.Pipe(**named)
    with pytest.raises(OverflowError):
        shmpipe.Pipe(capacity=-1)


def test_plain_pickle_refuses_a_connection():
    a, _b = shmpipe.Pipe()
    with pytest.raises(TypeError):
        pickle.dumps(a)
    with pytest.raises(TypeError):
        pickle.dumps((1, a))


def test_bytes_that_end_in_the_mark_arrive_as_they_were():
    a, b = shmpipe.Pipe()
    mark = bytes.fromhex("9b1ed3075ac488f1366da20fe953b71c")
    for message in [mark, mark + mark, bytes(24) + mark, bytes(40_000) + mark]:
        a.send_bytes(message)
        assert b.recv_bytes() == message
        target = bytearray(len(message))
        a.send_bytes(message)
        assert b.recv_bytes_into(target) == len(message)
        assert target == message


def test_the_holders_are_the_processes_of_the_other_side():
    r, w = shmpipe.Pipe(False)
    assert [number for number, _name in r.holders()] == [os.getpid()]
    w.close()
    assert r.holders() == []


def test_the_label_is_known_wherever_the_pipe_is(backend):
    a, b = shmpipe.Pipe(label="frames: 1 (a)")
    assert a.label == b.label == "frames: 1 (a)"
    assert shmpipe.Pipe()[0].label is None
    child = multiprocessing.get_context("spawn").Process(target=send_label, args=(b,))
    child.start()
    assert a.recv() == "frames: 1 (a)"
    child.join()
    a.close()
    with pytest.raises(OSError, match="closed"):
        a.label


def send_label(connection):
    connection.send(connection.label)


def test_what_has_gone_through_is_counted(backend):
    a, b = shmpipe.Pipe()
    assert set(a.stats().values()) == {0}
    sizes = [0, 8, 40_000, 300_000]
    for size in sizes:
        sender = threading.Thread(target=a.send_bytes, args=(bytes(size),))
        sender.start()
        b.recv_bytes()
        sender.join()
    a.send_bytes(bytes(10))
    b.recv_bytes_into(bytearray(10))
    with a.reserve(5) as view:
        view[:] = bytes(5)
    with b.recv_in_place():
        pass
    a.send_many([1, 2, 3])
    received = b.recv_many()
    while len(received) < 3:
        received += b.recv_many()
    sent, got = a.stats(), b.stats()
    assert (sent["sent_messages"], got["received_messages"]) == (len(sizes) + 5, len(sizes) + 5)
    pickles = 3 * len(pickle.dumps(1, 5))
    assert (sent["sent_bytes"], got["received_bytes"]) == (sum(sizes) + 15 + pickles, sum(sizes) + 15 + pickles)
    assert sent["received_messages"] == got["sent_messages"] == 0
    assert got["slow_receives"] >= 1
    a.close()
    with pytest.raises(OSError, match="closed"):
        a.stats()


def is_writable(end):
    return select.select([], [end], [], 0)[1] == [end]


def test_a_full_sending_end_is_shown_by_its_descriptor(backend):
    """On kernel pipes it is not writable; in shared memory a one-way one is readable while there is room."""
    r, w = shmpipe.Pipe(False)
    is_ready = is_writable if backend == "kernel" else lambda end: select.select([end], [], [], 0)[0] == [end]
    assert is_ready(w)
    full = threading.Event()

    def fill():
        while not full.is_set():
            w.send_bytes(bytes(4000))

    sender = threading.Thread(target=fill)
    sender.start()
    while is_ready(w):
        pass
    full.set()
    while r.poll(0.1) or sender.is_alive():
        r.recv_bytes()
    sender.join()
    assert is_ready(w)
