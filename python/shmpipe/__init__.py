"""``multiprocessing.Pipe`` over shared memory.

``shmpipe.Pipe()`` makes what ``multiprocessing.Pipe()`` makes: two connections, with the same methods, the same
exceptions and the same rules, many times as fast. Any number of threads and processes may share an end; a message
arrives whole, whatever its size.

``shmpipe.install()`` puts it in the place of the standard library's, so that queues, pools, managers and executors use
it as well; ``python -m shmpipe PROGRAM`` does so for a program as it is, and for the processes that it starts.
"""

from ._install import install, installed, uninstall
from .connection import Connection, Pipe, wait

__all__ = ["Connection", "Pipe", "install", "installed", "uninstall", "wait"]
