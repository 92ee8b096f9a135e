"""Environments in processes of their own, stepped together, as reinforcement learning does it.

``vector_environment.py STEPS`` takes another number of steps.
"""

import sys
import time
from array import array
from multiprocessing import Process

from shmpipe import Pipe

ENVIRONMENTS = 2


class Environment:
    """A stand-in: an observation of four numbers, moved by an action."""

    def __init__(self):
        self.state = array("d", [0.0] * 4)

    def step(self, action):
        for index in range(4):
            self.state[index] += action * (index + 1)
        return self.state, self.state[0], False


def serve(connection):
    environment = Environment()
    for action in iter(connection.recv, None):
        connection.send(environment.step(action))


if __name__ == "__main__":
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    pairs = [Pipe() for _ in range(ENVIRONMENTS)]
    processes = [Process(target=serve, args=(far,), daemon=True) for _, far in pairs]
    for process in processes:
        process.start()
    started = time.perf_counter()
    total = 0.0
    for step in range(steps):
        for near, _ in pairs:
            near.send(step % 3 - 1)
        for near, _ in pairs:
            _observation, reward, _done = near.recv()
            total += reward
    took = time.perf_counter() - started
    for near, _ in pairs:
        near.send(None)
    for process in processes:
        process.join()
    print(f"{steps} steps of {ENVIRONMENTS} environments, reward {total}, {took / steps * 1e6:.1f} µs a step")
