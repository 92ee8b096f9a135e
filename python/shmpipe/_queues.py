"""What :func:`shmpipe.install` changes in the standard library's queues and pools.

A ``Queue`` hands each object to a thread of its own, which pickles and sends it, because a send may block. That costs two
changes of threads a message, many times what a message costs. A short object of builtin types goes into the pipe by the
caller's own thread here, where there is room and nothing of this process is to go before it. Whatever else is put goes by
the thread, as ever.

A ``Pool`` has a thread that looks after its workers, and wakes it with each result, from the time when that thread had to
look for itself whether any result is still to come. The pool's cache tells it by now.
"""

import multiprocessing.pool as _pool
import multiprocessing.queues as _queues
from queue import Full

from .connection import Connection


def _is_sent(queue, obj):
    """Whether ``obj`` was sent just now. The caller has the queue's lock, ``_notempty``."""
    if not isinstance(queue._writer, Connection) or queue._buffer:
        return False
    # A thread that is not asleep may have taken an object from the buffer that it has yet to send.
    if queue._thread is not None and not queue._notempty._waiters:
        return False
    try:
        is_sent = queue._writer._send_plain(obj)
    except OSError:
        # The thread reports it, as it does for what it sends.
        return False
    if is_sent:
        # A forked child has a buffer of its own.
        queue._sent_beside = queue._buffer
    return is_sent


def _acquire(queue, block, timeout):
    if queue._closed:
        raise ValueError(f"Queue {queue!r} is closed")
    if not queue._sem.acquire(block, timeout):
        raise Full


def _put(queue, obj):
    if _is_sent(queue, obj):
        return
    if queue._thread is None:
        queue._start_thread()
    queue._buffer.append(obj)
    queue._notempty.notify()


def put(self, obj, block=True, timeout=None):
    _acquire(self, block, timeout)
    with self._notempty:
        _put(self, obj)


def put_joinable(self, obj, block=True, timeout=None):
    _acquire(self, block, timeout)
    # Whoever has received the object waits for the condition before the object counts as done.
    with self._notempty, self._cond:
        _put(self, obj)
        self._unfinished_tasks.release()


def patches():
    original_close = _queues.Queue.close

    def close(self):
        original_close(self)
        if self._thread is None and getattr(self, "_sent_beside", None) is self._buffer:
            # The thread does so at its end.
            self._reader.close()
            self._writer.close()

    def get_sentinels(self):
        return [self._change_notifier._reader]

    yield _queues.Queue, "put", put
    yield _queues.Queue, "close", close
    yield _queues.JoinableQueue, "put", put_joinable
    yield _pool.Pool, "_get_sentinels", get_sentinels
