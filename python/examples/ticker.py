"""One process sends a running number each second; two others receive from one end, and each number reaches one of them.

``ticker.py SECONDS`` takes another interval.
"""

import os
import sys
import time
from multiprocessing import Process

from shmpipe import Pipe


def print_all(name, receiving, sending):
    # With the start method fork the child has this end too, and would wait for its own messages.
    sending.close()
    try:
        while True:
            print(f"{name} receiver {os.getpid()}: {receiving.recv()}", flush=True)
    except EOFError:
        pass


if __name__ == "__main__":
    interval = float(sys.argv[1]) if len(sys.argv) > 1 else 1
    receiving, sending = Pipe(duplex=False)
    children = [Process(target=print_all, args=(name, receiving, sending)) for name in ("first", "second")]
    for child in children:
        child.start()
    receiving.close()
    print("sender", os.getpid())
    for number in range(5):
        sending.send(number)
        time.sleep(interval)
    sending.close()
    for child in children:
        child.join()
