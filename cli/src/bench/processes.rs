//! Child processes of the bench: fork, pin, the line-by-line link to each, and how they end.
//!
//! No child outlives its parent: the kernel kills it (PR_SET_PDEATHSIG), however the parent went,
//! and the parent kills and reaps a child that it drops. What is said on a link is not known here.

use std::io::{self, BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::time::Duration;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getppid};

/// How long a child may take for one answer before it counts as hung. A slice is at most 0.1 s; the
/// rest is for a machine under heavy load.
const LONGEST_ANSWER: Duration = Duration::from_secs(20);

/// How long to wait for a child's own account of a failure that was seen first on this side.
const LONGEST_ACCOUNT: Duration = Duration::from_secs(1);

/// Begins a line that reports a failure; the rest is its text.
const ERROR_PREFIX: &str = "error ";

/// Lines of text to and from another process.
#[derive(Debug)]
pub(crate) struct Link {
    stream: BufReader<UnixStream>,
}

impl Link {
    /// Wraps one side of a connected pair.
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self {
            stream: BufReader::new(stream),
        }
    }

    /// Sends one line.
    pub(crate) fn say(&mut self, line: &str) -> io::Result<()> {
        self.stream
            .get_mut()
            .write_all(format!("{line}\n").as_bytes())
    }

    /// Waits for one line; `None` when the other process has closed its side or ended.
    pub(crate) fn hear(&mut self) -> io::Result<Option<String>> {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(line.trim_end().to_owned())),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Which of the two processes returned from [`split_off`].
pub(crate) enum Side {
    /// The one that called, with a handle to the new one.
    Parent(Child),
    /// The new one, with its link to the one that called.
    Child(Link),
}

/// Forks; the process must have one thread only.
///
/// The child should go straight on to [`finish_as`], which never returns.
pub(crate) fn split_off(role: &'static str) -> io::Result<Side> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_read_timeout(Some(LONGEST_ANSWER))?;
    let parent = Pid::this();
    // SAFETY: the process has a single thread (neither this program nor the library starts one
    // before or between the forks), so no lock is held by a thread that the child lacks.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(Side::Parent(Child::new(role, child, Link::new(ours)))),
        ForkResult::Child => {
            drop(ours);
            set_pdeathsig(Signal::SIGKILL)?;
            if getppid() != parent {
                // The parent died before the kernel was told to tell.
                process::exit(1);
            }
            Ok(Side::Child(Link::new(theirs)))
        }
    }
}

/// Runs `body` as the rest of a child's life and exits, so that nothing of the parent's stack is
/// run or dropped a second time here. A failure goes to the parent over the link.
pub(crate) fn finish_as(mut link: Link, body: impl FnOnce(&mut Link) -> io::Result<()>) -> ! {
    let code = match catch_unwind(AssertUnwindSafe(|| body(&mut link))) {
        Ok(Ok(())) => 0,
        Ok(Err(error)) => {
            let text = error.to_string().replace('\n', " ");
            // A parent that has gone needs no account.
            let _ = link.say(&format!("{ERROR_PREFIX}{text}"));
            1
        }
        Err(_) => 101,
    };
    process::exit(code)
}

/// Restricts the calling process to one CPU.
pub(crate) fn pin(cpu: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &set)
        .map_err(|errno| io::Error::other(format!("cannot run on CPU {cpu}: {}", errno.desc())))
}

/// A forked process; killed and reaped when dropped before [`finish`](Child::finish).
#[derive(Debug)]
pub(crate) struct Child {
    role: &'static str,
    pid: Pid,
    link: Link,
    reaped: bool,
    /// Why it failed, once that is known.
    account: Option<String>,
}

impl Child {
    fn new(role: &'static str, pid: Pid, link: Link) -> Self {
        Self {
            role,
            pid,
            link,
            reaped: false,
            account: None,
        }
    }

    /// Sends one line; the error tells how the child ended, if it did.
    pub(crate) fn say(&mut self, line: &str) -> io::Result<()> {
        self.link.say(line).map_err(|error| self.explain(error))
    }

    /// Waits for one line. The child's report of a failure, its death and its silence are errors.
    pub(crate) fn answer(&mut self) -> io::Result<String> {
        match self.link.hear() {
            Ok(Some(line)) => match line.strip_prefix(ERROR_PREFIX) {
                Some(text) => Err(self.fail(text)),
                None => Ok(line),
            },
            Ok(None) => {
                let end = self.wait().err();
                Err(end.unwrap_or_else(|| {
                    self.fail(&format!("the {} process ended too early", self.role))
                }))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("the {} process gave no answer in time", self.role),
            )),
            Err(error) => Err(error),
        }
    }

    /// Keeps the first account of a failure, which is the one nearest to its cause.
    fn fail(&mut self, text: &str) -> io::Error {
        io::Error::other(self.account.get_or_insert_with(|| text.to_owned()).clone())
    }

    /// Waits for one line that begins with the word `what`, and returns the rest of it.
    pub(crate) fn expect(&mut self, what: &str) -> io::Result<String> {
        let line = self.answer()?;
        match line.strip_prefix(what) {
            Some(rest) => Ok(rest.trim_start().to_owned()),
            None => Err(io::Error::other(format!(
                "the {} process answered {line:?} where {what:?} was due",
                self.role
            ))),
        }
    }

    /// The reason behind `error`, which a dying child may have caused: what it reported, or how it
    /// ended; `error` itself when the child is well.
    pub(crate) fn explain(&mut self, error: io::Error) -> io::Error {
        if let Some(account) = &self.account {
            return io::Error::other(account.clone());
        }
        if self
            .link
            .stream
            .get_ref()
            .set_read_timeout(Some(LONGEST_ACCOUNT))
            .is_err()
        {
            return error;
        }
        loop {
            match self.answer() {
                Ok(_) => {}
                Err(silence) if silence.kind() == io::ErrorKind::TimedOut => return error,
                Err(reason) => return reason,
            }
        }
    }

    /// Closes the link, which ends the child's loop over commands, and waits for its good end.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        // The socket is shut rather than closed: another child may hold a copy of this side.
        self.link.stream.get_ref().shutdown(Shutdown::Write)?;
        match self.link.hear()? {
            None => self.wait(),
            Some(line) => Err(self.fail(line.strip_prefix(ERROR_PREFIX).unwrap_or(&line))),
        }
    }

    /// Reaps the child; an end other than by exit code 0 is an error.
    fn wait(&mut self) -> io::Result<()> {
        let status = waitpid(self.pid, None)?;
        self.reaped = true;
        let how = match status {
            WaitStatus::Exited(_, 0) => return Ok(()),
            WaitStatus::Exited(_, code) => format!("exited with code {code}"),
            WaitStatus::Signaled(_, signal, _) => format!("was killed by {signal}"),
            other => format!("ended in an unexpected way: {other:?}"),
        };
        Err(self.fail(&format!("the {} process {how}", self.role)))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.reaped {
            // Both fail only when there is no such child, and then there is nothing to do.
            let _ = kill(self.pid, Signal::SIGKILL);
            let _ = waitpid(self.pid, None);
        }
    }
}
