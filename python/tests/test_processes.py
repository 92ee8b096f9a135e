"""Connections in other processes: each start method, sharing, kill, fork with threads, signals."""

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

import shmpipe

METHODS = ["fork", "spawn", "forkserver"]


def echo(connection):
    for value in iter(connection.recv, None):
        connection.send(value)


def send_what_comes(results, connection):
    results.send(("got", connection.recv()))


def send_many(connection, name, count, size):
    for number in range(count):
        connection.send((name, number, bytes([number % 256]) * size))
    connection.close()


def receive_until_end(connection, sending, results):
    sending.close()
    count = 0
    try:
        while True:
            name, number, data = connection.recv()
            assert data == bytes([number % 256]) * len(data)
            count += 1
    except EOFError:
        results.put(count)


@pytest.mark.parametrize("method", METHODS)
def test_a_child_has_both_ends_of_a_pipe_as_arguments(method, backend):
    context = multiprocessing.get_context(method)
    a, b = shmpipe.Pipe()
    child = context.Process(target=echo, args=(b,))
    child.start()
    for value in [1, "two", b"x" * 100_000, [3.0]]:
        a.send(value)
        assert a.recv() == value
    a.send(None)
    child.join()
    assert child.exitcode == 0
    b.close()
    with pytest.raises(EOFError):
        a.recv()


@pytest.mark.parametrize("method", METHODS)
def test_both_ends_of_one_pipe_go_to_one_child(method, backend):
    context = multiprocessing.get_context(method)
    results, answer = shmpipe.Pipe(False)
    a, b = shmpipe.Pipe()
    c, d = shmpipe.Pipe()
    child = context.Process(target=use_both, args=(answer, a, b, [c, d]))
    child.start()
    assert results.recv() == [1, 2]
    child.join()
    assert child.exitcode == 0


def use_both(answer, a, b, others):
    a.send(1)
    others[1].send(2)
    answer.send([b.recv(), others[0].recv()])


@pytest.mark.parametrize("method", METHODS)
def test_a_connection_goes_through_a_connection(method, backend):
    context = multiprocessing.get_context(method)
    a, b = shmpipe.Pipe()
    child = context.Process(target=pass_on, args=(b,))
    child.start()
    r, w = shmpipe.Pipe(False)
    a.send((w, "use it"))
    w.close()
    assert r.recv() == "use it"
    with pytest.raises(EOFError):
        r.recv()
    child.join()
    assert child.exitcode == 0


def pass_on(connection):
    other, value = connection.recv()
    other.send(value)


@pytest.mark.parametrize("size", [10, 20_000, 300_000])
def test_children_share_both_ends_and_messages_stay_whole(size, backend):
    context = multiprocessing.get_context("fork")
    r, w = shmpipe.Pipe(False)
    results = context.SimpleQueue()
    count = 50
    senders = [context.Process(target=send_many, args=(w, n, count, size)) for n in range(3)]
    receivers = [context.Process(target=receive_until_end, args=(r, w, results)) for _ in range(2)]
    for child in receivers + senders:
        child.start()
    w.close()
    total = sum(results.get() for _ in receivers)
    for child in receivers + senders:
        child.join()
        assert child.exitcode == 0
    assert total == 3 * count


def test_a_killed_holder_is_the_end_of_the_file(backend):
    context = multiprocessing.get_context("fork")
    r, w = shmpipe.Pipe(False)
    child = context.Process(target=send_for_ever, args=(w,))
    child.start()
    w.close()
    for _ in range(100):
        r.recv()
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    with pytest.raises((EOFError, OSError)):
        while True:
            r.recv()
    with pytest.raises(EOFError):
        while True:
            try:
                r.recv()
            except EOFError:
                raise
            except OSError:
                continue


def send_for_ever(connection):
    while True:
        connection.send(bytes(50_000))


def test_a_child_forked_while_a_thread_receives_can_close_its_copy(backend):
    """The thread's hold on the end is not there in the child, which has to close all the same."""
    r, w = shmpipe.Pipe(False)
    receiver = threading.Thread(target=r.recv)
    receiver.start()
    while not in_call(receiver):
        time.sleep(0.001)
    done, tell = os.pipe()
    gone, told = os.pipe()
    child = os.fork()
    if child == 0:
        r.close()
        w.close()
        os.write(tell, b"x")
        os.close(told)
        os.read(gone, 1)
        os._exit(0)
    os.close(gone)
    os.read(done, 1)
    w.send(1)
    receiver.join()
    r.close()
    with pytest.raises(BrokenPipeError):
        for _ in range(100):
            w.send(1)
            time.sleep(0.01)
    os.close(told)
    os.waitpid(child, 0)


def in_call(thread):
    """Whether a thread sleeps, as /proc has it."""
    with open(f"/proc/self/task/{thread.native_id}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()[0] == "S"


def run_interrupted(body, setup=""):
    """Runs code whose last call blocks, sends it SIGINT, and returns what it printed and after how long it ended."""
    program = (
        # Who runs the tests in the background has it ignored.
        "import shmpipe, signal, sys, time, threading\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\nr, w = shmpipe.Pipe(False)\n"
        + textwrap.dedent(setup)
        + "\nprint('ready', flush=True)\ntry:\n"
        + textwrap.indent(textwrap.dedent(body), "    ")
        + "\nexcept KeyboardInterrupt:\n    print('interrupted', flush=True)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "ready\n"
    while True:
        with open(f"/proc/{child.pid}/stat") as file:
            if file.read().rsplit(")", 1)[1].split()[0] in "SZ":
                break
    child.send_signal(signal.SIGINT)
    started = time.monotonic()
    output, _ = child.communicate(timeout=20)
    return output, time.monotonic() - started


BLOCKING = {
    "recv": ("r.recv()", ""),
    "recv_bytes": ("r.recv_bytes()", ""),
    "recv_bytes_into": ("r.recv_bytes_into(bytearray(8))", ""),
    "poll": ("r.poll(None)", ""),
    "poll with a time-out": ("r.poll(1000)", ""),
    "wait": ("shmpipe.wait([r])", ""),
    "wait beside a descriptor": ("shmpipe.wait([r, quiet], 1000)", "import os; quiet, kept = os.pipe()"),
    "a full send": ("w.send_bytes(bytes(1000))", "for _ in range(200): w.send_bytes(bytes(1000))\n"
                    "while True:\n    t = threading.Thread(target=lambda: w.send_bytes(bytes(1000)), daemon=True)\n"
                    "    t.start(); t.join(0.2)\n    if t.is_alive(): break"),
    "a long send": ("w.send_bytes(bytes(10_000_000))", ""),
    "a send behind a long one": ("w.send_bytes(b'short')", "t = threading.Thread(target=lambda: w.send_bytes(bytes(10_000_000)), daemon=True)\n"
                                 "t.start()\n"
                                 "while open(f'/proc/self/task/{t.native_id}/stat').read().rsplit(')', 1)[1].split()[0] != 'S': pass\n"
                                 "r.poll(None)"),
    "a receive of a message that is not whole": ("r.recv_bytes()", "import os\n"
                                 "r, w = shmpipe.Pipe(False, capacity=4096)\nchild = os.fork()\n"
                                 "if child == 0:\n    os.setpgid(0, 0)\n    threading.Timer(30, os._exit, (0,)).start()\n"
                                 "    w.send_bytes(bytes(10_000_000))\n    os._exit(0)\n"
                                 "r.poll(None); os.kill(child, signal.SIGSTOP); os.waitpid(child, os.WUNTRACED)"),
}


@pytest.mark.parametrize("name", BLOCKING)
def test_ctrl_c_ends_a_call(name, backend):
    body, setup = BLOCKING[name]
    output, _took = run_interrupted(body, setup)
    assert output == "interrupted\n"


def test_a_handler_that_does_not_raise_ends_no_call(backend):
    r, w = shmpipe.Pipe(False)
    handled = []
    before = signal.signal(signal.SIGALRM, lambda *_: handled.append(1))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
        started = time.monotonic()
        assert r.poll(0.2) is False
        assert time.monotonic() - started >= 0.2
        threading.Timer(0.1, w.send, (1,)).start()
        assert r.recv() == 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert handled


def test_a_send_from_a_handler_inside_a_long_send_is_an_error(backend):
    r, w = shmpipe.Pipe(False)
    outcomes = []

    def handler(*_):
        try:
            w.send("nested")
        except RuntimeError as error:
            outcomes.append(str(error))
        raise KeyError("ends the send")

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(KeyError):
            w.send_bytes(bytes(10_000_000))
    finally:
        signal.signal(signal.SIGALRM, before)
    assert len(outcomes) == 1 and "inside another call" in outcomes[0]
    # A kernel pipe is still full of what was sent of the message.
    sender = threading.Thread(target=w.send, args=("next",))
    sender.start()
    assert r.recv() == "next"
    sender.join()


def test_a_receive_from_a_handler_inside_a_receive_gets_the_message(backend):
    r, w = shmpipe.Pipe(False)
    received = []
    before = signal.signal(signal.SIGALRM, lambda *_: (w.send(1), received.append(r.recv()), w.send(2)))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        assert r.recv() == 2
    finally:
        signal.signal(signal.SIGALRM, before)
    assert received == [1]


def test_a_blocked_daemon_thread_does_not_keep_the_interpreter(backend):
    program = """
import shmpipe, threading, time
r, w = shmpipe.Pipe(False)
thread = threading.Thread(target=r.recv, daemon=True)
thread.start()
while open(f"/proc/self/task/{thread.native_id}/stat").read().rsplit(")", 1)[1].split()[0] != "S":
    pass
print("done")
"""
    for _ in range(5):
        child = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
        assert (child.returncode, child.stdout, child.stderr) == (0, "done\n", "")
