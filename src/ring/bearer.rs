//! Processes written down in shared memory, for others to watch.

use crate::segment::layout::Bearer;
use crate::sync::{AtomicU32, Ordering};
use crate::sys::process::Process;

impl Bearer {
    /// Writes `process` down. Under the lock of the side whose line it is.
    pub(crate) fn note(&self, process: Process) {
        self.birth.store(process.birth, Ordering::Relaxed);
        self.namespace.store(process.namespace, Ordering::Relaxed);
        self.id.store(process.id, Ordering::Relaxed);
    }

    /// Nobody from now on.
    pub(crate) fn clear(&self) {
        self.id.store(0, Ordering::Relaxed);
    }

    /// Who it is, if anybody.
    pub(crate) fn process(&self) -> Option<Process> {
        let process = Process {
            id: self.id.load(Ordering::Relaxed),
            birth: self.birth.load(Ordering::Relaxed),
            namespace: self.namespace.load(Ordering::Relaxed),
        };
        (process.id != 0).then_some(process)
    }

    /// The futex word that changes when the bearer does.
    pub(crate) fn word(&self) -> &AtomicU32 {
        &self.id
    }
}
