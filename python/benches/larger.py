"""The benchmark of ``python -m shmpipe.bench``, and programs of others: gymnasium's AsyncVectorEnv, faster-fifo.

``python benches/larger.py [OPTIONS]``, with the options of ``python -m shmpipe.bench``. What is not installed is left out.
"""

import importlib.util
import statistics
import sys
import time

from shmpipe import bench


def _make_environment(cpu):
    import gymnasium
    import numpy

    class Environment(gymnasium.Env):
        """Answers at once, with an observation of 28 KiB."""

        observation_space = gymnasium.spaces.Box(0, 255, (84, 84, 4), numpy.uint8)
        action_space = gymnasium.spaces.Discrete(4)

        def __init__(self):
            bench._pin(cpu)
            self.seen = numpy.zeros((84, 84, 4), numpy.uint8)

        def reset(self, *, seed=None, options=None):
            return self.seen, {}

        def step(self, action):
            return self.seen, 1.0, False, False, {}

    return Environment


class VectorEnvironment:
    """Steps of two environments."""

    def __init__(self, cpus):
        from gymnasium.vector import AsyncVectorEnv

        maker = _make_environment(cpus[-1])
        self.environments = AsyncVectorEnv([maker] * 2, shared_memory=False, context="fork")
        self.environments.reset()
        self.actions = self.environments.action_space.sample()

    def run(self, count):
        for _ in range(count):
            self.environments.step(self.actions)

    def close(self):
        self.environments.close()


def _echo(asked, answers, cpu):
    bench._pin(cpu)
    while (value := asked.get(timeout=60)) is not None:
        answers.put(value)


class FasterFifo:
    """A round trip of a tuple through two of its queues."""

    def __init__(self, cpus):
        from faster_fifo import Queue

        self.asked, self.answers = Queue(1 << 20), Queue(1 << 20)
        arguments = (self.asked, self.answers, cpus[-1])
        self.process = bench._context.Process(target=_echo, args=arguments, daemon=True)
        self.process.start()

    def run(self, count):
        for _ in range(count):
            self.asked.put((1, "two", 3.0))
            self.answers.get(timeout=60)

    def close(self):
        self.asked.put(None)
        self.process.join()


def faster_fifo(layouts, rounds, scale):
    """Beside the pipes: their round trip of a tuple in the same rounds."""
    make, count = bench.CASES["tuple"]
    count = max(2, int(count * scale))
    import multiprocessing.connection
    import os

    import shmpipe

    for cpus in layouts:
        before = os.sched_getaffinity(0)
        bench._pin(cpus[0])
        subjects = [make(multiprocessing.connection.Pipe, cpus), make(shmpipe.Pipe, cpus), FasterFifo(cpus)]
        times = [[], [], []]
        for number in range(rounds + 1):
            for subject, found in zip(subjects, times):
                started = time.perf_counter()
                subject.run(count if number else max(2, count // 10))
                if number:
                    found.append((time.perf_counter() - started) / count)
        for subject in subjects:
            subject.close()
        os.sched_setaffinity(0, before)
        names = ("stdlib", "shmpipe", "faster-fifo")
        shown = ", ".join(f"{name} {statistics.median(found) * 1e6:.2f} µs" for name, found in zip(names, times))
        print(f"tuple beside faster-fifo, {len(set(cpus))} CPUs: {shown}", flush=True)


def main(arguments):
    if importlib.util.find_spec("gymnasium"):
        bench.CASES["vector environment"] = (lambda pipe, cpus: VectorEnvironment(cpus), 300)
    outcome = bench.main(arguments)
    if importlib.util.find_spec("faster_fifo"):
        import os

        cpus = sorted(os.sched_getaffinity(0))
        quick = "--quick" in arguments
        faster_fifo([cpus[:2], cpus[:1]] if len(cpus) > 1 else [cpus], 3 if quick else 7, 0.1 if quick else 1.0)
    return outcome


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
