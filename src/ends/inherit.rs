//! Handing an end to a program that is executed: descriptors that one child inherits, and an environment
//! variable that says which.
//!
//! The variable reads `1:KIND:FD,FD:INODE`, with four `FD` for a two-way end, and half as many again where messages
//! carry descriptors: the version of this text; `rx`, `tx` or `duplex`; the numbers of the descriptors as
//! [`Sender::into_fds`] gives them; and the inode of the first, so that a variable which reached a program further
//! down is not taken for what that program has at those numbers.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::{fmt, io};

use crate::ends::end::Descriptors;
use crate::sys::descriptors;
use crate::sys::inherited::{self, Inherited};
use crate::sys::refused::refused;
use crate::{Connection, Receiver, Sender};

/// Version of the variable's text.
const VERSION: &str = "1";

/// # For an executed program
impl Sender {
    /// Hands this end to the program that `command` will execute, which takes it by
    /// [`from_env`](Self::from_env) of the same name.
    ///
    /// The descriptors are open in that program and in no other: here they stay close-on-exec, also while
    /// another thread starts a program of its own. Several ends go with one command under different names.
    ///
    /// **Drop the command after the spawn.** It holds this process's copy of the end. As long as it does, the other
    /// side gets no end-of-file (or broken pipe) when the program exits, and [`holders`](Receiver::holders) lists this
    /// process. A command that is kept may be spawned again: each program gets a copy of the end, as forked processes
    /// do.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a name that no variable can have, or that is set for this command already; otherwise the
    /// errors of [`into_fds`](Self::into_fds). The end is dropped in either case.
    ///
    /// # Examples
    ///
    /// `examples/exec_child.rs` has both programs in one file.
    ///
    /// ```no_run
    /// use std::process::Command;
    ///
    /// let (mut rx, tx) = shmpipe::pipe()?;
    /// let mut command = Command::new("./worker");
    /// tx.inherit(&mut command, "RESULTS")?;
    /// let mut worker = command.spawn()?;
    /// drop(command); // the worker is now the only sender
    /// for result in rx.messages() {
    ///     println!("{} bytes", result?.len());
    /// }
    /// worker.wait()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// and in the worker:
    ///
    /// ```no_run
    /// let mut tx = shmpipe::Sender::from_env("RESULTS")?;
    /// tx.send(b"a result")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn inherit(self, command: &mut Command, name: impl AsRef<OsStr>) -> io::Result<()> {
        inherit(self, command, name.as_ref())
    }

    /// Takes the end that the parent process has handed to this program by [`inherit`](Self::inherit) of the
    /// same name. It can be taken once. It belongs to this program then, and programs that it starts do not inherit it.
    ///
    /// Call it early: until then every program that this one starts inherits the descriptors too.
    ///
    /// # Errors
    ///
    /// Each names the variable and its value.
    ///
    /// - `NotFound`: it is not set.
    /// - `AlreadyExists`: the end was taken before.
    /// - `InvalidData`: it has another form or names an end of another kind; or its descriptors are closed, were opened
    ///   by this program itself, or are not those of an end. Nothing is closed then, and the end can still be taken by
    ///   the type that it has.
    /// - Otherwise the errors of [`from_fds`](Self::from_fds).
    ///
    /// # I/O safety
    ///
    /// Whoever sets the variable names descriptors that this call takes over. It takes only those that came
    /// through execve(2). The missing close-on-exec flag shows that, since std and this crate set the flag on everything
    /// that they open. Of these it takes only those that make up an end of a pipe of this crate. So a false variable
    /// can do no more than take an end away from code that was handed its numbers in another way.
    ///
    /// # Examples
    ///
    /// ```
    /// let error = shmpipe::Sender::from_env("NOBODY_SET_THIS").unwrap_err();
    /// assert!(error.to_string().contains("NOBODY_SET_THIS"));
    /// ```
    pub fn from_env(name: impl AsRef<OsStr>) -> io::Result<Self> {
        from_env(name.as_ref())
    }
}

/// # For an executed program
impl Receiver {
    /// Hands this end to the program that `command` will execute, as [`Sender::inherit`] does. What this end has
    /// received and not yet handed out does not go with it, as by [`into_fds`](Self::into_fds).
    ///
    /// # Errors
    ///
    /// The errors of [`Sender::inherit`].
    pub fn inherit(self, command: &mut Command, name: impl AsRef<OsStr>) -> io::Result<()> {
        inherit(self, command, name.as_ref())
    }

    /// Takes the end that the parent process has handed to this program, as [`Sender::from_env`] does.
    ///
    /// # Errors
    ///
    /// The errors of [`Sender::from_env`].
    pub fn from_env(name: impl AsRef<OsStr>) -> io::Result<Self> {
        from_env(name.as_ref())
    }
}

/// # For an executed program
impl Connection {
    /// Hands this end to the program that `command` will execute, as [`Sender::inherit`] does.
    ///
    /// # Errors
    ///
    /// The errors of [`Sender::inherit`].
    pub fn inherit(self, command: &mut Command, name: impl AsRef<OsStr>) -> io::Result<()> {
        inherit(self, command, name.as_ref())
    }

    /// Takes the end that the parent process has handed to this program, as [`Sender::from_env`] does.
    ///
    /// # Errors
    ///
    /// The errors of [`Sender::from_env`].
    pub fn from_env(name: impl AsRef<OsStr>) -> io::Result<Self> {
        from_env(name.as_ref())
    }
}

fn inherit<E: Descriptors>(end: E, command: &mut Command, name: &OsStr) -> io::Result<()> {
    let refuse = |what: &str| {
        let text = format!(
            "the environment variable {:?} {what}",
            name.to_string_lossy()
        );
        Err(io::Error::new(io::ErrorKind::InvalidInput, text))
    };
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes.contains(&b'=') || bytes.contains(&0) {
        return refuse("cannot be set: a name is not empty, and has neither = nor a zero byte");
    }
    let is_set = |(key, value): (&OsStr, Option<&OsStr>)| key == name && value.is_some();
    if command.get_envs().any(is_set) {
        return refuse("is set for this command already");
    }
    let fds = end.copies()?;
    drop(end);
    let claim = Claim {
        numbers: fds.iter().map(AsRawFd::as_raw_fd).collect(),
        inode: inherited::inode(&fds[0])?,
    };
    command.env(name, format!("{VERSION}:{}:{claim}", E::KIND));
    // None of the numbers is below 3, where the child puts its standard streams: `into_fds` duplicates by
    // `try_clone`, which keeps away from there.
    let open_to_child = move || fds.iter().try_for_each(inherited::keep_over_exec);
    // SAFETY: it makes system calls and allocates nothing, so it may run between fork and exec.
    unsafe { command.pre_exec(open_to_child) };
    Ok(())
}

/// Names of which the end has been taken. Locked while one is taken, so that two threads cannot take the same.
static TAKEN: Mutex<BTreeSet<OsString>> = Mutex::new(BTreeSet::new());

fn from_env<E: Descriptors>(name: &OsStr) -> io::Result<E> {
    let Some(value) = std::env::var_os(name) else {
        let text = format!(
            "{} is not set: no end of a pipe was handed to this program by that name",
            name.to_string_lossy()
        );
        return Err(io::Error::new(io::ErrorKind::NotFound, text));
    };
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    let outcome = if taken.contains(name) {
        Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "the end was taken before",
        ))
    } else {
        take::<E>(&value)
    };
    let end = outcome.map_err(|error| {
        let variable = format!("{}={}", name.to_string_lossy(), value.to_string_lossy());
        refused(variable, error)
    })?;
    taken.insert(name.to_owned());
    Ok(end)
}

fn take<E: Descriptors>(value: &OsStr) -> io::Result<E> {
    let claim = Claim::parse(value, E::KIND)?;
    let copies = claim
        .numbers
        .iter()
        .map(|&number| open_copy(number))
        .collect::<io::Result<Vec<_>>>()?;
    if inherited::inode(&copies[0])? != claim.inode {
        let number = claim.numbers[0];
        return Err(invalid(format!(
            "descriptor {number} is another file than the one that was handed over"
        )));
    }
    // SAFETY: checked like all descriptors from strangers, and the copies are nobody else's.
    let end = unsafe { E::put_together(copies) }?;
    for number in claim.numbers {
        // SAFETY: inherited over exec and an end's, so left here for whoever reads the variable, and nobody
        // has read it before.
        unsafe { inherited::close(number) };
    }
    Ok(end)
}

fn open_copy(number: RawFd) -> io::Result<OwnedFd> {
    match inherited::look_at(number)? {
        Inherited::Open(copy) => Ok(copy),
        Inherited::Closed => Err(invalid(format!("descriptor {number} is closed"))),
        Inherited::Own => Err(invalid(format!(
            "descriptor {number} was opened by this program itself and not inherited"
        ))),
    }
}

/// What the variable says of the descriptors.
#[derive(Debug, PartialEq, Eq)]
struct Claim {
    numbers: Vec<RawFd>,
    inode: u64,
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<String> = self.numbers.iter().map(RawFd::to_string).collect();
        write!(f, "{}:{}", numbers.join(","), self.inode)
    }
}

impl Claim {
    /// Reads a value strictly: only what [`inherit`] writes, for an end of this kind.
    fn parse(value: &OsStr, kind: &str) -> io::Result<Self> {
        let foreign = || {
            let (numbers, more) = if kind == Connection::KIND {
                ("FD,FD,FD,FD", "two")
            } else {
                ("FD,FD", "one")
            };
            invalid(format!(
                "not of the form {VERSION}:{kind}:{numbers}:INODE, which inherit gives it ({more} FD more with \
                 PipeOptions::descriptors)"
            ))
        };
        let fields: Vec<&str> = value.to_str().ok_or_else(foreign)?.split(':').collect();
        let [version, found, numbers, inode] = fields[..] else {
            return Err(foreign());
        };
        if version != VERSION {
            return Err(invalid(format!(
                "of version {version}, and this library reads {VERSION}"
            )));
        }
        if found != kind {
            let known = [Sender::KIND, Receiver::KIND, Connection::KIND];
            return Err(if known.contains(&found) {
                invalid(format!(
                    "an end of kind {found}, where {kind} was asked for"
                ))
            } else {
                foreign()
            });
        }
        let numbers: Option<Vec<RawFd>> = numbers.split(',').map(number).collect();
        let (Some(numbers), Some(inode)) = (numbers, number(inode)) else {
            return Err(foreign());
        };
        if let Some(negative) = numbers.iter().find(|&&number| number < 0) {
            return Err(invalid(format!(
                "{negative} is a negative number and no descriptor"
            )));
        }
        let distinct: BTreeSet<_> = numbers.iter().collect();
        if distinct.len() != numbers.len() {
            return Err(invalid("a descriptor is named twice".into()));
        }
        if let Some(low) = numbers.iter().find(|&&number| number < descriptors::FIRST) {
            return Err(invalid(format!("descriptor {low} is a standard stream")));
        }
        Ok(Self { numbers, inode })
    }
}

/// A number as it is written by `Display` and in no other way.
fn number<T: std::str::FromStr + ToString>(text: &str) -> Option<T> {
    let number: T = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let claim = Claim {
            numbers: vec![5, 12],
            inode: 77,
        };
        let text = format!("{VERSION}:rx:{claim}");
        assert_eq!(text, "1:rx:5,12:77");
        assert_eq!(Claim::parse(OsStr::new(&text), "rx").unwrap(), claim);
    }

    #[test]
    fn another_form_is_refused() {
        let cases = [
            ("", "form"),
            ("1", "form"),
            ("1:rx:5,6", "form"),
            ("1:rx:5,6:7:8", "form"),
            ("1:rx::7", "form"),
            ("1:rx:5,,6:7", "form"),
            ("1:rx:5,6,:7", "form"),
            ("1:rx: 5,6:7", "form"),
            ("1:rx:+5,6:7", "form"),
            ("1:rx:05,6:7", "form"),
            ("1:rx:0x5,6:7", "form"),
            ("1:rx:5,2147483648:7", "form"),
            ("1:rx:5,6:-7", "form"),
            ("1:rx:5,6:7\n", "form"),
            ("1:socket:5,6:7", "form"),
            ("2:rx:5,6:7", "version 2"),
            (":rx:5,6:7", "version"),
            ("1:tx:5,6:7", "kind tx, where rx"),
            ("1:duplex:5,6,7,8:7", "kind duplex, where rx"),
            ("1:rx:5,5:7", "twice"),
            ("1:rx:2,6:7", "descriptor 2 is a standard stream"),
            ("1:rx:-1,6:7", "-1 is a negative number"),
        ];
        for (text, words) in cases {
            let error = Claim::parse(OsStr::new(text), "rx").unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{text:?}");
            assert!(error.to_string().contains(words), "{text:?}: {error}");
        }
    }
}
