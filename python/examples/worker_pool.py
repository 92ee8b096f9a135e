"""Tasks through one pipe to any number of workers, and results back through another: a queue is no more than that.

Each task goes to the worker that asks first. A worker that is killed takes its task with it and harms nobody else.
"""

import os
from multiprocessing import Process

from shmpipe import Pipe

WORKERS = 3


def work(tasks, results, *others):
    for end in others:
        end.close()
    try:
        while True:
            number = tasks.recv()
            results.send((number, number * number, os.getpid()))
    except EOFError:
        pass


if __name__ == "__main__":
    tasks, give = Pipe(duplex=False)
    take, results = Pipe(duplex=False)
    workers = [Process(target=work, args=(tasks, results, give, take)) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    tasks.close()
    results.close()
    for number in range(100):
        give.send(number)
    give.close()  # the workers end when all is done
    squares = {}
    try:
        while True:
            number, square, _worker = take.recv()
            squares[number] = square
    except EOFError:
        pass
    for worker in workers:
        worker.join()
    print("sum of squares", sum(squares.values()))
