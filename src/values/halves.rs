//! The sending and the receiving end of values, but for the send and the receive themselves.

/// What a sending end of values does as the byte end in its field `inner` does it.
macro_rules! sender_of_values {
    () => {
        /// # Other handles, and below
        impl<T> Sender<T> {
            /// Makes another handle to this end, as [`Sender::try_clone`](crate::Sender::try_clone).
            ///
            /// # Errors
            ///
            /// What the operating system reports.
            pub fn try_clone(&self) -> io::Result<Self> {
                self.inner.try_clone().map(Self::from)
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

        crate::values::goes_as_its_byte_end! { Sender<T>, made of (inner), waits by inner }

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
        /// # Waiting, other handles, and below
        impl<T> Receiver<T> {
            /// Waits until there is something to receive, and returns whether there is, as
            /// [`Receiver::poll`](crate::Receiver::poll). Whether the message is a value only [`recv`](Self::recv) finds
            /// out.
            ///
            /// # Errors
            ///
            /// The errors of [`Receiver::poll`](crate::Receiver::poll).
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

            /// Refuses values longer than `max` bytes that come in, as
            /// [`Receiver::limit_messages`](crate::Receiver::limit_messages) does, in bytes of a message.
            pub fn limit_messages(&mut self, max: usize) {
                self.inner.limit_messages(max);
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

        /// # Iterating, and until a deadline
        impl<T: $($recv)+> Receiver<T> {
            /// Receives the next value, blocking no longer than until `deadline`.
            ///
            /// # Errors
            ///
            /// The errors of [`recv_timeout`](Self::recv_timeout).
            pub fn recv_deadline(
                &mut self,
                deadline: std::time::Instant,
            ) -> Result<T, RecvTimeoutError> {
                let now = std::time::Instant::now();
                self.recv_timeout(deadline.saturating_duration_since(now))
            }

            /// Iterates over the values until end-of-file, blocking while the pipe is empty.
            ///
            /// Each item is a `Result`, as [`Receiver::messages`](crate::Receiver::messages) has it. After a message that
            /// is no value, and after `Aborted`, the iteration goes on with the next message. Any other error is the
            /// last item.
            ///
            /// # Examples
            ///
            /// ```
            #[doc = concat!("let (mut rx, mut tx) = shmpipe::", $module, "::pipe::<u32>()?;")]
            /// for number in [1, 2, 3] {
            ///     tx.send(&number)?;
            /// }
            /// drop(tx);
            /// assert_eq!(rx.messages().sum::<Result<u32, _>>()?, 6);
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            pub fn messages(&mut self) -> Messages<'_, T> {
                Messages {
                    receiver: self,
                    has_failed: false,
                }
            }

            /// Iterates over the values until end-of-file, by an iterator that owns the end. Otherwise it is like
            /// [`messages`](Self::messages).
            ///
            /// # Examples
            ///
            /// See [`Receiver::into_messages`](crate::Receiver::into_messages).
            pub fn into_messages(self) -> IntoMessages<T> {
                IntoMessages {
                    receiver: self,
                    has_failed: false,
                }
            }

            /// Iterates over the values that are there, and never blocks.
            ///
            /// # Examples
            ///
            /// See [`Receiver::try_messages`](crate::Receiver::try_messages).
            pub fn try_messages(&mut self) -> TryMessages<'_, T> {
                TryMessages {
                    receiver: self,
                    has_failed: false,
                }
            }
        }

        crate::values::goes_as_its_byte_end! { Receiver<T>, made of (inner), waits by inner }

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
        /// Blocks while the pipe is empty.
        ///
        /// # Examples
        ///
        /// ```
        /// let (rx, mut tx) = shmpipe::pipe()?;
        /// tx.send(b"\xff\xff\xff")?; // no number of 32 bits
        /// drop(tx);
        #[doc = concat!("let mut rx = shmpipe::", $module, "::Receiver::<u32>::from(rx);")]
        /// let mut numbers = rx.messages();
        /// assert!(numbers.next().is_some_and(|number| number.is_err()));
        /// assert!(numbers.next().is_none(), "end-of-file");
        /// # Ok::<(), Box<dyn std::error::Error>>(())
        /// ```
        #[derive(Debug)]
        #[must_use = "nothing is received before it is iterated over"]
        pub struct Messages<'a, T> {
            receiver: &'a mut Receiver<T>,
            has_failed: bool,
        }

        /// An iterator over the messages until end-of-file, which owns the end. Made by [`Receiver::into_messages`].
        #[derive(Debug)]
        #[must_use = "nothing is received before it is iterated over"]
        pub struct IntoMessages<T> {
            receiver: Receiver<T>,
            has_failed: bool,
        }

        /// The values that are there now, in order; made by [`Receiver::try_messages`].
        #[derive(Debug)]
        #[must_use = "nothing is received before it is iterated over"]
        pub struct TryMessages<'a, T> {
            receiver: &'a mut Receiver<T>,
            has_failed: bool,
        }

        impl<T> IntoMessages<T> {
            /// Gives the end back, with all that was not received.
            pub fn into_inner(self) -> Receiver<T> {
                self.receiver
            }
        }

        fn next<T: $($recv)+>(
            receiver: &mut Receiver<T>,
            has_failed: &mut bool,
        ) -> Option<Result<T, RecvError>> {
            if *has_failed {
                return None;
            }
            match receiver.recv() {
                Err(RecvError::Pipe(crate::RecvError::Disconnected)) => None,
                Err(RecvError::Pipe(error)) => {
                    *has_failed = crate::ends::message::is_last(&error);
                    Some(Err(RecvError::Pipe(error)))
                }
                outcome => Some(outcome),
            }
        }

        impl<T: $($recv)+> Iterator for Messages<'_, T> {
            type Item = Result<T, RecvError>;

            fn next(&mut self) -> Option<Self::Item> {
                next(self.receiver, &mut self.has_failed)
            }
        }

        impl<T: $($recv)+> Iterator for IntoMessages<T> {
            type Item = Result<T, RecvError>;

            fn next(&mut self) -> Option<Self::Item> {
                next(&mut self.receiver, &mut self.has_failed)
            }
        }

        impl<T: $($recv)+> Iterator for TryMessages<'_, T> {
            type Item = Result<T, TryRecvError>;

            fn next(&mut self) -> Option<Self::Item> {
                use crate::TryRecvError as Pipe;
                if self.has_failed {
                    return None;
                }
                match self.receiver.try_recv() {
                    Err(RecvError::Pipe(Pipe::Empty | Pipe::Disconnected)) => None,
                    Err(RecvError::Pipe(error)) => {
                        self.has_failed = !matches!(error, Pipe::Aborted);
                        Some(Err(RecvError::Pipe(error)))
                    }
                    outcome => Some(outcome),
                }
            }
        }

        impl<'a, T: $($recv)+> IntoIterator for &'a mut Receiver<T> {
            type Item = Result<T, RecvError>;
            type IntoIter = Messages<'a, T>;

            fn into_iter(self) -> Messages<'a, T> {
                self.messages()
            }
        }

        impl<T: $($recv)+> IntoIterator for Receiver<T> {
            type Item = Result<T, RecvError>;
            type IntoIter = IntoMessages<T>;

            fn into_iter(self) -> IntoMessages<T> {
                self.into_messages()
            }
        }
    };
}

pub(crate) use {receiver_of_values, sender_of_values};
