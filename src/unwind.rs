//! Ends and what they lend may be used after a panic: they are `UnwindSafe` and `RefUnwindSafe`.
//!
//! The compiler does not see it by itself, since an end has a pointer to shared memory and may keep an `io::Error`.
//! Why it is so: a panic can leave an end half changed only where foreign code runs inside one of its calls. That
//! is the case in
//! - `send_batch`, where the iterator and each `as_ref` run between two publications, with no lock held;
//! - the `serde` ends, where a value's own code runs before the send or after the receive. The encoder's buffer is
//!   cleared before each value;
//! - `recv_with`, where the closure runs before anything is taken, with no lock held.
//!
//! Between two calls an end is whole. A `Slot` that is dropped by unwinding sends nothing, and a `View` or `Message`
//! has been received. Another process sees no difference to an error that the caller handled.

use std::panic::{RefUnwindSafe, UnwindSafe};

macro_rules! unwind_safe {
    ($($(#[$meta:meta])* [$($value:ident),*] $end:ty;)+) => {
        $(
            $(#[$meta])*
            impl<$($value),*> UnwindSafe for $end {}
            $(#[$meta])*
            impl<$($value),*> RefUnwindSafe for $end {}
        )+
    };
}

unwind_safe! {
    [] crate::Sender;
    [] crate::Receiver;
    [] crate::Connection;
    [] crate::Message<'_>;
    [] crate::Messages<'_>;
    [] crate::IntoMessages;
    [] crate::TryMessages<'_>;
    [] crate::Slot<'_>;
    [] crate::View<'_>;
    [T] crate::typed::Sender<T>;
    [T] crate::typed::Receiver<T>;
    [S, R] crate::typed::Connection<S, R>;
    [T] crate::typed::Messages<'_, T>;
    #[cfg(feature = "serde")]
    [T] crate::serde::Sender<T>;
    #[cfg(feature = "serde")]
    [T] crate::serde::Receiver<T>;
    #[cfg(feature = "serde")]
    [S, R] crate::serde::Connection<S, R>;
    #[cfg(feature = "serde")]
    [T] crate::serde::Messages<'_, T>;
    #[cfg(feature = "tokio")]
    [] crate::tokio::Sender;
    #[cfg(feature = "tokio")]
    [] crate::tokio::Receiver;
    #[cfg(feature = "tokio")]
    [] crate::tokio::Connection;
}
