//! Ends for tasks that are handed over, or asked about, as the blocking ends below them.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::process::Command;

use super::{Connection, Receiver, Sender};
use crate::ends::end::{Descriptors, End};
use crate::{Backend, Holder};

macro_rules! goes_as_its_blocking_end {
    ($name:ident, made of ($($half:ident),+), asked by $by:ident) => {
        impl $name {
            /// Hands this end to the program that `command` will execute, as
            /// [`Sender::inherit`](crate::Sender::inherit); drop the command after the spawn. What this end has taken
            /// and not handed on is dropped, as by `into_blocking`.
            ///
            /// # Errors
            ///
            /// The errors of [`Sender::inherit`](crate::Sender::inherit).
            pub fn inherit(self, command: &mut Command, name: impl AsRef<OsStr>) -> io::Result<()> {
                self.into_blocking().inherit(command, name)
            }

            /// Takes the end that the parent process has handed to this program, as
            /// [`Sender::from_env`](crate::Sender::from_env).
            ///
            /// # Errors
            ///
            /// The errors of [`Sender::from_env`](crate::Sender::from_env), and those of `from_blocking`.
            ///
            /// # Panics
            ///
            /// Panics where `from_blocking` does.
            pub fn from_env(name: impl AsRef<OsStr>) -> io::Result<Self> {
                crate::$name::from_env(name).and_then(Self::from_blocking)
            }

            /// Closes this side of the pipe in this process, whatever handles there are, as
            /// [`Sender::close`](crate::Sender::close). Tasks that wait at it end with the error; one that waits for room
            /// for descriptors in flight does so when a receiver takes some.
            ///
            /// # Errors
            ///
            /// The errors of [`Sender::close`](crate::Sender::close).
            ///
            /// # Examples
            ///
            /// See [`Sender::close`](crate::Sender::close).
            pub fn close(&self) -> io::Result<()> {
                let mut outcome = Ok(());
                $(outcome = outcome.and(self.$half.close());)+
                outcome
            }

            /// Bytes that the pipe holds in each direction, framing included.
            ///
            /// # Examples
            ///
            /// See [`PipeOptions::capacity`](crate::PipeOptions::capacity).
            pub fn capacity(&self) -> usize {
                self.$by.capacity()
            }

            /// What carries the bytes.
            ///
            /// # Examples
            ///
            /// See [`Backend`](crate::Backend).
            pub fn backend(&self) -> Backend {
                self.$by.backend()
            }

            /// Why this is a kernel pipe although none was chosen, as
            /// [`Sender::fallback_reason`](crate::Sender::fallback_reason).
            ///
            /// # Examples
            ///
            /// See [`Sender::fallback_reason`](crate::Sender::fallback_reason).
            pub fn fallback_reason(&self) -> Option<&io::Error> {
                self.$by.fallback_reason()
            }

            /// Does now what the first calls would do, as [`Sender::warm_up`](crate::Sender::warm_up) does.
            ///
            /// # Errors
            ///
            /// The errors of [`Sender::warm_up`](crate::Sender::warm_up).
            ///
            /// # Examples
            ///
            /// See [`Sender::warm_up`](crate::Sender::warm_up).
            pub fn warm_up(&self) -> io::Result<()> {
                $(self.$half.warm_up()?;)+
                Ok(())
            }
        }

        /// It travels as the blocking end does; who receives it chooses which of the two it is there. Receiving one
        /// for tasks panics outside of a runtime, as `from_blocking` does.
        impl End for $name {}

        impl Descriptors for $name {
            const KIND: &'static str = <crate::$name as Descriptors>::KIND;

            fn copies(&self) -> io::Result<Vec<OwnedFd>> {
                let mut fds = Vec::new();
                $(fds.append(&mut self.$half.copies()?);)+
                Ok(fds)
            }

            unsafe fn put_together(fds: Vec<OwnedFd>) -> io::Result<Self> {
                // SAFETY: by the caller.
                unsafe { crate::$name::from_fds(fds) }.and_then(Self::from_blocking)
            }
        }
    };
}

goes_as_its_blocking_end! { Receiver, made of (receiver), asked by receiver }
goes_as_its_blocking_end! { Sender, made of (sender), asked by sender }
goes_as_its_blocking_end! { Connection, made of (receiver, sender), asked by sender }

impl Receiver {
    /// The processes that hold a sender of this pipe, as [`Receiver::holders`](crate::Receiver::holders). It reads
    /// /proc, which takes a while on a large machine: not for a task that others wait for.
    ///
    /// # Errors
    ///
    /// What reading /proc reports.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[::tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (rx, _tx) = shmpipe::pipe()?;
    /// let rx = shmpipe::tokio::Receiver::from_blocking(rx)?;
    /// assert_eq!(rx.holders()?[0].id(), std::process::id());
    /// # Ok(())
    /// # }
    /// ```
    pub fn holders(&self) -> io::Result<Vec<Holder>> {
        self.receiver.holders()
    }
}

impl Sender {
    /// The processes that hold a receiver of this pipe, as [`Receiver::holders`].
    ///
    /// # Errors
    ///
    /// The errors of [`Receiver::holders`].
    pub fn holders(&self) -> io::Result<Vec<Holder>> {
        self.sender.holders()
    }
}

impl Connection {
    /// The processes that hold the other end, or one half of it, as [`Receiver::holders`].
    ///
    /// # Errors
    ///
    /// The errors of [`Receiver::holders`].
    pub fn holders(&self) -> io::Result<Vec<Holder>> {
        crate::ends::holders::of_both(&self.receiver.receiver, &self.sender.sender)
    }
}
