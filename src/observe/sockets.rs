//! The Unix sockets of this network namespace: which inode has which cookie (sock_diag(7)).
//!
//! A ring names its sides' sockets by cookie, `/proc/PID/fd` shows them by inode; only the kernel knows both. A
//! socket that nobody holds is not in the list, whoever the caller is, so the list also shows that a side is gone.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Length of `struct unix_diag_req`, and of `struct unix_diag_msg`.
const REQUEST: usize = 24;
const ANSWER: usize = 16;

/// Inodes by cookie.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    inodes: HashMap<u64, u64>,
}

impl Sockets {
    /// Asks the kernel for all of them.
    ///
    /// # Errors
    ///
    /// Where the kernel does not answer: without `CONFIG_UNIX_DIAG`, or by a filter.
    pub(super) fn list() -> io::Result<Self> {
        let netlink = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkSockDiag,
        )?;
        send(netlink.as_raw_fd(), &request(), MsgFlags::empty())?;
        let mut inodes = HashMap::new();
        let mut buffer = vec![0; 64 * 1024];
        while read_some(&netlink, &mut buffer, &mut inodes)? {}
        Ok(Self { inodes })
    }

    /// The inode of the socket with this cookie, if anybody holds it.
    pub(super) fn inode(&self, cookie: u64) -> Option<u64> {
        self.inodes.get(&cookie).copied()
    }
}

/// `struct nlmsghdr` and `struct unix_diag_req` for every socket in any state.
fn request() -> [u8; HEADER + REQUEST] {
    let mut bytes = [0; HEADER + REQUEST];
    bytes[..4].copy_from_slice(&((HEADER + REQUEST) as u32).to_ne_bytes());
    bytes[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes[6..8].copy_from_slice(&NLM_F_REQUEST_DUMP.to_ne_bytes());
    bytes[HEADER] = libc::AF_UNIX as u8;
    bytes[HEADER + 4..HEADER + 8].copy_from_slice(&u32::MAX.to_ne_bytes());
    bytes
}

/// Takes in one datagram; false behind the last.
fn read_some(
    netlink: &OwnedFd,
    buffer: &mut [u8],
    inodes: &mut HashMap<u64, u64>,
) -> io::Result<bool> {
    let read = recv(netlink.as_fd().as_raw_fd(), buffer, MsgFlags::empty())?;
    let mut rest = &buffer[..read];
    if rest.is_empty() {
        return Ok(false);
    }
    while let Some(header) = rest.first_chunk::<HEADER>() {
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let Some(body) = rest.get(HEADER..length) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        match u16::from_ne_bytes([header[4], header[5]]) {
            NLMSG_DONE => return Ok(false),
            NLMSG_ERROR => {
                let number = body
                    .first_chunk()
                    .map_or(0, |word| i32::from_ne_bytes(*word));
                return Err(io::Error::from_raw_os_error(-number));
            }
            SOCK_DIAG_BY_FAMILY => {
                if let Some(&[_, _, _, _, ref words @ ..]) = body.first_chunk::<ANSWER>() {
                    let word = |at: usize| {
                        let bytes = words[at..].first_chunk();
                        u64::from(u32::from_ne_bytes(*bytes.expect("three words")))
                    };
                    inodes.insert(word(4) | word(8) << 32, word(0));
                }
            }
            _ => {}
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::socket;

    #[test]
    fn a_socket_is_listed_by_its_cookie_for_as_long_as_somebody_holds_it() {
        let (one, other) = socket::pair().unwrap();
        let cookie = socket::cookie(one.as_fd());
        let inode = nix::sys::stat::fstat(&one).unwrap().st_ino;
        let Ok(sockets) = Sockets::list() else {
            println!("skipped: this kernel lists no Unix sockets");
            return;
        };
        assert_eq!(sockets.inode(cookie), Some(inode));
        drop(one);
        let sockets = Sockets::list().unwrap();
        assert_eq!(sockets.inode(cookie), None);
        assert!(sockets.inode(socket::cookie(other.as_fd())).is_some());
    }
}
