//! The two-way ends of values.

/// A two-way end of values: its two halves. `send` and `recv` are what the values must be for that.
macro_rules! connection_of_values {
    ($(#[$meta:meta])* send: [$($send:tt)+], recv: [$($recv:tt)+]) => {
        $(#[$meta])*
        pub struct Connection<S, R> {
            receiver: Receiver<R>,
            sender: Sender<S>,
        }

        /// # Sending
        impl<S: $($send)+, R> Connection<S, R> {
            /// Sends `value`, and blocks while the pipe is full, as [`Sender::send`] does.
            ///
            /// # Errors
            ///
            /// The errors of [`Sender::send`].
            pub fn send(&mut self, value: &S) -> Result<(), SendError> {
                self.sender.send(value)
            }

            /// Sends `value` if there is room for all of it now, and never blocks, as [`Sender::try_send`] does.
            ///
            /// # Errors
            ///
            /// The errors of [`Sender::try_send`].
            pub fn try_send(&mut self, value: &S) -> Result<(), TrySendError> {
                self.sender.try_send(value)
            }

            /// Sends `value`, and blocks no longer than `timeout`, as [`Sender::send_timeout`] does.
            ///
            /// # Errors
            ///
            /// The errors of [`Sender::send_timeout`].
            pub fn send_timeout(
                &mut self,
                value: &S,
                timeout: Duration,
            ) -> Result<(), SendTimeoutError> {
                self.sender.send_timeout(value, timeout)
            }

            /// Sends `value`, and blocks no longer than until `deadline`, as [`Sender::send_deadline`] does.
            ///
            /// # Errors
            ///
            /// The errors of [`Sender::send_deadline`].
            pub fn send_deadline(
                &mut self,
                value: &S,
                deadline: std::time::Instant,
            ) -> Result<(), SendTimeoutError> {
                self.sender.send_deadline(value, deadline)
            }
        }

        /// # Receiving
        impl<S, R: $($recv)+> Connection<S, R> {
            /// Receives the next value, and blocks while the pipe is empty, as [`Receiver::recv`] does.
            ///
            /// # Errors
            ///
            /// The errors of [`Receiver::recv`].
            pub fn recv(&mut self) -> Result<R, RecvError> {
                self.receiver.recv()
            }

            /// Receives the next value if one is there, and never blocks, as [`Receiver::try_recv`] does.
            ///
            /// # Errors
            ///
            /// The errors of [`Receiver::try_recv`].
            pub fn try_recv(&mut self) -> Result<R, TryRecvError> {
                self.receiver.try_recv()
            }

            /// Receives the next value, and blocks no longer than `timeout`, as [`Receiver::recv_timeout`] does.
            ///
            /// # Errors
            ///
            /// The errors of [`Receiver::recv_timeout`].
            pub fn recv_timeout(&mut self, timeout: Duration) -> Result<R, RecvTimeoutError> {
                self.receiver.recv_timeout(timeout)
            }

            /// Receives the next value, and blocks no longer than until `deadline`, as [`Receiver::recv_deadline`]
            /// does.
            ///
            /// # Errors
            ///
            /// The errors of [`Receiver::recv_deadline`].
            pub fn recv_deadline(
                &mut self,
                deadline: std::time::Instant,
            ) -> Result<R, RecvTimeoutError> {
                self.receiver.recv_deadline(deadline)
            }

            /// Iterates over the values until end-of-file, as [`Receiver::messages`] does.
            pub fn messages(&mut self) -> Messages<'_, R> {
                self.receiver.messages()
            }

            /// Iterates over the values that are there, until the pipe is empty, as [`Receiver::try_messages`] does.
            pub fn try_messages(&mut self) -> TryMessages<'_, R> {
                self.receiver.try_messages()
            }
        }

        /// # Halves and handles
        impl<S, R> Connection<S, R> {
            /// Takes the two directions apart, as [`Connection::split`](crate::Connection::split).
            pub fn split(self) -> (Receiver<R>, Sender<S>) {
                (self.receiver, self.sender)
            }

            /// Waits until there is something to receive, and returns whether there is, as [`Receiver::poll`] does.
            ///
            /// # Errors
            ///
            /// The errors of [`Receiver::poll`].
            pub fn poll(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
                self.receiver.poll(timeout)
            }

            /// Makes another handle to this end, as [`Connection::try_clone`](crate::Connection::try_clone).
            ///
            /// # Errors
            ///
            /// What the operating system reports.
            pub fn try_clone(&self) -> io::Result<Self> {
                Ok(Self {
                    receiver: self.receiver.try_clone()?,
                    sender: self.sender.try_clone()?,
                })
            }

            /// Refuses values longer than `max` bytes that come in, as [`Receiver::limit_messages`] does.
            pub fn limit_messages(&mut self, max: usize) {
                self.receiver.limit_messages(max);
            }

            /// The processes that hold the other end, or one half of it, as [`Connection::holders`](crate::Connection::holders).
            ///
            /// # Errors
            ///
            /// What reading /proc reports.
            pub fn holders(&self) -> io::Result<Vec<crate::Holder>> {
                let mut holders = self.receiver.holders()?;
                holders.extend(self.sender.holders()?);
                holders.sort_by_key(crate::Holder::id);
                holders.dedup_by_key(|holder| holder.id());
                Ok(holders)
            }

            /// The byte end below, to talk in plain bytes; `from` makes an end of values of it again.
            ///
            /// # Examples
            ///
            /// See [the module's documentation](super#options-and-handing-over).
            pub fn into_inner(self) -> crate::Connection {
                crate::Connection::new(self.receiver.into_inner(), self.sender.into_inner())
            }
        }

        crate::values::goes_as_its_byte_end! { Connection<S, R>, made of (receiver, sender), waits by receiver }

        impl<S, R> From<Connection<S, R>> for crate::Connection {
            fn from(end: Connection<S, R>) -> Self {
                end.into_inner()
            }
        }

        impl<S, R> From<crate::Connection> for Connection<S, R> {
            /// What the byte end has begun to read of a message stands for the next message.
            fn from(inner: crate::Connection) -> Self {
                let (receiver, sender) = inner.split();
                Self {
                    receiver: receiver.into(),
                    sender: sender.into(),
                }
            }
        }

        impl<S, R> fmt::Debug for Connection<S, R> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct("Connection")
                    .field("receiver", &self.receiver)
                    .field("sender", &self.sender)
                    .finish()
            }
        }
    };
}

pub(crate) use connection_of_values;
