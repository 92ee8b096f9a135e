"""Putting :func:`shmpipe.Pipe` in the place of the standard library's."""

import contextlib
import multiprocessing.connection as _connection
import multiprocessing.pool as _pool
import multiprocessing.reduction as _reduction
import multiprocessing.spawn as _spawn
from collections.abc import Iterator

from . import _queues
from . import connection as _ours

_originals = {}

#: Runs in a child that is started with a new interpreter. Where shmpipe cannot be imported there, the child does without.
_IN_CHILD = """
try:
    import shmpipe
except ImportError:
    pass
else:
    shmpipe.install()
"""


class _InChild:
    """Installs shmpipe in the process in which it is unpickled."""

    def __reduce__(self):
        return exec, (_IN_CHILD, {})


def _patches():
    original_data = _spawn.get_preparation_data
    original_send, original_receive = _reduction.send_handle, _reduction.recv_handle

    def get_preparation_data(name):
        data = original_data(name)
        data["shmpipe"] = _InChild()
        return data

    def send_handle(conn, handle, destination_pid):
        if isinstance(conn, _ours.Connection):
            conn.send(_reduction.DupFd(handle))
        else:
            original_send(conn, handle, destination_pid)

    def recv_handle(conn):
        if isinstance(conn, _ours.Connection):
            return conn.recv().detach()
        return original_receive(conn)

    yield _connection, "Pipe", _ours.Pipe
    yield _connection, "wait", _ours.wait
    yield _spawn, "get_preparation_data", get_preparation_data
    yield _reduction, "send_handle", send_handle
    yield _reduction, "recv_handle", recv_handle
    # It has the name from its import.
    yield _pool, "wait", _ours.wait
    yield from _queues.patches()


def install() -> None:
    """Have every pipe that is made from now on by ``multiprocessing`` be one of shmpipe.

    That is ``multiprocessing.Pipe``, of the module and of its contexts, and what is made of pipes: queues, pools,
    managers, and the executors of ``concurrent.futures``. Processes started from here have it too, by whichever start
    method. Pipes that exist already stay what they are. A second call does nothing.

    ``multiprocessing.Queue.put`` then sends a short object of builtin types by the calling thread, where that needs no wait
    and no earlier object is still to be sent. All others go by the queue's own thread, as in the standard library. So do the
    first object of a process, and all objects on kernel pipes.
    """
    if _originals:
        return
    for module, name, ours in list(_patches()):
        _originals[module, name] = getattr(module, name)
        setattr(module, name, ours)


def uninstall() -> None:
    """Undo :func:`install`. Connections that exist stay what they are and go on working."""
    while _originals:
        (module, name), original = _originals.popitem()
        setattr(module, name, original)


@contextlib.contextmanager
def installed() -> Iterator[None]:
    """Be installed inside a ``with`` block.

    Use pools and executors inside of it too: their threads look ``wait`` up at each call, and that of the standard
    library waits for connections by their descriptors, which is slower.
    """
    was_installed = bool(_originals)
    install()
    try:
        yield
    finally:
        if not was_installed:
            uninstall()
