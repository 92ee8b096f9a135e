//! Ends that carry values of one type, as their bytes in memory.
//!
//! A type can be sent whose every byte is defined ([`IntoBytes`], so without padding) and received if its
//! bytes can be checked ([`TryFromBytes`]; all of [`FromBytes`](zerocopy::FromBytes) are, and so are `bool`,
//! `char` and enums, of which not every bit pattern is a value). zerocopy derives both: `zerocopy = { version
//! = "0.8", features = ["derive"] }`. Nothing is encoded: a message is exactly the value's bytes, a send
//! copies them in and a receive copies them out, by way of the stack and without an allocation.
//!
//! # Examples
//!
//! `examples/typed.rs` has a sensor in another process; `examples/worker_pool.rs` sends numbers.
//!
//! ```
//! use shmpipe::typed;
//! use zerocopy::{FromBytes, Immutable, IntoBytes};
//!
//! #[derive(FromBytes, IntoBytes, Immutable, Debug, PartialEq)]
//! #[repr(C)]
//! struct Reading {
//!     sensor: u32,
//!     celsius: f32,
//! }
//!
//! let (mut rx, mut tx) = typed::pipe::<Reading>()?;
//! tx.send(&Reading { sensor: 7, celsius: 21.5 })?;
//! assert_eq!(rx.recv()?, Reading { sensor: 7, celsius: 21.5 });
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # When the two sides disagree
//!
//! Within one program the compiler keeps the two ends to one type. Where an end was handed to another program,
//! each message is checked when it is received: one of another length is [`WrongSize`](RecvError::WrongSize),
//! one whose bytes are no value of the type is [`InvalidValue`](RecvError::InvalidValue). Such a message has
//! been taken out of the pipe, and the next receive goes on with the one after it. Two types of the same size
//! that both take any bytes cannot be told apart by their bytes: begin the type with a field that has one
//! value only, and give it another one whenever the layout changes.
//!
//! ```
//! use shmpipe::typed;
//! use zerocopy::{Immutable, IntoBytes, TryFromBytes};
//!
//! #[derive(IntoBytes, Immutable, TryFromBytes)]
//! #[repr(u32)]
//! enum Layout {
//!     V2 = 0x5245_0002,
//! }
//!
//! #[derive(IntoBytes, Immutable, TryFromBytes)]
//! #[repr(C)]
//! struct Reading {
//!     layout: Layout,
//!     celsius: f32,
//! }
//!
//! let (rx, mut tx) = shmpipe::pipe()?;
//! tx.send(&[0; 8])?; // from a program that knows only version 1
//! let mut rx = typed::Receiver::<Reading>::from(rx);
//! assert!(matches!(rx.recv(), Err(typed::RecvError::InvalidValue { .. })));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Options and handing over
//!
//! [`PipeOptions::typed_pipe`] and [`typed_duplex`](PipeOptions::typed_duplex) take the options of any pipe.
//! The ends go to other processes as byte ends do: by `fork`, by [`inherit`](Sender::inherit) and
//! [`from_env`](Sender::from_env), in a message of another pipe by [`send_with_end`](crate::Sender::send_with_end), as
//! descriptors by [`into_fds`](Sender::into_fds) and [`from_fds`](Sender::from_fds). Nothing of that says which type
//! goes through: the receiving program names it.
//!
//! A byte end becomes one for values by `from` or `into()`, and [`into_inner`](Sender::into_inner) gives it back.
//!
//! ```
//! use shmpipe::typed::{Receiver, Sender};
//!
//! let (mut rx, mut tx) = shmpipe::PipeOptions::new().descriptors(true).pipe()?;
//! let (numbers, numbers_here) = shmpipe::typed::pipe::<u64>()?;
//! tx.send_with_end(b"numbers", numbers)?;
//! let (_, mut numbers) = rx.recv_with_end::<Receiver<u64>>()?;
//!
//! let mut plain = numbers_here.into_inner();
//! plain.send(&7_u64.to_ne_bytes())?;
//! assert_eq!(numbers.recv()?, 7);
//! let mut again: Sender<u64> = plain.into();
//! again.send(&8)?;
//! assert_eq!(numbers.recv()?, 8);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod connection;
mod error;
mod receiver;
mod sender;

use std::io;

pub use connection::Connection;
pub use error::{RecvError, RecvTimeoutError, TryRecvError};
pub use receiver::{IntoMessages, Messages, Receiver, TryMessages};
pub use sender::Sender;

use crate::PipeOptions;

#[cfg(doc)]
use zerocopy::{IntoBytes, TryFromBytes};

/// Makes a one-way pipe of `T` with the default options, reader first.
///
/// # Errors
///
/// The errors of [`PipeOptions::pipe`].
///
/// # Examples
///
/// ```
/// let (mut rx, mut tx) = shmpipe::typed::pipe::<[u16; 3]>()?;
/// tx.send(&[1, 2, 3])?;
/// assert_eq!(rx.recv()?, [1, 2, 3]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn pipe<T>() -> io::Result<(Receiver<T>, Sender<T>)> {
    PipeOptions::new().typed_pipe()
}

/// Makes a two-way pipe with the default options: the first end sends `S` and receives `R`.
///
/// # Errors
///
/// The errors of [`PipeOptions::pipe`].
///
/// # Examples
///
/// ```
/// let (mut client, mut server) = shmpipe::typed::duplex::<u64, bool>()?;
/// client.send(&41)?;
/// let number = server.recv()?;
/// server.send(&(number % 2 == 0))?;
/// assert!(!client.recv()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn duplex<S, R>() -> io::Result<(Connection<S, R>, Connection<R, S>)> {
    PipeOptions::new().typed_duplex()
}

/// # Pipes of values, by their bytes
impl PipeOptions {
    /// Makes a one-way pipe of values: [`typed::pipe`](pipe) with these options.
    ///
    /// # Errors
    ///
    /// The errors of [`pipe`](Self::pipe).
    ///
    /// # Examples
    ///
    /// ```
    /// let (rx, _tx) = shmpipe::PipeOptions::new().capacity(1 << 20).typed_pipe::<u64>()?;
    /// assert_eq!(rx.capacity(), 1 << 20);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn typed_pipe<T>(&self) -> io::Result<(Receiver<T>, Sender<T>)> {
        let (rx, tx) = self.pipe()?;
        Ok((rx.into(), tx.into()))
    }

    /// Makes a two-way pipe of values: [`typed::duplex`](duplex) with these options.
    ///
    /// # Errors
    ///
    /// The errors of [`pipe`](Self::pipe).
    ///
    /// # Examples
    ///
    /// ```
    /// let options = shmpipe::PipeOptions::new().capacity(1 << 20);
    /// let (mut client, mut server) = options.typed_duplex::<u32, u64>()?;
    /// client.send(&7)?;
    /// let request = server.recv()?;
    /// server.send(&u64::from(request).pow(2))?;
    /// assert_eq!(client.recv()?, 49);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn typed_duplex<S, R>(&self) -> io::Result<(Connection<S, R>, Connection<R, S>)> {
        let (left, right) = self.duplex()?;
        Ok((left.into(), right.into()))
    }
}
