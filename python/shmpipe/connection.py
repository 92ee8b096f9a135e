"""Connections over shared memory: the part of ``multiprocessing.connection`` that pipes need."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing.connection as _stdlib
import os
import selectors
import weakref
from collections.abc import Iterable
from multiprocessing import context as _context
from multiprocessing import reduction as _reduction
from multiprocessing import util as _util
from typing import Any

from . import _shmpipe

__all__ = ["Connection", "Pipe", "wait"]

#: Bytes that each direction of a pipe holds where ``capacity`` does not say so. The standard library's socket pair takes
#: about 210 KiB before a send blocks, and programs rely on that.
DEFAULT_CAPACITY = 256 << 10

# What programs have patched in the place of these later is none of this module's business.
_stdlib_wait = _stdlib.wait


class Connection(_shmpipe.Core, _stdlib.Connection):
    """One end of a pipe, made by :func:`Pipe`.

    It is a ``multiprocessing.connection.Connection``, and behaves as one. Threads and processes may share an end: each
    message goes to one receiver and is whole.
    """

    def __init__(self, *args):
        # That of the standard library takes a descriptor.
        pass

    def __reduce__(self):
        if _context.get_spawning_popen() is None:
            raise TypeError(
                f"cannot pickle {type(self).__name__!r} object: send it through a connection, "
                "or give it to a process that is being started"
            )
        return reduce_connection(self)

    @property
    def label(self) -> str | None:
        """The name that the pipe was given for tools, in whichever process; ``None`` where it has none, or without /proc."""
        receiving, sending = self._lend()
        for fd in receiving + sending:
            with contextlib.suppress(OSError):
                link = os.readlink(f"/proc/self/fd/{fd}")
                if link.startswith("/memfd:shmpipe"):
                    _, _, label = link.removesuffix(" (deleted)").removeprefix("/memfd:").partition(":")
                    return label or None
        return None

    async def recv_async(self) -> Any:
        """Receive an object on asyncio's running loop, and let other tasks run while the pipe is empty.

        Raises what ``recv`` does. Several tasks may wait on one connection; each message goes to one of them.
        """
        while True:
            found = self._try_recv()
            if found is not None:
                return found[0]
            await _readable(self, self.fileno())

    async def send_async(self, obj: Any) -> None:
        """Send an object on asyncio's running loop, and let other tasks run while the pipe is full.

        Raises what ``send`` does. One that is longer than the pipe, or than a sixteenth of it where it is full, is sent by
        a thread of the loop's executor; cancelling the task does not stop that one.
        """
        while True:
            fd = self._try_send(obj)
            if fd is None:
                return
            if fd < 0:
                await asyncio.get_running_loop().run_in_executor(None, self.send, obj)
                return
            await _readable(self, fd)

    def close(self) -> None:
        """Close this process's end. Calls of other threads that block in it meanwhile go on; tasks that wait end."""
        try:
            super().close()
        finally:
            waits = self.__dict__.pop("_waits", None)
            if waits:
                _end(waits)

    def __repr__(self):
        if self.closed:
            return f"<{type(self).__module__}.{type(self).__qualname__} closed>"
        return (
            f"<{type(self).__module__}.{type(self).__qualname__} backend={self.backend} "
            f"readable={self.readable} writable={self.writable}>"
        )


# For each loop what its tasks wait for, by descriptor: a loop takes one callback for each.
_waiting = weakref.WeakKeyDictionary()


class _Wait:
    """Tasks of one loop that wait for one descriptor of a connection."""

    def __init__(self, loop, fd):
        self.loop = loop
        self.fd = fd
        self.futures = set()

    def wake(self):
        for future in self.futures:
            if not future.done():
                future.set_result(None)

    def end(self):
        by_fd = _waiting.get(self.loop, {})
        if by_fd.get(self.fd) is self:
            del by_fd[self.fd]
            self.loop.remove_reader(self.fd)

    def has_been_closed(self):
        self.end()
        self.wake()


async def _readable(connection, fd):
    loop = asyncio.get_running_loop()
    by_fd = _waiting.setdefault(loop, {})
    waits = connection.__dict__.setdefault("_waits", set())
    wait = by_fd.get(fd)
    if wait is not None and wait not in waits:
        # The descriptor had the number before; it was closed by another thread, or in another way.
        wait.has_been_closed()
        wait = None
    if wait is None:
        wait = _Wait(loop, fd)
        loop.add_reader(fd, wait.wake)
        by_fd[fd] = wait
        waits.add(wait)
        if connection.closed:
            # By another thread, which may not have found this wait.
            waits.discard(wait)
            wait.end()
            return
    future = loop.create_future()
    wait.futures.add(future)
    try:
        await future
    finally:
        wait.futures.discard(future)
        if not wait.futures:
            waits.discard(wait)
            wait.end()


def _end(waits):
    """Have tasks find that what they wait for is closed."""
    try:
        here = asyncio.get_running_loop()
    except RuntimeError:
        here = None
    for wait in list(waits):
        if wait.loop is here:
            wait.has_been_closed()
        else:
            with contextlib.suppress(RuntimeError):  # a loop that is closed
                wait.loop.call_soon_threadsafe(wait.has_been_closed)


def Pipe(
    duplex: bool = True, *, capacity: int | None = None, backend: str | None = None, label: str | None = None
) -> tuple[Connection, Connection]:
    """Make a pipe, and return its two ends as a pair of :class:`Connection`.

    With ``duplex`` both ends send and receive. Without it the first only receives and the second only sends.

    ``capacity`` is the number of bytes that each direction holds before a send blocks, 256 KiB by default, rounded up
    to a power of two. A message may be longer.

    ``backend`` is ``"shm"`` for shared memory or ``"kernel"`` for a kernel pipe. By default the variable
    ``SHMPIPE_BACKEND`` chooses, or else it is shared memory, and a kernel pipe where the system refuses that.

    ``label`` is a name that tools show.

    Raises ``OSError`` with the system's number where the pipe cannot be made, ``ValueError`` for options that cannot be.
    """
    if capacity is None:
        capacity = DEFAULT_CAPACITY
    first, second = _shmpipe.pipe(bool(duplex), capacity, backend, label)
    return Connection(first), Connection(second)


def wait(object_list: Iterable[Any], timeout: float | None = None) -> list[Any]:
    """Return those of ``object_list`` that are ready, after at most ``timeout`` seconds; ``None`` is without limit.

    As ``multiprocessing.connection.wait``: connections are ready when a receive would not block, and other objects with
    a descriptor when a read would not.
    """
    objects = list(object_list)
    if not any(isinstance(item, Connection) for item in objects):
        return _stdlib_wait(objects, timeout)
    seen = set()
    ends, end_objects, fds, fd_objects = [], [], [], []
    for item in objects:
        if isinstance(item, Connection):
            key = id(item)
            if item.closed:
                raise OSError("handle is closed")
            if item.readable:
                ends.append(item)
                end_objects.append(item)
        else:
            key = selectors._fileobj_to_fd(item)
            fds.append(key)
            fd_objects.append(item)
            key = ("fd", key)
        if key in seen:
            raise KeyError(f"{item!r} is already registered")
        seen.add(key)
    ready_ends, ready_fds = _shmpipe.wait(ends, fds, timeout)
    ready = {id(end_objects[index]) for index in ready_ends}
    ready.update(id(fd_objects[index]) for index in ready_fds)
    return [item for item in objects if id(item) in ready]


def reduce_connection(connection):
    """What ``ForkingPickler`` makes of a connection: its descriptors, each handed over as the standard library does."""
    receiving, sending = connection._lend()
    is_starting = _context.get_spawning_popen() is not None
    return (
        # Starters of processes other than the standard library's have no other way to hear of it.
        rebuild_and_install if is_starting and is_installed() else rebuild_connection,
        ([_handed(fd) for fd in receiving], [_handed(fd) for fd in sending]),
    )


def _handed(fd):
    popen = _context.get_spawning_popen()
    numbers = getattr(popen, "_fds", None)
    if numbers is not None and fd in numbers:
        # The two ends of a pipe share a descriptor in the process that made it, and a process is started with each
        # number once.
        fd = os.dup(fd)
        _util.Finalize(popen, os.close, (fd,))
    return _reduction.DupFd(fd)


def rebuild_connection(receiving, sending):
    """Make a connection of what :func:`reduce_connection` made of one, in the process that it was handed to."""
    seed = _shmpipe.rebuild([fd.detach() for fd in receiving], [fd.detach() for fd in sending])
    return Connection(seed)


def rebuild_and_install(receiving, sending):
    """As :func:`rebuild_connection`, in a process that is started from one in which shmpipe is installed."""
    from ._install import install

    install()
    return rebuild_connection(receiving, sending)


def is_installed():
    """Whether ``multiprocessing.Pipe`` is that of this module."""
    return _stdlib.Pipe is Pipe


_reduction.register(Connection, reduce_connection)
