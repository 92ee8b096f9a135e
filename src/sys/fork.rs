//! What a process knows of itself, and a forked child of it does not.
//!
//! One page is wiped in a child by the kernel (`MADV_WIPEONFORK`, madvise(2)), however it was forked. The page is
//! found without a lock: one that another thread held at the moment of a fork would stay locked in the child. All
//! threads of a process share the page, so what one of them has found out the others know.
//!
//! It finds nothing out by itself; [`process`](super::process) and [`thread`](super::thread) do.

use std::io;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};

/// A place for a generation, outside of the kill points.
pub(super) type AtomicGeneration = AtomicU32;

/// The words of the page; each is 0 until it is known, and then stays, but for the alarm's.
#[repr(C)]
pub(crate) struct OwnPage {
    /// Number of this process among its forked ancestors.
    generation: AtomicU32,
    /// As in [`Process`](super::process::Process).
    pub(super) id: AtomicU32,
    /// The same.
    pub(super) token: AtomicU32,
    /// The same.
    pub(super) birth: AtomicU64,
    /// The same.
    pub(super) namespace: AtomicU64,
    /// As in `sys::alarm`.
    pub(super) alarm: AtomicU64,
}

/// The page; null before its first use.
static PAGE: AtomicPtr<OwnPage> = AtomicPtr::new(ptr::null_mut());

impl OwnPage {
    /// This process's page, mapped at the first call.
    ///
    /// # Errors
    ///
    /// What mapping the page reports.
    #[inline]
    pub(crate) fn get() -> io::Result<&'static Self> {
        match Self::known() {
            Some(page) => Ok(page),
            None => first(),
        }
    }

    /// This process's page, where it, or a process from which it was forked, has asked for it before.
    #[inline(always)]
    pub(crate) fn known() -> Option<&'static Self> {
        // SYNC: fork-page
        let page = PAGE.load(Ordering::Acquire);
        // SAFETY: null, or a page that was mapped for good before it was put there, and is only used as these atomics.
        unsafe { page.as_ref() }
    }

    /// Number of this process among its forked ancestors: differs from the parent's in a child, however it was
    /// forked. Never 0.
    #[inline]
    pub(crate) fn generation(&self) -> u32 {
        match self.generation.load(Ordering::Relaxed) {
            0 => self.new_generation(),
            known => known,
        }
    }

    /// Where the [`generation`](Self::generation) stands; 0 in a process that has not asked for it.
    pub(super) fn generation_word(&self) -> &AtomicGeneration {
        &self.generation
    }

    #[cold]
    fn new_generation(&self) -> u32 {
        // Ordinary memory, so a child goes on counting where its parent was.
        static LAST: AtomicU32 = AtomicU32::new(0);
        let generation = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        let ours =
            self.generation
                .compare_exchange(0, generation, Ordering::Relaxed, Ordering::Relaxed);
        ours.map_or_else(|other_thread| other_thread, |_| generation)
    }
}

/// As [`OwnPage::generation`].
///
/// # Errors
///
/// As [`OwnPage::get`].
#[inline]
pub(crate) fn fork_generation() -> io::Result<u32> {
    OwnPage::get().map(OwnPage::generation)
}

#[cold]
fn first() -> io::Result<&'static OwnPage> {
    let page = super::memory::wiped_on_fork()?.as_ptr().cast::<OwnPage>();
    // SYNC: fork-page. Another thread may have been first; then ours is a page lost.
    let winner = PAGE.compare_exchange(ptr::null_mut(), page, Ordering::AcqRel, Ordering::Acquire);
    let page = winner.err().unwrap_or(page);
    // SAFETY: as in `OwnPage::known`; here it is not null.
    Ok(unsafe { &*page })
}

/// From now on a child that the C library forks knows its pid namespace from its parent, if it is in the same one.
pub(super) fn inherit_namespaces() {
    static IS_DONE: AtomicBool = AtomicBool::new(false);
    if !IS_DONE.swap(true, Ordering::Relaxed) {
        // SAFETY: both handlers live as long as this code, and do nothing but what a signal handler may. Without memory
        // for them children find their namespace out by themselves.
        let _ = unsafe { libc::pthread_atfork(Some(before_fork), None, Some(in_forked_child)) };
    }
}

/// What the process that forks knows of itself, in ordinary memory, which a child has too.
static FORKING: (AtomicU32, AtomicU64) = (AtomicU32::new(0), AtomicU64::new(0));

extern "C" fn before_fork() {
    // In a child that was made past the C library the page says nothing, and neither does this then.
    let namespace = OwnPage::known().map_or(0, |page| page.namespace.load(Ordering::Relaxed));
    FORKING.0.store(std::process::id(), Ordering::Relaxed);
    FORKING.1.store(namespace, Ordering::Relaxed);
}

extern "C" fn in_forked_child() {
    // The parent's id is 0 from within a namespace that does not have the parent. This is the child of the process that
    // ran `before_fork`, so an id that is the same is in the same namespace.
    let parent = std::os::unix::process::parent_id();
    if let Some(page) = OwnPage::known() {
        if parent == FORKING.0.load(Ordering::Relaxed) {
            let namespace = FORKING.1.load(Ordering::Relaxed);
            page.namespace.store(namespace, Ordering::Relaxed);
        }
    }
}

/// A child of a unit test. The tests of this process run at the same time in its threads, so it has their descriptors not
/// as copies, with which it would keep the ends of others open, but in one table with them (`CLONE_FILES`, clone(2)).
#[cfg(test)]
pub(crate) struct Child(libc::pid_t);

#[cfg(test)]
impl Child {
    /// Forks; the child ends as `work` does, well if that is true. It must not allocate: another thread may have had the
    /// allocator's lock.
    pub(crate) fn of(work: impl FnOnce() -> bool) -> Self {
        let flags = libc::c_long::from(libc::CLONE_FILES | libc::SIGCHLD);
        let none: libc::c_long = 0;
        // SAFETY: as fork(2) but for the table of descriptors. The child does what it is given, and ends by `_exit`.
        let child = unsafe { libc::syscall(libc::SYS_clone, flags, none, none, none, none) };
        if child == 0 {
            // SAFETY: no preconditions; it ends a child that waits for ever.
            unsafe { libc::alarm(20) };
            let status = i32::from(!work());
            // SAFETY: ends the child without anything of its parent's.
            unsafe { libc::_exit(status) };
        }
        assert!(child > 0, "{}", io::Error::last_os_error());
        Self(child as libc::pid_t)
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.unsigned_abs()
    }

    /// Whether it has ended, and well.
    pub(crate) fn ends_well(self) -> bool {
        let mut status = 0;
        // SAFETY: waits for the child that was made, with a live int for its status.
        let ended = unsafe { libc::waitpid(self.0, &raw mut status, 0) };
        ended == self.0 && status == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_threads_of_a_process_have_one_page_and_one_generation() {
        let here = OwnPage::get().unwrap();
        let generation = here.generation();
        let there = std::thread::spawn(|| {
            let page = OwnPage::get().unwrap();
            (ptr::from_ref(page).addr(), page.generation())
        });
        assert_eq!(
            there.join().unwrap(),
            (ptr::from_ref(here).addr(), generation)
        );
        assert_eq!(here.generation_word().load(Ordering::Relaxed), generation);
    }
}
