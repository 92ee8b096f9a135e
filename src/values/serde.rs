//! Ends that carry values of any serde type, each message one value encoded by postcard (feature `serde`).
//!
//! A value is sent if its type is [`Serialize`](serde::Serialize) and received if it is
//! [`DeserializeOwned`](serde::de::DeserializeOwned). The encoding is postcard's, whose format is
//! [specified](https://postcard.jamesmunns.com) and stable: compact, and without names, so both sides need the
//! same definition of the type.
//!
//! # Examples
//!
//! `examples/serde.rs` sends events from another process.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize, Debug, PartialEq)]
//! enum Job {
//!     Fetch { url: String, tries: u8 },
//!     Stop,
//! }
//!
//! let (mut rx, mut tx) = shmpipe::serde::pipe::<Job>()?;
//! tx.send(&Job::Fetch { url: "https://example.org".into(), tries: 3 })?;
//! tx.send(&Job::Stop)?;
//! assert_eq!(rx.recv()?, Job::Fetch { url: "https://example.org".into(), tries: 3 });
//! assert_eq!(rx.recv()?, Job::Stop);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Messages that are no value
//!
//! A message that cannot be decoded is [`Decode`](RecvError::Decode), an error for that message alone: it has
//! been taken out of the pipe, and the next receive goes on with the one after it. A value that cannot be
//! encoded is [`Encode`](SendError::Encode), and nothing is sent. A type's own `Serialize` or `Deserialize` may give a
//! reason by `Error::custom`; postcard does not keep it, so neither error has it. Postcard cannot encode sequences of
//! unknown length. It cannot decode what must look at the data to know its type: `#[serde(untagged)]`, `flatten`,
//! `skip_serializing_if`, and `serde_json::Value`.
//!
//! Bytes from a hostile peer neither cause a panic nor exhaust the stack, and a length that they claim allocates little:
//!
//! - A value nests no deeper than 128 levels, counting each struct, enum, tuple, sequence, map, option and newtype.
//! - Its sequences and maps have in all no more elements than the message has bytes, and 65,536 more, which only elements
//!   that take no bytes need.
//! - No sequence has more than 1 MiB allocated before its elements have come.
//!
//! A value may still be many times larger than its message, by what its type does with the elements.
//!
//! # Options and handing over
//!
//! [`PipeOptions::serde_pipe`] and [`serde_duplex`](PipeOptions::serde_duplex) take the options of any pipe.
//! The ends go to other processes as byte ends do: by `fork`, by [`inherit`](Sender::inherit) and
//! [`from_env`](Sender::from_env), in a message of another pipe by [`send_with_end`](crate::Sender::send_with_end), as
//! descriptors by [`into_fds`](Sender::into_fds) and [`from_fds`](Sender::from_fds). Nothing of that says which type
//! goes through: the receiving program names it.
//!
//! A byte end becomes one for values by `from` or `into()`, and [`into_inner`](Sender::into_inner) gives it back.
//!
//! ```
//! use shmpipe::serde::{Receiver, Sender};
//!
//! let (mut rx, mut tx) = shmpipe::PipeOptions::new().descriptors(true).pipe()?;
//! let (words, words_here) = shmpipe::serde::pipe::<String>()?;
//! tx.send_with_end(b"words", words)?;
//! let (_, mut words) = rx.recv_with_end::<Receiver<String>>()?;
//!
//! let mut plain = words_here.into_inner();
//! plain.send(b"\x05hello")?; // as postcard encodes it
//! assert_eq!(words.recv()?, "hello");
//! let mut again: Sender<String> = plain.into();
//! again.send(&"again".into())?;
//! assert_eq!(words.recv()?, "again");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod codec;
mod connection;
mod error;
mod guard;
mod receiver;
mod sender;

use std::io;

pub use connection::Connection;
pub use error::{
    DecodeError, EncodeError, RecvError, RecvTimeoutError, SendError, SendTimeoutError,
    TryRecvError, TrySendError,
};
pub use receiver::{IntoMessages, Messages, Receiver, TryMessages};
pub use sender::Sender;

use crate::PipeOptions;

/// Makes a one-way pipe of `T` with the default options, reader first.
///
/// # Errors
///
/// The errors of [`PipeOptions::pipe`].
///
/// # Examples
///
/// ```
/// let (mut rx, mut tx) = shmpipe::serde::pipe::<Vec<String>>()?;
/// tx.send(&vec!["any".into(), "serde".into(), "type".into()])?;
/// assert_eq!(rx.recv()?.join(" "), "any serde type");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn pipe<T>() -> io::Result<(Receiver<T>, Sender<T>)> {
    PipeOptions::new().serde_pipe()
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
/// let (mut client, mut server) = shmpipe::serde::duplex::<String, Result<u32, String>>()?;
/// client.send(&"42".into())?;
/// let request = server.recv()?;
/// server.send(&request.parse::<u32>().map_err(|error| error.to_string()))?;
/// assert_eq!(client.recv()?, Ok(42));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn duplex<S, R>() -> io::Result<(Connection<S, R>, Connection<R, S>)> {
    PipeOptions::new().serde_duplex()
}

/// # Pipes of values, encoded
impl PipeOptions {
    /// Makes a one-way pipe of encoded values: [`serde::pipe`](pipe) with these options.
    ///
    /// # Errors
    ///
    /// The errors of [`pipe`](Self::pipe).
    ///
    /// # Examples
    ///
    /// ```
    /// let (rx, _tx) = shmpipe::PipeOptions::new().capacity(1 << 20).serde_pipe::<String>()?;
    /// assert_eq!(rx.capacity(), 1 << 20);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn serde_pipe<T>(&self) -> io::Result<(Receiver<T>, Sender<T>)> {
        let (rx, tx) = self.pipe()?;
        Ok((rx.into(), tx.into()))
    }

    /// Makes a two-way pipe of encoded values: [`serde::duplex`](duplex) with these options.
    ///
    /// # Errors
    ///
    /// The errors of [`pipe`](Self::pipe).
    ///
    /// # Examples
    ///
    /// ```
    /// let options = shmpipe::PipeOptions::new().capacity(1 << 20);
    /// let (mut client, mut server) = options.serde_duplex::<String, usize>()?;
    /// client.send(&"how long?".into())?;
    /// let request = server.recv()?;
    /// server.send(&request.len())?;
    /// assert_eq!(client.recv()?, 9);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn serde_duplex<S, R>(&self) -> io::Result<(Connection<S, R>, Connection<R, S>)> {
        let (left, right) = self.duplex()?;
        Ok((left.into(), right.into()))
    }
}
