//! Owner records: processes written down in shared memory, for others to watch.

use std::time::Duration;

use crate::error::Fault;
use crate::segment::layout::OwnerRecord;
use crate::sync::{AtomicU32, Ordering};
use crate::sys::clock::Timeout;
use crate::sys::process::Process;
use crate::sys::{futex, interrupt};

/// Whoever is kept out by an owner looks after this time whether the owner has died, and then at intervals that double up
/// to [`LAST_LOOK`]. The owner wakes the others when it goes on. Nothing can wake them for both that and its death:
/// futex(2) sees no process and poll(2) no futex.
pub(crate) const FIRST_LOOK: Duration = Duration::from_millis(10);

/// Longest interval between two looks, each of which is a handful of system calls.
const LAST_LOOK: Duration = Duration::from_millis(50);

impl OwnerRecord {
    /// Writes `process` down. Under the lock of the side whose line it is.
    pub(crate) fn note(&self, process: Process) {
        self.token.store(process.token, Ordering::Relaxed);
        self.birth.store(process.birth, Ordering::Relaxed);
        self.namespace.store(process.namespace, Ordering::Relaxed);
        self.id.store(process.id, Ordering::Relaxed);
    }

    /// From now on there is no owner.
    pub(crate) fn clear(&self) {
        self.id.store(0, Ordering::Relaxed);
    }

    /// The owner, if there is one.
    pub(crate) fn process(&self) -> Option<Process> {
        let process = Process {
            id: self.id.load(Ordering::Relaxed),
            token: self.token.load(Ordering::Relaxed),
            birth: self.birth.load(Ordering::Relaxed),
            namespace: self.namespace.load(Ordering::Relaxed),
        };
        (process.id != 0).then_some(process)
    }

    /// Sleeps while `id` is the owner, until the next look at its process is due. The look after that is due later.
    ///
    /// # Errors
    ///
    /// [`Fault::NotNow`] when the time-out has passed, [`Fault::Interrupted`] when the hook ended it.
    pub(crate) fn wait_while(
        &self,
        id: u32,
        timeout: Timeout,
        look_after: &mut Duration,
    ) -> Result<(), Fault> {
        if timeout.is_over() {
            return Err(Fault::NotNow);
        }
        interrupt::ask()?;
        let deadline = timeout.deadline().at_most(*look_after);
        if futex::wait(self.word(), id, deadline).is_err() {
            std::thread::sleep(FIRST_LOOK);
        }
        *look_after = (*look_after * 2).min(LAST_LOOK);
        Ok(())
    }

    /// The futex word that changes when the owner does.
    pub(crate) fn word(&self) -> &AtomicU32 {
        &self.id
    }
}
