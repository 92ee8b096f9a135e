"""Five child processes share one end of a pipe; each says hello after a second."""

import os
import time
from multiprocessing import Process

from shmpipe import Pipe


def greet(connection, number):
    print("child", os.getpid(), "of parent", os.getppid())
    time.sleep(1)
    connection.send(f"hello{number}")


if __name__ == "__main__":
    print("parent", os.getpid())
    near, far = Pipe()
    children = [Process(target=greet, args=(far, number)) for number in range(5)]
    for child in children:
        child.start()
    for _ in children:
        print("received", near.recv())
    for child in children:
        child.join()
        print("joined", child.pid)
