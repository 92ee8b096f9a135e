//! Forked children that run a closure and never return into the test harness.
//!
//! It does not capture what a child prints; that goes to the test's own output.

use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, getppid};

/// Exit code of a child whose closure panicked, as the harness has it.
const PANICKED: i32 = 101;

/// A forked process; killed and waited for when it is dropped before [`join`](Self::join).
#[derive(Debug)]
pub(crate) struct Child {
    pid: Pid,
    reaped: bool,
}

/// Runs `work` in a forked child, which exits when it returns.
///
/// What `work` owns goes to the child, and the parent's copy is dropped; everything else the child
/// inherits too, as fork(2) has it. The child dies with the thread that forked it.
pub(crate) fn fork(work: impl FnOnce()) -> Child {
    let parent = nix::unistd::getpid();
    // SAFETY: the child runs `work` and then `_exit`; the only other thread of a test's process is
    // the harness's, asleep in a channel, and glibc makes its allocator usable after fork.
    let outcome = unsafe { nix::unistd::fork() };
    let child = match outcome.expect("fork") {
        ForkResult::Parent { child } => Some(child),
        ForkResult::Child => None,
    };
    run(child, parent, work)
}

/// As [`fork`], by clone(2) and past the C library, which so has not set the child's thread up.
pub(crate) fn raw_clone(work: impl FnOnce()) -> Child {
    let parent = nix::unistd::getpid();
    let (flags, none) = (libc::c_long::from(libc::SIGCHLD), libc::c_long::from(0));
    // SAFETY: as in `fork`; the child goes on on a copy of this stack.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, none, none, none, none) };
    assert!(pid >= 0, "clone: {}", std::io::Error::last_os_error());
    let child = (pid > 0).then(|| Pid::from_raw(i32::try_from(pid).expect("a process id")));
    run(child, parent, work)
}

/// In the parent, the child; in the child, runs `work`.
fn run(child: Option<Pid>, parent: Pid, work: impl FnOnce()) -> Child {
    match child {
        Some(pid) => Child { pid, reaped: false },
        None => {
            prctl::set_pdeathsig(Signal::SIGKILL).expect("SIGKILL is a signal");
            // Where the parent died before it could be watched there is nobody to work for; from
            // within a pid namespace of one's own it is seen as 0. A panic has been printed by the
            // panic hook.
            let orphaned = ![parent, Pid::from_raw(0)].contains(&getppid());
            let failed = orphaned || catch_unwind(AssertUnwindSafe(work)).is_err();
            let code = if failed { PANICKED } else { 0 };
            // SAFETY: `_exit` ends the process; it runs no destructor and no handler.
            unsafe { libc::_exit(code) }
        }
    }
}

/// As [`fork`], for what the parent alone is to hold: the child drops `parents` before `work`.
pub(crate) fn fork_apart<T>(parents: T, work: impl FnOnce()) -> (Child, T) {
    let mut parents = Some(parents);
    let child = fork(|| {
        parents.take();
        work();
    });
    (child, parents.expect("only the child takes it"))
}

impl Child {
    /// Its process id.
    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// Waits for its end, which must be an ordinary one.
    pub(crate) fn join(self) {
        let pid = self.pid;
        let status = self.wait_status();
        assert_eq!(
            status,
            WaitStatus::Exited(pid, 0),
            "the child's closure failed"
        );
    }

    /// Waits for its end and tells how it ended.
    pub(crate) fn wait_status(mut self) -> WaitStatus {
        self.reaped = true;
        waitpid(self.pid, None).expect("the child was not waited for before")
    }

    /// Kills it with SIGKILL and waits until it is gone, its descriptors closed.
    pub(crate) fn kill(self) {
        let pid = self.pid;
        kill(pid, Signal::SIGKILL).expect("the child was not waited for before");
        let status = self.wait_status();
        let killed = WaitStatus::Signaled(pid, Signal::SIGKILL, false);
        assert_eq!(status, killed, "the child ended before it could be killed");
    }

    /// Stops it with SIGSTOP and waits until it has stopped.
    pub(crate) fn stop(&self) {
        kill(self.pid, Signal::SIGSTOP).expect("the child was not waited for before");
        let status = waitpid(self.pid, Some(WaitPidFlag::WUNTRACED)).expect("a child to wait for");
        assert_eq!(status, WaitStatus::Stopped(self.pid, Signal::SIGSTOP));
    }

    /// Lets it go on.
    pub(crate) fn cont(&self) {
        kill(self.pid, Signal::SIGCONT).expect("the child was not waited for before");
    }

    /// Waits until it sleeps in the kernel and stays asleep.
    pub(crate) fn until_asleep(&self) {
        super::until_asleep(&[(self.pid, self.pid)]);
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.reaped {
            let _ = kill(self.pid, Signal::SIGKILL);
            let _ = waitpid(self.pid, None);
        }
    }
}
