//! Who the calling thread is, for locks that must survive their owner.
//!
//! The kernel knows, for each thread, the head of a list of robust futexes (set_robust_list(2),
//! Documentation/locking/robust-futex-ABI.rst). The C library registers it, and where it has not this module does; it
//! writes the `list_op_pending` field only: the one lock that the thread is taking, holding or releasing.
//! When the thread dies the kernel looks at that word, and if it holds the thread's id sets
//! `FUTEX_OWNER_DIED` in it and wakes a waiter. No pointer ever lies in shared memory.
//!
//! A thread has thread-local storage of its own; one made by clone(2) without, which shares its maker's, is none that
//! Rust code can run in.

use std::cell::{Cell, UnsafeCell};
use std::io;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr;

use super::fork::{AtomicGeneration, OwnPage};
use super::refused::refused;
use super::{futex, process};
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
    /// What is added to the address of a lock word that is announced: the list's `futex_offset` with the other sign. Whoever
    /// registered the list does not change that any more.
    to_entry: usize,
    /// As in [`Process`](process::Process).
    namespace: u64,
    _not_send: PhantomData<*mut ()>,
}

thread_local! {
    static CURRENT: Known = const {
        let nobody = Thread { id: 0, head: ptr::null_mut(), to_entry: 0, namespace: 1, _not_send: PhantomData };
        Known { generation: Cell::new(0), process: Cell::new(&raw const NO_PROCESS), thread: Cell::new(nobody), sent: Cell::new(0) }
    };
}

/// The generation of a thread that was never asked for, which is that of no process; nor is this one of a thread.
static NO_PROCESS: AtomicGeneration = AtomicGeneration::new(u32::MAX);

/// What is known of a thread: its identity and the fork generation in which that was read; generation 0 is none.
///
/// The identity is written first and the place of the process's generation last, so that a signal handler in between finds
/// no half of it; nor does a child that the handler forks, for which the process has generation 0 too.
pub(crate) struct Known {
    generation: Cell<u32>,
    /// Where the generation of the process stands, at hand beside the thread's own.
    process: Cell<*const AtomicGeneration>,
    thread: Cell<Thread>,
    /// Messages that the thread has sent, by whatever end.
    sent: Cell<u32>,
}

impl Known {
    /// The thread, if it has been asked for before in this process.
    #[inline(always)]
    pub(crate) fn thread(&self) -> Option<Thread> {
        // In a forked child the page reads 0 or a new generation. A thread that was never asked for has 0, and looks
        // at a word that never does.
        // SAFETY: `NO_PROCESS` or a word of the process's page, both of which are there for good.
        let ours = unsafe { &*self.process.get() }.load(Ordering::Relaxed);
        (self.generation.get() == ours).then(|| self.thread.get())
    }

    /// Counts a message for [`Thread::sent`].
    #[inline(always)]
    pub(crate) fn note_sent(&self) {
        self.sent.set(self.sent.get().wrapping_add(1));
    }

    /// Calls `between` between two steps.
    fn set(
        &self,
        page: &'static OwnPage,
        generation: u32,
        thread: Thread,
        mut between: impl FnMut(),
    ) {
        self.thread.set(thread);
        between();
        self.generation.set(generation);
        between();
        self.process.set(ptr::from_ref(page.generation_word()));
    }
}

impl Thread {
    /// The calling thread.
    ///
    /// # Errors
    ///
    /// As [`process::namespace`], or what get_robust_list(2) and set_robust_list(2) report.
    #[inline]
    pub(crate) fn current() -> io::Result<Self> {
        let page = OwnPage::get()?;
        let generation = page.generation();
        CURRENT.with(|current| {
            if current.generation.get() == generation {
                return Ok(current.thread.get());
            }
            // In a forked child it has the address of this thread's list, as it was in the parent.
            Self::look_up(page, generation, current.thread.get().head)
        })
    }

    /// The calling thread, if it has been asked for before in this process.
    #[inline(always)]
    pub(crate) fn known() -> Option<Self> {
        Self::with(Known::thread)
    }

    /// Calls `act` with what is known of the calling thread. To find that is a call in code that may be loaded anywhere,
    /// after which no register holds what it held; so the fast path does it once, and first.
    #[inline(always)]
    pub(crate) fn with<T>(act: impl FnOnce(&Known) -> T) -> T {
        CURRENT.with(act)
    }

    /// How many messages the calling thread has sent, wrapping around.
    pub(crate) fn sent() -> u32 {
        CURRENT.with(|current| current.sent.get())
    }

    #[cold]
    fn look_up(
        page: &'static OwnPage,
        generation: u32,
        parents: *mut RobustListHead,
    ) -> io::Result<Self> {
        let head = match registered()? {
            Some(head) => head,
            None => register(parents)?,
        };
        // The kernel's own word: musl's function says what it noted when it last made a thread or a process.
        // SAFETY: gettid has no preconditions.
        let id = unsafe { libc::syscall(libc::SYS_gettid) };
        let id = id.unsigned_abs() as u32 & futex::TID_MASK;
        // SAFETY: the kernel gave this head for the calling thread, or has just been given it.
        let offset = unsafe { (*head).futex_offset };
        let thread = Self {
            id,
            head,
            to_entry: (offset as usize).wrapping_neg(),
            namespace: process::namespace()?,
            _not_send: PhantomData,
        };
        CURRENT.with(|current| {
            if current.generation.get() != 0 {
                // What a signal handler that forked was inside of, and this thread is not. The C library leaves it.
                thread.set_pending(ptr::null_mut());
            }
            current.set(page, generation, thread, compiler_fence);
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
        // The kernel adds the offset to the announced address to find the futex word.
        let entry = ptr::from_ref(word).addr().wrapping_add(self.to_entry);
        if !self.pending().is_null() {
            return None;
        }
        self.set_pending(ptr::without_provenance_mut(entry));
        Some(Pending { thread: self })
    }

    /// What is announced. Volatile, since a signal handler may have changed it.
    #[inline]
    fn pending(self) -> *mut libc::c_void {
        // SAFETY: the kernel gave this head for the calling thread, `Thread` never leaves it, and
        // the C library keeps it for the thread's life; only the address of the field is taken.
        let field = unsafe { &raw const (*self.head).list_op_pending };
        // SAFETY: the field is valid for this thread and written by no other.
        unsafe { field.read_volatile() }
    }

    /// Replaces `list_op_pending`. Volatile, because its reader is the kernel at this thread's
    /// death, which can come between any two instructions; the fences keep the compiler from moving
    /// the lock's own accesses across it.
    #[inline]
    fn set_pending(self, entry: *mut libc::c_void) {
        // SAFETY: as in `pending`; only the address of the field is taken.
        let field = unsafe { &raw mut (*self.head).list_op_pending };
        compiler_fence();
        // SAFETY: the field is valid for this thread and written by no other.
        unsafe { field.write_volatile(entry) };
        compiler_fence();
        kill_point();
    }
}

impl Thread {
    /// What this thread has announced and not taken back.
    pub(crate) fn announced(self) -> Pending {
        Pending { thread: self }
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

/// The list that the kernel knows for this thread.
fn registered() -> io::Result<Option<*mut RobustListHead>> {
    let mut head: *mut RobustListHead = ptr::null_mut();
    let mut length = 0usize;
    // SAFETY: both out-parameters are live; the call writes one pointer and one length.
    let outcome =
        unsafe { libc::syscall(libc::SYS_get_robust_list, 0, &raw mut head, &raw mut length) };
    if outcome != 0 {
        return Err(refused("get_robust_list(2)", io::Error::last_os_error()));
    }
    // The kernel takes lists of this length only.
    Ok((!head.is_null()).then_some(head))
}

/// Registers a list for a thread of which the kernel knows none: in a child of clone(2) that of the same thread in the
/// `parents` memory, which is the C library's own; with a C library that does so when it first needs one, that one; else
/// one of ours.
///
/// The list has to stay for good, since the C library goes on using its own one once it has registered that.
#[cold]
fn register(parents: *mut RobustListHead) -> io::Result<*mut RobustListHead> {
    if cfg!(target_env = "musl") {
        lock_a_robust_mutex();
        if let Some(head) = registered()? {
            return Ok(head);
        }
    }
    let head = if parents.is_null() {
        own_list()
    } else {
        parents
    };
    let length = size_of::<RobustListHead>();
    // SAFETY: the list lies in this thread's own memory, which the C library frees only when the kernel has done with
    // the thread.
    let outcome = unsafe { libc::syscall(libc::SYS_set_robust_list, head, length) };
    if outcome != 0 {
        return Err(refused("set_robust_list(2)", io::Error::last_os_error()));
    }
    Ok(head)
}

/// This thread's own list, empty.
fn own_list() -> *mut RobustListHead {
    thread_local! {
        static OWN: UnsafeCell<RobustListHead> = const {
            let null = ptr::null_mut();
            UnsafeCell::new(RobustListHead { list: null, futex_offset: 0, list_op_pending: null })
        };
    }
    let head = OWN.with(UnsafeCell::get);
    let own = RobustListHead {
        // A list without entries ends where it begins.
        list: head.cast(),
        futex_offset: 0,
        list_op_pending: ptr::null_mut(),
    };
    // SAFETY: the place is this thread's, and the kernel does not know it yet.
    unsafe { head.write(own) };
    head
}

/// Takes and releases a robust mutex that processes could share, for which musl registers its list if it has not yet.
/// From then on it does so no more, which would replace what is registered here.
fn lock_a_robust_mutex() {
    const ROBUST: libc::c_int = 1;
    let mut attributes = MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
    let mut mutex = MaybeUninit::<libc::pthread_mutex_t>::uninit();
    // SAFETY: the call initialises the attributes.
    unsafe { libc::pthread_mutexattr_init(attributes.as_mut_ptr()) };
    // SAFETY: they are initialised.
    unsafe { libc::pthread_mutexattr_setrobust(attributes.as_mut_ptr(), ROBUST) };
    // SAFETY: they are initialised.
    unsafe {
        libc::pthread_mutexattr_setpshared(attributes.as_mut_ptr(), libc::PTHREAD_PROCESS_SHARED)
    };
    // SAFETY: the call initialises the mutex, which does not move until it is destroyed.
    unsafe { libc::pthread_mutex_init(mutex.as_mut_ptr(), attributes.as_ptr()) };
    // SAFETY: it is initialised.
    if unsafe { libc::pthread_mutex_lock(mutex.as_mut_ptr()) } == 0 {
        // SAFETY: this thread has just locked it.
        unsafe { libc::pthread_mutex_unlock(mutex.as_mut_ptr()) };
    }
    // SAFETY: nobody has it locked.
    unsafe { libc::pthread_mutex_destroy(mutex.as_mut_ptr()) };
    // SAFETY: they are initialised, and used no more.
    unsafe { libc::pthread_mutexattr_destroy(attributes.as_mut_ptr()) };
}

fn compiler_fence() {
    core::sync::atomic::compiler_fence(Ordering::SeqCst);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fork::Child;

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

    /// A signal handler that comes while the thread is noted may fork, and its child reads 0 for the generation.
    #[test]
    fn a_thread_that_is_half_noted_is_known_nowhere() {
        let page = OwnPage::get().unwrap();
        let thread = Thread::current().unwrap();
        let known = Known {
            generation: Cell::new(0),
            process: Cell::new(&raw const NO_PROCESS),
            thread: Cell::new(thread),
            sent: Cell::new(0),
        };
        let is_unknown_in_a_child = || Child::of(|| known.thread().is_none()).ends_well();
        let mut steps = 0;
        known.set(page, page.generation(), thread, || {
            assert!(known.thread().is_none() && is_unknown_in_a_child());
            steps += 1;
        });
        assert_eq!(steps, 2);
        assert!(known.thread().is_some() && is_unknown_in_a_child());
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
    fn the_list_is_the_c_librarys_own_which_it_will_not_replace() {
        let check = || {
            let thread = Thread::current().unwrap();
            lock_a_robust_mutex();
            assert_eq!(registered().unwrap(), Some(thread.head));
            assert_ne!(thread.head, own_list());
        };
        check();
        std::thread::spawn(check).join().unwrap();
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
