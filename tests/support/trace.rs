//! A forked child that is run instruction by instruction, by ptrace(2) on x86_64.
//!
//! It knows nothing of what the child does. A step costs two switches of process, so a traced stretch
//! should be some thousands of instructions at most.

use std::collections::HashMap;

use nix::errno::Errno;
use nix::sys::ptrace;
use nix::sys::signal::{Signal, raise};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use super::{Child, fork};

/// Exit code of a child that may not be traced.
const REFUSED: i32 = 42;

/// The instruction that stops (INT3).
const STOP: u8 = 0xcc;

/// An instruction in the traced stretch: its address, and how often it was come to by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    address: u64,
    /// Times that another instruction led here before.
    arrivals: u32,
    /// Steps taken since without leaving it: the repetitions of a string instruction.
    repetitions: u32,
}

/// A child that stands still inside the traced stretch.
#[derive(Debug)]
pub(crate) struct Traced {
    child: Child,
    arrivals: HashMap<u64, u32>,
    point: Point,
}

impl Traced {
    /// Forks a child that runs `prepare`, whose outcome `traced` then works with under the tracer; it
    /// stands before the first instruction of that. None where ptrace(2) is refused.
    pub(crate) fn start<T>(
        prepare: impl FnOnce() -> T,
        traced: impl FnOnce(&mut T),
    ) -> Option<Self> {
        let child = fork(|| {
            let mut prepared = prepare();
            if ptrace::traceme().is_err() {
                // SAFETY: `_exit` ends the process.
                unsafe { libc::_exit(REFUSED) }
            }
            raise(Signal::SIGSTOP).expect("a signal to oneself");
            traced(&mut prepared);
            raise(Signal::SIGSTOP).expect("a signal to oneself");
        });
        let pid = child.pid();
        match waitpid(pid, None).expect("a child to wait for") {
            WaitStatus::Stopped(_, Signal::SIGSTOP) => {}
            WaitStatus::Exited(_, REFUSED) => {
                super::skipped("ptrace(2) is refused");
                std::mem::forget(child);
                return None;
            }
            other => panic!("{other:?} instead of the first stop"),
        }
        let address = address(pid);
        let point = Point {
            address,
            arrivals: 0,
            repetitions: 0,
        };
        Some(Self {
            child,
            arrivals: HashMap::new(),
            point,
        })
    }

    /// The child.
    pub(crate) fn pid(&self) -> Pid {
        self.child.pid()
    }

    /// Runs one instruction and tells which; none at the end of the traced stretch.
    pub(crate) fn step(&mut self) -> Option<Point> {
        let done = self.point;
        if !step(self.pid()) {
            return None;
        }
        let address = address(self.pid());
        self.point = if address == done.address {
            Point {
                repetitions: done.repetitions + 1,
                ..done
            }
        } else {
            let count = self.arrivals.entry(address).or_default();
            *count += 1;
            Point {
                address,
                arrivals: *count - 1,
                repetitions: 0,
            }
        };
        Some(done)
    }

    /// Runs up to and with the instruction at `point`, at full speed but for the stops at it.
    pub(crate) fn run_through(&mut self, point: Point) {
        let pid = self.pid();
        let code = point.address as ptrace::AddressType;
        let original = ptrace::read(pid, code).expect("code can be read");
        let stopping = original & !0xff | i64::from(STOP);
        for arrival in 0..=point.arrivals {
            ptrace::write(pid, code, stopping).expect("code can be written by a tracer");
            ptrace::cont(pid, None).expect("it stands still");
            let status = waitpid(pid, None).expect("a child to wait for");
            let trapped = WaitStatus::Stopped(pid, Signal::SIGTRAP);
            assert_eq!(status, trapped, "before arrival {arrival} of {point:x?}");
            ptrace::write(pid, code, original).expect("code can be written by a tracer");
            let mut registers = ptrace::getregs(pid).expect("it stands still");
            assert_eq!(
                registers.rip,
                point.address + 1,
                "stopped by something else"
            );
            registers.rip = point.address;
            ptrace::setregs(pid, registers).expect("it stands still");
            while arrival < point.arrivals && address(pid) == point.address {
                assert!(step(pid), "the end came before {point:x?}");
            }
        }
        for _ in 0..=point.repetitions {
            assert_eq!(address(pid), point.address, "left before {point:x?}");
            assert!(step(pid), "the end came before {point:x?}");
        }
    }

    /// Bytes of the child's own memory.
    pub(crate) fn read(&self, from: usize, len: usize) -> Vec<u8> {
        use nix::sys::uio::{RemoteIoVec, process_vm_readv};
        let mut bytes = vec![0; len];
        let mut local = [std::io::IoSliceMut::new(&mut bytes)];
        let remote = [RemoteIoVec { base: from, len }];
        let read = process_vm_readv(self.pid(), &mut local, &remote);
        assert_eq!(read.expect("the child's memory"), len);
        bytes
    }

    /// Kills it where it stands.
    pub(crate) fn kill(self) {
        self.child.kill();
    }

    /// Lets it run to its end, which must be an ordinary one.
    pub(crate) fn finish(self) {
        match ptrace::cont(self.pid(), None) {
            Ok(()) | Err(Errno::ESRCH) => self.child.join(),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Runs one instruction; false at the end of the traced stretch.
fn step(pid: Pid) -> bool {
    ptrace::step(pid, None).expect("it stands still");
    match waitpid(pid, None).expect("a child to wait for") {
        WaitStatus::Stopped(_, Signal::SIGTRAP) => true,
        WaitStatus::Stopped(_, Signal::SIGSTOP) => false,
        other => panic!("{other:?} in the middle of the call"),
    }
}

/// Where it stands.
fn address(pid: Pid) -> u64 {
    ptrace::getregs(pid).expect("it stands still").rip
}
