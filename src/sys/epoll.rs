//! An epoll(7) descriptor that shows what one descriptor of an end shows, and does not hold the end's side.
//!
//! A copy of a descriptor holds the side until it is closed itself. This one is readable while the other is what it
//! watches for, so whoever needs a descriptor of his own takes a copy of this, and a close leaves nothing behind.
//!
//! # Forks
//!
//! A child shares its parent's epoll instance, so it makes one of its own and puts it in the place of the other. The
//! kernel copies the descriptors a while before the memory: where another thread was just making the first one, the
//! child has its number in the word, and perhaps something else at that number. So a child touches the number only once
//! epoll_ctl(2) has shown that an instance is there which watches this end.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering, fence};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use super::descriptors::{beyond_standard_streams, replace};
use super::fork::fork_generation;
use super::refused::refused;

/// Made when it is first asked for, and for a forked child anew.
#[derive(Debug)]
pub(crate) struct Watch {
    /// What it watches for.
    events: EpollFlags,
    /// The fork generation of who made it; below, its number plus 1, and [`INHERITED`]. 0 for none.
    word: AtomicU64,
}

/// Beside the number: it was made by a parent, and this process has it too.
const INHERITED: u64 = 1 << 31;

impl Watch {
    pub(crate) fn for_events(events: EpollFlags) -> Self {
        let word = AtomicU64::new(0);
        Self { events, word }
    }

    /// What is readable while `fd` is ready as the events say, or hung up.
    ///
    /// # Errors
    ///
    /// Where it cannot be made, `EMFILE` above all.
    pub(crate) fn of(&self, fd: BorrowedFd<'_>) -> io::Result<BorrowedFd<'_>> {
        let found = self.word.load(Ordering::Acquire);
        if found != 0 && is_ours(found) {
            return Ok(borrowed(found));
        }
        let made = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)
            .map_err(|errno| refused("epoll_create1(2)", errno))?;
        let made = Epoll(beyond_standard_streams(made.0)?);
        made.add(fd, EpollEvent::new(self.events, 0))
            .map_err(|errno| refused("epoll_ctl(2) of the pipe", errno))?;
        let generation = u64::from(fork_generation()?) << 32;
        let made = match self.take_inherited(fd) {
            // The parent's number, which others may know.
            Some(inherited) if replace(inherited.as_fd(), made.0.as_fd()).is_ok() => inherited,
            _ => made.0,
        };
        let word = generation | u64::from(made.as_raw_fd().unsigned_abs() + 1);
        let outcome = self
            .word
            .compare_exchange(0, word, Ordering::AcqRel, Ordering::Acquire);
        Ok(match outcome {
            Ok(_) => {
                let _ = made.into_raw_fd();
                // A close that has not found the word may have put something else in the place of what is watched.
                self.show(fd);
                borrowed(word)
            }
            // Another thread was first.
            Err(theirs) => borrowed(theirs),
        })
    }

    /// Takes a parent's instance out of the word, if this process has it too. One thread alone gets it, so no other
    /// puts something else in the place of what that one has made of it.
    fn take_inherited(&self, fd: BorrowedFd<'_>) -> Option<OwnedFd> {
        let not_ours = |word| (word != 0 && !is_ours(word)).then_some(0);
        let found = self
            .word
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, not_ours)
            .ok()?;
        if !self.is_inherited(found, fd) {
            return None;
        }
        // SAFETY: the word has owned it in this process, and is this thread's alone since it was emptied.
        Some(unsafe { OwnedFd::from_raw_fd(number(found)) })
    }

    /// Before `fd` is going to stand for something else: watches it no more. A child leaves its parent's as it is, and
    /// only notes while it can whether it has that one.
    pub(crate) fn hide(&self, fd: BorrowedFd<'_>) {
        let word = self.word.load(Ordering::Acquire);
        if word == 0 {
            return;
        }
        if is_ours(word) {
            control(word, libc::EPOLL_CTL_DEL, fd, EpollFlags::empty());
        } else if self.is_inherited(word, fd) {
            // Else another thread has taken it.
            let _ = self.word.compare_exchange(
                word,
                word | INHERITED,
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
        }
    }

    /// Watches `fd` again, whatever it stands for. Where that is refused, who waits is not woken.
    pub(crate) fn show(&self, fd: BorrowedFd<'_>) {
        // SYNC: watch. Between what the caller has just written (the word, or the descriptor) and the look at the other one:
        // of a thread that notes its instance and one that closes, one at least finds what the other has done.
        fence(Ordering::SeqCst);
        let word = self.word.load(Ordering::Acquire);
        if word != 0 && is_ours(word) {
            control(word, libc::EPOLL_CTL_ADD, fd, self.events);
        }
    }

    /// Closes it, before `fd` is closed.
    pub(crate) fn close(&mut self, fd: BorrowedFd<'_>) {
        let word = std::mem::take(self.word.get_mut());
        if word != 0 && (is_ours(word) || self.is_inherited(word, fd)) {
            // SAFETY: the word has owned it in this process, and is empty now.
            drop(unsafe { OwnedFd::from_raw_fd(number(word)) });
        }
    }

    /// Whether what a parent has made is here what it was there. The look changes nothing.
    fn is_inherited(&self, word: u64, fd: BorrowedFd<'_>) -> bool {
        word & INHERITED != 0 || control(word, libc::EPOLL_CTL_MOD, fd, self.events)
    }
}

fn is_ours(word: u64) -> bool {
    fork_generation().is_ok_and(|ours| word >> 32 == u64::from(ours))
}

/// Whether epoll_ctl(2) succeeds. It refuses whatever is no instance, and for `EPOLL_CTL_MOD` one that does not watch
/// `fd`.
fn control(word: u64, operation: libc::c_int, fd: BorrowedFd<'_>, events: EpollFlags) -> bool {
    let mut event = libc::epoll_event {
        events: events.bits() as u32,
        u64: 0,
    };
    // SAFETY: the call takes integers, and a live event that it reads.
    unsafe { libc::epoll_ctl(number(word), operation, fd.as_raw_fd(), &raw mut event) == 0 }
}

const NUMBER: u64 = INHERITED - 1;

fn number(word: u64) -> RawFd {
    ((word & NUMBER) as u32).wrapping_sub(1) as RawFd
}

/// The descriptor of a word, which stays open until the watch is closed.
fn borrowed<'a>(word: u64) -> BorrowedFd<'a> {
    // SAFETY: callers bind the lifetime to the watch.
    unsafe { BorrowedFd::borrow_raw(number(word)) }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sys::socket;

    fn of_a_parent(number: RawFd) -> Watch {
        let generation = u64::from(fork_generation().unwrap() ^ 1 << 8) << 32;
        let watch = Watch::for_events(EpollFlags::EPOLLIN);
        let word = generation | u64::from(number.unsigned_abs() + 1);
        watch.word.store(word, Ordering::Relaxed);
        watch
    }

    #[test]
    fn what_a_child_has_at_the_number_of_its_parents_watch_is_left_alone() {
        let (ours, _theirs) = socket::pair().unwrap();
        let (foreign, other) = socket::pair().unwrap();
        let mut watch = of_a_parent(foreign.as_raw_fd());
        watch.hide(ours.as_fd());
        let made = watch.of(ours.as_fd()).unwrap().as_raw_fd();
        assert_ne!(made, foreign.as_raw_fd());
        watch.close(ours.as_fd());
        of_a_parent(foreign.as_raw_fd()).close(ours.as_fd());
        assert!(socket::send_token(foreign.as_fd(), 1).unwrap());
        assert_eq!(socket::peek_token(other.as_fd()).unwrap(), Some(1));
    }

    #[test]
    fn an_inherited_watch_keeps_its_number_and_is_closed_with_the_end() {
        let (ours, theirs) = socket::pair().unwrap();
        assert!(socket::send_token(theirs.as_fd(), 1).unwrap());
        let number = parents(&ours);
        let mut watch = of_a_parent(number);
        assert_eq!(watch.of(ours.as_fd()).unwrap().as_raw_fd(), number);
        let known = watched(number);
        assert!(is_readable(&known));
        watch.close(ours.as_fd());
        assert!(!is_readable(&known));
        let number = parents(&ours);
        let mut watch = of_a_parent(number);
        watch.hide(ours.as_fd());
        let _what_it_watches = ours.try_clone().unwrap();
        descriptors_replaced(&ours);
        let known = watched(number);
        assert!(is_readable(&known));
        watch.close(ours.as_fd());
        assert!(!is_readable(&known));
    }

    /// An instance that watches another one, until that is closed. Its number may be another thread's after that.
    fn watched(number: RawFd) -> OwnedFd {
        let outer = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
        // SAFETY: the caller has it open.
        let inner = unsafe { BorrowedFd::borrow_raw(number) };
        outer
            .add(inner, EpollEvent::new(EpollFlags::EPOLLIN, 0))
            .unwrap();
        outer.0
    }

    #[test]
    fn threads_of_a_child_that_ask_at_once_get_one_watch() {
        let (ours, theirs) = socket::pair().unwrap();
        assert!(socket::send_token(theirs.as_fd(), 1).unwrap());
        for _ in 0..2000 {
            let mut watch = of_a_parent(parents(&ours));
            let copies = at_once(|| {
                watch
                    .of(ours.as_fd())
                    .unwrap()
                    .try_clone_to_owned()
                    .unwrap()
            });
            assert!(copies.iter().all(is_readable));
            // Whatever a thread has taken away with it is what a close changes.
            watch.hide(ours.as_fd());
            assert!(!copies.iter().any(is_readable));
            watch.close(ours.as_fd());
        }
    }

    #[test]
    fn a_watch_that_is_made_while_its_side_is_closed_shows_that() {
        for round in 0..2000 {
            let (ours, _theirs) = socket::pair().unwrap();
            let mut watch = match round % 2 {
                0 => Watch::for_events(EpollFlags::EPOLLIN),
                _ => of_a_parent(parents(&ours)),
            };
            let turn = std::sync::atomic::AtomicUsize::new(0);
            let copies = at_once(|| {
                if turn.fetch_add(1, Ordering::Relaxed) == 0 {
                    return watch
                        .of(ours.as_fd())
                        .unwrap()
                        .try_clone_to_owned()
                        .unwrap();
                }
                watch.hide(ours.as_fd());
                descriptors_replaced(&ours);
                watch.show(ours.as_fd());
                socket::unconnected().unwrap()
            });
            assert!(copies.iter().all(is_readable), "round {round}");
            watch.close(ours.as_fd());
        }
    }

    /// What two threads come to that do the same at the same time.
    fn at_once<T: Send>(work: impl Fn() -> T + Sync) -> [T; 2] {
        let barrier = std::sync::Barrier::new(2);
        let work = || {
            barrier.wait();
            work()
        };
        std::thread::scope(|scope| {
            let threads = [scope.spawn(work), scope.spawn(work)];
            threads.map(|thread| thread.join().unwrap())
        })
    }

    fn is_readable(fd: &OwnedFd) -> bool {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).unwrap() == 1
    }

    /// An instance that watches `fd`, as a parent leaves it.
    fn parents(fd: &OwnedFd) -> RawFd {
        let made = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
        let event = EpollEvent::new(EpollFlags::EPOLLIN, 0);
        made.add(fd, event).unwrap();
        made.0.into_raw_fd()
    }

    /// As a close of the side does between.
    fn descriptors_replaced(side: &OwnedFd) {
        replace(side.as_fd(), socket::unconnected().unwrap().as_fd()).unwrap();
    }
}
