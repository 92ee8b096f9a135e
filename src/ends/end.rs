//! What the three kinds of ends have in common when one is handed over.
//!
//! How it is handed over is the business of `inherit` and `ancillary`.

use std::io;
use std::os::fd::OwnedFd;

use crate::{Connection, Receiver, Sender};

/// A [`Sender`], a [`Receiver`] or a [`Connection`], of bytes or of values: what can travel to another process.
///
/// Only the types of this crate are ends.
///
/// # Examples
///
/// See [`Sender::send_with_end`], and this function, which takes any of them:
///
/// ```
/// fn send_home<E: shmpipe::End>(to: &mut shmpipe::Sender, end: E) -> Result<(), shmpipe::SendError> {
///     to.send_with_end(b"an end", end)
/// }
///
/// let (mut rx, mut tx) = shmpipe::PipeOptions::new().descriptors(true).pipe()?;
/// let (here, there) = shmpipe::duplex()?;
/// send_home(&mut tx, there)?;
/// let (_, there) = rx.recv_with_end::<shmpipe::Connection>()?;
/// assert_eq!(there.capacity(), here.capacity());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait End: Descriptors {}

/// An end as the descriptors that make it up.
pub trait Descriptors: Sized {
    /// How an end of this kind is called in text that programs read.
    const KIND: &'static str;

    /// The descriptors that [`Sender::into_fds`] returns, as copies, so that this end stays.
    #[doc(hidden)]
    fn copies(&self) -> io::Result<Vec<OwnedFd>>;

    /// Makes an end of descriptors, as [`Sender::from_fds`] does.
    ///
    /// # Safety
    ///
    /// As for [`Sender::from_fds`].
    #[doc(hidden)]
    unsafe fn put_together(fds: Vec<OwnedFd>) -> io::Result<Self>;
}

macro_rules! end {
    ($name:ident is $kind:literal) => {
        impl End for $name {}

        impl Descriptors for $name {
            const KIND: &'static str = $kind;

            fn copies(&self) -> io::Result<Vec<OwnedFd>> {
                self.to_fds()
            }

            unsafe fn put_together(fds: Vec<OwnedFd>) -> io::Result<Self> {
                // SAFETY: by the caller.
                unsafe { Self::from_fds(fds) }
            }
        }
    };
}

end!(Sender is "tx");
end!(Receiver is "rx");
end!(Connection is "duplex");
