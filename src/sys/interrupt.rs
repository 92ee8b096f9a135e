//! What ends calls that sleep before their time: an embedder's hook, asked before each sleep and after each signal,
//! and a close of the side that the call is about.
//!
//! It knows nothing of who sleeps and why. A call that ends so is given up as one whose time is over.

use std::cell::Cell;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io, mem, ptr};

use super::clock::{self, Deadline};
use super::closing::{Asleep, Closing};

/// Longest sleep in futex(2) of a thread that has a hook, which can be woken there by a signal but by no descriptor.
const LAST_LOOK: Duration = Duration::from_millis(50);

thread_local! {
    /// What the calling thread's sleeps have to ask; null for nothing.
    static CURRENT: Cell<*const Interrupt<'static>> = const { Cell::new(ptr::null()) };
    /// When it is asked for the first time, by the clock; zero for at once.
    static ASKED_FROM: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    /// The side whose close ends the calling thread's sleeps; null for none.
    static CLOSING: Cell<*const Closing> = const { Cell::new(ptr::null()) };
}

/// A hook that can end the blocking calls of a thread, as an interpreter needs it for Ctrl-C.
///
/// A handled signal does not end a call: the wait goes on with the same deadline. Within [`during`](Self::during) a
/// hook is asked, before each sleep and after each signal that ended one. Where it returns `true` the call ends with
/// `Interrupted` ([`io::ErrorKind::Interrupted`]). It is asked on the thread that called, by every wait: for a message,
/// for room, and for another sender or receiver to finish. [`poll`](crate::Receiver::poll), [`wait`](crate::wait) and
/// [`Slot::commit`](crate::Slot::commit) are such waits too. Calls that need not sleep, `try_` calls and drops never ask,
/// and calls outside of `during` pay nothing.
///
/// Nothing is lost. A message that was being sent is taken back whole, also a long one of which fragments were received.
/// The fragments of a message that was being received are kept for the next receive.
///
/// # Signals that come too early
///
/// A signal that comes after the hook was asked and before the sleep ends no sleep, and the hook would be asked only
/// after the next one. With a descriptor by [`woken_by`](Self::woken_by) nothing is too early: while it is readable
/// no call sleeps, and the hook is asked. Let the handler write to an eventfd(2) or a pipe. In Python that is
/// `signal.set_wakeup_fd`. The hook reads the descriptor empty before it returns `false`; otherwise it is asked again and
/// again.
///
/// One sleep cannot watch a descriptor, because it is in futex(2): that of a call that waits for another sender or
/// receiver to finish. A signal ends it too, and in addition the hook is asked every 50 ms.
///
/// # What the hook may do
///
/// It may take as long as it likes, but others wait meanwhile if the call that asks is inside a long message. It may use
/// pipes, and those calls ask no hook. They end with `Reentrant` where the call that asks is in the middle of a message
/// or waits for another sender or receiver. A panic in the hook ends the process.
///
/// Loops of the standard library repeat a call that ended with `Interrupted`: [`read_exact`](io::Read::read_exact),
/// [`read_to_end`](io::Read::read_to_end), [`io::copy`], [`write_all`](io::Write::write_all). A hook does not end them.
/// Use [`recv`](crate::Receiver::recv), [`send`](crate::Sender::send), or a single `read` or `write`.
///
/// # Examples
///
/// ```
/// use std::sync::atomic::{AtomicBool, Ordering};
///
/// static STOP: AtomicBool = AtomicBool::new(false); // set by a handler of SIGINT, say
///
/// let (mut rx, _tx) = shmpipe::pipe()?;
/// # STOP.store(true, Ordering::Relaxed);
/// let outcome = shmpipe::Interrupt::new(&|| STOP.load(Ordering::Relaxed)).during(|| rx.recv().map(drop));
/// assert!(matches!(outcome, Err(shmpipe::RecvError::Interrupted)));
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// A binding keeps what the interpreter raised for after the call:
///
/// ```
/// use std::cell::Cell;
///
/// # fn check_signals() -> Result<(), String> { Err("KeyboardInterrupt".into()) }
/// # let (mut rx, _tx) = shmpipe::pipe()?;
/// let raised = Cell::new(None);
/// let hook = || match check_signals() {
///     Ok(()) => false,
///     Err(error) => {
///         raised.set(Some(error));
///         true
///     }
/// };
/// let outcome = shmpipe::Interrupt::new(&hook).during(|| rx.recv().map(drop));
/// assert!(outcome.is_err());
/// assert_eq!(raised.take().as_deref(), Some("KeyboardInterrupt"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Interrupt<'a> {
    hook: &'a dyn Fn() -> bool,
    wake: Option<BorrowedFd<'a>>,
    grace: Duration,
}

impl<'a> Interrupt<'a> {
    /// A hook that ends a call by returning `true`.
    ///
    /// # Examples
    ///
    /// See [`Interrupt`].
    #[must_use = "nothing is interrupted outside of `during`"]
    pub fn new(hook: &'a dyn Fn() -> bool) -> Self {
        Self {
            hook,
            wake: None,
            grace: Duration::ZERO,
        }
    }

    /// Has the hook asked also when `wake` becomes, or is, readable: see
    /// [above](Interrupt#signals-that-come-too-early).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::cell::Cell;
    /// use std::io::Write;
    /// use std::os::{fd::AsFd, unix::net::UnixStream};
    ///
    /// let (mut rx, _tx) = shmpipe::pipe()?;
    /// let (wake, handler) = UnixStream::pair()?;
    /// let asked = Cell::new(0);
    /// let hook = || {
    ///     if asked.replace(1) == 0 {
    ///         (&handler).write_all(b"!").unwrap(); // as by a signal handler that comes too early
    ///         return false;
    ///     }
    ///     true
    /// };
    /// let interrupt = shmpipe::Interrupt::new(&hook).woken_by(wake.as_fd());
    /// let outcome = interrupt.during(|| rx.recv().map(drop));
    /// assert!(matches!(outcome, Err(shmpipe::RecvError::Interrupted)));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use = "nothing is interrupted outside of `during`"]
    pub fn woken_by(mut self, wake: BorrowedFd<'a>) -> Self {
        self.wake = Some(wake);
        self
    }

    /// Has the hook asked only from `span` after the beginning of [`during`](Self::during) on, or from the first signal
    /// that ends a sleep on. For a hook that is dear, an interpreter's lock for one, and whose question the embedder has
    /// put by itself just before. Most waits end sooner and never ask.
    ///
    /// A sleep that begins within `span` ends with it once, to ask. So a signal that came before the sleep is heard by then.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::cell::Cell;
    /// use std::time::Duration;
    ///
    /// let (mut rx, mut tx) = shmpipe::pipe()?;
    /// let asked = Cell::new(false);
    /// let hook = || asked.replace(true);
    /// let interrupt = shmpipe::Interrupt::new(&hook).after(Duration::from_millis(10));
    /// tx.send(b"there")?;
    /// interrupt.during(|| rx.recv().map(drop))?;
    /// assert!(!asked.get());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use = "nothing is interrupted outside of `during`"]
    pub fn after(mut self, span: Duration) -> Self {
        self.grace = span;
        self
    }

    /// Runs `calls`, and has every sleep in it on this thread ask the hook. Inside another `during` only the inner hook is
    /// asked.
    ///
    /// # Examples
    ///
    /// See [`Interrupt`].
    pub fn during<R>(&self, calls: impl FnOnce() -> R) -> R {
        let asked_from = match self.grace {
            Duration::ZERO => Duration::ZERO,
            grace => clock::now().saturating_add(grace),
        };
        let _until_here = Replaced::by(ptr::from_ref(self).cast(), asked_from);
        calls()
    }
}

impl fmt::Debug for Interrupt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interrupt")
            .field("wake", &self.wake)
            .finish_non_exhaustive()
    }
}

/// Puts back what there was to ask before.
struct Replaced(*const Interrupt<'static>, Duration);

impl Replaced {
    fn by(current: *const Interrupt<'static>, asked_from: Duration) -> Self {
        Self(CURRENT.replace(current), ASKED_FROM.replace(asked_from))
    }
}

impl Drop for Replaced {
    fn drop(&mut self) {
        CURRENT.set(self.0);
        ASKED_FROM.set(self.1);
    }
}

/// What the calling thread's sleeps have to ask.
#[inline]
fn current() -> Option<&'static Interrupt<'static>> {
    // SAFETY: null, or what a `during` further up on this thread's stack borrows until it has put back what was there
    // before. No caller of this module keeps it beyond its own call.
    unsafe { CURRENT.get().as_ref() }
}

/// While it lives a close of the side ends the calling thread's sleeps.
pub(crate) struct EndedByClose<E: AsRef<Closing>> {
    before: *const Closing,
    /// Keeps what is pointed to.
    _end: Option<Arc<E>>,
}

impl<E: AsRef<Closing>> EndedByClose<E> {
    /// Only another handle to the side can close it while this thread's call has one, so where there is none the sleeps
    /// have nothing to watch.
    pub(crate) fn of(end: &Arc<E>) -> Self {
        // The model checker's threads have one thread's variables among them.
        let is_alone = Arc::strong_count(end) == 1 || cfg!(loom);
        let closing = if is_alone {
            ptr::null()
        } else {
            ptr::from_ref((**end).as_ref())
        };
        Self {
            before: CLOSING.replace(closing),
            _end: (!is_alone).then(|| Arc::clone(end)),
        }
    }
}

impl<E: AsRef<Closing>> Drop for EndedByClose<E> {
    fn drop(&mut self) {
        CLOSING.set(self.before);
    }
}

#[inline]
fn closing() -> Option<&'static Closing> {
    // SAFETY: null, or what an `EndedByClose` further up on this thread's stack keeps until it has put back what was
    // there before. No caller of this module keeps it beyond its own call.
    unsafe { CLOSING.get().as_ref() }
}

/// Asks whether the calling thread's call is to end; before a sleep, and after each one that a signal ended.
///
/// # Errors
///
/// Of the kind `Interrupted` where the hook wants it; as [`Closing::check`].
#[inline]
pub(crate) fn ask() -> io::Result<()> {
    if let Some(interrupt) = current().filter(|_| time_unasked().is_none()) {
        ask_hook(interrupt)?;
    }
    check_close()
}

/// How long the hook is not to be asked yet.
fn time_unasked() -> Option<Duration> {
    let asked_from = ASKED_FROM.get();
    if asked_from.is_zero() {
        return None;
    }
    let left = asked_from
        .checked_sub(clock::now())
        .filter(|left| !left.is_zero());
    if left.is_none() {
        note_signal();
    }
    left
}

/// Has the next question put, whatever the time: a signal has ended a sleep.
pub(crate) fn note_signal() {
    ASKED_FROM.set(Duration::ZERO);
}

#[cold]
fn ask_hook(interrupt: &Interrupt<'_>) -> io::Result<()> {
    // A call that the hook makes asks nobody.
    let _while_asked = Replaced::by(ptr::null(), Duration::ZERO);
    let _without_close = NoClose(CLOSING.replace(ptr::null()));
    let no_panic = EndsTheProcess;
    let is_to_end = (interrupt.hook)();
    mem::forget(no_panic);
    if is_to_end {
        Err(io::ErrorKind::Interrupted.into())
    } else {
        Ok(())
    }
}

/// What a hook interrupts is in the middle of something that others see, which no unwinding puts right.
struct EndsTheProcess;

impl Drop for EndsTheProcess {
    fn drop(&mut self) {
        std::process::abort();
    }
}

/// Puts back what a hook's own calls are not to hear of.
struct NoClose(*const Closing);

impl Drop for NoClose {
    fn drop(&mut self) {
        CLOSING.set(self.0);
    }
}

/// What a sleep in poll(2) has to mind.
pub(crate) struct Watched {
    /// Watched for the hook.
    pub(crate) wake: Option<BorrowedFd<'static>>,
    /// Watched for a close.
    pub(crate) alarm: Option<BorrowedFd<'static>>,
    /// When it ends: earlier than asked for where the hook is to be asked later, or a close could not wake it.
    pub(crate) deadline: Deadline,
    /// Dropped after the sleep.
    pub(crate) asleep: Option<Asleep<'static>>,
}

/// As [`ask`], unless it is no sleep since `deadline` has passed. A sleep that cannot hear the alarm looks by itself.
///
/// # Errors
///
/// As [`ask`].
#[inline]
pub(crate) fn ask_and_watch(deadline: Deadline, is_alarm_heard: bool) -> io::Result<Watched> {
    let mut watched = Watched {
        wake: None,
        alarm: None,
        deadline,
        asleep: None,
    };
    let (hook, closing) = (current(), closing());
    if hook.is_none() && closing.is_none() || deadline.passed() {
        return Ok(watched);
    }
    if let Some(hook) = hook {
        match time_unasked() {
            Some(left) => watched.deadline = deadline.at_most(left),
            None => ask_hook(hook)?,
        }
        watched.wake = hook.wake;
    }
    if let Some(closing) = closing {
        watched.alarm = closing.alarm().filter(|_| is_alarm_heard);
        watched.asleep = Some(closing.fall_asleep()?);
        if watched.alarm.is_none() {
            watched.deadline = watched.deadline.at_most(LAST_LOOK);
        }
    }
    Ok(watched)
}

/// Counts the calling thread as asleep, for a sleep in futex(2) that a close ends.
///
/// # Errors
///
/// As [`Closing::check`].
#[inline]
pub(crate) fn fall_asleep() -> io::Result<Option<Asleep<'static>>> {
    closing().map(Closing::fall_asleep).transpose()
}

/// # Errors
///
/// As [`Closing::check`], for the side of the calling thread's call.
#[inline]
pub(crate) fn check_close() -> io::Result<()> {
    closing().map_or(Ok(()), Closing::check)
}

/// Whether the calling thread's sleeps have anything to ask.
#[inline]
pub(crate) fn is_asked() -> bool {
    current().is_some()
}

/// The deadline of a sleep that can watch no descriptor: it ends soon enough to ask again.
#[inline]
pub(crate) fn soon(deadline: Deadline) -> Deadline {
    match (current(), time_unasked()) {
        // Between two sleeps a signal ends none, so the fewer the better.
        (Some(_), Some(left)) => deadline.at_most(left),
        (Some(_), None) => deadline.at_most(LAST_LOOK),
        (None, _) => deadline,
    }
}
