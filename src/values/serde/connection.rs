//! The end of a two-way pipe of encoded values.

use std::time::Duration;
use std::{fmt, io};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::{
    RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError,
};
use super::{Messages, Receiver, Sender, TryMessages};
use crate::Backend;

crate::values::connection_of_values! {
    /// One end of a two-way pipe that sends `S` and receives `R`, made by [`duplex`](super::duplex).
    ///
    /// The two directions are separate pipes, as those of a [`Connection`](crate::Connection) of bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut client, mut server) = shmpipe::serde::duplex::<String, usize>()?;
    /// let server = std::thread::spawn(move || {
    ///     while let Ok(text) = server.recv() {
    ///         server.send(&text.len()).unwrap();
    ///     }
    /// });
    /// client.send(&"how long?".into())?;
    /// assert_eq!(client.recv()?, 9);
    /// drop(client);
    /// server.join().unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    send: [Serialize], recv: [DeserializeOwned]
}
