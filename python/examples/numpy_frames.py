"""Video frames as numpy arrays, from one process to another; without numpy they are bytearrays.

A frame is copied into the pipe and out of it, and not once more.
"""

import time
from multiprocessing import Process

from shmpipe import Pipe

try:
    import numpy
except ImportError:
    numpy = None

HEIGHT, WIDTH, FRAMES = 1080, 1920, 30


def new_frame(number):
    if numpy is None:
        return bytearray([number]) * (HEIGHT * WIDTH * 3)
    return numpy.full((HEIGHT, WIDTH, 3), number, numpy.uint8)


def camera(connection):
    for number in range(FRAMES):
        connection.send((number, new_frame(number)))


if __name__ == "__main__":
    receiving, sending = Pipe(duplex=False, capacity=1 << 20)
    process = Process(target=camera, args=(sending,))
    process.start()
    sending.close()
    started = time.perf_counter()
    count = 0
    try:
        while True:
            number, frame = receiving.recv()
            last = frame[-1, -1, -1] if numpy is not None else frame[-1]
            assert last == number
            count += 1
    except EOFError:
        pass
    process.join()
    print(f"{count} frames, {(time.perf_counter() - started) / count * 1e3:.2f} ms each")
