//! Whether this process has closed its side of a pipe, and how its sleeping threads hear of it.
//!
//! A close puts a socket that was never connected in the place of each descriptor, by dup3(2): the numbers stay taken,
//! and whoever uses one finds what is hung up, or `ENOTCONN`. A thread in the middle of a call finds it too, at once or
//! when it is woken.
//!
//! # Woken without fail
//!
//! A sleeper counts itself, then looks whether the side is closed, then sleeps. A close marks the side, replaces the
//! descriptors, and wakes until nobody is counted. One that counts itself later finds the mark.
//!
//! # Forks
//!
//! A child has copies of all words, at whatever point another thread was with them. Each is one word, and those that
//! tell of threads have the number of the process beside them (`sys::fork`): a child takes its parent's for nothing. The
//! kernel copies the descriptors a while before the memory, so a close that is done by the words may have been at its
//! beginning by the descriptors. So the child's own close does all of it again, also where its parent's came to its end.
//! `kept` is noted for as long as its number is taken, and says which descriptor may be left. A child may have something
//! else at that number, so it touches it only where it finds what a close of its parent puts there: by the files, which
//! are noted before.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_utils::CachePadded;

use super::alarm::{self, Alarm};
use super::descriptors;
use super::fork::fork_generation;
use super::socket;

/// Between two wake-ups of those who were on their way to sleep.
const PAUSE: Duration = Duration::from_millis(1);

/// Wake-ups after which one who is still counted is taken for a call that the closing one has interrupted, as a signal
/// handler does.
const ROUNDS: u32 = 100;

/// What the handles of a process to one side share for its close.
#[derive(Debug)]
pub(crate) struct Closing {
    /// Not 0 from the beginning of the first close, for good. As wide as a state of messages (`segment::layout`), beside
    /// which the fast path looks at it: by one branch for both then.
    is_closed: AtomicU32,
    /// The process in which a close has come to its end; 0 for none.
    done: AtomicU64,
    /// The thread that is closing, and its process above; 0 for none.
    closer: AtomicU64,
    /// How many threads are asleep, or about to be, and their process above. Each sleep writes it, and each call reads
    /// the mark, so they are on lines of their own.
    asleep: CachePadded<AtomicU64>,
    /// Through which a close that is under way still reaches the other side; after it, a number that stands for nothing.
    /// The process above, the number plus 1 below; 0 for none.
    kept: AtomicU64,
    /// Of what has been there: the side's file, and what was put in its place, as [`identity`] has them. 0 where unknown.
    files: [AtomicU64; 2],
    /// The process's alarm, of which this has a reference, as [`Alarm::into_word`] has it; 0 for none.
    alarm: AtomicU64,
}

impl Closing {
    pub(crate) fn new() -> Self {
        Self {
            is_closed: AtomicU32::new(0),
            done: AtomicU64::new(0),
            closer: AtomicU64::new(0),
            asleep: CachePadded::new(AtomicU64::new(0)),
            kept: AtomicU64::new(0),
            files: [AtomicU64::new(0), AtomicU64::new(0)],
            alarm: AtomicU64::new(0),
        }
    }

    /// Whether a close has begun.
    #[inline(always)]
    pub(crate) fn is_closed(&self) -> bool {
        // SYNC: closing. Whoever has met what is in a descriptor's place finds the mark.
        self.is_closed.load(Ordering::Acquire) != 0
    }

    /// Whether a close has come to its end in this process.
    pub(crate) fn is_done(&self) -> bool {
        let done = self.done.load(Ordering::Acquire);
        done != 0 && process().is_ok_and(|process| process == done)
    }

    /// # Errors
    ///
    /// Of the kind `NotConnected` once a close has begun.
    #[inline]
    pub(crate) fn check(&self) -> io::Result<()> {
        if self.is_closed() {
            Err(closed())
        } else {
            Ok(())
        }
    }

    /// Counts the calling thread as asleep, for as long as the outcome lives.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    pub(crate) fn fall_asleep(&self) -> io::Result<Asleep<'_>> {
        let process = process()?;
        let asleep = Asleep {
            closing: self,
            process,
        };
        self.count(|seen| {
            Some(
                if seen & PROCESS == process {
                    seen
                } else {
                    process
                } + 1,
            )
        });
        // SYNC: closing. SeqCst: either this finds the mark, or the close finds this one counted.
        if self.is_closed.load(Ordering::SeqCst) != 0 {
            return Err(closed());
        }
        Ok(asleep)
    }

    fn count(&self, change: impl FnMut(u64) -> Option<u64>) {
        // Whether it was changed is the same to those who ask.
        let _ = self
            .asleep
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, change);
    }

    fn is_anybody_asleep(&self) -> bool {
        let seen = self.asleep.load(Ordering::SeqCst);
        seen & !PROCESS != 0 && process().is_ok_and(|process| seen & PROCESS == process)
    }

    /// What a sleep in poll(2) watches so that a close can make it look again; `None` where no descriptor can be had.
    pub(crate) fn alarm(&self) -> Option<BorrowedFd<'_>> {
        let word = self.get_alarm().ok()?;
        // SAFETY: the reference to it is given back when `self` is dropped.
        Some(unsafe { BorrowedFd::borrow_raw(number(word)) })
    }

    /// Does ahead what the first sleep beside other handles would do.
    ///
    /// # Errors
    ///
    /// Where the descriptor cannot be had.
    pub(crate) fn prepare(&self) -> io::Result<()> {
        self.get_alarm().map(drop)
    }

    #[inline]
    fn get_alarm(&self) -> io::Result<u64> {
        let found = self.alarm.load(Ordering::Acquire);
        if found & PROCESS == process()? {
            return Ok(found);
        }
        self.make_alarm(found)
    }

    #[cold]
    fn make_alarm(&self, found: u64) -> io::Result<u64> {
        let word = Alarm::get()?.into_word();
        let outcome = self
            .alarm
            .compare_exchange(found, word, Ordering::AcqRel, Ordering::Acquire);
        if let Err(theirs) = outcome {
            // Another thread was first, and there is one of it.
            drop(Alarm::from_word(word));
            return Ok(theirs);
        }
        Ok(word)
    }

    /// Begins a close; `None` where one has been done. Waits for another thread that is in the middle of one.
    ///
    /// # Errors
    ///
    /// `Deadlock` for a signal handler that has interrupted a close; what [`fork_generation`] reports.
    pub(crate) fn begin(&self) -> io::Result<Option<Closer<'_>>> {
        let process = process()?;
        let ours = process | u64::from(nix::unistd::gettid().as_raw().unsigned_abs());
        loop {
            if self.is_done() {
                return Ok(None);
            }
            let seen = self.closer.load(Ordering::Acquire);
            if seen == ours {
                return Err(io::ErrorKind::Deadlock.into());
            }
            if seen != 0 && seen & PROCESS == process {
                std::thread::sleep(PAUSE);
                continue;
            }
            let taken =
                self.closer
                    .compare_exchange(seen, ours, Ordering::AcqRel, Ordering::Relaxed);
            if taken.is_ok() {
                return Ok(Some(Closer { closing: self }));
            }
        }
    }

    /// What is kept, as far as this process has it: what a parent has kept may be something else here.
    fn owned_kept(&self) -> Option<RawFd> {
        // SYNC: kept. Who finds the number finds the files.
        let word = self.kept.load(Ordering::Acquire);
        let kept = number(word);
        if word == 0 {
            return None;
        }
        if process().is_ok_and(|process| word & PROCESS == process) {
            return Some(kept);
        }
        let found = identity(kept)?;
        let is_known = |known: &AtomicU64| known.load(Ordering::Relaxed) == found;
        self.files.iter().any(is_known).then_some(kept)
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        if let word @ 1.. = *self.alarm.get_mut() {
            drop(Alarm::from_word(word));
        }
        // SAFETY: the word has owned it, and goes.
        drop(
            self.owned_kept()
                .map(|kept| unsafe { OwnedFd::from_raw_fd(kept) }),
        );
    }
}

/// The process's half of a word.
const PROCESS: u64 = !(u32::MAX as u64);

fn process() -> io::Result<u64> {
    Ok(u64::from(fork_generation()?) << 32)
}

/// That of a word whose upper half is a process.
fn number(word: u64) -> RawFd {
    (word as u32).wrapping_sub(1) as RawFd
}

/// One word for the file that is open at `number`, and for which end of it; `None` where nothing is.
///
/// Pipes and sockets have inodes of 32 bits, and the two ends of a pipe the same one.
fn identity(number: RawFd) -> Option<u64> {
    let mut found = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: a place for what the call writes. It refuses a number that stands for nothing.
    if unsafe { libc::fstat(number, found.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: the call has succeeded, so it has been written.
    let found = unsafe { found.assume_init() };
    // SAFETY: the call takes integers.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFL) };
    let access = (flags & libc::O_ACCMODE).unsigned_abs();
    Some(found.st_ino ^ (found.st_dev << 32) ^ (u64::from(access) << 62))
}

/// That a thread is counted as asleep.
#[derive(Debug)]
pub(crate) struct Asleep<'a> {
    closing: &'a Closing,
    process: u64,
}

impl Drop for Asleep<'_> {
    fn drop(&mut self) {
        // In a child that came to be within the sleep the word may be another process's.
        let left = |seen| (seen & PROCESS == self.process).then(|| seen - 1);
        self.closing.count(left);
    }
}

/// A close by the calling thread. Dropped before it has finished, it is to be begun again.
pub(crate) struct Closer<'a> {
    closing: &'a Closing,
}

impl Closer<'_> {
    /// Marks the side as closed and takes its descriptors away. The first of them still reaches the other side by
    /// [`kept`](Self::kept) until the close is finished, so that the side is not gone before its last calls have ended.
    ///
    /// # Errors
    ///
    /// What socket(2) reports, `EMFILE` above all; the side is not closed then. What dup3(2) reports.
    pub(crate) fn take_away(&self, side: &[BorrowedFd<'_>]) -> io::Result<()> {
        let useless = socket::unconnected()?;
        let kept = self.keep(side[0], useless.as_fd())?;
        // Noted before it stands for anything, so that a child finds it.
        descriptors::replace(kept, side[0])?;
        // SYNC: closing
        self.closing.is_closed.store(1, Ordering::SeqCst);
        for old in side {
            descriptors::replace(*old, useless.as_fd())?;
        }
        Ok(())
    }

    /// A descriptor that is noted, for what is to be kept: the one that is there, or a new one.
    fn keep(&self, side: BorrowedFd<'_>, useless: BorrowedFd<'_>) -> io::Result<BorrowedFd<'_>> {
        let Closing { kept, files, .. } = self.closing;
        let number = match self.closing.owned_kept() {
            Some(there) => there,
            None => descriptors::copy(useless.as_raw_fd())?.into_raw_fd(),
        };
        // In a child that closes again the side may be its parent's useless one by now.
        for (known, fd) in files.iter().zip([side, useless]) {
            if known.load(Ordering::Relaxed) == 0 {
                known.store(identity(fd.as_raw_fd()).unwrap_or(0), Ordering::Relaxed);
            }
        }
        let word = process()? | u64::from(number.unsigned_abs() + 1);
        // SYNC: kept
        kept.store(word, Ordering::Release);
        Ok(self.kept().expect("just noted"))
    }

    /// What still reaches the other side.
    pub(crate) fn kept(&self) -> Option<BorrowedFd<'_>> {
        let number = self.closing.owned_kept()?;
        // SAFETY: it stays open until this thread, or a drop of the whole, closes it.
        Some(unsafe { BorrowedFd::borrow_raw(number) })
    }

    /// Ends the sleeps of this process at the side. `wake` wakes those who sleep otherwise than in poll(2).
    pub(crate) fn wake(&self, wake: impl Fn()) {
        for round in 0..ROUNDS {
            if round > 0 {
                std::thread::sleep(PAUSE);
            }
            alarm::ring();
            wake();
            if !self.closing.is_anybody_asleep() {
                return;
            }
        }
    }

    /// Lets go of the other side. `useless` is one of the descriptors that were taken away.
    ///
    /// # Errors
    ///
    /// What dup3(2) reports.
    pub(crate) fn finish(self, useless: BorrowedFd<'_>) -> io::Result<()> {
        if let Some(kept) = self.kept() {
            descriptors::replace(kept, useless)?;
        }
        self.closing.done.store(process()?, Ordering::Release);
        Ok(())
    }
}

impl Drop for Closer<'_> {
    fn drop(&mut self) {
        self.closing.closer.store(0, Ordering::Release);
    }
}

/// What calls of a closed side return.
#[cold]
pub(crate) fn closed() -> io::Error {
    io::Error::new(
        io::ErrorKind::NotConnected,
        "this process has closed its side of the pipe",
    )
}

/// Whether the thread `id`, as the kernel calls it, is one of this process.
pub(crate) fn is_our_thread(id: u32) -> bool {
    let process = std::process::id();
    // SAFETY: the call takes integers, and signal 0 is only looked at.
    let outcome = unsafe { libc::syscall(libc::SYS_tgkill, process, id, 0) };
    outcome == 0
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sys::clock::Deadline;
    use crate::sys::fork::Child;
    use nix::poll::PollFlags;

    #[test]
    fn one_who_falls_asleep_after_the_mark_is_refused_and_not_counted() {
        let closing = Closing::new();
        let asleep = closing.fall_asleep().unwrap();
        assert!(closing.is_anybody_asleep());
        drop(asleep);
        assert!(!closing.is_anybody_asleep());
        let (ours, _theirs) = socket::pair().unwrap();
        let closer = closing.begin().unwrap().unwrap();
        closer.take_away(&[ours.as_fd()]).unwrap();
        let error = closing.fall_asleep().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotConnected);
        assert!(!closing.is_anybody_asleep());
    }

    #[test]
    fn a_close_within_a_close_of_the_same_thread_is_refused() {
        let closing = Closing::new();
        let closer = closing.begin().unwrap().unwrap();
        let error = closing.begin().map(drop).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Deadlock);
        drop(closer);
        assert!(closing.begin().unwrap().is_some());
    }

    #[test]
    fn a_forked_child_takes_its_parents_sleepers_and_close_for_nothing() {
        let closing = Closing::new();
        let _asleep = closing.fall_asleep().unwrap();
        let _closer = closing.begin().unwrap().unwrap();
        let child =
            Child::of(|| !closing.is_anybody_asleep() && matches!(closing.begin(), Ok(Some(_))));
        assert!(child.ends_well());
        assert!(closing.is_anybody_asleep());
    }

    /// A word as a parent's thread has left it.
    fn of_a_parent(number: RawFd) -> u64 {
        (process().unwrap() ^ (1 << 40)) | u64::from(number.unsigned_abs() + 1)
    }

    #[test]
    fn what_a_child_has_at_the_number_that_its_parent_kept_is_left_alone() {
        let (ours, theirs) = socket::pair().unwrap();
        let (foreign, other) = socket::pair().unwrap();
        let closing = Closing::new();
        let number = foreign.as_raw_fd();
        closing.kept.store(of_a_parent(number), Ordering::Relaxed);
        let closer = closing.begin().unwrap().unwrap();
        closer.take_away(&[ours.as_fd()]).unwrap();
        assert_ne!(closer.kept().unwrap().as_raw_fd(), number);
        closer.finish(ours.as_fd()).unwrap();
        drop(closing);
        assert!(socket::is_hung_up(theirs.as_fd()).unwrap());
        assert!(socket::send_token(foreign.as_fd(), 1).unwrap());
        assert_eq!(socket::peek_token(other.as_fd()).unwrap(), Some(1));
    }

    #[test]
    fn the_other_end_of_a_pipe_is_not_taken_for_what_a_parent_kept() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        for (side, other) in [(&reader, &writer), (&writer, &reader)] {
            let closing = Closing::new();
            let known = identity(side.as_raw_fd()).unwrap();
            closing.files[0].store(known, Ordering::Relaxed);
            let [word, others] = [side, other].map(|fd| of_a_parent(fd.as_raw_fd()));
            closing.kept.store(word, Ordering::Relaxed);
            assert_eq!(closing.owned_kept(), Some(side.as_raw_fd()));
            closing.kept.store(others, Ordering::Relaxed);
            assert_eq!(closing.owned_kept(), None);
            closing.kept.store(0, Ordering::Relaxed);
        }
    }

    #[test]
    fn what_a_parent_kept_is_let_go_of_in_the_child_that_has_it() {
        let (ours, theirs) = socket::pair().unwrap();
        let closing = Closing::new();
        let closer = closing.begin().unwrap().unwrap();
        closer.take_away(&[ours.as_fd()]).unwrap();
        let kept = closer.kept().unwrap().as_raw_fd();
        closing.kept.store(of_a_parent(kept), Ordering::Relaxed);
        assert_eq!(closer.kept().unwrap().as_raw_fd(), kept);
        drop(closer);
        drop(closing);
        assert!(socket::is_hung_up(theirs.as_fd()).unwrap());
    }

    #[test]
    fn what_is_kept_reaches_the_other_side_until_the_end() {
        let (ours, theirs) = socket::pair().unwrap();
        let closing = Closing::new();
        let closer = closing.begin().unwrap().unwrap();
        closer.take_away(&[ours.as_fd()]).unwrap();
        assert!(socket::is_hung_up(ours.as_fd()).unwrap());
        assert!(socket::send_token(ours.as_fd(), 1).is_err());
        assert!(!socket::is_hung_up(theirs.as_fd()).unwrap());
        assert!(socket::send_token(closer.kept().unwrap(), 2).unwrap());
        assert_eq!(socket::peek_token(theirs.as_fd()).unwrap(), Some(2));
        closer.finish(ours.as_fd()).unwrap();
        assert!(socket::is_hung_up(theirs.as_fd()).unwrap());
        assert!(closing.begin().unwrap().is_none());
    }

    #[test]
    fn a_sleeper_looks_again_at_a_number_that_stands_for_something_else() {
        let (ours, _theirs) = socket::pair().unwrap();
        let closing = Closing::new();
        std::thread::scope(|scope| {
            let sleeper = scope.spawn(|| {
                let alarm = closing.alarm().unwrap();
                let fds = [
                    (alarm, PollFlags::POLLIN),
                    (ours.as_fd(), PollFlags::POLLIN),
                ];
                let asleep = closing.fall_asleep();
                let found = socket::wait_many(&fds, Deadline::NEVER).unwrap();
                drop(asleep);
                found[1].hung_up && !found[0].ready
            });
            while !closing.is_anybody_asleep() {
                std::thread::yield_now();
            }
            let closer = closing.begin().unwrap().unwrap();
            closer.take_away(&[ours.as_fd()]).unwrap();
            closer.wake(|| {});
            assert!(sleeper.join().unwrap());
        });
    }

    #[test]
    fn a_thread_of_another_process_is_not_ours() {
        let id = nix::unistd::gettid().as_raw().unsigned_abs();
        assert!(is_our_thread(id));
        assert!(!is_our_thread(1));
    }
}
