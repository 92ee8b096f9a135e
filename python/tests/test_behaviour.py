"""Each scenario is run on the standard library's pipe and on ours, and has to end alike."""

import array
import errno
import multiprocessing
import multiprocessing.connection
import pickle
import select
import threading

import pytest

import shmpipe
import shmpipe.connection

SCENARIOS = {}


def scenario(function):
    SCENARIOS[function.__name__] = function
    return function


def raised(call, *arguments, **named):
    """What a call raises, as something to compare; what it returns where it does not."""
    try:
        return "returned", call(*arguments, **named)
    except Exception as error:
        return type(error).__name__, getattr(error, "errno", None), str(error)


def kind(outcome):
    """Without the text, which Python versions differ in."""
    return outcome[:2] if outcome[0] != "returned" else outcome


@scenario
def objects(pipe, wait):
    a, b = pipe()
    values = [None, True, 7, 1 << 80, 1.5, "ä", b"x", (), (1, "two"), [1, [2]], {"k": {1, 2}}, b"", "", range(3)]
    for value in values:
        a.send(value)
    return [b.recv() for _ in values]


@scenario
def both_ways(pipe, wait):
    a, b = pipe()
    a.send("there")
    b.send("and back")
    return a.recv(), b.recv(), a.readable, a.writable, b.readable, b.writable


@scenario
def one_way(pipe, wait):
    r, w = pipe(False)
    w.send(1)
    return (
        r.recv(), r.readable, r.writable, w.readable, w.writable,
        raised(r.send, 1), raised(r.send_bytes, b""), raised(w.recv), raised(w.recv_bytes), raised(w.poll),
        raised(w.recv_bytes_into, bytearray(1)),
    )


@scenario
def end_of_file_repeats(pipe, wait):
    r, w = pipe(False)
    w.send("last")
    w.close()
    return r.poll(), r.recv(), r.poll(), raised(r.recv), raised(r.recv), raised(r.recv_bytes), r.poll(), raised(
        r.recv_bytes_into, bytearray(4)
    )


@scenario
def broken_pipe(pipe, wait):
    r, w = pipe(False)
    r.close()
    outcome = raised(w.send, 1)
    assert outcome[1] == errno.EPIPE
    return outcome, raised(w.send_bytes, b"x"), w.closed


@scenario
def closed(pipe, wait):
    a, b = pipe()
    a.close()
    a.close()
    return (
        a.closed, b.closed, raised(a.send, 1), raised(a.recv), raised(a.poll), raised(a.fileno), raised(a.send_bytes, b""),
        raised(a.recv_bytes), raised(a.recv_bytes_into, bytearray(1)), a.readable, a.writable, raised(a.poll, None),
    )


@scenario
def context_manager(pipe, wait):
    a, b = pipe()
    with a as inner:
        inner.send(1)
        same = inner is a
    return same, a.closed, b.recv(), raised(b.recv)


@scenario
def send_bytes_arguments(pipe, wait):
    a, b = pipe()
    sent = [((b"abcdef",), {}), ((b"abcdef", 2), {}), ((b"abcdef", 2, 3), {}), ((b"abcdef",), {"size": 0}),
            ((bytearray(b"xyz"),), {"offset": 1}), ((memoryview(b"view")[1:],), {}), ((array.array("i", [1, 2]),), {}),
            ((b"abc", 3), {})]
    outcomes = []
    for arguments, named in sent:
        a.send_bytes(*arguments, **named)
        outcomes.append(b.recv_bytes())
    for arguments in [(b"abc", -1), (b"abc", 4), (b"abc", 1, -1), (b"abc", 1, 3), ("text",), (7,), (None,),
                      (b"abc", "x"), (b"abc", 0, "x")]:
        outcomes.append(raised(a.send_bytes, *arguments)[0])
    outcomes.append(raised(a.send_bytes, b"abc", -1))
    outcomes.append(raised(a.send_bytes, b"abc", 4))
    outcomes.append(raised(a.send_bytes, b"abc", 1, -1))
    outcomes.append(raised(a.send_bytes, b"abc", 1, 3))
    return outcomes


@scenario
def buffers_that_are_not_contiguous(pipe, wait):
    a, b = pipe()
    outcome = raised(a.recv_bytes, "x")[0]
    a.send_bytes(b"abcd")
    into = raised(b.recv_bytes_into, memoryview(bytearray(8))[::2])[0]
    return outcome, into


@scenario
def maxlength(pipe, wait):
    a, b = pipe()
    a.send_bytes(b"1234")
    outcomes = [b.recv_bytes(4), raised(b.recv_bytes, -1), raised(b.recv_bytes, "x")[0]]
    a.send_bytes(b"12345")
    # A duplex end stays open for sending.
    outcomes += [raised(b.recv_bytes, 4), b.closed, b.readable, raised(b.recv_bytes), b.writable]
    b.send(1)
    outcomes.append(a.recv())
    r, w = pipe(False)
    w.send_bytes(b"12345")
    outcomes += [raised(r.recv_bytes, 4), r.closed, raised(r.recv)]
    return outcomes


@scenario
def recv_bytes_into(pipe, wait):
    a, b = pipe()
    outcomes = []
    target = bytearray(8)
    a.send_bytes(b"abcd")
    outcomes += [b.recv_bytes_into(target), bytes(target)]
    a.send_bytes(b"wxyz")
    outcomes += [b.recv_bytes_into(target, 4), bytes(target)]
    numbers = array.array("i", [0] * 4)
    a.send_bytes(array.array("i", [1, 2]))
    outcomes += [b.recv_bytes_into(numbers, 4), list(numbers)]
    outcomes += [raised(b.recv_bytes_into, target, -1), raised(b.recv_bytes_into, target, 9)]
    a.send_bytes(b"123456789")
    a.send_bytes(b"next")
    try:
        b.recv_bytes_into(target)
    except multiprocessing.BufferTooShort as error:
        outcomes.append(error.args)
    outcomes += [b.recv_bytes_into(target), bytes(target[:4])]
    a.send_bytes(b"")
    outcomes.append(b.recv_bytes_into(bytearray()))
    outcomes.append(raised(b.recv_bytes_into, "text")[0])
    a.send_bytes(b"x")
    outcomes.append(raised(b.recv_bytes_into, b"read-only")[0])
    return outcomes


@scenario
def poll(pipe, wait):
    a, b = pipe()
    outcomes = [b.poll(), b.poll(-1), b.poll(0), b.poll(0.01)]
    outcomes += [kind(raised(b.poll, value)) for value in (float("inf"), 1e300, float("nan"))]
    outcomes.append(raised(b.poll, "x")[0])
    a.send(1)
    outcomes += [b.poll(), b.poll(None), b.poll(5), b.poll(-1)]
    b.recv()
    outcomes.append(b.poll())
    a.close()
    return outcomes + [b.poll(), b.poll(None)]


@scenario
def wait_for_one_or_many(pipe, wait):
    pairs = [pipe(False) for _ in range(3)]
    readers = [r for r, _ in pairs]
    outcomes = [wait(readers, 0), wait(readers, 0.01), wait(readers, -1), wait([], 0)]
    pairs[1][1].send(1)
    pairs[2][1].send(1)
    outcomes.append([readers.index(r) for r in wait(readers, 5)])
    outcomes.append([readers.index(r) for r in wait(iter(readers))])
    pairs[0][1].close()
    outcomes.append([readers.index(r) for r in wait(readers)])
    outcomes.append(raised(wait, [readers[0], readers[0]], 0)[0])
    outcomes.append(wait([pairs[1][1]], 0))
    readers[0].close()
    outcomes.append(raised(wait, [readers[0]], 0)[0])
    return outcomes


@scenario
def select_reads(pipe, wait):
    a, b = pipe()
    outcomes = [select.select([b], [], [], 0)[0] == []]
    a.send(1)
    outcomes.append(select.select([b], [], [], 5)[0] == [b])
    b.recv()
    outcomes.append(select.select([b], [], [], 0)[0] == [])
    a.close()
    outcomes.append(select.select([b], [], [], 5)[0] == [b])
    return outcomes


@scenario
def unpickling_that_fails(pipe, wait):
    a, b = pipe()
    a.send_bytes(b"no pickle")
    outcome = raised(b.recv)[0]
    a.send("next")
    return outcome, b.recv()


@scenario
def pickling_that_fails(pipe, wait):
    a, b = pipe()
    outcome = raised(a.send, lambda: 0)[0], raised(a.send, threading.Lock())[0]
    a.send("next")
    return outcome, b.recv(), b.poll()


@scenario
def pickles_are_bytes(pipe, wait):
    a, b = pipe()
    a.send([1, "two"])
    first = pickle.loads(b.recv_bytes())
    a.send_bytes(pickle.dumps({"three": 4}))
    return first, b.recv()


@scenario
def shared_references(pipe, wait):
    a, b = pipe()
    inner = []
    a.send((inner, inner))
    first, second = b.recv()
    recursive = [1]
    recursive.append(recursive)
    a.send(recursive)
    again = b.recv()
    return first is second, again[1] is again


@scenario
def sizes(pipe, wait):
    a, b = pipe()
    outcomes = []
    for size in [0, 1, 4095, 16384, 32768, 65536, 262144, 1 << 20, 5_000_000]:
        for send, receive, value in [
            (a.send_bytes, b.recv_bytes, b"x" * size),
            (a.send, b.recv, b"x" * size),
            (a.send, b.recv, [b"x" * size, "y" * size]),
            (a.send, b.recv, bytearray(size)),
        ]:
            sender = threading.Thread(target=send, args=(value,))
            sender.start()
            outcomes.append(receive() == value)
            sender.join()
    return outcomes


@scenario
def a_hundred_kibibytes_before_a_receive(pipe, wait):
    a, b = pipe()
    # In one message: the kernel counts small ones of the standard library's as several times their size.
    a.send_bytes(bytes(100 << 10))
    return len(b.recv_bytes())


@scenario
def instances(pipe, wait):
    a, b = pipe()
    return isinstance(a, multiprocessing.connection.Connection), a._handle is None, a == a, a == b, len({a, b})


@scenario
def no_arguments_too_many(pipe, wait):
    a, b = pipe()
    return [raised(call)[0] for call in (a.send, a.send_bytes, a.recv_bytes_into)] + [
        raised(a.recv, 1)[0], raised(a.send, 1, 2)[0], raised(a.close, 1)[0]
    ]


@scenario
def two_threads_receive(pipe, wait):
    r, w = pipe(False)
    got = []

    def receive():
        while (value := r.recv()) is not None:
            got.append(value)

    # The standard library's connection is for one thread, so the receives take turns there.
    lock = threading.Lock()

    def receive_in_turns():
        while True:
            with lock:
                value = r.recv()
            if value is None:
                return
            got.append(value)

    ours = isinstance(r, shmpipe.Connection)
    threads = [threading.Thread(target=receive if ours else receive_in_turns) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(300):
        w.send(number)
    for _ in threads:
        w.send(None)
    for thread in threads:
        thread.join()
    return sorted(got)


@scenario
def keyword_arguments(pipe, wait):
    a, b = pipe(duplex=True)
    a.send(obj=1)
    first = b.recv()
    a.send_bytes(buf=b"abc", offset=1, size=1)
    second = b.recv_bytes(maxlength=9)
    a.send_bytes(b"abc")
    ready = b.poll(timeout=1.0)
    return first, second, ready, b.recv_bytes_into(buf=bytearray(3), offset=0)


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario_ends_as_on_the_standard_library(name, backend):
    theirs = SCENARIOS[name](multiprocessing.Pipe, multiprocessing.connection.wait)
    ours = SCENARIOS[name](shmpipe.Pipe, shmpipe.wait)
    assert ours == theirs
