//! The processes of one run, and the hand that kills, stops and replaces them.

use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use shmpipe::{Backend, PipeOptions, Receiver, Sender, TrySendError};

use super::books::Books;
use super::messages::CAPACITY;
use super::notes::{Ending, Ledger};
use super::receivers::{Calls, More, Receiving};
use super::work::{Receives, Sends, work};
use super::{Profile, Target};
use crate::support::{Child, Random, fork, own_group};

/// Processes on each side.
const SIDE: usize = 3;

/// The longest pause between two blows, and that between two looks where there are none.
const PAUSE: Duration = Duration::from_micros(1500);

/// After this long without a message sent or received somebody hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a place's processes do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Sends,
    Receives(Calls),
}

/// The place of one process after another that does the same.
struct Place {
    role: Role,
    /// Whether its processes are killed.
    mortal: bool,
    child: Option<Child>,
}

/// Everything that a run consists of.
pub(super) struct Crew {
    profile: Profile,
    ledger: Ledger,
    random: Random,
    ends: (Option<Receiver>, Option<Sender>),
    /// The longest message that surely fits the pipe.
    fits: usize,
    places: Vec<Place>,
    stopped: Option<usize>,
    /// Processes killed, by what they did.
    killed: [u64; 2],
    stops: u64,
}

impl Crew {
    pub(super) fn new(backend: Backend, profile: Profile) -> Self {
        let options = PipeOptions::new().backend(backend).capacity(CAPACITY);
        let (rx, mut tx) = options.pipe().unwrap();
        let fits = match tx.try_send(&[0; 4 * CAPACITY]) {
            Err(TrySendError::TooLargeAtOnce { max, .. }) => max,
            outcome => panic!("{outcome:?}"),
        };
        let mut places = Vec::new();
        for at in 0..SIDE {
            let kills = profile.kills;
            places.push(Place {
                role: Role::Sends,
                mortal: matches!(kills, Some(Target::Senders | Target::All)),
                child: None,
            });
            let mortal = matches!(kills, Some(Target::Receivers | Target::All)) && at > 0;
            // Whoever is killed has one message in its hands, not a batch.
            let calls = Calls {
                batches: !mortal,
                reads: profile.reads,
                waits: true,
            };
            places.push(Place {
                role: Role::Receives(calls),
                mortal,
                child: None,
            });
        }
        Self {
            profile,
            ledger: Ledger::new(),
            random: Random::from_environment(),
            ends: (Some(rx), Some(tx)),
            fits,
            places,
            stopped: None,
            killed: [0; 2],
            stops: 0,
        }
    }

    /// Runs until enough was sent and enough were killed, and balances the books.
    pub(super) fn run(mut self, messages: u64, kills: u64) {
        let start = Instant::now();
        (0..self.places.len()).for_each(|at| self.start(at));
        let mut watch = Watch::new(self.ledger);
        while self.ledger.progress().0 < messages || self.killed.iter().sum::<u64>() < kills {
            self.strike();
            self.replace_who_closed(|_| true);
            self.look(&mut watch);
        }
        self.go_on();
        self.ledger.end();
        while self.has(|role| role == Role::Sends) {
            // Receivers may still close their side, and senders wait for room.
            self.replace_who_closed(|role| role != Role::Sends);
            self.await_ends(&mut watch, |role| role == Role::Sends);
        }
        drop(self.ends.1.take());
        while self.has(|_| true) {
            self.await_ends(&mut watch, |_| true);
        }
        let left = self.take_what_is_left();
        let books = Books::of(self.ledger, self.fits, self.profile.reads);
        self.print(&books, start.elapsed());
        assert!(
            left == 0 || self.profile.troubles.closes,
            "{left} messages or reports were left"
        );
        books.balance(self.profile.deaths(), self.killed[1]);
    }

    fn has(&self, sought: impl Fn(Role) -> bool) -> bool {
        let mut places = self.places.iter();
        places.any(|place| sought(place.role) && place.child.is_some())
    }

    /// Waits a little, and buries who has ended of those with a role that is sought.
    fn await_ends(&mut self, watch: &mut Watch, sought: impl Fn(Role) -> bool) {
        self.look(watch);
        sleep(PAUSE);
        for place in &mut self.places {
            let child = place.child.as_ref();
            if sought(place.role) && child.is_some_and(|child| ended(child).is_some()) {
                place.child.take().expect("looked at above").join();
            }
        }
    }

    /// Receives to the end of the pipe what was left when the last receiver closed its side, and counts it.
    fn take_what_is_left(&mut self) -> usize {
        let rx = self.ends.0.as_mut();
        let rx = rx.expect("the keeper holds a receiver throughout");
        let calls = Calls {
            batches: false,
            reads: false,
            waits: true,
        };
        let mut receiving = Receiving::new(self.ledger, calls);
        let mut left = 0;
        loop {
            match receiving.recv(rx) {
                More::MayCome => left += 1,
                More::Never => break,
                More::NotForUs => panic!("the keeper closes nothing"),
            }
        }
        receiving.notes.ends_with(Ending::Process);
        left
    }

    fn print(&self, books: &Books, elapsed: Duration) {
        let [forks, starved, refused, closed] = self.ledger.troubles();
        let ([senders, receivers], stops) = (self.killed, self.stops);
        println!("{books}");
        println!(
            "{senders} sending and {receivers} receiving processes killed, {stops} stopped, {forks} forked, {starved} \
             changes of the number of descriptors, {refused} clones refused, {closed} closes; {} ms",
            elapsed.as_millis()
        );
    }

    fn start(&mut self, at: usize) {
        let (ends, place) = (&mut self.ends, &mut self.places[at]);
        let (role, ledger, troubles) = (place.role, self.ledger, self.profile.troubles);
        let seed = self.random.word();
        place.child = Some(fork(|| match role {
            Role::Sends => {
                ends.0.take();
                let tx = ends.1.take().expect("the keeper holds both ends");
                work(&Sends(tx), ledger, troubles, seed);
            }
            Role::Receives(calls) => {
                ends.1.take();
                let rx = ends.0.take().expect("the keeper holds both ends");
                work(&Receives(rx, calls), ledger, troubles, seed);
            }
        }));
    }

    /// One blow at one process, if the profile has any.
    fn strike(&mut self) {
        // Chooses a moment; nothing depends on how long it is.
        let longest = PAUSE.as_micros() as u64;
        sleep(Duration::from_micros(self.random.below_u64(longest)));
        let mortals = (0..self.places.len()).filter(|&at| self.places[at].mortal);
        let mortals: Vec<usize> = mortals.collect();
        if mortals.is_empty() {
            return;
        }
        let at = self.random.pick(&mortals);
        match (self.random.below(6), self.stopped) {
            (0, None) if self.profile.stops => {
                self.child(at).stop();
                self.stopped = Some(at);
                self.stops += 1;
            }
            (0, Some(_)) => self.go_on(),
            _ => self.kill(at),
        }
    }

    fn child(&self, at: usize) -> &Child {
        let child = self.places[at].child.as_ref();
        child.expect("places are empty at the end only")
    }

    fn go_on(&mut self) {
        if let Some(at) = self.stopped.take() {
            self.child(at).cont();
        }
    }

    fn kill(&mut self, at: usize) {
        if self.stopped == Some(at) {
            self.stopped = None;
        }
        let receives = usize::from(self.places[at].role != Role::Sends);
        let child = self.places[at].child.take();
        let child = child.expect("places are empty at the end only");
        let pid = child.pid();
        kill(pid, Signal::SIGKILL).expect("a child that was not waited for");
        match child.wait_status() {
            WaitStatus::Signaled(_, Signal::SIGKILL, _) => self.killed[receives] += 1,
            // It has closed its side.
            WaitStatus::Exited(_, 0) if self.profile.troubles.closes => {}
            status => panic!("process {pid} ended before it could be killed: {status:?}"),
        }
        self.start(at);
    }

    /// Panics when somebody has failed, or when all have come to a stop.
    fn look(&self, watch: &mut Watch) {
        for child in self.places.iter().filter_map(|place| place.child.as_ref()) {
            if let Some((status, code)) = ended(child) {
                let may_end = self.ledger.is_over() || self.profile.troubles.closes;
                assert!(
                    code == 0 && may_end,
                    "process {} ended: {status:?}\n{}",
                    child.pid(),
                    self.ledger.doing()
                );
            }
        }
        if watch.is_stalled() {
            let doing = self.ledger.doing();
            panic!(
                "nothing sent or received for {PATIENCE:?}\n{doing}{}",
                own_group()
            );
        }
    }

    /// Starts anew who has closed its side, of those with a role that is sought.
    fn replace_who_closed(&mut self, sought: impl Fn(Role) -> bool) {
        if !self.profile.troubles.closes {
            return;
        }
        for at in 0..self.places.len() {
            let place = &mut self.places[at];
            let has_ended = |child: &Child| ended(child).is_some_and(|(_, code)| code == 0);
            if sought(place.role) && place.child.as_ref().is_some_and(has_ended) {
                let child = place.child.take();
                child.expect("just looked at").join();
                self.start(at);
            }
        }
    }
}

/// How a child ended, if it has; it is left to be waited for.
fn ended(child: &Child) -> Option<(WaitStatus, i32)> {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    match waitid(Id::Pid(child.pid()), flags).expect("a child that was not waited for") {
        WaitStatus::StillAlive => None,
        status @ WaitStatus::Exited(_, code) => Some((status, code)),
        status => Some((status, -1)),
    }
}

/// Whether messages still come and go.
struct Watch {
    ledger: Ledger,
    last: (u64, u64),
    since: Instant,
}

impl Watch {
    fn new(ledger: Ledger) -> Self {
        Self {
            ledger,
            last: ledger.progress(),
            since: Instant::now(),
        }
    }

    fn is_stalled(&mut self) -> bool {
        let now = self.ledger.progress();
        if now != self.last {
            (self.last, self.since) = (now, Instant::now());
        }
        self.since.elapsed() > PATIENCE
    }
}
