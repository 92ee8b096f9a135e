"""What :func:`shmpipe.install` changes in the standard library's queues and pools.

A ``Queue`` hands each object to a thread of its own, which pickles and sends it, because a send may block. That costs two
changes of threads a message, many times what a message costs. A short object of builtin types goes into the pipe by the
caller's own thread here, where that needs no wait of any kind and nothing of this process is to go before it. Whatever
else is put goes by the thread, as ever; so does the first object of a process, and each one on kernel pipes.

A ``Pool`` has a thread that looks after its workers, and wakes it with each result, from the time when that thread had to
look for itself whether any result is still to come. The pool's cache tells it by now.
"""

import multiprocessing.pool as _pool
import multiprocessing.queues as _queues
import multiprocessing.reduction as _reduction
from queue import Full

from ._shmpipe import _plain_message
from .connection import Connection

# What a subclass may have instead.
_feed = _queues.Queue._feed
_start_thread = _queues.Queue._start_thread


def _message_of(queue, obj):
    """The message of an object that the caller may send; ``None`` for one that the thread sends.

    Called without the queue's lock: to pickle may collect garbage, and what is collected may put into the queue.
    """
    kind = type(queue)
    is_usual = kind._feed is _feed and kind._start_thread is _start_thread
    if not is_usual or _queues._ForkingPickler is not _reduction.ForkingPickler:
        return None
    if not isinstance(queue._writer, Connection):
        return None
    try:
        return _plain_message(obj)
    except Exception:
        # The thread reports it, as it does for what it pickles.
        return None


def _send(queue, message):
    """Whether the message was sent just now, or an error where it was sent and a receiver that sleeps may not know.

    The caller has the queue's lock, ``_notempty``.
    """
    if message is None or queue._buffer:
        return False
    # A thread that is not asleep may have taken an object from the buffer that it has yet to send.
    if queue._thread is not None and not queue._notempty._waiters:
        return False
    try:
        sent = queue._writer._send_now(message)
    except Exception:
        # Nothing was sent. The thread reports why, as it does for what it sends.
        return False
    if sent is not False:
        # A forked child has a buffer of its own.
        queue._sent_beside = queue._buffer
    return sent


def _acquire(queue, block, timeout):
    if queue._closed:
        raise ValueError(f"Queue {queue!r} is closed")
    if not queue._sem.acquire(block, timeout):
        raise Full


def _put(queue, obj, message):
    """Sends the message, or has the thread send the object. The caller has the queue's lock."""
    sent = _send(queue, message)
    if sent is False:
        if queue._thread is None:
            queue._start_thread()
        queue._buffer.append(obj)
        queue._notempty.notify()
    return sent


def _report(queue, obj, sent):
    # It may put into the queue.
    if isinstance(sent, Exception):
        queue._on_queue_feeder_error(sent, obj)


def put(self, obj, block=True, timeout=None):
    _acquire(self, block, timeout)
    message = _message_of(self, obj)
    with self._notempty:
        sent = _put(self, obj, message)
    _report(self, obj, sent)


def put_joinable(self, obj, block=True, timeout=None):
    _acquire(self, block, timeout)
    message = _message_of(self, obj)
    # Whoever has received the object waits for the condition before the object counts as done.
    with self._notempty, self._cond:
        sent = _put(self, obj, message)
        self._unfinished_tasks.release()
    _report(self, obj, sent)


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
