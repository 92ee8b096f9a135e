//! The balance of a run: what was sent, what was received, what died with whom, and what was reported.

use std::collections::BTreeMap;
use std::fmt;

use super::messages::{Entry, NEVER_CUT, NUMBERS, STAMPED, size};
use super::notes::{Ending, Ledger, Notes};

/// What may go wrong in a run, and so has to be in the books.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Deaths {
    /// Processes that send are killed.
    pub(super) senders: bool,
    /// Processes that receive are killed.
    pub(super) receivers: bool,
    /// Processes end after any call, as forked children do.
    pub(super) children: bool,
    /// Sides are closed inside any call.
    pub(super) closes: bool,
}

/// The sums of a run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Books {
    fits: usize,
    pub(super) lives: u64,
    /// Messages whose send returned.
    sent: u64,
    received: u64,
    /// Messages whose sender was killed before its send returned, and that were received.
    unreturned: u64,
    /// Messages whose send returned and that nobody received.
    lost: u64,
    /// How many of these fit the pipe: a call that does not wait for ever takes them when they are whole.
    lost_fitting: u64,
    /// Messages that a killed receiver looked at in place, and that another one received again.
    again: u64,
    /// `Aborted` as reported.
    aborted: u64,
    /// Lives that were killed inside a send of a message that may go in fragments.
    cut: u64,
    /// Lives that were killed inside a receive, each of which may have held one message.
    hands: u64,
    /// Lives that ended with their process after a call which may have taken fragments.
    inside: u64,
}

impl Books {
    /// Adds up a run in which everybody has ended. Where messages are read as bytes, empty ones do not show.
    /// Messages of up to `fits` bytes fit the pipe.
    pub(super) fn of(ledger: Ledger, fits: usize, reads: bool) -> Self {
        let mut books = Self {
            fits,
            ..Self::default()
        };
        // By length: sent and returned, and sent without a return.
        let mut short = [[0; 2]; STAMPED];
        let mut viewed: BTreeMap<u64, u64> = BTreeMap::new();
        for notes in ledger.all() {
            books.lives += 1;
            books.add_sends(ledger, notes, &mut short);
            books.add_receives(notes);
            if notes.viewed_word() != 0 {
                *viewed.entry(notes.viewed_word()).or_default() += 1;
            }
        }
        for word in ledger.twice() {
            let viewers = viewed.entry(word).or_default();
            assert!(*viewers > 0, "a message came twice: {word:#x}");
            *viewers -= 1;
            books.again += 1;
        }
        for (len, [returned, unreturned]) in short.into_iter().enumerate() {
            if reads && len == 0 {
                continue;
            }
            let again = viewed.get(&Entry::Short(len).to_word()).copied();
            books.add_short(len, ledger.short_received(len), returned, unreturned, again);
        }
        books
    }

    fn add_sends(&mut self, ledger: Ledger, notes: Notes, short: &mut [[u64; 2]; STAMPED]) {
        let (begun, returned) = notes.sends();
        let is_killed = notes.ending() == Ending::None;
        assert!(
            is_killed || begun == returned,
            "life {} ended inside a send",
            notes.life
        );
        assert!(
            is_killed || begun == NUMBERS || !ledger.was_received(notes.life, begun),
            "message {begun} of life {} was received, and its send failed",
            notes.life
        );
        self.sent += returned as u64;
        for number in 0..begun {
            let (len, has_returned) = (size(notes.life, number), number < returned);
            if len < STAMPED {
                short[len][usize::from(!has_returned)] += 1;
                continue;
            }
            match (has_returned, ledger.was_received(notes.life, number)) {
                (true, true) => self.received += 1,
                (true, false) => self.lose(len, 1),
                (false, was_received) => self.unreturned += u64::from(was_received),
            }
        }
        let cut = (returned..begun).any(|number| size(notes.life, number) > NEVER_CUT);
        self.cut += u64::from(cut);
    }

    fn add_receives(&mut self, notes: Notes) {
        self.aborted += notes.deaths_told();
        let is_killed = notes.ending() == Ending::None;
        if is_killed && notes.has_full_hands() {
            self.hands += 1;
        } else if notes.ending() != Ending::Thread {
            self.inside += u64::from(notes.is_inside());
        }
    }

    fn add_short(&mut self, len: usize, came: u64, sent: u64, more: u64, again: Option<u64>) {
        let most = sent + more + again.unwrap_or(0);
        assert!(
            came <= most,
            "{came} messages of {len} bytes came, {most} were sent"
        );
        self.received += came.min(sent);
        self.unreturned += came.saturating_sub(sent);
        self.lose(len, sent.saturating_sub(came));
    }

    fn lose(&mut self, len: usize, count: u64) {
        self.lost += count;
        if len <= self.fits {
            self.lost_fitting += count;
        }
    }

    /// Panics unless each loss has its reason; `killed` are the processes that were, by what they did.
    pub(super) fn balance(&self, deaths: Deaths, killed_receivers: u64) {
        let reported = self.aborted;
        let Self {
            lost,
            hands,
            cut,
            inside,
            ..
        } = *self;
        assert!(
            lost <= hands + reported,
            "{lost} messages are lost, {hands} lives were killed in a receive and {reported} deaths reported: \
             {self}"
        );
        // Fragments are a process's, so that it leaves one message at most, besides what its threads are taking.
        let most = cut + killed_receivers + hands + inside;
        assert!(
            reported <= most,
            "{reported} deaths reported, and {most} that could be: {self}"
        );
        if !deaths.senders {
            assert_eq!(cut, 0, "nobody was killed in a send: {self}");
        }
        if !deaths.receivers {
            assert_eq!(hands, 0, "nobody was killed in a receive: {self}");
        }
        // A receive that waits without limit takes fragments of any message.
        if !deaths.receivers && !deaths.closes {
            assert_eq!(self.lost_fitting, 0, "lost without need: {self}");
        }
        if !deaths.receivers && !deaths.children && !deaths.closes {
            assert_eq!(lost, 0, "no receiver went: {self}");
        }
        if !deaths.senders {
            assert_eq!(self.unreturned, 0, "no sender went: {self}");
        }
    }
}

impl fmt::Display for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            fits,
            lives,
            sent,
            received,
            unreturned,
            lost,
            lost_fitting,
            again,
            aborted,
            cut,
            hands,
            inside,
        } = self;
        write!(
            f,
            "{lives} threads; {sent} sends returned, {received} of these received, {lost} lost ({lost_fitting} of \
             them of up to {fits} bytes); {unreturned} received whose sender was killed before its send returned; {again} received \
             again after a death in place; {aborted} deaths reported; {cut} killed in a send of fragments, {hands} \
             killed in a receive, {inside} that ended with their process after a call inside a message"
        )
    }
}
