//! Closing a side of a shared-memory pipe in this process (`backend::closing`).

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use super::{End, Rx, Tx, fragments, tx, view};
use crate::backend::closing::Closable;
use crate::ring::lock::Guard;
use crate::ring::reassembly;
use crate::segment::layout::{Event, SideLock};
use crate::sync::kill_point;
use crate::sys::closing::Closing;
use crate::sys::interrupt::EndedByClose;

impl End {
    /// For a call that may sleep: a close by another handle ends it.
    pub(super) fn ended_by_close(self: &Arc<Self>) -> EndedByClose<Self> {
        EndedByClose::of(self)
    }

    /// Closes this process's life-line and ancillary socket, whatever handles there are. `settle` makes good what the
    /// lock's last owner left, and reports to the other side what calls of this process have done.
    fn close<'a>(
        &'a self,
        lock: &'a SideLock,
        settle: impl FnOnce(Option<&Guard<'a>>),
        own_ring: &Event,
    ) -> io::Result<()> {
        let ancillary = self.ancillary.as_ref().map(AsFd::as_fd);
        let side = Closable {
            closing: &self.closing,
            lock,
            fds: (self.socket(), ancillary),
        };
        self.watch.hide(self.socket());
        let outcome = side.close(|guard, kept| {
            settle(guard.as_ref());
            drop(guard);
            self.abandon();
            if let Some(kept) = kept {
                // For all that calls of this process have rung for in vain. One who cannot be woken stays marked as
                // waiting.
                let _ = own_ring.ring(kept);
            }
        });
        self.watch.show(self.socket());
        kill_point();
        if outcome? {
            (self.others)(&self.segment).announce_close();
        }
        Ok(())
    }

    /// Gives up the message that this process is inside, if any.
    pub(super) fn abandon(&self) {
        let view = view::View::new(self);
        let lock = |timeout| view.reader.control.rx.lock.lock(timeout);
        reassembly::abandon(view.reassembly(), &self.fragments, lock, || {
            // What is wrong with the ring is for others to report.
            let _ = fragments::skip_residue(view);
        });
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
        let view = view::View::new(&self.end);
        let control = view.reader.control;
        let settle = |_: Option<&Guard<'_>>| {
            view.reader.publish_head();
        };
        self.end.close(&control.rx.lock, settle, &control.room)
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
        let view = tx::View::new(&self.end);
        let control = view.writer.control;
        let settle = |guard: Option<&Guard<'_>>| {
            // What is wrong with the ring is for others to report.
            let _ = view.make_good(guard.is_some_and(Guard::owner_died));
        };
        self.end.close(&control.tx.lock, settle, &control.data)
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
