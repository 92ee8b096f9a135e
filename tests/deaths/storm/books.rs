//! The books of the storm: what was sent, what was received, and what died with whom.
//!
//! They are kept for one era, at whose end the pipe is empty and every process has ended; then they
//! must balance, and only sums are carried over.

use std::collections::BTreeMap;
use std::fmt;

use super::messages::{Entry, LAST_CALL, Life, NEVER_CUT, STAMPED, size};
use super::notes::Notes;

/// One sending process, as far as it is known.
#[derive(Debug, Default)]
struct Sent {
    begun: u32,
    returned: u32,
    /// Which of its numbers were received.
    received: Vec<bool>,
}

/// One receiving process that lives.
#[derive(Debug, Default)]
pub(super) struct Received {
    /// For each sender the least number that may come next.
    least: BTreeMap<Life, u32>,
}

/// One direction of the pair in one era.
#[derive(Debug, Default)]
pub(super) struct Books {
    lives: BTreeMap<Life, Sent>,
    /// Short messages that were received, by length.
    short: [u64; STAMPED],
    /// Messages that sent receivers home.
    last_calls: u64,
    sums: Sums,
}

/// What remains of an era.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    /// Sends that returned.
    pub(super) sent: u64,
    pub(super) received: u64,
    /// Messages whose send returned and that nobody noted.
    pub(super) lost: u64,
    /// How many of these are so long that they may have been taken in fragments.
    pub(super) lost_long: u64,
    /// Killed receivers that may have had a message in their hands.
    pub(super) hands: u64,
    /// Messages whose sender was killed before its send returned, and that were received.
    pub(super) unreturned: u64,
    /// Reports of a message that was lost with its sender, or with a receiver that had a part of it.
    pub(super) aborted: u64,
    /// Senders killed inside a message so long that it may have gone in fragments.
    pub(super) cut: u64,
}

impl Books {
    /// A process begins to send.
    pub(super) fn open(&mut self, life: Life) {
        self.lives.insert(life, Sent::default());
    }

    /// A process that sent has ended.
    pub(super) fn close_sender(&mut self, life: Life, notes: Notes) {
        let sent = self.lives.get_mut(&life).expect("opened when it began");
        (sent.begun, sent.returned) = notes.sends();
        assert!(sent.begun - sent.returned <= 1, "one send at a time");
        if sent.begun > sent.returned && size(life, sent.returned) > NEVER_CUT {
            self.sums.cut += 1;
        }
    }

    /// Enters what a receiver has noted since the last time: once each, and in their order.
    pub(super) fn enter(&mut self, receiver: &mut Received, notes: Notes) {
        notes.each_new(|entry| match entry {
            Entry::Short(len) => self.short[len] += 1,
            Entry::Stamped(LAST_CALL, _) => self.last_calls += 1,
            Entry::Stamped(life, number) => self.enter_one(receiver, life, number),
        });
    }

    fn enter_one(&mut self, receiver: &mut Received, life: Life, number: u32) {
        let least = receiver.least.entry(life).or_default();
        assert!(
            number >= *least,
            "message {number} of {life} came after {least} to one receiver"
        );
        *least = number + 1;
        let sent = self.lives.get_mut(&life);
        let sent = sent.unwrap_or_else(|| panic!("a message of {life}, which sends elsewhere"));
        let at = number as usize;
        sent.received.resize(sent.received.len().max(at + 1), false);
        assert!(!sent.received[at], "message {number} of {life} came twice");
        sent.received[at] = true;
    }

    /// A process that received has ended, by a kill or not.
    pub(super) fn close_receiver(&mut self, receiver: &mut Received, notes: Notes) {
        self.enter(receiver, notes);
        self.sums.aborted += notes.deaths_told();
        self.sums.hands += u64::from(notes.has_full_hands());
    }

    /// Balances the books at the end of an era, when everybody has ended and the pipe is empty.
    pub(super) fn balance(mut self, last_calls: u64) -> Sums {
        assert_eq!(self.last_calls, last_calls, "of those sent home");
        let mut short_sent = [0; STAMPED];
        let mut short_unreturned = [0; STAMPED];
        for (&life, sent) in &self.lives {
            self.sums.sent += u64::from(sent.returned);
            let begun = sent.begun as usize;
            assert!(sent.received.len() <= begun, "{life} sent {begun} only");
            for number in 0..sent.begun {
                let len = size(life, number);
                let was_received = sent.received.get(number as usize).is_some_and(|&yes| yes);
                match (number < sent.returned, len < STAMPED) {
                    (true, true) => short_sent[len] += 1,
                    (false, true) => short_unreturned[len] += 1,
                    (true, false) if was_received => self.sums.received += 1,
                    (true, false) => {
                        self.sums.lost += 1;
                        self.sums.lost_long += u64::from(len > NEVER_CUT);
                    }
                    (false, false) => self.sums.unreturned += u64::from(was_received),
                }
            }
        }
        for len in 0..STAMPED {
            let (sent, came) = (short_sent[len], self.short[len]);
            let most = sent + short_unreturned[len];
            assert!(
                came <= most,
                "{came} messages of {len} bytes, {most} were sent"
            );
            self.sums.received += came.min(sent);
            self.sums.unreturned += came.saturating_sub(sent);
            self.sums.lost += sent.saturating_sub(came);
        }
        let Sums {
            lost,
            hands,
            aborted,
            cut,
            ..
        } = self.sums;
        assert!(
            lost <= hands,
            "{lost} lost and {hands} receivers killed that may have had one"
        );
        assert!(
            aborted <= cut + hands,
            "{aborted} losses reported of {cut} senders killed inside a message and {hands} receivers with one"
        );
        self.sums
    }
}

impl Sums {
    pub(super) fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.received += other.received;
        self.lost += other.lost;
        self.lost_long += other.lost_long;
        self.hands += other.hands;
        self.unreturned += other.unreturned;
        self.aborted += other.aborted;
        self.cut += other.cut;
    }
}

impl fmt::Display for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            sent,
            received,
            lost,
            lost_long,
            hands,
            unreturned,
            aborted,
            cut,
        } = self;
        write!(
            f,
            "{sent} sends returned, {received} of these received, {lost} lost ({lost_long} of them long) \
             by {hands} killed receivers that may have held one; {unreturned} received whose sender was \
             killed before its send returned; {cut} senders killed inside a long message, {aborted} told"
        )
    }
}
