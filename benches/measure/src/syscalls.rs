//! Counts the syscalls of a slice by ptrace(2), where the kernel's tracepoint (`counter`) may not be used.
//!
//! Its times are worthless: each syscall costs tens of microseconds. A side that sleeps now and then is waited for
//! longer then, so that the other one sleeps more often: such counts are too high, and those of none are right.

use std::collections::HashMap;
use std::io;

use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, raise};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, alarm};

/// In `ptrace_syscall_info::op`: the thread is about to begin a syscall.
const ENTRY: u8 = libc::PTRACE_SYSCALL_INFO_ENTRY;

/// Syscalls in the measured part, on either side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// Of the receiving or pinging side.
    pub(crate) main: u64,
    /// Of all peers.
    pub(crate) peers: u64,
}

/// What is known of one thread.
#[derive(Default)]
struct Thread {
    /// Since the last mark: getrusage(2), see [`Usage::now`](crate::clock::Usage::now).
    since_mark: u64,
    /// Between the last two marks.
    between: u64,
}

/// Has the calling process, which is to be a session, traced by its parent, and ended in so many seconds.
pub(crate) fn offer(seconds: u32) -> io::Result<()> {
    ptrace::traceme()?;
    alarm::set(seconds);
    Ok(raise(Signal::SIGSTOP)?)
}

/// Follows a session that has [offered](offer) it, and its children and threads, to the end of them all.
pub(crate) fn follow(session: Pid) -> io::Result<Count> {
    waitpid(session, None)?;
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_EXITKILL;
    ptrace::setoptions(session, options)?;
    go_on(session, None)?;
    let mut threads: HashMap<Pid, Thread> = HashMap::new();
    loop {
        let group = Pid::from_raw(-session.as_raw());
        match waitpid(group, Some(WaitPidFlag::__WALL)) {
            Ok(WaitStatus::PtraceSyscall(thread)) => {
                threads.entry(thread).or_default().note(thread);
                go_on(thread, None)?;
            }
            Ok(WaitStatus::PtraceEvent(thread, ..)) => go_on(thread, None)?,
            // Each new process or thread begins with this one.
            Ok(WaitStatus::Stopped(thread, Signal::SIGSTOP)) => go_on(thread, None)?,
            Ok(WaitStatus::Stopped(thread, signal)) => go_on(thread, Some(signal))?,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(Errno::ECHILD) => break,
            Err(errno) => return Err(errno.into()),
        }
    }
    let main = threads.remove(&session).unwrap_or_default().between;
    let peers = threads.values().map(|thread| thread.between).sum();
    Ok(Count { main, peers })
}

impl Thread {
    fn note(&mut self, thread: Pid) {
        // A thread that was killed meanwhile has nothing more to tell.
        let Ok(info) = ptrace::syscall_info(thread) else {
            return;
        };
        if info.op != ENTRY {
            return;
        }
        // SAFETY: this field is the one that is there at the beginning of a syscall.
        let entry = unsafe { info.u.entry };
        if entry.nr == libc::SYS_getrusage as u64 {
            // The first mark's look at the thread's clock, which is a syscall, lies behind it.
            self.between = self.since_mark.saturating_sub(1);
            self.since_mark = 0;
        } else {
            self.since_mark += 1;
        }
    }
}

fn go_on(thread: Pid, signal: Option<Signal>) -> io::Result<()> {
    match ptrace::syscall(thread, signal) {
        // It was killed meanwhile, which the next wait reports.
        Err(Errno::ESRCH) => Ok(()),
        outcome => Ok(outcome?),
    }
}
