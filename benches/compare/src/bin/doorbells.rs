//! `doorbells`: ways to sleep until the other process rings, and what each costs, needs and sees.
//!
//! Two processes ring for each other by turns and sleep in between, on one CPU and on two. Slices of all ways are
//! interleaved, and the ratios are formed within a round. Then one process is killed while the other one sleeps, which
//! shows how long its death goes unseen. It prints a table for docs/performance.md.

use std::error::Error;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::process;
use std::ptr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{Signal, kill, raise};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, recv, send, setsockopt, socketpair,
    sockopt::ReceiveTimeout,
};
use nix::sys::time::{TimeVal, TimeValLike};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, pipe, read, write};
use shmpipe_measure::machine;
use shmpipe_measure::session::{fork_child, pin_to};
use shmpipe_measure::shared::{Atomics, Shared};
use shmpipe_measure::statistics::Spread;
use shmpipe_measure::units::three;

/// Rings after which an edge-triggered end takes out what has come in.
const DRAIN: u32 = 64;

/// The packet that rings.
const TOKEN: [u8; 4] = [0; 4];

/// Longest wait for a death to be seen.
const WATCHDOG: Duration = Duration::from_secs(1);

/// How often each death is tried.
const DEATHS: usize = 5;

/// Ways to sleep until the other process rings, and what each costs, needs and sees
#[derive(Parser, Debug)]
struct Options {
    /// Rounds over all ways
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,

    /// Round trips in each slice
    #[arg(long, default_value_t = 3000, value_parser = clap::value_parser!(u64).range(1..))]
    trips: u64,
}

/// A way to sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bell {
    /// A pipe for each way: read(2).
    PipeRead,
    /// A word for each way: futex(2), woken up every so often to look at a socket.
    Futex(Option<Duration>),
    /// An eventfd(2) for each way: read(2).
    EventRead,
    /// A pair of SEQPACKET sockets: ppoll(2), then recv(2).
    PacketPoll,
    /// The same: recv(2), which gives up every so often.
    PacketRead(Option<Duration>),
    /// A pair of sockets of either kind in an edge-triggered epoll(7), which is drained now and then.
    Edge(SockType),
    /// An eventfd(2) for each way in an edge-triggered epoll(7), with a socket that shows a death.
    EdgeEvent,
}

/// All of them, the one that the others are compared with first.
const BELLS: [Bell; 11] = [
    Bell::PipeRead,
    Bell::Futex(None),
    Bell::Futex(Some(Duration::from_millis(10))),
    Bell::Futex(Some(Duration::from_millis(1))),
    Bell::EventRead,
    Bell::PacketPoll,
    Bell::PacketRead(None),
    Bell::PacketRead(Some(Duration::from_millis(10))),
    Bell::Edge(SockType::SeqPacket),
    Bell::Edge(SockType::Stream),
    Bell::EdgeEvent,
];

impl Bell {
    fn name(self) -> String {
        match self {
            Self::PipeRead => "pipe, blocking read".into(),
            Self::Futex(None) => "futex".into(),
            Self::Futex(Some(bound)) => format!("futex, at most {bound:?}"),
            Self::EventRead => "eventfd, blocking read".into(),
            Self::PacketPoll => "SEQPACKET, poll and recv (the crate)".into(),
            Self::PacketRead(None) => "SEQPACKET, blocking recv".into(),
            Self::PacketRead(Some(bound)) => {
                format!("SEQPACKET, blocking recv, SO_RCVTIMEO of {bound:?}")
            }
            Self::Edge(SockType::SeqPacket) => "SEQPACKET, edge-triggered epoll".into(),
            Self::Edge(_) => "stream socket, edge-triggered epoll".into(),
            Self::EdgeEvent => "eventfd and socket, edge-triggered epoll".into(),
        }
    }
}

/// What both processes see.
#[repr(C)]
struct Words {
    /// Rings for either side; it is written by the other one by Release, and read by Acquire.
    rings: [Padded; 2],
    /// When the victim died, in nanoseconds since the start; written by it by Release, and read by Acquire.
    died: AtomicU64,
}

/// A word on a line of its own.
#[repr(C, align(128))]
struct Padded(AtomicU32);

// SAFETY: atomics and an array of them.
unsafe impl Atomics for Words {}

/// What a process has for a bell.
struct End<'a> {
    bell: Bell,
    side: usize,
    words: &'a Words,
    /// Rung for by it; `None` where words are.
    to: Option<OwnedFd>,
    /// Heard by it; `None` where it is the same as `to`.
    from: Option<OwnedFd>,
    /// Shows a death; `None` where another one does, or none.
    life: Option<OwnedFd>,
    epoll: Option<Epoll>,
    heard: u32,
}

/// Whether somebody rang.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    Ring,
    Death,
}

/// Makes both ends.
fn open(bell: Bell, words: &Words) -> io::Result<[End<'_>; 2]> {
    let sockets = |kind| -> io::Result<[Option<OwnedFd>; 2]> {
        let (a, b) = socketpair(AddressFamily::Unix, kind, None, SockFlag::SOCK_CLOEXEC)?;
        Ok([Some(a), Some(b)])
    };
    let events = |flags| -> io::Result<[OwnedFd; 2]> {
        let event = || EventFd::from_value_and_flags(0, flags);
        Ok([event()?.into(), event()?.into()])
    };
    let (mut to, mut from, mut life) = ([None, None], [None, None], [None, None]);
    match bell {
        Bell::PipeRead => {
            let ((from_a, to_b), (from_b, to_a)) = (pipe()?, pipe()?);
            to = [Some(to_a), Some(to_b)];
            from = [Some(from_a), Some(from_b)];
        }
        Bell::Futex(None) => {}
        Bell::Futex(Some(_)) => life = sockets(SockType::SeqPacket)?,
        Bell::EventRead | Bell::EdgeEvent => {
            let flags = match bell {
                Bell::EdgeEvent => EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK,
                _ => EfdFlags::EFD_CLOEXEC,
            };
            let [a, b] = events(flags)?;
            to = [Some(b.try_clone()?), Some(a.try_clone()?)];
            from = [Some(a), Some(b)];
            if bell == Bell::EdgeEvent {
                life = sockets(SockType::SeqPacket)?;
            }
        }
        Bell::PacketPoll | Bell::PacketRead(_) => to = sockets(SockType::SeqPacket)?,
        Bell::Edge(kind) => to = sockets(kind)?,
    }
    if let Bell::PacketRead(Some(bound)) = bell {
        let bound = TimeVal::microseconds(bound.as_micros() as i64);
        for socket in to.iter().flatten() {
            setsockopt(socket, ReceiveTimeout, &bound)?;
        }
    }
    let end = |side: usize, to, from, life| End {
        bell,
        side,
        words,
        to,
        from,
        life,
        epoll: None,
        heard: 0,
    };
    let ([to_a, to_b], [from_a, from_b], [life_a, life_b]) = (to, from, life);
    Ok([end(0, to_a, from_a, life_a), end(1, to_b, from_b, life_b)])
}

impl End<'_> {
    /// Descriptors of this end.
    fn descriptors(&self) -> usize {
        let plain = [&self.to, &self.from, &self.life];
        plain.iter().filter(|one| one.is_some()).count() + usize::from(self.epoll.is_some())
    }

    /// What must be made in the process that uses it: an epoll that two processes share wakes either.
    fn settle(&mut self) -> io::Result<()> {
        if !matches!(self.bell, Bell::Edge(_) | Bell::EdgeEvent) {
            return Ok(());
        }
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
        let heard = [self.from.as_ref().or(self.to.as_ref()), self.life.as_ref()];
        for fd in heard.into_iter().flatten() {
            epoll.add(fd, EpollEvent::new(flags, 0))?;
        }
        self.epoll = Some(epoll);
        Ok(())
    }

    fn to(&self) -> BorrowedFd<'_> {
        self.to.as_ref().expect("a bell that is no word").as_fd()
    }

    fn from(&self) -> BorrowedFd<'_> {
        self.from.as_ref().map_or_else(|| self.to(), AsFd::as_fd)
    }

    /// Rings for the other side. Whoever has gone hears nothing, so errors say nothing.
    fn ring(&self) {
        match self.bell {
            Bell::PipeRead => {
                let _ = write(self.to(), &TOKEN[..1]);
            }
            Bell::Futex(_) => {
                let word = &self.words.rings[1 - self.side].0;
                // SYNC: ring
                word.fetch_add(1, Ordering::Release);
                futex(word, libc::FUTEX_WAKE, 1, None);
            }
            Bell::EventRead | Bell::EdgeEvent => {
                let _ = write(self.to(), &1u64.to_ne_bytes());
            }
            Bell::PacketPoll | Bell::PacketRead(_) | Bell::Edge(_) => {
                let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
                let _ = send(self.to().as_raw_fd(), &TOKEN, flags);
            }
        }
    }

    /// Sleeps until the other side rings or dies.
    fn hear(&mut self) -> io::Result<Heard> {
        self.heard = self.heard.wrapping_add(1);
        let mut buf = [0; 8];
        let by_count = |count| {
            if count == 0 {
                Heard::Death
            } else {
                Heard::Ring
            }
        };
        match self.bell {
            Bell::PipeRead => Ok(by_count(read(self.from(), &mut buf[..1])?)),
            Bell::EventRead => Ok(by_count(read(self.from(), &mut buf)?)),
            Bell::Futex(bound) => self.hear_word(bound),
            Bell::PacketPoll => {
                let mut fds = [PollFd::new(self.to(), PollFlags::POLLIN)];
                poll(&mut fds, PollTimeout::NONE)?;
                let flags = MsgFlags::MSG_DONTWAIT;
                Ok(by_count(recv(self.to().as_raw_fd(), &mut buf, flags)?))
            }
            Bell::PacketRead(_) => loop {
                match recv(self.to().as_raw_fd(), &mut buf, MsgFlags::empty()) {
                    Err(Errno::EAGAIN) => {}
                    count => return Ok(by_count(count?)),
                }
            },
            Bell::Edge(_) | Bell::EdgeEvent => self.hear_edge(),
        }
    }

    fn hear_word(&self, bound: Option<Duration>) -> io::Result<Heard> {
        let word = &self.words.rings[self.side].0;
        // SYNC: ring
        while word.load(Ordering::Acquire) == self.heard.wrapping_sub(1) {
            futex(word, libc::FUTEX_WAIT, self.heard.wrapping_sub(1), bound);
            let Some(life) = self.life.as_ref().filter(|_| bound.is_some()) else {
                continue;
            };
            // SYNC: ring
            if word.load(Ordering::Acquire) != self.heard.wrapping_sub(1) {
                break;
            }
            let mut fds = [PollFd::new(life.as_fd(), PollFlags::POLLIN)];
            if poll(&mut fds, PollTimeout::ZERO)? > 0 {
                return Ok(Heard::Death);
            }
        }
        Ok(Heard::Ring)
    }

    fn hear_edge(&self) -> io::Result<Heard> {
        let epoll = self.epoll.as_ref().expect("settle has made it");
        let mut events = [EpollEvent::empty()];
        epoll.wait(&mut events, EpollTimeout::NONE)?;
        let gone = EpollFlags::EPOLLHUP | EpollFlags::EPOLLRDHUP;
        if events[0].events().intersects(gone) {
            return Ok(Heard::Death);
        }
        if self.heard.is_multiple_of(DRAIN) {
            let mut buf = [0; 8];
            match self.bell {
                Bell::EdgeEvent => {
                    let _ = read(self.from(), &mut buf);
                }
                _ => while recv(self.to().as_raw_fd(), &mut buf, MsgFlags::MSG_DONTWAIT).is_ok() {},
            }
        }
        Ok(Heard::Ring)
    }
}

/// futex(2). Its errors (a changed word, a signal, the end of the time) all mean: look again.
fn futex(word: &AtomicU32, operation: i32, value: u32, bound: Option<Duration>) {
    let bound = bound.map(|bound| libc::timespec {
        tv_sec: bound.as_secs() as libc::time_t,
        tv_nsec: bound.subsec_nanos().into(),
    });
    let bound = bound.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: the word and the time are alive for the call, and the kernel only reads them.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, value, bound) };
}

/// Runs `child` in a process that dies with this one.
fn spawn(child: impl FnOnce() -> io::Result<()>) -> io::Result<Pid> {
    match fork_child()? {
        Some(pid) => Ok(pid),
        // Nothing of the parent's stack is to be run a second time here.
        None => process::exit(i32::from(child().is_err())),
    }
}

fn gone() -> io::Error {
    io::Error::other("the other side has gone")
}

/// Nanoseconds of a round trip, the mean of a slice.
fn measure(bell: Bell, cpus: [usize; 2], trips: u64) -> io::Result<f64> {
    let words = Shared::<Words>::new()?;
    let [mut here, mut there] = open(bell, &words)?;
    let echo = spawn(|| {
        pin_to(&[cpus[1]])?;
        there.settle()?;
        for _ in 0..=trips {
            if there.hear()? == Heard::Death {
                return Err(gone());
            }
            there.ring();
        }
        // Its end would be seen beside its last ring.
        there.hear()?;
        Ok(())
    })?;
    drop(there);
    pin_to(&[cpus[0]])?;
    here.settle()?;
    let mut trip = || {
        here.ring();
        match here.hear()? {
            Heard::Ring => Ok(()),
            Heard::Death => Err(gone()),
        }
    };
    // The first one ends when the other side is ready.
    trip()?;
    let start = Instant::now();
    for _ in 0..trips {
        trip()?;
    }
    let nanos = start.elapsed().as_nanos() as f64 / trips as f64;
    here.ring();
    match waitpid(echo, None)? {
        WaitStatus::Exited(_, 0) => Ok(nanos),
        end => Err(io::Error::other(format!("the other side ended by {end:?}"))),
    }
}

/// Descriptors of an end that is ready to hear.
fn descriptors(bell: Bell) -> io::Result<usize> {
    let words = Shared::<Words>::new()?;
    let [mut here, _there] = open(bell, &words)?;
    here.settle()?;
    Ok(here.descriptors())
}

/// How long a sleeper does not see that the other side was killed; `None` when it never did.
fn death(bell: Bell, cpus: [usize; 2]) -> io::Result<Option<Duration>> {
    let words = Shared::<Words>::new()?;
    let words: &Words = &words;
    let [mut here, there] = open(bell, words)?;
    let base = Instant::now();
    let nanos = move || base.elapsed().as_nanos() as u64;
    let (reader, writer) = pipe()?;
    // Each closure takes its end along, so that the process that forks has closed it.
    let sleeper = spawn(move || {
        pin_to(&[cpus[0]])?;
        here.settle()?;
        let victim = spawn(move || {
            let _there = there;
            pin_to(&[cpus[1]])?;
            // Until the other one sleeps, and at another moment of its bound each time.
            thread::sleep(Duration::from_micros(
                20_000 + u64::from(process::id() % 10) * 1_000,
            ));
            // SYNC: died
            words.died.store(nanos(), Ordering::Release);
            Ok(raise(Signal::SIGKILL)?)
        })?;
        let heard = here.hear()?;
        // SYNC: died
        let late = nanos().saturating_sub(words.died.load(Ordering::Acquire));
        if heard == Heard::Death {
            write(&writer, &late.to_ne_bytes())?;
        }
        waitpid(victim, None)?;
        Ok(())
    })?;
    let mut fds = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(WATCHDOG).map_err(io::Error::other)?;
    let mut late = [0; 8];
    let is_seen = poll(&mut fds, timeout)? > 0 && read(&reader, &mut late)? == late.len();
    kill(sleeper, Signal::SIGKILL)?;
    waitpid(sleeper, None)?;
    Ok(is_seen.then(|| Duration::from_nanos(u64::from_ne_bytes(late))))
}

/// Median in µs and the middle half, and the median of the first way's figures divided by these within each round.
fn cells(figures: &[f64], first: &[f64]) -> Option<String> {
    let micros = figures.iter().map(|nanos| nanos / 1e3).collect();
    let Spread { low, median, high } = Spread::of(micros)?;
    let ratios = first.iter().zip(figures).map(|(first, own)| first / own);
    let ratio = Spread::of(ratios.collect())?;
    Some(format!(
        "{median:.1} ({low:.1} to {high:.1}) | {}",
        three(ratio.median)
    ))
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let cpus = machine::cpus_to_use()?;
    let (a, b) = (cpus[0], cpus[1]);
    let places = [[a, a], [a, b]];
    let mut figures = [const { [const { Vec::new() }; BELLS.len()] }; 2];
    for round in 0..options.rounds as usize {
        for (place, cpus) in places.into_iter().enumerate() {
            for turn in 0..BELLS.len() {
                let number = (round + turn) % BELLS.len();
                let nanos = measure(BELLS[number], cpus, options.trips)?;
                figures[place][number].push(nanos);
            }
        }
    }
    println!(
        "Linux {}, {}, {}; {} rounds of {} round trips, µs: median (middle half), and the pipe's time \
         divided by it\n",
        machine::kernel_release(),
        machine::cpu_model(),
        machine::date(),
        options.rounds,
        options.trips
    );
    println!(
        "| doorbell | descriptors of an end | death seen after | one CPU | of the pipe | two CPUs | of the pipe |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (number, bell) in BELLS.into_iter().enumerate() {
        let mut late = Vec::new();
        for _ in 0..DEATHS {
            late.push(death(bell, places[1])?.map(|late| late.as_secs_f64() * 1e3));
            if late.contains(&None) {
                break;
            }
        }
        let seen = match late.into_iter().collect::<Option<Vec<_>>>() {
            Some(late) => {
                let most = late.iter().copied().fold(0.0, f64::max);
                let median = Spread::of(late).ok_or("no death")?.median;
                format!("{median:.2} ms (most {most:.2})")
            }
            None => "never".into(),
        };
        let [one, two] = [0, 1]
            .map(|place| cells(&figures[place][number], &figures[place][0]).unwrap_or_default());
        let descriptors = descriptors(bell)?;
        println!(
            "| {} | {descriptors} | {seen} | {one} | {two} |",
            bell.name()
        );
    }
    Ok(())
}
