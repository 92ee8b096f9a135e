//! Who the calling thread is, for locks that must survive their owner.
//!
//! The kernel knows, for each thread, the head of a list of robust futexes (set_robust_list(2),
//! Documentation/locking/robust-futex-ABI.rst). glibc registers it; this module finds it and writes
//! its `list_op_pending` field only: the one lock that the thread is taking, holding or releasing.
//! When the thread dies the kernel looks at that word, and if it holds the thread's id sets
//! `FUTEX_OWNER_DIED` in it and wakes a waiter. No pointer ever lies in shared memory.

use std::cell::Cell;
use std::io;
use std::marker::PhantomData;
use std::ptr;
use std::sync::atomic::AtomicPtr;

use super::futex;
use super::refused::refused;
use crate::sync::{AtomicU32, Ordering, kill_point};

/// `struct robust_list_head` of linux/futex.h.
#[repr(C)]
struct RobustListHead {
    list: *mut libc::c_void,
    futex_offset: libc::c_long,
    list_op_pending: *mut libc::c_void,
}

/// The calling thread, as the kernel and a shared lock word know it.
#[derive(Clone, Copy)]
pub(crate) struct Thread {
    id: u32,
    /// The kernel's robust list head of this very thread, so never used by another one.
    head: *mut RobustListHead,
    /// Inode of the pid namespace that the id belongs to; 1 where it is unknown, never 0.
    namespace: u64,
    _not_send: PhantomData<*mut ()>,
}

thread_local! {
    static CURRENT: Known = const {
        let nobody = Thread { id: 0, head: ptr::null_mut(), namespace: 1, _not_send: PhantomData };
        Known { generation: Cell::new(0), thread: Cell::new(nobody) }
    };
}

/// The thread's identity and the fork generation in which it was read; generation 0 is none.
///
/// The identity is written first, so that a signal handler in between finds no half of it.
struct Known {
    generation: Cell<u32>,
    thread: Cell<Thread>,
}

impl Known {
    fn set(&self, generation: u32, thread: Thread) {
        self.thread.set(thread);
        compiler_fence();
        self.generation.set(generation);
    }
}

impl Thread {
    /// The calling thread.
    ///
    /// # Errors
    ///
    /// `Unsupported` where the C library registered no robust list for this thread, or what
    /// get_robust_list(2) reports.
    #[inline]
    pub(crate) fn current() -> io::Result<Self> {
        let generation = fork_generation()?;
        CURRENT.with(|current| {
            if current.generation.get() == generation {
                return Ok(current.thread.get());
            }
            Self::look_up(generation)
        })
    }

    /// The calling thread, if it has been asked for before in this process.
    #[inline(always)]
    pub(crate) fn known() -> Option<Self> {
        // SYNC: fork-page
        let page = PAGE.load(Ordering::Acquire);
        if page.is_null() {
            return None;
        }
        // SAFETY: as in `fork_generation`.
        let page = unsafe { &*page };
        CURRENT.with(|current| {
            let known = current.generation.get();
            // In a forked child the page reads 0, which no thread has as its generation but one that was
            // never asked for.
            (known != 0 && known == page.load(Ordering::Relaxed)).then(|| current.thread.get())
        })
    }

    #[cold]
    fn look_up(generation: u32) -> io::Result<Self> {
        let mut head: *mut RobustListHead = ptr::null_mut();
        let mut length = 0usize;
        // SAFETY: both out-parameters are live; the call writes one pointer and one length.
        let outcome =
            unsafe { libc::syscall(libc::SYS_get_robust_list, 0, &raw mut head, &raw mut length) };
        if outcome != 0 {
            return Err(refused("get_robust_list(2)", io::Error::last_os_error()));
        }
        if head.is_null() || length != size_of::<RobustListHead>() {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "this thread has no robust futex list: it was not made by the C library",
            ));
        }
        // SAFETY: gettid has no preconditions.
        let id = unsafe { libc::gettid() };
        let id = id.unsigned_abs() & futex::TID_MASK;
        let namespace = super::process::namespace().max(1);
        let thread = Self {
            id,
            head,
            namespace,
            _not_send: PhantomData,
        };
        CURRENT.with(|current| {
            if current.generation.get() != 0 {
                // What a signal handler that forked was inside of, and this thread is not. The C library leaves it.
                thread.set_pending(ptr::null_mut());
            }
            current.set(generation, thread);
        });
        Ok(thread)
    }

    /// The thread's id as a lock word holds it.
    #[inline]
    pub(crate) fn id(self) -> u32 {
        self.id
    }

    /// The pid namespace that the id belongs to.
    #[inline]
    pub(crate) fn namespace(self) -> u64 {
        self.namespace
    }

    /// Announces to the kernel that this thread may from now on own `word`. `None` where another announcement is in
    /// place: this is a signal handler, and the thread is inside a lock that the kernel has to know of.
    ///
    /// That lock may be the same one, that of another pipe, or a robust mutex of the C library or of another copy of
    /// this crate. There is one place for all of them, so none may be replaced. A handler that comes between the look
    /// and the store is through with its own announcements when the thread goes on, and has taken them back.
    #[inline]
    pub(crate) fn announce(self, word: &AtomicU32) -> Option<Pending> {
        // SAFETY: the kernel gave this head for the calling thread, `Thread` never leaves it, and
        // the C library keeps it for the thread's life.
        let offset = unsafe { (*self.head).futex_offset };
        // The kernel adds the offset to the announced address to find the futex word.
        let entry = ptr::from_ref(word).addr().wrapping_sub(offset as usize);
        if !self.pending().is_null() {
            return None;
        }
        self.set_pending(ptr::without_provenance_mut(entry));
        Some(Pending { thread: self })
    }

    /// What is announced. Volatile, since a signal handler may have changed it.
    #[inline]
    fn pending(self) -> *mut libc::c_void {
        // SAFETY: as in `announce`; only the address of the field is taken.
        let field = unsafe { &raw const (*self.head).list_op_pending };
        // SAFETY: the field is valid for this thread and written by no other.
        unsafe { field.read_volatile() }
    }

    /// Replaces `list_op_pending`. Volatile, because its reader is the kernel at this thread's
    /// death, which can come between any two instructions; the fences keep the compiler from moving
    /// the lock's own accesses across it.
    #[inline]
    fn set_pending(self, entry: *mut libc::c_void) {
        // SAFETY: as in `announce`; only the address of the field is taken.
        let field = unsafe { &raw mut (*self.head).list_op_pending };
        compiler_fence();
        // SAFETY: the field is valid for this thread and written by no other.
        unsafe { field.write_volatile(entry) };
        compiler_fence();
        kill_point();
    }
}

/// An announcement that must be taken back after the lock is released.
pub(crate) struct Pending {
    thread: Thread,
}

impl Pending {
    /// The thread that announced.
    #[inline]
    pub(crate) fn thread(&self) -> Thread {
        self.thread
    }

    /// Takes the announcement back.
    #[inline]
    pub(crate) fn take_back(self) {
        self.thread.set_pending(ptr::null_mut());
    }
}

fn compiler_fence() {
    core::sync::atomic::compiler_fence(Ordering::SeqCst);
}

/// Number of this process among its forked ancestors: differs from the parent's in a child, however
/// it was forked. Never 0.
///
/// One page is wiped in a child by the kernel (`MADV_WIPEONFORK`, madvise(2)); a wiped page means
/// that this process is new. The page is found without a lock: one that another thread held at the
/// moment of a fork would stay locked in the child.
///
/// # Errors
///
/// What mapping the page reports, at the first call in a process.
#[inline]
pub(crate) fn fork_generation() -> io::Result<u32> {
    // SYNC: fork-page
    let page = PAGE.load(Ordering::Acquire);
    if page.is_null() {
        return first_generation();
    }
    // SAFETY: the page is mapped for good before it is put there, and only used as this atomic.
    let page = unsafe { &*page };
    match page.load(Ordering::Relaxed) {
        0 => Ok(new_generation(page)),
        generation => Ok(generation),
    }
}

/// The page that a fork wipes; null before its first use.
static PAGE: AtomicPtr<AtomicU32> = AtomicPtr::new(ptr::null_mut());

#[cold]
fn first_generation() -> io::Result<u32> {
    let page = super::memory::wiped_on_fork()?.as_ptr();
    // SYNC: fork-page. Another thread may have been first; then ours is a page lost.
    let winner = PAGE.compare_exchange(ptr::null_mut(), page, Ordering::AcqRel, Ordering::Acquire);
    let page = winner.err().unwrap_or(page);
    // SAFETY: as in `fork_generation`.
    Ok(new_generation(unsafe { &*page }))
}

#[cold]
fn new_generation(page: &AtomicU32) -> u32 {
    match page.load(Ordering::Relaxed) {
        0 => {}
        known => return known,
    }
    // Ordinary memory, so a child goes on counting where its parent was.
    static LAST: AtomicU32 = AtomicU32::new(0);
    let generation = LAST.fetch_add(1, Ordering::Relaxed) + 1;
    match page.compare_exchange(0, generation, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => generation,
        Err(other_thread) => other_thread,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announcement_is_seen_by_the_kernel_and_taken_back() {
        let thread = Thread::current().unwrap();
        let word = AtomicU32::new(0);
        let pending = thread.announce(&word).unwrap();
        // SAFETY: this thread's own head.
        let announced = unsafe { (*thread.head).list_op_pending };
        // SAFETY: as above.
        let offset = unsafe { (*thread.head).futex_offset };
        assert_eq!(
            announced.addr().wrapping_add(offset as usize),
            ptr::from_ref(&word).addr()
        );
        pending.take_back();
        // SAFETY: as above.
        assert!(unsafe { (*thread.head).list_op_pending }.is_null());
    }

    #[test]
    fn an_announcement_in_place_is_left_alone() {
        let thread = Thread::current().unwrap();
        let (word, another) = (AtomicU32::new(0), AtomicU32::new(0));
        let pending = thread.announce(&word).unwrap();
        let announced = thread.pending();
        assert!(thread.announce(&another).is_none());
        assert!(thread.announce(&word).is_none());
        assert_eq!(thread.pending(), announced);
        pending.take_back();
        thread.announce(&another).unwrap().take_back();
    }

    #[test]
    fn every_thread_has_its_own_id() {
        let here = Thread::current().unwrap().id();
        let there = std::thread::spawn(|| Thread::current().unwrap().id())
            .join()
            .unwrap();
        assert_ne!(here, there);
    }
}
