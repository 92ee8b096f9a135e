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

macro_rules! unwind_safe {
    ($($(#[$meta:meta])* [$($value:ident),*] $end:ty;)+) => {
        $(
            $(#[$meta])*
            impl<$($value),*> ::std::panic::UnwindSafe for $end {}
            $(#[$meta])*
            impl<$($value),*> ::std::panic::RefUnwindSafe for $end {}
        )+
    };
}
pub(crate) use unwind_safe;

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
}
