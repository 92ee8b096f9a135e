//! Where a receive puts its message.

use std::os::fd::OwnedFd;

/// Where a received message goes.
pub(crate) enum Destination<'a> {
    /// A buffer that grows as bytes arrive, never by a claimed length. Cleared first.
    Buffer(&'a mut Vec<u8>),
    /// The caller's own slice; a message that does not fit stays in the pipe.
    Slice(&'a mut [u8]),
    /// As `Buffer`, and descriptors for a message that carries some. The others leave such a message where
    /// it is.
    WithDescriptors {
        bytes: &'a mut Vec<u8>,
        fds: &'a mut Vec<OwnedFd>,
    },
}
