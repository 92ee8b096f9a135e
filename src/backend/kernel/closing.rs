//! Closing a side of a kernel pipe in this process (`backend::closing`).

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use super::{End, Rx, Tx, tx};
use crate::backend::closing::Closable;
use crate::ring::lock::Guard;
use crate::ring::reassembly;
use crate::segment::layout::SideLock;
use crate::sys::closing::Closing;
use crate::sys::interrupt::EndedByClose;

impl End {
    /// For a call that may sleep: a close by another handle ends it.
    pub(super) fn ended_by_close(self: &Arc<Self>) -> EndedByClose<Self> {
        EndedByClose::of(self)
    }

    /// Closes this process's end of the pipe and its ancillary socket, whatever handles there are.
    fn close<'a>(
        &'a self,
        lock: &'a SideLock,
        settle: impl FnOnce(Option<&Guard<'a>>),
    ) -> io::Result<()> {
        let ancillary = self.ancillary.as_ref().map(AsFd::as_fd);
        let side = Closable {
            closing: &self.closing,
            lock,
            fds: (self.pipe(), ancillary),
        };
        self.watch.hide(self.pipe());
        let outcome = side.close(|guard, _| {
            settle(guard.as_ref());
            drop(guard);
            self.abandon();
        });
        self.watch.show(self.pipe());
        outcome.map(drop)
    }

    /// Gives up the message that this process is inside, if any.
    pub(super) fn abandon(&self) {
        let rx = &self.page.shared().rx;
        let lock = |timeout| rx.lock.lock(timeout);
        // What is left of its message in the pipe is passed over by whoever receives next.
        reassembly::abandon(&rx.reassembly, &self.fragments, lock, || {});
    }
}

impl AsRef<Closing> for End {
    fn as_ref(&self) -> &Closing {
        &self.closing
    }
}

impl Rx {
    /// Closes the side in this process.
    ///
    /// # Errors
    ///
    /// As [`Closable::close`].
    pub(crate) fn close(&self) -> io::Result<()> {
        let lock = &self.end.page.shared().rx.lock;
        self.end.close(lock, |_| {})
    }

    /// As [`Closing::prepare`].
    ///
    /// # Errors
    ///
    /// The errors of [`Closing::prepare`].
    pub(crate) fn prepare_for_close(&self) -> io::Result<()> {
        self.end.closing.prepare()
    }

    /// Whether and how this process has closed the side.
    pub(crate) fn closing(&self) -> Option<&Closing> {
        (Arc::strong_count(&self.end) > 1).then_some(&self.end.closing)
    }
}

impl Tx {
    /// As [`Rx::close`].
    ///
    /// # Errors
    ///
    /// The errors of [`Rx::close`].
    pub(crate) fn close(&self) -> io::Result<()> {
        let lock = &self.end.page.shared().tx.lock;
        let settle = |guard: Option<&Guard<'_>>| {
            if guard.is_some() {
                tx::note_what_was_left(&self.end);
            }
        };
        self.end.close(lock, settle)
    }

    /// As [`Rx::prepare_for_close`].
    ///
    /// # Errors
    ///
    /// The errors of [`Rx::prepare_for_close`].
    pub(crate) fn prepare_for_close(&self) -> io::Result<()> {
        self.end.closing.prepare()
    }

    /// As [`Rx::closing`].
    pub(crate) fn closing(&self) -> Option<&Closing> {
        (Arc::strong_count(&self.end) > 1).then_some(&self.end.closing)
    }
}
