//! Taking an end apart into descriptors and putting one together from them, for another process.
//!
//! Descriptors that were handed over may be anything, so they are checked before anything is mapped
//! (`segment::geometry`): seals, size, magic number, version, and whether each belongs to the other.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use crate::backend::{kernel, shm};
use crate::ends::{receiver, sender};
use crate::segment::geometry::{Flags, Geometry, Kind};
use crate::sys::descriptors::beyond_standard_streams;
use crate::sys::refused::refused;
use crate::{Connection, Receiver, Sender};

/// Descriptors of one end of a one-way pipe; one more where messages carry descriptors.
const FDS: usize = 2;

/// Most descriptors that any end is made of: a connection whose messages carry descriptors.
const MAX_FDS: usize = 2 * (FDS + 1);

/// An end's descriptors, checked in number, and what the first says of them.
struct Handed {
    memfd: OwnedFd,
    other: OwnedFd,
    ancillary: Option<OwnedFd>,
    geometry: Geometry,
}

impl Handed {
    fn new(fds: Vec<OwnedFd>, what: &str) -> io::Result<Self> {
        if fds.len() < FDS {
            return Err(wrong_number(what, FDS, fds.len()));
        }
        let geometry = Geometry::of(&fds[0])?;
        let expected = count_for(&geometry);
        if fds.len() != expected {
            return Err(wrong_number(what, expected, fds.len()));
        }
        let mut fds = fds.into_iter();
        let mut next = || fds.next().expect("counted");
        Ok(Self {
            memfd: next(),
            other: next(),
            ancillary: geometry.flags().has(Flags::DESCRIPTORS).then(next),
            geometry,
        })
    }
}

/// How many descriptors make up one end of a one-way pipe.
fn count_for(geometry: &Geometry) -> usize {
    FDS + usize::from(geometry.flags().has(Flags::DESCRIPTORS))
}

/// # An end as descriptors
impl Sender {
    /// Takes this end apart into the descriptors that make it up, to be handed to another process in any way.
    /// [`from_fds`](Self::from_fds) makes an end of them there, in the same order. Other clones are not touched.
    ///
    /// They are close-on-exec. [`inherit`](Self::inherit) hands an end to a program that is executed. To do that by
    /// hand, clear the flag in the child (`pre_exec`), and drop the parent's descriptors after the spawn: while they are
    /// open they count as a holder of this side, and the end of the pipe does not come.
    ///
    /// # Errors
    ///
    /// `EMFILE` and the like when they cannot be duplicated; `Unsupported` for a kernel pipe where
    /// memfd_create(2) is refused. This end is gone then too.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut rx, tx) = shmpipe::pipe()?;
    /// let fds = tx.into_fds()?;
    /// // SAFETY: they come from `into_fds` of a sender.
    /// let mut tx = unsafe { shmpipe::Sender::from_fds(fds) }?;
    /// tx.send(b"the same pipe")?;
    /// assert_eq!(&*rx.recv()?, b"the same pipe");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_fds(self) -> io::Result<Vec<OwnedFd>> {
        self.to_fds()
    }

    /// Lends the descriptors that make up this end, in the order of [`into_fds`](Self::into_fds): 2, or 3 where messages
    /// [carry descriptors](crate::PipeOptions::descriptors). They serve to hand the end over without duplicates, and are
    /// not for reading, writing or closing.
    ///
    /// # Errors
    ///
    /// `Unsupported` for a kernel pipe where memfd_create(2) is refused. What allocating the memory reports, where
    /// [`PipeOptions::allocate`](crate::PipeOptions::allocate) put that off.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::fd::AsRawFd;
    ///
    /// let (_rx, tx) = shmpipe::pipe()?;
    /// let numbers: Vec<i32> = tx.as_fds()?.iter().map(AsRawFd::as_raw_fd).collect();
    /// assert_eq!(numbers.len(), 2);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn as_fds(&self) -> io::Result<Vec<BorrowedFd<'_>>> {
        match &self.flavor {
            sender::Flavor::SharedMemory(tx) => tx.fds(),
            sender::Flavor::Kernel(tx) => tx.fds(),
        }
    }

    /// Makes a sending end of descriptors from [`into_fds`](Self::into_fds), in the same order, and makes
    /// them close-on-exec. The descriptors show which backend it is; `SHMPIPE_BACKEND` plays no part.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for another number of descriptors than 2, or 3 where messages
    /// [carry descriptors](crate::PipeOptions::descriptors); `InvalidData` for descriptors that are
    /// not those of a sending end of this version, with the reason and the descriptor's number; else what
    /// the operating system reports. Nothing of them is mapped before they have passed every check. They
    /// are closed on error.
    ///
    /// # Safety
    ///
    /// The descriptors come from [`into_fds`](Self::into_fds) of a sender, in this process or another. The
    /// checks find out accidents; a forgery that passes them shares its memory with its forger, who may do
    /// what any holder of a pipe's end may do to this pipe (`docs/safety.md`).
    ///
    /// # Examples
    ///
    /// See [`into_fds`](Self::into_fds).
    pub unsafe fn from_fds(fds: impl IntoIterator<Item = OwnedFd>) -> io::Result<Self> {
        let Handed {
            memfd,
            other,
            ancillary,
            geometry,
        } = Handed::new(collect(fds)?, "a sender")?;
        let limit = geometry.limit();
        Ok(match geometry.kind() {
            Some(Kind::KernelPage) => {
                Self::kernel(kernel::attach_tx(memfd, other, ancillary, geometry)?, limit)
            }
            _ => Self::shared_memory(shm::attach_tx(memfd, other, ancillary, geometry)?, limit),
        })
    }
}

/// # An end as descriptors
impl Receiver {
    /// Takes this end apart into the descriptors that make it up, as [`Sender::into_fds`] does.
    ///
    /// What this end has received and not yet handed out does not go with it. The rest of a message that
    /// [`read`](io::Read::read) has begun is dropped. The fragments of a message that is not whole yet stay with the
    /// other handles of this process; if there are none, the next receiver gets
    /// [`Aborted`](crate::RecvError::Aborted) for it.
    ///
    /// # Errors
    ///
    /// The errors of [`Sender::into_fds`].
    pub fn into_fds(self) -> io::Result<Vec<OwnedFd>> {
        self.to_fds()
    }

    /// Lends the descriptors that make up this end, as [`Sender::as_fds`] does.
    ///
    /// # Errors
    ///
    /// The errors of [`Sender::as_fds`].
    pub fn as_fds(&self) -> io::Result<Vec<BorrowedFd<'_>>> {
        match &self.flavor {
            receiver::Flavor::SharedMemory(rx) => rx.fds(),
            receiver::Flavor::Kernel(rx) => rx.fds(),
        }
    }

    /// Makes an end of descriptors from [`into_fds`](Self::into_fds), as [`Sender::from_fds`] does.
    ///
    /// # Errors
    ///
    /// The errors of [`Sender::from_fds`].
    ///
    /// # Safety
    ///
    /// The descriptors come from [`into_fds`](Self::into_fds) of a receiver. [`Sender::from_fds`] says what a
    /// forgery can do.
    pub unsafe fn from_fds(fds: impl IntoIterator<Item = OwnedFd>) -> io::Result<Self> {
        let Handed {
            memfd,
            other,
            ancillary,
            geometry,
        } = Handed::new(collect(fds)?, "a receiver")?;
        Ok(match geometry.kind() {
            Some(Kind::KernelPage) => {
                Self::kernel(kernel::attach_rx(memfd, other, ancillary, geometry)?)
            }
            _ => Self::shared_memory(shm::attach_rx(memfd, other, ancillary, geometry)?),
        })
    }
}

/// # An end as descriptors
impl Connection {
    /// Takes this end apart into the descriptors that make it up, as [`Sender::into_fds`] does. The receiver's
    /// descriptors come first, then the sender's.
    ///
    /// # Errors
    ///
    /// The errors of [`Sender::into_fds`].
    pub fn into_fds(self) -> io::Result<Vec<OwnedFd>> {
        self.to_fds()
    }

    /// Lends the descriptors that make up this end, as [`Sender::as_fds`] does. The receiver's descriptors come
    /// first, then the sender's.
    ///
    /// # Errors
    ///
    /// The errors of [`Sender::as_fds`].
    pub fn as_fds(&self) -> io::Result<Vec<BorrowedFd<'_>>> {
        let (receiver, sender) = self.halves();
        let mut fds = receiver.as_fds()?;
        fds.append(&mut sender.as_fds()?);
        Ok(fds)
    }

    pub(crate) fn to_fds(&self) -> io::Result<Vec<OwnedFd>> {
        let (receiver, sender) = self.halves();
        let mut fds = receiver.to_fds()?;
        fds.append(&mut sender.to_fds()?);
        Ok(fds)
    }

    /// Makes an end of descriptors from [`into_fds`](Self::into_fds), as [`Sender::from_fds`] does.
    ///
    /// # Errors
    ///
    /// The errors of [`Sender::from_fds`], with twice as many descriptors.
    ///
    /// # Safety
    ///
    /// The descriptors come from [`into_fds`](Self::into_fds) of a connection. [`Sender::from_fds`] says what a
    /// forgery can do.
    pub unsafe fn from_fds(fds: impl IntoIterator<Item = OwnedFd>) -> io::Result<Self> {
        let what = "a connection";
        let mut receiving = collect(fds)?;
        // Both directions are made by the same options.
        let expected = match receiving.first().map(Geometry::of) {
            Some(Ok(geometry)) => 2 * count_for(&geometry),
            Some(Err(error)) if receiving.len() >= 2 * FDS => return Err(error),
            _ => 2 * FDS,
        };
        if receiving.len() != expected {
            return Err(wrong_number(what, expected, receiving.len()));
        }
        let sending = receiving.split_off(expected / 2);
        // SAFETY: by the caller.
        let receiver = unsafe { Receiver::from_fds(receiving) }?;
        // SAFETY: by the caller.
        let sender = unsafe { Sender::from_fds(sending) }?;
        Ok(Self::new(receiver, sender))
    }
}

/// Takes the descriptors, and makes them close-on-exec; one that has the number of a standard stream is moved. One more than [`MAX_FDS`] is enough to know, and a caller's
/// endless iterator is not ours to exhaust.
fn collect(fds: impl IntoIterator<Item = OwnedFd>) -> io::Result<Vec<OwnedFd>> {
    let fds: Vec<OwnedFd> = fds.into_iter().take(MAX_FDS + 1).collect();
    for fd in &fds {
        fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))
            .map_err(|errno| refused("fcntl(2), F_SETFD", errno))?;
    }
    fds.into_iter().map(beyond_standard_streams).collect()
}

fn wrong_number(what: &str, expected: usize, found: usize) -> io::Error {
    let came = match found {
        1 => "1 descriptor".to_owned(),
        0..=MAX_FDS => format!("{found} descriptors"),
        _ => format!("more than {MAX_FDS} descriptors"),
    };
    let other_kind = if found == 2 * expected {
        format!("; a connection is made of {found}")
    } else if found >= FDS && 2 * found == expected {
        format!("; a sender or a receiver is made of {found}")
    } else {
        String::new()
    };
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("{came} came where {what} was asked for, which is made of {expected}{other_kind}"),
    )
}
