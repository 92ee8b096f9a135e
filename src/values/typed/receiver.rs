//! The receiving end of a pipe of values.

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::time::Duration;
use std::{fmt, io};

use zerocopy::TryFromBytes;

use super::error::{RecvError, RecvTimeoutError, TryRecvError};
use crate::Backend;
use crate::error::Fault;
use crate::sys::clock::{Deadline, Timeout};

/// The receiving end of a pipe of `T`: a [`Receiver`](crate::Receiver) of which each message is one value.
///
/// A value is received by way of the stack and returned, with no allocation. Only a message that is longer
/// than a `T`, and so none, goes through the byte end's buffer, which grows with what arrives.
///
/// # Examples
///
/// See [`recv`](Self::recv).
pub struct Receiver<T> {
    inner: crate::Receiver,
    /// Gives a `T` and holds none.
    carries: PhantomData<fn() -> T>,
}

/// # Receiving
impl<T: TryFromBytes> Receiver<T> {
    #[inline]
    fn recv_within<E: From<Fault>>(&mut self, timeout: Timeout) -> Result<T, RecvError<E>> {
        let mut place = Place::<T>::new();
        let bytes = place.zeroed();
        match self.inner.recv_into_within(bytes, timeout) {
            Ok(len) => value(&bytes[..len]),
            Err(Fault::BufferTooSmall { .. }) => self.recv_longer(timeout),
            Err(fault) => Err(RecvError::Pipe(fault.into())),
        }
    }

    /// Takes out the message that was found to be too long. Another holder of this end may have been
    /// faster, so what comes may be a value after all.
    #[cold]
    fn recv_longer<E: From<Fault>>(&mut self, timeout: Timeout) -> Result<T, RecvError<E>> {
        match self.inner.recv_within(timeout) {
            Ok(message) => value(&message),
            Err(fault) => Err(RecvError::Pipe(fault.into())),
        }
    }

    /// Receives the next value, blocking while the pipe is empty.
    ///
    /// # Errors
    ///
    /// - [`Pipe`](RecvError::Pipe) with what [`Receiver::recv`](crate::Receiver::recv) reports:
    ///   `Disconnected` when every sender is gone and every message has been received, `Aborted` when a sender
    ///   died inside a value longer than the pipe.
    /// - [`WrongSize`](RecvError::WrongSize) and [`InvalidValue`](RecvError::InvalidValue): a message that is
    ///   no `T`. It has been taken out of the pipe, and the next call receives the one after it.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::typed::{Receiver, RecvError};
    ///
    /// let (rx, mut tx) = shmpipe::pipe()?;
    /// tx.send(&[1, 2, 3])?;
    /// tx.send(&42_u64.to_le_bytes())?;
    /// drop(tx);
    /// let mut rx = Receiver::<u64>::from(rx);
    /// assert!(matches!(rx.recv(), Err(RecvError::WrongSize { expected: 8, found: 3 })));
    /// assert_eq!(rx.recv()?, 42);
    /// assert!(matches!(rx.recv(), Err(RecvError::Pipe(shmpipe::RecvError::Disconnected))));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv(&mut self) -> Result<T, RecvError> {
        self.recv_within(Timeout::FOREVER)
    }

    /// Receives the next value if one is there; never blocks.
    ///
    /// # Errors
    ///
    /// The errors of [`recv`](Self::recv), and `Pipe(Empty)` when no message is there.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::{TryRecvError, typed};
    ///
    /// let (mut rx, _tx) = typed::pipe::<u64>()?;
    /// assert!(matches!(rx.try_recv(), Err(typed::TryRecvError::Pipe(TryRecvError::Empty))));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        self.recv_within(Timeout::Never)
    }

    /// Receives the next value, blocking no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// The errors of [`recv`](Self::recv), and `Pipe(Timeout)`, not before its time.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let (mut rx, mut tx) = shmpipe::typed::pipe::<u64>()?;
    /// tx.send(&42)?;
    /// assert_eq!(rx.recv_timeout(Duration::from_millis(10))?, 42);
    /// assert!(rx.recv_timeout(Duration::from_millis(10)).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.recv_within(Timeout::Until(Deadline::after(timeout)))
    }
}

/// The value that `bytes` are.
#[inline]
fn value<T: TryFromBytes, E>(bytes: &[u8]) -> Result<T, RecvError<E>> {
    if bytes.len() != size_of::<T>() {
        return Err(RecvError::wrong_size::<T>(bytes.len()));
    }
    T::try_read_from_bytes(bytes).map_err(|_| RecvError::invalid_value::<T>())
}

crate::values::receiver_of_values! { recv: [TryFromBytes], in "typed" }

/// Memory of the size of a `T`, for its bytes before it is known whether they are one.
struct Place<T>(MaybeUninit<T>);

impl<T> Place<T> {
    #[inline]
    const fn new() -> Self {
        Self(MaybeUninit::uninit())
    }

    /// All of its bytes, zero.
    #[inline]
    fn zeroed(&mut self) -> &mut [u8] {
        let start = self.0.as_mut_ptr().cast::<u8>();
        // SAFETY: the memory is `size_of::<T>()` bytes long and ours, and `MaybeUninit` takes any bytes.
        unsafe { start.write_bytes(0, size_of::<T>()) };
        // SAFETY: all of those bytes have just been written, padding included, and stay where they are;
        // `self` is lent for as long as the slice, so nobody else touches them.
        unsafe { std::slice::from_raw_parts_mut(start, size_of::<T>()) }
    }
}
