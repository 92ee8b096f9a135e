"""``python -m shmpipe.bench``: shmpipe beside ``multiprocessing.Pipe`` on this machine.

Each round measures both, one after the other, and what counts is the median of the ratios within the rounds: so that
what else the machine does changes little. ``--help`` shows the options.
"""

import argparse
import array
import concurrent.futures
import contextlib
import importlib.metadata
import json
import multiprocessing
import multiprocessing.connection
import os
import platform
import statistics
import sys
import time

import shmpipe

try:
    import numpy
except ImportError:
    numpy = None

_context = multiprocessing.get_context("fork")


def _array(size):
    if numpy is not None:
        return numpy.arange(size // 8, dtype=numpy.float64)
    return array.array("d", range(size // 8))


def _frame():
    if numpy is not None:
        return numpy.full((1080, 1920, 3), 7, numpy.uint8)
    return bytearray(1080 * 1920 * 3)


def _pin(cpu):
    os.sched_setaffinity(0, {cpu})


def _serve(connection, cpu, serve, others):
    _pin(cpu)
    for other in others:
        other.close()
    with contextlib.suppress(EOFError):
        serve(connection)


class Served:
    """A child behind a two-way pipe."""

    def __init__(self, pipe, cpus, serve):
        self.near, far = pipe()
        self.process = _context.Process(target=_serve, args=(far, cpus[-1], serve, [self.near]), daemon=True)
        self.process.start()
        far.close()

    def close(self):
        # Processes that were forked later hold this end too, so that its close is no end of file.
        self.near.close()
        self.process.terminate()
        self.process.join()


def _echo(connection):
    while True:
        connection.send(connection.recv())


def _echo_bytes(connection):
    while True:
        connection.send_bytes(connection.recv_bytes())


def _answer(value):
    def serve(connection):
        while True:
            connection.recv()
            connection.send(value)

    return serve


def _count(connection):
    """Answers the number of what came before each ``None``."""
    while True:
        count = 0
        while connection.recv() is not None:
            count += 1
        connection.send(count)


def _count_bytes(connection):
    while True:
        count = 0
        while connection.recv_bytes():
            count += 1
        connection.send(count)


class RoundTrip(Served):
    def __init__(self, pipe, cpus, serve, value, as_bytes=False):
        super().__init__(pipe, cpus, serve)
        self.value, self.as_bytes = value, as_bytes

    def run(self, count):
        value = self.value
        if self.as_bytes:
            send, receive = self.near.send_bytes, self.near.recv_bytes
        else:
            send, receive = self.near.send, self.near.recv
        for _ in range(count):
            send(value)
            receive()


class OneWay(Served):
    def __init__(self, pipe, cpus, value, as_bytes=False):
        super().__init__(pipe, cpus, _count_bytes if as_bytes else _count)
        self.value, self.as_bytes = value, as_bytes

    def run(self, count):
        value = self.value
        send = self.near.send_bytes if self.as_bytes else self.near.send
        for _ in range(count):
            send(value)
        send(b"" if self.as_bytes else None)
        assert self.near.recv() == count


def _echo_queue(asked, answers, cpu):
    _pin(cpu)
    for value in iter(asked.get, None):
        answers.put(value)


class Queues:
    def __init__(self, cpus, kind):
        self.asked, self.answers = getattr(_context, kind)(), getattr(_context, kind)()
        arguments = (self.asked, self.answers, cpus[-1])
        self.process = _context.Process(target=_echo_queue, args=arguments, daemon=True)
        self.process.start()

    def run(self, count):
        for _ in range(count):
            self.asked.put((1, "two", 3.0))
            self.answers.get()

    def close(self):
        self.asked.put(None)
        self.process.join()


def _square(number):
    return number * number


class Pool:
    def __init__(self, cpus, call):
        self.pool, self.call = _context.Pool(1, _pin, (cpus[-1],)), call

    def run(self, count):
        if self.call == "map":
            for _ in range(count):
                self.pool.map(_square, range(100), 1)
        else:
            for _ in range(count):
                self.pool.apply(_square, (7,))

    def close(self):
        self.pool.terminate()
        self.pool.join()


class Executor:
    def __init__(self, cpus):
        self.executor = concurrent.futures.ProcessPoolExecutor(1, _context, _pin, (cpus[-1],))
        self.executor.submit(_square, 1).result()

    def run(self, count):
        for _ in range(count):
            self.executor.submit(_square, 7).result()

    def close(self):
        self.executor.shutdown()


def _send_hellos(connection, start, cpu, number):
    _pin(cpu)
    while data := os.read(start, 4):
        for _ in range(int.from_bytes(data, "little")):
            connection.send(f"hello{number}")


class FiveChildren:
    """Five children send through one end, which they share; the parent receives. Per message."""

    def __init__(self, pipe, cpus):
        self.near, far = pipe()
        self.starts, self.processes = [], []
        for number in range(5):
            start, tell = os.pipe()
            self.starts.append(tell)
            arguments = (far, start, cpus[-1], number)
            self.processes.append(_context.Process(target=_send_hellos, args=arguments, daemon=True))
            self.processes[-1].start()
            os.close(start)
        far.close()

    def run(self, count):
        each = count // 5
        for start in self.starts:
            os.write(start, each.to_bytes(4, "little"))
        for _ in range(5 * each):
            self.near.recv()

    def close(self):
        for start in self.starts:
            os.close(start)
        for process in self.processes:
            process.terminate()
            process.join()
        self.near.close()


class MakeAndClose:
    def __init__(self, pipe):
        self.pipe = pipe

    def run(self, count):
        for _ in range(count):
            a, b = self.pipe()
            a.close()
            b.close()

    def close(self):
        pass


class Here:
    """A send and a receive without waiting, in one process."""

    def __init__(self, pipe, watched):
        self.a, self.b = pipe()
        if watched:
            self.b.fileno()

    def run(self, count):
        send, receive = self.a.send, self.b.recv
        for _ in range(count):
            send((1, "two", 3.0))
            receive()

    def close(self):
        self.a.close()
        self.b.close()


_TUPLE = (1, "two", 3.0)

#: Name, maker, and how often an operation is made in a round.
CASES = {
    "tuple": (lambda pipe, cpus: RoundTrip(pipe, cpus, _echo, _TUPLE), 2000),
    "1 KiB bytes": (lambda pipe, cpus: RoundTrip(pipe, cpus, _echo_bytes, bytes(1024), True), 2000),
    "28 KiB array": (lambda pipe, cpus: RoundTrip(pipe, cpus, _answer(_array(28 << 10)), 1), 500),
    "1 MiB array": (lambda pipe, cpus: RoundTrip(pipe, cpus, _answer(_array(1 << 20)), 1), 60),
    "1080p frame": (lambda pipe, cpus: RoundTrip(pipe, cpus, _answer(_frame()), 1), 12),
    "one way, tuple": (lambda pipe, cpus: OneWay(pipe, cpus, _TUPLE), 5000),
    "one way, 8 bytes": (lambda pipe, cpus: OneWay(pipe, cpus, bytes(8), True), 5000),
    "five children": (lambda pipe, cpus: FiveChildren(pipe, cpus), 5000),
    "SimpleQueue": (lambda pipe, cpus: Queues(cpus, "SimpleQueue"), 1000),
    "Queue": (lambda pipe, cpus: Queues(cpus, "Queue"), 300),
    "Pool.map": (lambda pipe, cpus: Pool(cpus, "map"), 10),
    "Pool.apply": (lambda pipe, cpus: Pool(cpus, "apply"), 200),
    "executor": (lambda pipe, cpus: Executor(cpus), 100),
    "make and close": (lambda pipe, cpus: MakeAndClose(pipe), 200),
    "send and recv": (lambda pipe, cpus: Here(pipe, False), 3000),
    "the same after fileno()": (lambda pipe, cpus: Here(pipe, True), 3000),
}


def _timed(subject, count, is_ours):
    # As in a program that is on shmpipe: the threads of pools and executors look `wait` up at each call.
    with shmpipe.installed() if is_ours else contextlib.nullcontext():
        started = time.perf_counter()
        subject.run(count)
        return (time.perf_counter() - started) / count


def measure(name, cpus, rounds, scale=1.0):
    """Measure a case on these CPUs: the parent's is the first, the child's the last. Times are in seconds."""
    make, count = CASES[name]
    count = max(2, int(count * scale))
    before = os.sched_getaffinity(0)
    _pin(cpus[0])
    try:
        theirs = make(multiprocessing.connection.Pipe, cpus)
        with shmpipe.installed():
            ours = make(shmpipe.Pipe, cpus)
        try:
            for subject in (theirs, ours):
                _timed(subject, max(2, count // 10), subject is ours)
            pairs = [(_timed(theirs, count, False), _timed(ours, count, True)) for _ in range(rounds)]
        finally:
            theirs.close()
            ours.close()
    finally:
        os.sched_setaffinity(0, before)
    return {
        "case": name,
        "cpus": len(set(cpus)),
        "stdlib": statistics.median(pair[0] for pair in pairs),
        "shmpipe": statistics.median(pair[1] for pair in pairs),
        "ratio": statistics.median(pair[0] / pair[1] for pair in pairs),
        "rounds": pairs,
    }


def record(results, cpus, command):
    """The results as a record, in the form of `shmpipe bench --json`, which can draw a picture of it."""
    versions = [f"CPython {platform.python_version()}"]
    if numpy is not None:
        versions.append(f"numpy {numpy.__version__}")
    cells, first = [], 0
    for result in results:
        workload = result["case"] if result["cpus"] > 1 else result["case"] + ", one CPU"
        for system, times in zip(("stdlib", "shm"), zip(*result["rounds"])):
            figures = [seconds * 1e9 for seconds in times]
            low, median, high = statistics.quantiles(figures, n=4, method="inclusive")
            rounds = [
                {"round": number, "block": first + number, "figure": figure}
                for number, figure in enumerate(figures)
            ]
            cell = {
                "workload": workload,
                "system": system,
                "unit": "ns for an operation, mean of a slice",
                "rounds": rounds,
                "good_rounds": len(rounds),
                "median": median,
                "low": low,
                "high": high,
            }
            if system == "shm":
                cell["median_ratio_to_pipe"] = result["ratio"]
            cells.append(cell)
        # Ratios are formed within blocks, and each round of a case is one.
        first += len(result["rounds"])
    described = [
        ("stdlib", "multiprocessing.Pipe", ", ".join(versions)),
        ("shm", "shmpipe", _version()),
    ]
    return {
        "schema": 4,
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "command": command,
        "cpu": _cpu_model(),
        "kernel": platform.release(),
        "cpus": cpus,
        "reference": "stdlib",
        "systems": [
            {"name": name, "label": label, "role": "between processes", "version": version, "lacks": ""}
            for name, label, version in described
        ],
        "cells": cells,
    }


def _version():
    try:
        return importlib.metadata.version("shmpipe")
    except importlib.metadata.PackageNotFoundError:
        return ""


def _cpu_model():
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return f"{value.strip()}, {platform.machine()}"
    return platform.machine()


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m shmpipe.bench", description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each case, 2 or more (7)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the operations, 3 rounds")
    parser.add_argument("--case", action="append", choices=CASES, help="this case only; may be repeated")
    parser.add_argument("--cpus", type=int, choices=(1, 2), help="on so many CPUs only")
    parser.add_argument("--json", metavar="FILE", help="write a record, of which shmpipe bench --picture FILE draws a picture")
    options = parser.parse_args(arguments)
    rounds, scale = (3, 0.1) if options.quick else (max(2, options.rounds), 1.0)
    cpus = sorted(os.sched_getaffinity(0))
    layouts = [cpus[:2]] if len(cpus) > 1 else []
    layouts.append(cpus[:1])
    if options.cpus:
        layouts = [layout for layout in layouts if len(layout) == options.cpus]
    results = []
    print(f"{'':26}{'CPUs':>5}{'stdlib':>12}{'shmpipe':>12}{'ratio':>8}   middle half of the ratios")
    for layout in layouts:
        for name in options.case or CASES:
            result = measure(name, layout, rounds, scale)
            results.append(result)
            ratios = [theirs / ours for theirs, ours in result["rounds"]]
            low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
            print(
                f"{name:26}{len(layout):>5}{result['stdlib'] * 1e6:>9.2f} µs{result['shmpipe'] * 1e6:>9.2f} µs"
                f"{result['ratio']:>8.2f}   {low:.2f} to {high:.2f}",
                flush=True,
            )
    if options.json:
        words = sys.argv[1:] if arguments is None else arguments
        with open(options.json, "w") as file:
            json.dump(record(results, cpus, " ".join(["shmpipe.bench", *words])), file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
