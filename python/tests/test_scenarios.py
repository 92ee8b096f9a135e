"""More scenarios beside the standard library's, and the differences that there are, each as what is expected."""

import array
import ctypes
import fcntl
import fractions
import gc
import io
import multiprocessing
import multiprocessing.connection
import os
import pickle
import resource
import select
import selectors
import socket
import threading
import time
import weakref
from multiprocessing import reduction

import pytest

import shmpipe

SCENARIOS = {}
#: What ours does where the standard library does otherwise; README.md has each of them in its table.
DIFFERENCES = {}


def scenario(function):
    SCENARIOS[function.__name__] = function
    return function


def difference(ours):
    def mark(function):
        SCENARIOS[function.__name__] = function
        DIFFERENCES[function.__name__] = ours
        return function

    return mark


def raised(call, *arguments, **named):
    try:
        return "returned", call(*arguments, **named)
    except Exception as error:
        return type(error).__name__, getattr(error, "errno", None)


def in_child(body, *arguments):
    """Runs a function in a forked child; ends with it."""
    child = os.fork()
    if child == 0:
        try:
            body(*arguments)
        finally:
            os._exit(0)
    os.waitpid(child, 0)


@scenario
def arguments_of_pipe(pipe, wait):
    outcomes = []
    for arguments, named in [((), {}), ((0,), {}), ((1,), {}), ((), {"duplex": False}), (([],), {})]:
        a, b = pipe(*arguments, **named)
        outcomes.append((a.readable, a.writable, b.readable, b.writable))
    return outcomes, raised(pipe, True, True)[0], raised(pipe, nonsense=1)[0]


@scenario
def attributes_can_be_set(pipe, wait):
    a, b = pipe()
    a.name = "mine"
    reference = weakref.ref(a)
    same = reference() is a and a.name == "mine"
    del a
    return same, reference(), raised(setattr, b, "closed", True)[0], raised(setattr, b, "readable", True)[0]


@scenario
def an_end_that_is_dropped_is_closed(pipe, wait):
    r, w = pipe(False)
    w.send(1)
    del w
    gc.collect()
    outcome = r.recv(), raised(r.recv)
    r, w = pipe(False)
    del r
    gc.collect()
    return outcome, raised(w.send, 1)


@scenario
def an_empty_message_is_no_pickle(pipe, wait):
    a, b = pipe()
    a.send_bytes(b"")
    a.send("next")
    return raised(b.recv)[0], b.recv()


class Raises:
    def __reduce__(self):
        return raise_error, ()


def raise_error():
    raise LookupError("while unpickling")


class Refuses:
    def __reduce__(self):
        raise LookupError("while pickling")


@scenario
def what_pickling_raises(pipe, wait):
    a, b = pipe()
    outcomes = [raised(a.send, Refuses())[0], raised(a.send, [1, Refuses()])[0], b.poll()]
    a.send(Raises())
    a.send(2)
    return outcomes, raised(b.recv)[0], b.recv()


@scenario
def types_that_arrive(pipe, wait):
    a, b = pipe()
    a.send_bytes(bytearray(b"x"))
    first = type(b.recv_bytes())
    outcomes = [first]
    for value in [bytearray(3), bytearray(50_000), array.array("d", [1.0]), fractions.Fraction(1, 3), io.BytesIO(b"abc")]:
        sender = threading.Thread(target=a.send, args=(value,))
        sender.start()
        received = b.recv()
        sender.join()
        outcomes.append((type(received), received.getvalue() if isinstance(received, io.BytesIO) else received))
    return outcomes


@scenario
def buffers_of_many_kinds(pipe, wait):
    a, b = pipe()
    outcomes = []
    for buffer in [memoryview(array.array("i", range(6))).cast("B").cast("i", (2, 3)), (ctypes.c_int * 3)(1, 2, 3),
                   memoryview(b"abcdef")[2:4], memoryview(bytearray()), array.array("H", [1, 2, 3])]:
        a.send_bytes(buffer)
        outcomes.append(b.recv_bytes())
    a.send_bytes(array.array("i", range(6)), 4, 8)
    outcomes.append(b.recv_bytes())
    return outcomes


@scenario
def a_buffer_with_gaps(pipe, wait):
    a, b = pipe()
    outcome = raised(a.send_bytes, memoryview(array.array("i", range(6)))[::2])[0]
    return outcome, b.poll()


@scenario
def targets_of_many_kinds(pipe, wait):
    a, b = pipe()
    outcomes = []
    numbers = array.array("i", [0, 0, 0])
    a.send_bytes(b"\1\0\0\0")
    outcomes += [b.recv_bytes_into(numbers, 4), numbers.tolist()]
    foreign = (ctypes.c_char * 8)()
    a.send_bytes(b"foreign!")
    outcomes += [b.recv_bytes_into(foreign), foreign.raw]
    return outcomes


@difference((("returned", 6), b"123456"))
def a_target_of_two_dimensions(pipe, wait):
    a, b = pipe()
    grid = memoryview(bytearray(6)).cast("B", (2, 3))
    a.send_bytes(b"123456")
    return raised(b.recv_bytes_into, grid), bytes(grid)


@scenario
def time_outs_of_poll(pipe, wait):
    a, b = pipe()
    outcomes = [b.poll(True and 0), b.poll(-1e300), b.poll(-(10**9)), b.poll(fractions.Fraction(1, 1000))]
    outcomes += [raised(b.poll, value)[0] for value in ("1", [], 10**400)]
    return outcomes


@scenario
def time_outs_of_wait(pipe, wait):
    a, b = pipe()
    outcomes = [wait([b], 0), wait([b], -1), wait([b], 0.001)]
    outcomes += [raised(wait, [b], value)[0] for value in ("1", float("nan"))]
    a.send(1)
    return outcomes, [wait([b], None) == [b], wait([b], 0) == [b], wait([b], -3) == [b]]


@scenario
def wait_beside_other_things(pipe, wait):
    a, b = pipe()
    left, right = socket.socketpair()
    r, w = os.pipe()
    process = multiprocessing.get_context("fork").Process(target=int)
    process.start()
    outcomes = [wait([process.sentinel], 30) == [process.sentinel]]
    outcomes.append(wait([b, left, r], 0))
    right.send(b"x")
    outcomes.append(wait([b, left, r]) == [left])
    os.write(w, b"x")
    a.send(1)
    outcomes.append(wait([r, b, left]) == [r, b, left] or sorted(map(id, wait([r, b, left]))) == sorted(map(id, [r, b, left])))
    outcomes.append(raised(wait, [b, -1])[0])
    outcomes.append(raised(wait, [b, object()])[0])
    outcomes.append(raised(wait, 7)[0])
    process.join()
    for number in r, w:
        os.close(number)
    left.close()
    right.close()
    return outcomes


@scenario
def selectors_of_every_kind(pipe, wait):
    outcomes = []
    for kind in selectors.SelectSelector, selectors.PollSelector, selectors.EpollSelector:
        a, b = pipe()
        with kind() as selector:
            selector.register(b, selectors.EVENT_READ)
            outcomes.append(selector.select(0))
            a.send(1)
            outcomes.append([key.fileobj is b for key, _ in selector.select(10)])
            b.recv()
            outcomes.append(selector.select(0))
            a.close()
            outcomes.append(len(selector.select(10)))
            selector.unregister(b)
    return outcomes


@scenario
def poll_objects(pipe, wait):
    a, b = pipe()
    poll = select.poll()
    poll.register(b, select.POLLIN)
    outcomes = [poll.poll(0)]
    a.send(1)
    outcomes.append([(number == b.fileno(), bool(events & select.POLLIN)) for number, events in poll.poll(10_000)])
    return outcomes


@scenario
def a_descriptor_is_a_number(pipe, wait):
    a, b = pipe()
    number = a.fileno()
    return type(number), number > 2, a.fileno() == number, os.get_inheritable(number), a._handle is not None


@scenario
def a_child_shares_what_its_parent_has(pipe, wait):
    r, w = pipe(False)

    def child():
        r.close()
        w.send("from the child")

    in_child(child)
    outcomes = [r.recv(), r.poll(0)]
    w.close()
    return outcomes, r.poll(10), raised(r.recv)


@scenario
def a_child_that_exits_is_an_end_of_file(pipe, wait):
    a, b = pipe()
    child = os.fork()
    if child == 0:
        a.close()
        b.send(b.recv() * 2)
        os._exit(0)
    b.close()
    a.send(21)
    outcome = a.recv(), raised(a.recv), raised(a.send, 1)[0] in ("BrokenPipeError", "ConnectionResetError")
    os.waitpid(child, 0)
    return outcome


@scenario
def a_connection_is_pickled_by_the_forking_pickler(pipe, wait):
    a, b = pipe()
    outcomes = []
    a.send(b)
    copy = b.recv()
    outcomes.append((copy is b, copy.readable, copy.writable))
    b.close()
    a.send("by the copy")
    outcomes.append(copy.recv())
    copy.close()
    outcomes.append(raised(a.recv))
    r, w = pipe(False)
    again = pickle.loads(reduction.ForkingPickler.dumps(r))
    w.send(1)
    outcomes.append((again.recv(), again.readable, again.writable))
    return outcomes


@scenario
def what_cannot_be_sent(pipe, wait):
    a, b = pipe()
    outcomes = [raised(a.send, value)[0] for value in (multiprocessing.Lock(), threading.Lock(), lambda: 0, (n for n in ()))]
    return outcomes, b.poll()


@scenario
def sockets_go_through(pipe, wait):
    a, b = pipe()
    left, right = socket.socketpair()
    with left, right:
        a.send(left)
        with b.recv() as copy:
            copy.send(b"hello")
            return right.recv(5)


@scenario
def many_before_a_receive(pipe, wait):
    a, b = pipe()
    for number in range(100):
        a.send(number)
    return [b.recv() for _ in range(100)], b.poll()


@scenario
def iteration_until_a_mark(pipe, wait):
    a, b = pipe()
    for value in (1, 2, 3, None, 4):
        a.send(value)
    return list(iter(b.recv, None)), b.recv()


@scenario
def a_large_send_whose_receiver_goes(pipe, wait):
    r, w = pipe(False)
    outcome = []
    sender = threading.Thread(target=lambda: outcome.append(raised(w.send_bytes, bytes(10_000_000))))
    sender.start()
    while not r.poll(1):
        pass
    r.close()
    sender.join()
    return outcome


@scenario
def exceptions_keep_their_number(pipe, wait):
    r, w = pipe(False)
    r.close()
    with pytest.raises(BrokenPipeError) as caught:
        w.send(1)
    outcomes = [caught.value.errno, caught.value.strerror]
    _, hard = limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open("/dev/null", os.O_RDONLY)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        outcome = raised(pipe)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    return outcomes, outcome


@scenario
def threads_take_turns_at_sending(pipe, wait):
    r, w = pipe(False)

    def send(name):
        for number in range(50):
            w.send((name, number))

    threads = [threading.Thread(target=send, args=(name,)) for name in range(3)]
    for thread in threads:
        thread.start()
    received = [r.recv() for _ in range(150)]
    for thread in threads:
        thread.join()
    return [[number for name, number in received if name == wanted] for wanted in range(3)]


@scenario
def calls_on_a_closed_end(pipe, wait):
    a, b = pipe()
    a.close()
    with pytest.raises(OSError) as caught:
        a.__enter__().send(1)
    return str(caught.value), raised(wait, [a, b], 0)[0], raised(a.poll, float("nan"))[0], raised(reduction.ForkingPickler.dumps, a)


@difference(["received", ("EOFError", None), ("EOFError", None)])
def a_peer_that_closes_with_unread_data(pipe, wait):
    a, b = pipe()
    b.send("received")
    a.send("never looked at")
    b.close()
    return [outcome[1] if outcome[0] == "returned" else outcome for outcome in (raised(a.recv), raised(a.recv), raised(a.recv))]


@difference("TypeError")
def a_plain_pickle(pipe, wait):
    a, _b = pipe()
    return raised(pickle.dumps, a)[0]


@difference(("returned", "late"))
def a_descriptor_that_does_not_block(pipe, wait):
    a, b = pipe()
    flags = fcntl.fcntl(b.fileno(), fcntl.F_GETFL)
    fcntl.fcntl(b.fileno(), fcntl.F_SETFL, flags | os.O_NONBLOCK)
    timer = threading.Timer(0.1, a.send, ("late",))
    timer.start()
    outcome = raised(b.recv)
    timer.join()
    return outcome


@difference(False)
def a_descriptor_that_is_read(pipe, wait):
    a, b = pipe()
    a.send_bytes(b"abc")
    number = os.dup(b.fileno())
    os.set_blocking(number, False)
    try:
        return os.read(number, 100).endswith(b"abc")
    except OSError:
        return False
    finally:
        os.close(number)


def is_writable(end):
    return select.select([], [end], [], 0)[1] == [end]


# In shared memory it is writable all the time, on kernel pipes at no time.
@difference({"shm": (True, True), "kernel": (False, False)})
def a_full_two_way_end_in_select(pipe, wait):
    a, b = pipe()
    before = is_writable(a)
    sender = threading.Thread(target=a.send_bytes, args=(bytes(1_000_000),))
    sender.start()
    while not b.poll(1):
        pass
    until = time.monotonic() + 0.5
    while (full := is_writable(a)) and time.monotonic() < until:
        pass
    b.recv_bytes()
    sender.join()
    return before, full


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name, backend):
    theirs = SCENARIOS[name](multiprocessing.Pipe, multiprocessing.connection.wait)
    ours = SCENARIOS[name](shmpipe.Pipe, shmpipe.wait)
    if name in DIFFERENCES:
        expected = DIFFERENCES[name]
        assert ours == (expected[backend] if isinstance(expected, dict) else expected)
        assert theirs != ours, "no difference: it belongs to the others"
    else:
        assert ours == theirs
