//! Waiting for the first of many ends.
//!
//! Each end that is not ready is armed as for a wait of its own, and one poll(2) then waits on all of them; none is
//! put into the lasting mode of [`AsFd`](std::os::fd::AsFd).

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::poll::PollFlags;

use crate::backend::{Look, Seen};
use crate::ends::receiver::Flavor as RxFlavor;
use crate::ends::sender::Flavor as TxFlavor;
use crate::error::Fault;
use crate::sys::clock::Deadline;
use crate::sys::closing::Closing;
use crate::sys::socket;
use crate::{Connection, Receiver, Sender};

/// First interval of looks at an end of which no descriptor shows all; it doubles up to [`LAST_LOOK`].
const FIRST_LOOK: Duration = Duration::from_millis(1);
const LAST_LOOK: Duration = Duration::from_millis(50);

/// An end that [`wait`] can wait for: a receiver, a connection by its receiver, or a sender, of bytes or of
/// values. Nobody else can implement it.
///
/// # Examples
///
/// See [`wait`].
pub trait Waitable: sealed::Sealed {}

impl Waitable for Receiver {}
impl Waitable for Connection {}
impl Waitable for Sender {}

pub(crate) mod sealed {
    use super::{BorrowedFd, Closing, Look, PollFlags, Seen, io};

    #[allow(
        unreachable_pub,
        reason = "a bound of a public trait, which is what seals it"
    )]
    pub trait Sealed {
        #[doc(hidden)]
        #[allow(private_interfaces, reason = "for this crate only")]
        fn look(&mut self, seen: Seen) -> io::Result<Look>;
        #[doc(hidden)]
        fn descriptor(&self) -> (BorrowedFd<'_>, PollFlags);
        /// Where other handles of this process could close the side.
        #[doc(hidden)]
        #[allow(private_interfaces, reason = "for this crate only")]
        fn closing(&self) -> Option<&Closing>;
    }
}

/// Waits until one or more of `ends` are ready, and returns the indices of all that are, in ascending order. The list
/// is empty when `timeout` ended first, not before its time. `None` waits without limit, and `Some(Duration::ZERO)`
/// only looks.
///
/// It is what `multiprocessing.connection.wait` is in Python. A receiver or connection is ready as
/// [`poll`](Receiver::poll) has it: a message or a fragment is there, or the pipe is at its end or corrupted. A sender is
/// ready as [`readiness`](Sender::readiness) has it: a short message can be sent, or no receiver is left. Ends of both
/// backends may be mixed. No end can starve another, since all that are ready are returned: serve each once before the
/// next call.
///
/// The call sleeps in one poll(2). It looks again by itself only while one of the ends has a message that is not whole
/// and whose sender has stopped, or that another process is receiving in fragments. It then looks after 1 ms and at
/// intervals that double up to 50 ms. The ends do not enter the lasting mode of their descriptors. Each call looks at
/// every end: for thousands of ends, or very many waits, register the descriptors with epoll(7) instead.
///
/// As with [`poll`](Receiver::poll), another holder of an end may be faster.
///
/// # Errors
///
/// What the operating system reports. The kind is `Interrupted` where the hook of an [`Interrupt`](crate::Interrupt)
/// ended the call, and `Deadlock` for [`Reentrant`](crate::RecvError::Reentrant), a signal handler's call inside another
/// one. With no ends and no time-out the call waits for ever, as poll(2) does.
///
/// # Examples
///
/// `examples/select.rs` serves four processes so.
///
/// ```
/// use std::time::Duration;
///
/// let (mut first, _tx) = shmpipe::pipe()?;
/// let (mut second, mut tx) = shmpipe::pipe()?;
/// tx.send(b"for the second")?;
/// assert_eq!(shmpipe::wait(&mut [&mut first, &mut second], None)?, [1]);
/// second.recv()?;
/// let nothing = shmpipe::wait(&mut [&mut first, &mut second], Some(Duration::from_millis(1)))?;
/// assert!(nothing.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn wait(ends: &mut [&mut dyn Waitable], timeout: Option<Duration>) -> io::Result<Vec<usize>> {
    Ok(wait_with(ends, &[], timeout)?.ends)
}

/// What [`wait_with`] waits for on a foreign descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Interest {
    /// A read would not block.
    Readable,
    /// A write would not block.
    Writable,
    /// Either.
    Both,
}

impl Interest {
    fn events(self) -> PollFlags {
        match self {
            Self::Readable => PollFlags::POLLIN,
            Self::Writable => PollFlags::POLLOUT,
            Self::Both => PollFlags::POLLIN | PollFlags::POLLOUT,
        }
    }
}

/// What [`wait_with`] found ready: indices into its two lists, in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ready {
    /// Of the ends.
    pub ends: Vec<usize>,
    /// Of the descriptors.
    pub fds: Vec<usize>,
}

/// Waits for ends as [`wait`] does, and for descriptors of any other kind: sockets, timers, processes, pipes.
///
/// A descriptor is ready as poll(2) has it: for its [`Interest`], or with an error or hang-up, which the next call on it
/// reports. Nothing is read from it or written to it.
///
/// # Errors
///
/// The errors of [`wait`].
///
/// # Examples
///
/// ```
/// use shmpipe::{Interest, wait_with};
/// use std::os::fd::AsFd;
/// use std::os::unix::net::UnixStream;
/// use std::io::Write;
///
/// let (mut rx, mut tx) = shmpipe::pipe()?;
/// let (here, mut there) = UnixStream::pair()?;
/// there.write_all(b"x")?;
/// let ready = wait_with(&mut [&mut rx], &[(here.as_fd(), Interest::Readable)], None)?;
/// assert_eq!((ready.ends, ready.fds), (vec![], vec![0]));
/// tx.send(b"x")?;
/// let ready = wait_with(&mut [&mut rx], &[(here.as_fd(), Interest::Readable)], None)?;
/// assert_eq!((ready.ends, ready.fds), (vec![0], vec![0]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn wait_with(
    ends: &mut [&mut dyn Waitable],
    fds: &[(BorrowedFd<'_>, Interest)],
    timeout: Option<Duration>,
) -> io::Result<Ready> {
    let deadline = timeout.map_or(Deadline::NEVER, Deadline::after);
    let (mut look_after, mut is_alarm_heard) = (FIRST_LOOK, true);
    let mut looks = Vec::with_capacity(ends.len());
    for end in &mut *ends {
        looks.push(end.look(Seen::Nothing)?);
    }
    loop {
        // With one that is ready the others are only asked: the death of a sender is seen by poll(2) alone.
        let is_last = looks.contains(&Look::Ready) || deadline.passed();
        let needs_look = looks
            .iter()
            .any(|look| matches!(look, Look::Inside | Look::Busy));
        let until = if is_last {
            Deadline::after(Duration::ZERO)
        } else if needs_look {
            deadline.at_most(look_after)
        } else {
            deadline
        };
        let (seen, fds) = poll(ends, &looks, fds, until, &mut is_alarm_heard)?;
        if needs_look {
            look_after = (look_after * 2).min(LAST_LOOK);
        }
        for ((end, look), seen) in ends.iter_mut().zip(&mut looks).zip(seen) {
            let is_told = seen != Seen::Nothing || matches!(look, Look::Inside | Look::Busy);
            if is_told && *look != Look::Ready {
                *look = end.look(seen)?;
            }
        }
        if is_last || looks.contains(&Look::Ready) || !fds.is_empty() {
            let is_ready = |&(_, look): &(usize, &Look)| *look == Look::Ready;
            let ready = looks.iter().enumerate().filter(is_ready);
            let ends = ready.map(|(index, _)| index).collect();
            return Ok(Ready { ends, fds });
        }
    }
}

/// What poll(2) shows of each end that can be waited for and is not ready already, and which of the foreign
/// descriptors are ready.
fn poll(
    ends: &[&mut dyn Waitable],
    looks: &[Look],
    fds: &[(BorrowedFd<'_>, Interest)],
    until: Deadline,
    is_alarm_heard: &mut bool,
) -> io::Result<(Vec<Seen>, Vec<usize>)> {
    let mut descriptors = Vec::with_capacity(ends.len() + fds.len() + 1);
    // A close by another handle of this process ends the wait. The alarm is first, as in a wait for one end.
    let mut until = until;
    let mut asleep = Vec::new();
    for closing in ends.iter().filter_map(|end| end.closing()) {
        match closing.alarm() {
            Some(alarm) if descriptors.is_empty() && *is_alarm_heard => {
                descriptors.push((alarm, PollFlags::POLLIN));
            }
            Some(_) if *is_alarm_heard => {}
            _ => until = until.at_most(LAST_LOOK),
        }
        asleep.push(closing.fall_asleep()?);
    }
    let alarms = descriptors.len();
    let is_watched = |look: &Look| matches!(look, Look::NotYet | Look::Inside);
    let watched = ends.iter().zip(looks).enumerate();
    let watched = watched.filter(|(_, (_, look))| is_watched(look));
    let mut indices = Vec::with_capacity(ends.len());
    for (index, (end, _)) in watched {
        indices.push(index);
        descriptors.push(end.descriptor());
    }
    let foreign = fds.iter().map(|&(fd, interest)| (fd, interest.events()));
    descriptors.extend(foreign);
    let mut found = socket::wait_many(&descriptors, until)?;
    drop(asleep);
    // It is never ready, unless a process that shares it is up to mischief.
    *is_alarm_heard &= !found.drain(..alarms).any(|alarm| alarm.ready);
    let foreign = found.split_off(indices.len()).into_iter().enumerate();
    let ready = foreign.filter(|(_, found)| found.ready || found.hung_up);
    let ready = ready.map(|(index, _)| index).collect();
    let mut seen = vec![Seen::Nothing; ends.len()];
    for (index, found) in indices.into_iter().zip(found) {
        seen[index] = if found.hung_up {
            Seen::HungUp
        } else if found.ready {
            Seen::Ready
        } else {
            Seen::Nothing
        };
    }
    Ok((seen, ready))
}

/// One who cannot look now looks again later; what a call would report at once makes an end ready.
fn to_io_error(outcome: Result<Look, Fault>) -> io::Result<Look> {
    match outcome {
        Ok(look) => Ok(look),
        Err(fault @ (Fault::Io(_) | Fault::Reentrant)) => Err(crate::RecvError::from(fault).into()),
        Err(Fault::NotNow) => Ok(Look::Busy),
        Err(_) => Ok(Look::Ready),
    }
}

#[allow(private_interfaces, reason = "for this crate only")]
impl sealed::Sealed for Receiver {
    fn look(&mut self, seen: Seen) -> io::Result<Look> {
        if self.unread > 0 {
            return Ok(Look::Ready);
        }
        to_io_error(match &mut self.flavor {
            RxFlavor::SharedMemory(rx) => rx.look(seen),
            RxFlavor::Kernel(rx) => rx.look(seen),
        })
    }

    fn descriptor(&self) -> (BorrowedFd<'_>, PollFlags) {
        match &self.flavor {
            RxFlavor::SharedMemory(rx) => rx.descriptor(),
            RxFlavor::Kernel(rx) => rx.descriptor(),
        }
    }

    fn closing(&self) -> Option<&Closing> {
        match &self.flavor {
            RxFlavor::SharedMemory(rx) => rx.closing(),
            RxFlavor::Kernel(rx) => rx.closing(),
        }
    }
}

#[allow(private_interfaces, reason = "for this crate only")]
impl sealed::Sealed for Connection {
    fn look(&mut self, seen: Seen) -> io::Result<Look> {
        sealed::Sealed::look(&mut self.receiver, seen)
    }

    fn descriptor(&self) -> (BorrowedFd<'_>, PollFlags) {
        sealed::Sealed::descriptor(&self.receiver)
    }

    fn closing(&self) -> Option<&Closing> {
        sealed::Sealed::closing(&self.receiver)
    }
}

#[allow(private_interfaces, reason = "for this crate only")]
impl sealed::Sealed for Sender {
    fn look(&mut self, seen: Seen) -> io::Result<Look> {
        to_io_error(match &mut self.flavor {
            TxFlavor::SharedMemory(tx) => tx.look(seen),
            TxFlavor::Kernel(tx) => tx.look(seen),
        })
    }

    fn descriptor(&self) -> (BorrowedFd<'_>, PollFlags) {
        match &self.flavor {
            TxFlavor::SharedMemory(tx) => tx.descriptor(),
            TxFlavor::Kernel(tx) => tx.descriptor(),
        }
    }

    fn closing(&self) -> Option<&Closing> {
        match &self.flavor {
            TxFlavor::SharedMemory(tx) => tx.closing(),
            TxFlavor::Kernel(tx) => tx.closing(),
        }
    }
}
