//! A storm in which processes die: senders and receivers of one pipe are killed at moments chosen by
//! a seeded generator, and others take their place.
//!
//! Nothing is received twice or torn, each sender's messages come in order, and no more is lost than
//! the one message that each killed receiver may have had in its hands. Nobody hangs, at any death.

mod support;

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::Duration;

use shmpipe::{Backend, PipeOptions, Receiver, RecvError, Sender};
use support::{
    Child, Random, check, fork, fork_apart, identify, long, on_both_backends, pattern,
    shared_counter, shared_counters,
};

on_both_backends! {
    senders_and_receivers_that_are_killed_lose_no_more_than_what_they_held within 180,
}

const CAPACITY: usize = 64 * 1024;

/// Processes of each kind at any time.
const SLOTS: usize = 3;

/// Messages that one receiver can note; far more than it lives to receive.
const LOG_LENGTH: usize = 1 << 20;

/// The length of a message: most are small, some larger than the pipe.
fn size(number: u64) -> usize {
    let number = usize::try_from(number).unwrap();
    match number % 50 {
        17 => CAPACITY / 2 + number % 1000,
        33 => 2 * CAPACITY + number % 1000,
        step => 8 + step * 40,
    }
}

/// The place of one process after another that does the same work: what it has told so far, in
/// memory that outlives it.
struct Slot {
    child: Option<Child>,
    /// Sends that have returned, or messages in the log.
    count: &'static AtomicU64,
    /// Deaths that a receiver was told of.
    aborted: &'static AtomicU64,
    /// The messages that a receiver got, each as its stamp.
    log: &'static [AtomicU64],
}

impl Slot {
    fn new() -> Self {
        let (count, aborted) = (shared_counter(), shared_counter());
        Self {
            child: None,
            count,
            aborted,
            log: shared_counters(LOG_LENGTH),
        }
    }

    fn child(&mut self) -> Child {
        self.child
            .take()
            .expect("a slot is empty only while its process is replaced")
    }
}

fn send_until_told(tx: &mut Sender, sender: u16, returned: &AtomicU64, stop: &AtomicU64) {
    let mut number = 0;
    while stop.load(Ordering::Relaxed) == 0 {
        tx.send(&pattern(sender, number, size(number))).unwrap();
        number += 1;
        returned.store(number, Ordering::Relaxed);
    }
}

fn receive_until_the_end(rx: &mut Receiver, slot: &Slot) {
    let mut count = 0;
    loop {
        match rx.recv() {
            Ok(message) => {
                let (sender, number) = identify(&message);
                check(&message, sender, number, size(number));
                slot.log[count].store(stamp(sender, number), Ordering::Relaxed);
                count += 1;
                slot.count.store(count as u64, Ordering::Relaxed);
            }
            Err(RecvError::Aborted) => drop(slot.aborted.fetch_add(1, Ordering::Relaxed)),
            Err(RecvError::Disconnected) => return,
            Err(error) => panic!("{error}"),
        }
    }
}

fn stamp(sender: u16, number: u64) -> u64 {
    (u64::from(sender) << 48) | number
}

/// Everything that is known of the dead and of those that ended.
#[derive(Default)]
struct Books {
    /// For each sender how many of its sends returned.
    returned: Vec<u64>,
    /// For each sender which of its messages were received.
    received: Vec<Vec<bool>>,
    aborted: u64,
}

impl Books {
    /// Enters what a sender had sent by its end.
    fn enter_sender(&mut self, sender: u16, slot: &Slot) {
        self.returned[usize::from(sender)] = slot.count.swap(0, Ordering::Relaxed);
    }

    /// Enters what a receiver had received by its end: whole, once, and in order.
    fn enter_receiver(&mut self, slot: &Slot) {
        let mut least = vec![0; self.received.len()];
        let count = usize::try_from(slot.count.swap(0, Ordering::Relaxed)).unwrap();
        for entry in &slot.log[..count] {
            let stamp = entry.load(Ordering::Relaxed);
            let sender = usize::try_from(stamp >> 48).unwrap();
            let number = stamp & ((1 << 48) - 1);
            assert!(
                number >= least[sender],
                "message {number} of sender {sender} came late"
            );
            least[sender] = number + 1;
            let received = &mut self.received[sender];
            let at = usize::try_from(number).unwrap();
            received.resize(received.len().max(at + 1), false);
            assert!(
                !received[at],
                "message {number} of sender {sender} came twice"
            );
            received[at] = true;
        }
        self.aborted += slot.aborted.swap(0, Ordering::Relaxed);
    }

    /// How many messages were sent and not received; panics when one was received that was not sent.
    fn lost(&self) -> usize {
        let of_one = |(&returned, received): (&u64, &Vec<bool>)| {
            let returned = usize::try_from(returned).unwrap();
            // A sender killed between the last instruction of a send and its note of it.
            assert!(
                received.len() <= returned + 1,
                "more was received than sent"
            );
            returned
                - received
                    .iter()
                    .take(returned)
                    .filter(|&&received| received)
                    .count()
        };
        self.returned.iter().zip(&self.received).map(of_one).sum()
    }
}

/// The pipe, its processes, and the hand that kills them.
struct Storm {
    rx: Receiver,
    tx: Option<Sender>,
    senders: [Slot; SLOTS],
    sender_ids: [u16; SLOTS],
    receivers: [Slot; SLOTS],
    stop: &'static AtomicU64,
    books: Books,
    killed_senders: u64,
    killed_receivers: usize,
}

impl Storm {
    fn start_sender(&mut self, at: usize) {
        let sender = u16::try_from(self.books.returned.len()).unwrap();
        self.books.returned.push(0);
        self.books.received.push(Vec::new());
        self.sender_ids[at] = sender;
        let (slot, stop) = (&mut self.senders[at], self.stop);
        let tx = self.tx.as_mut().expect("the storm goes on");
        slot.child = Some(fork(|| send_until_told(tx, sender, slot.count, stop)));
    }

    fn start_receiver(&mut self, at: usize) {
        let (slot, rx) = (&mut self.receivers[at], &mut self.rx);
        let tx = self.tx.take().expect("the storm goes on");
        let (child, tx) = fork_apart(tx, || receive_until_the_end(rx, slot));
        slot.child = Some(child);
        self.tx = Some(tx);
    }

    fn kill_sender(&mut self, at: usize) {
        self.senders[at].child().kill();
        self.killed_senders += 1;
        self.books
            .enter_sender(self.sender_ids[at], &self.senders[at]);
        self.start_sender(at);
    }

    fn kill_receiver(&mut self, at: usize) {
        self.receivers[at].child().kill();
        self.killed_receivers += 1;
        self.books.enter_receiver(&self.receivers[at]);
        self.start_receiver(at);
    }

    /// Lets everybody finish and returns the complete books.
    fn finish(mut self) -> Books {
        self.stop.store(1, Ordering::Relaxed);
        for at in 0..SLOTS {
            self.senders[at].child().join();
            self.books
                .enter_sender(self.sender_ids[at], &self.senders[at]);
        }
        self.tx = None;
        for slot in &mut self.receivers {
            slot.child().join();
            self.books.enter_receiver(slot);
        }
        self.books
    }
}

fn senders_and_receivers_that_are_killed_lose_no_more_than_what_they_held(backend: Backend) {
    let blows = if long() { 40_000 } else { 800 };
    let (rx, tx) = PipeOptions::new()
        .backend(backend)
        .capacity(CAPACITY)
        .pipe()
        .unwrap();
    let mut storm = Storm {
        rx,
        tx: Some(tx),
        senders: std::array::from_fn(|_| Slot::new()),
        sender_ids: [0; SLOTS],
        receivers: std::array::from_fn(|_| Slot::new()),
        stop: shared_counter(),
        books: Books::default(),
        killed_senders: 0,
        killed_receivers: 0,
    };
    for at in 0..SLOTS {
        storm.start_receiver(at);
        storm.start_sender(at);
    }
    let mut random = Random::new(7);
    for _ in 0..blows {
        // Chooses a moment; nothing depends on how long it is.
        sleep(Duration::from_micros(random.below(1500) as u64));
        let at = random.below(SLOTS);
        match random.below(6) {
            0 | 1 => storm.kill_sender(at),
            2 | 3 => storm.kill_receiver(at),
            kind => {
                let slots = if kind == 4 {
                    &storm.senders
                } else {
                    &storm.receivers
                };
                let child = slots[at].child.as_ref().expect("every slot is full");
                child.stop();
                sleep(Duration::from_micros(random.below(1500) as u64));
                child.cont();
            }
        }
    }
    let (killed_senders, killed_receivers) = (storm.killed_senders, storm.killed_receivers);
    let books = storm.finish();
    let sent: u64 = books.returned.iter().sum();
    let lost = books.lost();
    println!(
        "{sent} messages; {killed_senders} senders killed, {} reported; {killed_receivers} \
         receivers killed, {lost} messages lost",
        books.aborted
    );
    assert!(
        lost <= killed_receivers,
        "{lost} lost by {killed_receivers} deaths of receivers"
    );
    assert!(
        books.aborted <= killed_senders,
        "{} of {killed_senders}",
        books.aborted
    );
}
