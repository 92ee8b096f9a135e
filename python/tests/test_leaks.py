"""Nothing is left of a pipe that is gone: no descriptor, no memory."""

import gc
import os

import shmpipe


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def resident():
    """Memory of this process that is in use, in bytes, and its mappings."""
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    with open("/proc/self/maps") as file:
        return pages * os.sysconf("SC_PAGE_SIZE"), sum(1 for _ in file)


def use(close):
    a, b = shmpipe.Pipe(capacity=4096)
    a.send((1, "two"))
    b.recv()
    b.send(b"back")
    a.poll()
    if close:
        a.close()
        b.close()


def test_ten_thousand_pipes_leave_nothing(backend):
    for number in range(200):
        use(number % 2)
    gc.collect()
    before, (memory, mappings) = descriptors(), resident()
    for number in range(10_000):
        use(number % 2)
    gc.collect()
    now, now_mappings = resident()
    assert descriptors() == before
    assert now_mappings <= mappings + 4
    # A leak of one page for each pipe would be 40 MB.
    assert now - memory < 10_000 * 1024


def test_messages_leave_no_memory(backend):
    a, b = shmpipe.Pipe()

    def some(count):
        for number in range(count):
            a.send([number, b"x" * 20_000])
            b.recv()
            a.send({number})
            b.recv()

    some(500)
    memory, _ = resident()
    some(5_000)
    assert resident()[0] - memory < 20 << 20


def test_a_duplex_pair_takes_few_descriptors():
    before = descriptors()
    a, b = shmpipe.Pipe(backend="shm")
    assert descriptors() - before <= 6
    a.close()
    assert descriptors() - before <= 4
    b.close()
    assert descriptors() == before
