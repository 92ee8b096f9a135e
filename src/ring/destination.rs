//! Where a receive puts its message.

/// Where a received message goes.
pub(crate) enum Destination<'a> {
    /// A buffer that grows as bytes arrive, never by a claimed length. Cleared first.
    Buffer(&'a mut Vec<u8>),
    /// The caller's own slice; a message that does not fit stays in the pipe.
    Slice(&'a mut [u8]),
}
