//! The socket beside a pipe in which the descriptors of messages travel (unix(7), `SCM_RIGHTS`).
//!
//! Each message on it is a ticket and, as ancillary data, the descriptors of the pipe's message of that ticket. Nothing
//! here knows the pipe's messages. `SOCK_SEQPACKET`, one end for each side's holders, so that the kernel closes what nobody
//! received when the last receiver is gone.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, recv, sendmsg, socketpair,
};

use super::descriptors::{beyond_standard_streams, both_beyond_standard_streams};
use super::refused::refused;
use crate::sync::kill_point;

/// Most descriptors of one ancillary message (`SCM_MAX_FD`, unix(7)).
pub(crate) const MAX_FDS: usize = 253;

/// Bytes of an ancillary message: the ticket, and the number of descriptors.
const LENGTH: usize = 16;

/// Room for the descriptors and for whatever else somebody who shares the socket has the kernel add
/// (`SO_PASSCRED`, `SO_PASSPIDFD`), in words.
const CONTROL: usize = 4096 / size_of::<u64>();

/// Control message with a pidfd (`SCM_PIDFD` of linux/socket.h, Linux 6.5).
const SCM_PIDFD: libc::c_int = 4;

/// Makes a connected pair, close-on-exec, the receivers' end first.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let made = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)
        .map_err(|errno| refused("socketpair(2) for descriptors", errno))?;
    both_beyond_standard_streams(made)
}

/// What became of descriptors that were to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    Whole,
    /// There is no room now.
    Full,
    /// No receiver is left.
    Gone,
}

/// Sends the descriptors of one message, whole or not at all, without waiting.
///
/// # Errors
///
/// What sendmsg(2) reports: `EBADF`, or `ETOOMANYREFS` when this user has more descriptors in flight than
/// `RLIMIT_NOFILE` allows.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    ticket: u64,
    fds: &[BorrowedFd<'_>],
) -> io::Result<Sent> {
    let numbers: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let mut content = [0; LENGTH];
    content[..8].copy_from_slice(&ticket.to_ne_bytes());
    content[8..].copy_from_slice(&(fds.len() as u64).to_ne_bytes());
    let bytes = [io::IoSlice::new(&content)];
    let rights = [ControlMessage::ScmRights(&numbers)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    loop {
        let outcome = sendmsg::<()>(socket.as_raw_fd(), &bytes, &rights, flags, None);
        kill_point();
        return match outcome {
            Ok(_) => Ok(Sent::Whole),
            Err(Errno::EINTR) => continue,
            Err(Errno::EAGAIN) => Ok(Sent::Full),
            Err(Errno::EPIPE | Errno::ECONNRESET) => Ok(Sent::Gone),
            Err(errno) => Err(refused(
                format_args!("sendmsg(2) of {} descriptors", fds.len()),
                errno,
            )),
        };
    }
}

/// The oldest ancillary message, and copies of its descriptors, close-on-exec.
#[derive(Debug)]
pub(crate) struct AncillaryMessage {
    pub(crate) ticket: u64,
    /// How many descriptors were sent.
    pub(crate) count: u64,
    pub(crate) fds: Vec<OwnedFd>,
    /// Not all descriptors could be opened here.
    pub(crate) is_short: bool,
}

/// Opens copies of the oldest ancillary message's descriptors; they stay. `None` when there is none.
///
/// # Errors
///
/// What recvmsg(2) reports.
pub(crate) fn peek(socket: BorrowedFd<'_>) -> io::Result<Option<AncillaryMessage>> {
    let mut content = [0u8; LENGTH];
    let mut control = [const { MaybeUninit::<u64>::zeroed() }; CONTROL];
    let mut bytes = libc::iovec {
        iov_base: content.as_mut_ptr().cast(),
        iov_len: LENGTH,
    };
    // SAFETY: a structure of integers and pointers, for which all zeros is a valid value.
    let mut header: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    header.msg_iov = &raw mut bytes;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    // A `size_t` or a `socklen_t`, as the C library has it.
    header.msg_controllen = size_of_val(&control) as _;
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    let length = loop {
        // SAFETY: the header names live buffers and their lengths.
        let outcome = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags) };
        kill_point();
        match Errno::result(outcome) {
            Ok(length) => break length.unsigned_abs(),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN | Errno::ECONNRESET) => return Ok(None),
            Err(errno) => return Err(refused("recvmsg(2) of descriptors", errno)),
        }
    };
    // SAFETY: as the call left it, with its buffer live.
    let fds = unsafe { descriptors(&header) };
    if length == 0 {
        // End-of-file, or an empty message of a liar; as none it stays, and what came with it is closed.
        return Ok(None);
    }
    let fds = fds.into_iter().map(beyond_standard_streams);
    let fds = fds.collect::<io::Result<Vec<_>>>()?;
    // An ancillary message of another length is none of ours: no message has the ticket 0.
    let is_ours = length == LENGTH;
    let word = |at: usize| {
        let bytes = content[at..at + 8].try_into().expect("eight bytes");
        if is_ours {
            u64::from_ne_bytes(bytes)
        } else {
            0
        }
    };
    Ok(Some(AncillaryMessage {
        ticket: word(0),
        count: word(8),
        fds,
        is_short: header.msg_flags & libc::MSG_CTRUNC != 0,
    }))
}

/// Takes ownership of every descriptor that a recvmsg(2) has opened, in order.
///
/// # Safety
///
/// The header is as a successful recvmsg(2) left it, its control buffer is live, and this is called once.
unsafe fn descriptors(header: &libc::msghdr) -> Vec<OwnedFd> {
    let mut fds = Vec::new();
    // SAFETY: by the caller.
    let mut at = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !at.is_null() {
        // SAFETY: the macros give whole, aligned headers within the buffer.
        let control = unsafe { ptr::read(at) };
        if control.cmsg_level == libc::SOL_SOCKET
            && matches!(control.cmsg_type, libc::SCM_RIGHTS | SCM_PIDFD)
        {
            // SAFETY: as above.
            let data = unsafe { libc::CMSG_DATA(at) };
            let before = data.addr() - at.addr();
            let length: usize = control.cmsg_len as _;
            let count = length.saturating_sub(before) / size_of::<RawFd>();
            for index in 0..count {
                // SAFETY: so many descriptors lie behind the header, aligned or not.
                let number = unsafe { data.cast::<RawFd>().wrapping_add(index).read_unaligned() };
                // SAFETY: the kernel has opened it for this call.
                let fd = unsafe { OwnedFd::from_raw_fd(number) };
                // A pidfd nobody asked for is closed here.
                if control.cmsg_type == libc::SCM_RIGHTS {
                    fds.push(fd);
                }
            }
        }
        // SAFETY: as for the first.
        at = unsafe { libc::CMSG_NXTHDR(header, at) };
    }
    fds
}

/// The ticket of the oldest ancillary message, which stays; its descriptors are not opened.
///
/// # Errors
///
/// What recvfrom(2) reports; likewise below.
pub(crate) fn peek_ticket(socket: BorrowedFd<'_>) -> io::Result<Option<u64>> {
    let mut content = [0; LENGTH];
    Ok(match receive(socket, &mut content, MsgFlags::MSG_PEEK)? {
        None => None,
        Some(LENGTH) => Some(u64::from_ne_bytes(
            content[..8].try_into().expect("eight bytes"),
        )),
        Some(_) => Some(0),
    })
}

/// Removes the oldest ancillary message and closes its descriptors, of which copies may be open.
pub(crate) fn drop_oldest(socket: BorrowedFd<'_>) -> io::Result<()> {
    receive(socket, &mut [0; LENGTH], MsgFlags::empty()).map(drop)
}

fn receive(
    socket: BorrowedFd<'_>,
    content: &mut [u8],
    flags: MsgFlags,
) -> io::Result<Option<usize>> {
    loop {
        let outcome = recv(socket.as_raw_fd(), content, flags | MsgFlags::MSG_DONTWAIT);
        kill_point();
        match outcome {
            Ok(0) | Err(Errno::EAGAIN | Errno::ECONNRESET) => return Ok(None),
            Ok(length) => return Ok(Some(length)),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(refused("recvfrom(2) of descriptors", errno)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    fn null() -> OwnedFd {
        std::fs::File::open("/dev/null").unwrap().into()
    }

    #[test]
    fn an_ancillary_message_can_be_peeked_again_and_again_and_taken_once() {
        let (rx, tx) = pair().unwrap();
        assert!(peek(rx.as_fd()).unwrap().is_none());
        let fds = [null(), null()];
        let borrowed: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        assert_eq!(send(tx.as_fd(), 7, &borrowed).unwrap(), Sent::Whole);
        assert_eq!(send(tx.as_fd(), 8, &borrowed[..1]).unwrap(), Sent::Whole);
        for _ in 0..2 {
            let content = peek(rx.as_fd()).unwrap().unwrap();
            assert_eq!((content.ticket, content.count), (7, 2));
            assert_eq!((content.fds.len(), content.is_short), (2, false));
        }
        drop_oldest(rx.as_fd()).unwrap();
        assert_eq!(peek_ticket(rx.as_fd()).unwrap(), Some(8));
        drop_oldest(rx.as_fd()).unwrap();
        assert_eq!(peek_ticket(rx.as_fd()).unwrap(), None);
    }

    #[test]
    fn a_full_socket_and_one_without_receiver_are_told_apart() {
        let (rx, tx) = pair().unwrap();
        let fd = null();
        let mut ticket = 0;
        let outcome = loop {
            ticket += 1;
            match send(tx.as_fd(), ticket, &[fd.as_fd()]) {
                Ok(Sent::Whole) => {}
                outcome => break outcome.unwrap(),
            }
        };
        assert_eq!(outcome, Sent::Full);
        drop(rx);
        assert_eq!(send(tx.as_fd(), 1, &[fd.as_fd()]).unwrap(), Sent::Gone);
    }

    #[test]
    fn an_ancillary_message_of_another_length_has_no_ticket() {
        let (rx, tx) = pair().unwrap();
        nix::sys::socket::send(tx.as_raw_fd(), &[1; 15], MsgFlags::empty()).unwrap();
        assert_eq!(peek(rx.as_fd()).unwrap().unwrap().ticket, 0);
        assert_eq!(peek_ticket(rx.as_fd()).unwrap(), Some(0));
    }
}
