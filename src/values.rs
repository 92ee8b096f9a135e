//! What ends that carry values have in common, however the values become bytes.
//!
//! Macros and not generic types, so that each module's ends read as types of their own in the documentation.
//! How a value becomes a message and the other way is in the modules that use these.

pub(crate) mod byte_end;
mod connection;

/// What a sending end of values does as the byte end in its field `inner` does it.
macro_rules! sender_of_values {
    () => {
        impl<T> Sender<T> {
            /// Makes another handle to this end, as [`Sender::try_clone`](crate::Sender::try_clone).
            ///
            /// # Errors
            ///
            /// What the operating system reports.
            pub fn try_clone(&self) -> io::Result<Self> {
                self.inner.try_clone().map(Self::from)
            }

            /// Bytes that the pipe holds, framing included, as [`Sender::capacity`](crate::Sender::capacity).
            ///
            /// # Examples
            ///
            /// See [`PipeOptions::capacity`](crate::PipeOptions::capacity).
            pub fn capacity(&self) -> usize {
                self.inner.capacity()
            }

            /// What carries the bytes.
            ///
            /// # Examples
            ///
            /// See [`Backend`](crate::Backend).
            pub fn backend(&self) -> Backend {
                self.inner.backend()
            }

            /// Why this is a kernel pipe although none was chosen, as
            /// [`Sender::fallback_reason`](crate::Sender::fallback_reason).
            ///
            /// # Examples
            ///
            /// See there.
            pub fn fallback_reason(&self) -> Option<&io::Error> {
                self.inner.fallback_reason()
            }

            /// Does now what would be done once, as [`Sender::warm_up`](crate::Sender::warm_up).
            ///
            /// # Errors
            ///
            /// As there.
            ///
            /// # Examples
            ///
            /// See there.
            pub fn warm_up(&self) -> io::Result<()> {
                self.inner.warm_up()
            }

            /// The processes that hold a receiver of this pipe, as [`Sender::holders`](crate::Sender::holders).
            ///
            /// # Errors
            ///
            /// What reading /proc reports.
            pub fn holders(&self) -> io::Result<Vec<crate::Holder>> {
                self.inner.holders()
            }

            /// The byte end below, to send plain bytes; `from` makes an end of values of it again.
            ///
            /// # Examples
            ///
            /// See [the module's documentation](super#options-and-handing-over).
            pub fn into_inner(self) -> crate::Sender {
                self.inner
            }
        }

        crate::values::byte_end::goes_as_its_byte_end! { Sender<T>, made of (inner), waits by inner }

        impl<T> From<Sender<T>> for crate::Sender {
            fn from(end: Sender<T>) -> Self {
                end.into_inner()
            }
        }

        impl<T> fmt::Debug for Sender<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple("Sender").field(&self.inner).finish()
            }
        }
    };
}

/// What a receiving end of values does as the byte end in its field `inner` does it, and the iterator over
/// its values. `recv` is what a value must be for that, `module` where the examples find the ends.
macro_rules! receiver_of_values {
    (recv: [$($recv:tt)+], in $module:literal) => {
        impl<T> Receiver<T> {
            /// Waits until [`recv`](Self::recv) would not block and tells whether it would not, as
            /// [`Receiver::poll`](crate::Receiver::poll). Whether the message is a value only `recv` tells.
            ///
            /// # Errors
            ///
            /// As there.
            pub fn poll(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
                self.inner.poll(timeout)
            }

            /// Makes another handle to this end, as [`Receiver::try_clone`](crate::Receiver::try_clone).
            ///
            /// # Errors
            ///
            /// What the operating system reports.
            pub fn try_clone(&self) -> io::Result<Self> {
                self.inner.try_clone().map(Self::from)
            }

            /// Bytes that the pipe holds, framing included.
            ///
            /// # Examples
            ///
            /// See [`PipeOptions::capacity`](crate::PipeOptions::capacity).
            pub fn capacity(&self) -> usize {
                self.inner.capacity()
            }

            /// What carries the bytes.
            ///
            /// # Examples
            ///
            /// See [`Backend`](crate::Backend).
            pub fn backend(&self) -> Backend {
                self.inner.backend()
            }

            /// Why this is a kernel pipe although none was chosen, as
            /// [`Sender::fallback_reason`](crate::Sender::fallback_reason).
            ///
            /// # Examples
            ///
            /// See there.
            pub fn fallback_reason(&self) -> Option<&io::Error> {
                self.inner.fallback_reason()
            }

            /// Does now what would be done once, as [`Sender::warm_up`](crate::Sender::warm_up).
            ///
            /// # Errors
            ///
            /// As there.
            ///
            /// # Examples
            ///
            /// See there.
            pub fn warm_up(&self) -> io::Result<()> {
                self.inner.warm_up()
            }

            /// The processes that hold a sender of this pipe, as [`Receiver::holders`](crate::Receiver::holders).
            ///
            /// # Errors
            ///
            /// What reading /proc reports.
            pub fn holders(&self) -> io::Result<Vec<crate::Holder>> {
                self.inner.holders()
            }

            /// The byte end below, to receive plain bytes; `from` makes an end of values of it again.
            ///
            /// # Examples
            ///
            /// See [the module's documentation](super#options-and-handing-over).
            pub fn into_inner(self) -> crate::Receiver {
                self.inner
            }
        }

        impl<T: $($recv)+> Receiver<T> {
            /// Iterates over the values until end-of-file or an error, blocking while the pipe is empty.
            ///
            /// Why it ended is in [`error`](Messages::error), where that was not end-of-file. A message that
            /// is no value ends it too and has been taken out: call `messages` again for what follows.
            ///
            /// # Examples
            ///
            /// ```
            #[doc = concat!("let (mut rx, mut tx) = shmpipe::", $module, "::pipe::<u32>()?;")]
            /// for number in [1, 2, 3] {
            ///     tx.send(&number)?;
            /// }
            /// drop(tx);
            /// assert_eq!(rx.messages().sum::<u32>(), 6);
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            pub fn messages(&mut self) -> Messages<'_, T> {
                Messages {
                    receiver: self,
                    error: None,
                }
            }
        }

        crate::values::byte_end::goes_as_its_byte_end! { Receiver<T>, made of (inner), waits by inner }

        impl<T> From<Receiver<T>> for crate::Receiver {
            fn from(end: Receiver<T>) -> Self {
                end.into_inner()
            }
        }

        impl<T> From<crate::Receiver> for Receiver<T> {
            /// What the byte end has begun to read of a message stands for the next message.
            fn from(inner: crate::Receiver) -> Self {
                Self {
                    inner,
                    carries: PhantomData,
                }
            }
        }

        impl<T> fmt::Debug for Receiver<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple("Receiver").field(&self.inner).finish()
            }
        }

        /// The values of a pipe in order, until end-of-file; made by [`Receiver::messages`].
        ///
        /// Blocks while the pipe is empty. Another error ends it too and is then in [`error`](Self::error).
        #[derive(Debug)]
        pub struct Messages<'a, T> {
            receiver: &'a mut Receiver<T>,
            error: Option<RecvError>,
        }

        impl<T> Messages<'_, T> {
            /// Why the iteration ended, where that was not end-of-file.
            ///
            /// # Examples
            ///
            /// ```
            /// let (rx, mut tx) = shmpipe::pipe()?;
            /// tx.send(b"\xff\xff\xff")?; // no number of 32 bits
            /// drop(tx);
            #[doc = concat!("let mut rx = shmpipe::", $module, "::Receiver::<u32>::from(rx);")]
            /// let mut numbers = rx.messages();
            /// assert_eq!(numbers.by_ref().count(), 0);
            /// assert!(numbers.error().is_some(), "not end-of-file");
            /// let mut rest = rx.messages();
            /// assert!(rest.next().is_none() && rest.error().is_none(), "end-of-file");
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            pub fn error(&self) -> Option<&RecvError> {
                self.error.as_ref()
            }
        }

        impl<T: $($recv)+> Iterator for Messages<'_, T> {
            type Item = T;

            fn next(&mut self) -> Option<T> {
                if self.error.is_some() {
                    return None;
                }
                match self.receiver.recv() {
                    Ok(value) => Some(value),
                    Err(RecvError::Pipe(crate::RecvError::Disconnected)) => None,
                    Err(error) => {
                        self.error = Some(error);
                        None
                    }
                }
            }
        }
    };
}

pub(crate) use connection::connection_of_values;
pub(crate) use {receiver_of_values, sender_of_values};
