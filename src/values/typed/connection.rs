//! The end of a two-way pipe of values.

use std::time::Duration;
use std::{fmt, io};

use zerocopy::{Immutable, IntoBytes, TryFromBytes};

use super::error::{RecvError, RecvTimeoutError, TryRecvError};
use super::{Messages, Receiver, Sender, TryMessages};
use crate::{Backend, SendError, SendTimeoutError, TrySendError};

crate::values::connection_of_values! {
    /// One end of a two-way pipe that sends `S` and receives `R`, made by [`duplex`](super::duplex).
    ///
    /// The two directions are separate pipes, as those of a [`Connection`](crate::Connection) of bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut client, mut server) = shmpipe::typed::duplex::<[f64; 2], f64>()?;
    /// let server = std::thread::spawn(move || {
    ///     while let Ok([a, b]) = server.recv() {
    ///         server.send(&(a * b)).unwrap();
    ///     }
    /// });
    /// client.send(&[6.0, 7.0])?;
    /// assert_eq!(client.recv()?, 42.0);
    /// drop(client);
    /// server.join().unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    send: [IntoBytes + Immutable], recv: [TryFromBytes]
}
