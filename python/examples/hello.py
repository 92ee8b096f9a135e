"""The shortest program: a child process says hello."""

from multiprocessing import Process

from shmpipe import Pipe


def child(connection):
    connection.send("hello from the child")


if __name__ == "__main__":
    receiving, sending = Pipe(duplex=False)
    process = Process(target=child, args=(sending,))
    process.start()
    sending.close()  # the child's copy is now the only one
    print(receiving.recv())
    try:
        receiving.recv()
    except EOFError:
        print("the child has exited: end of file")
    process.join()
