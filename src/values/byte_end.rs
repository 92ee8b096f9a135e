//! Ends of values that are asked, handed over and waited for as the byte ends below them.

/// `$by` is the field by which an end of values is waited for, `$part` are those that make it up.
macro_rules! goes_as_its_byte_end {
    ($name:ident<$($value:ident),+>, made of ($($half:ident),+), waits by $by:ident) => {
        /// # What it is
        impl<$($value),+> $name<$($value),+> {
            /// Bytes that the pipe holds in each direction, framing included, as
            /// [`Sender::capacity`](crate::Sender::capacity).
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

            /// Whether `other` is a handle to the same end of the same pipe, as
            /// [`Receiver::same_pipe`](crate::Receiver::same_pipe).
            pub fn same_pipe(&self, other: &Self) -> bool {
                $(self.$half.same_pipe(&other.$half))&&+
            }
        }

        /// # Handing over and closing
        impl<$($value),+> $name<$($value),+> {
            /// Hands this end to the program that `command` will execute, as
            /// [`Sender::inherit`](crate::Sender::inherit); drop the command after the spawn.
            ///
            /// # Errors
            ///
            /// The errors of [`Sender::inherit`](crate::Sender::inherit).
            pub fn inherit(
                self,
                command: &mut std::process::Command,
                name: impl AsRef<std::ffi::OsStr>,
            ) -> io::Result<()> {
                self.into_inner().inherit(command, name)
            }

            /// Closes this side of the pipe in this process, whatever handles there are, as
            /// [`Sender::close`](crate::Sender::close).
            ///
            /// # Errors
            ///
            /// The errors of [`Sender::close`](crate::Sender::close).
            pub fn close(&self) -> io::Result<()> {
                let mut outcome = Ok(());
                $(outcome = outcome.and(self.$half.close());)+
                outcome
            }

            /// Takes this end apart into the descriptors that make it up, as
            /// [`Sender::into_fds`](crate::Sender::into_fds).
            ///
            /// # Errors
            ///
            /// The errors of [`Sender::into_fds`](crate::Sender::into_fds).
            pub fn into_fds(self) -> io::Result<Vec<std::os::fd::OwnedFd>> {
                self.into_inner().into_fds()
            }

            /// The descriptors that make up this end, lent, as [`Sender::as_fds`](crate::Sender::as_fds).
            ///
            /// # Errors
            ///
            /// The errors of [`Sender::as_fds`](crate::Sender::as_fds).
            pub fn as_fds(&self) -> io::Result<Vec<std::os::fd::BorrowedFd<'_>>> {
                let mut fds = Vec::new();
                $(fds.append(&mut self.$half.as_fds()?);)+
                Ok(fds)
            }

            /// Makes an end of descriptors from [`into_fds`](Self::into_fds), as
            /// [`Sender::from_fds`](crate::Sender::from_fds). Nothing there says which values go through it.
            ///
            /// # Errors
            ///
            /// The errors of [`Sender::from_fds`](crate::Sender::from_fds).
            ///
            /// # Safety
            ///
            /// As for [`Sender::from_fds`](crate::Sender::from_fds): they come from `into_fds` of such an end, of
            /// bytes or of values.
            ///
            /// # Examples
            ///
            /// See [`Sender::into_fds`](crate::Sender::into_fds).
            pub unsafe fn from_fds(
                fds: impl IntoIterator<Item = std::os::fd::OwnedFd>,
            ) -> io::Result<Self> {
                // SAFETY: by the caller.
                unsafe { crate::$name::from_fds(fds) }.map(Self::from)
            }

            /// Takes the end that the parent process has handed to this program, as
            /// [`Sender::from_env`](crate::Sender::from_env). Nothing there says which values go through it: that
            /// is for the two programs to agree on.
            ///
            /// # Errors
            ///
            /// The errors of [`Sender::from_env`](crate::Sender::from_env).
            pub fn from_env(name: impl AsRef<std::ffi::OsStr>) -> io::Result<Self> {
                crate::$name::from_env(name).map(Self::from)
            }
        }

        impl<$($value),+> crate::ends::end::End for $name<$($value),+> {}

        impl<$($value),+> crate::ends::end::Descriptors for $name<$($value),+> {
            const KIND: &'static str = <crate::$name as crate::ends::end::Descriptors>::KIND;

            fn copies(&self) -> io::Result<Vec<std::os::fd::OwnedFd>> {
                let mut fds = Vec::new();
                $(fds.append(&mut crate::ends::end::Descriptors::copies(&self.$half)?);)+
                Ok(fds)
            }

            unsafe fn put_together(fds: Vec<std::os::fd::OwnedFd>) -> io::Result<Self> {
                // SAFETY: by the caller.
                unsafe { crate::$name::from_fds(fds) }.map(Self::from)
            }
        }

        impl<$($value),+> crate::Waitable for $name<$($value),+> {}

        #[allow(private_interfaces, reason = "for this crate only")]
        impl<$($value),+> crate::ends::wait::sealed::Sealed for $name<$($value),+> {
            fn look(&mut self, seen: crate::backend::Seen) -> io::Result<crate::backend::Look> {
                crate::ends::wait::sealed::Sealed::look(&mut self.$by, seen)
            }

            fn descriptor(&self) -> (std::os::fd::BorrowedFd<'_>, nix::poll::PollFlags) {
                crate::ends::wait::sealed::Sealed::descriptor(&self.$by)
            }

            fn closing(&self) -> Option<&crate::sys::closing::Closing> {
                crate::ends::wait::sealed::Sealed::closing(&self.$by)
            }
        }
    };
}

pub(crate) use goes_as_its_byte_end;
