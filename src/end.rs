//! What the three kinds of ends have in common when one is handed over.
//!
//! How it is handed over is the business of `inherit` and `parcels`.

use std::io;
use std::os::fd::OwnedFd;

use crate::{Connection, Receiver, Sender};

/// A [`Sender`], a [`Receiver`] or a [`Connection`], of bytes or of values: what can travel to another process.
///
/// Only the types of this crate are ends.
pub trait End: Parts {}

/// An end as the descriptors that make it up.
pub trait Parts: Sized {
    /// How an end of this kind is called in text that programs read.
    const KIND: &'static str;

    /// As [`Sender::into_fds`], of which this end stays.
    #[doc(hidden)]
    fn copies(&self) -> io::Result<Vec<OwnedFd>>;

    /// As [`Sender::from_fds`].
    ///
    /// # Safety
    ///
    /// As there.
    #[doc(hidden)]
    unsafe fn put_together(fds: Vec<OwnedFd>) -> io::Result<Self>;
}

macro_rules! end {
    ($name:ident is $kind:literal) => {
        impl End for $name {}

        impl Parts for $name {
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
