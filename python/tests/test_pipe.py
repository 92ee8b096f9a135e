"""What ours promises beside what the standard library does."""

import os
import pickle

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
