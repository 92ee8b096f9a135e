//! A send and a receive, instruction by instruction: after each one the shared memory is looked at, and
//! at each one that changed it a process is killed.
//!
//! The looks check I1, I2, I4 and I6 as far as bytes show them; the kills, that whoever has a copy of
//! the dead one's end goes on (I3, I5). What the processor reorders is not seen so; loom is for that.
#![cfg(target_arch = "x86_64")]

mod support;

use std::time::Duration;

use shmpipe::{Backend, PipeOptions, Receiver, RecvError, Sender, TryRecvError};
use support::segment::{Image, Memory, Seen, at};
use support::trace::{Point, Traced};
use support::{Child, Line, fork_apart, identify, on_no_backend, pattern, pin_to};

on_no_backend! {
    a_send_of_8_bytes_is_whole_or_absent_after_every_instruction within 100,
    a_send_of_100_bytes_is_whole_or_absent_after_every_instruction within 100,
    a_send_by_block_copy_is_whole_or_absent_after_every_instruction within 100,
    a_send_in_parts_is_right_as_far_as_it_is_there_after_every_instruction within 100,
    a_send_to_a_sleeper_leaves_it_marked_until_it_was_rung_for within 100,
    a_send_into_a_full_ring_shows_nothing within 100,
    a_receive_takes_the_message_out_in_one_instruction within 100,
    a_receive_that_gives_room_back_takes_the_message_out_in_one_instruction within 100,
    a_receive_into_a_slice_moves_on_only_when_the_bytes_are_there within 100,
    a_receive_in_parts_leaves_what_it_has_not_read_as_it_was within 100,
    a_receiver_that_falls_asleep_leaves_the_pipe_to_others within 100,
    a_sender_that_falls_asleep_leaves_the_pipe_to_others within 100,
    a_receiver_that_closes_its_end_leaves_the_pipe_to_others within 100,
}

const CAPACITY: usize = 4096;

/// Changes that are all followed by a kill; of more, those to payload that nobody sees yet are sampled.
const ALL_KILLED: usize = 300;

/// What the child does.
#[derive(Clone, Debug)]
enum Call {
    Send(Vec<u8>),
    /// Parts of a message longer than the ring, which is then taken back.
    SendInParts(Vec<u8>),
    SendToASleeper(Vec<u8>),
    /// Finds the ring full.
    TrySend,
    Receive,
    ReceiveIntoSlice,
    /// Waits in an empty or a full ring until the time-out.
    ReceiveNothing,
    SendNothing,
    CloseReceiver,
}

/// How long a call waits for nothing: longer than all the steps up to its last sleep take.
const WAIT: Duration = Duration::from_secs(3);

impl Call {
    /// Whether it puts a message into the ring or takes one out.
    fn is_seen(&self) -> bool {
        use Call::{CloseReceiver, ReceiveNothing, SendNothing, TrySend};
        !matches!(self, TrySend | ReceiveNothing | SendNothing | CloseReceiver)
    }
}

/// A call, and what is in the ring before it.
#[derive(Clone, Debug)]
struct Case {
    queued: Vec<Vec<u8>>,
    /// How many of them have been received, their room perhaps not given back.
    received: usize,
    call: Call,
}

/// A pipe before the call, and whoever sleeps at it.
struct Scene {
    rx: Option<Receiver>,
    tx: Sender,
    memory: Memory,
    before: Image,
    /// Where the child receives to.
    slice: Vec<u8>,
    sleeper: Option<(Child, Line)>,
}

/// The end of the line that a sleeper tells its messages by.
const END_OF_FILE: u64 = u64::MAX;

/// A message that can be told from others.
fn message(number: u64, len: usize) -> Vec<u8> {
    pattern(0, number, len)
}

impl Case {
    fn scene(&self) -> Scene {
        let options = PipeOptions::new()
            .backend(Backend::SharedMemory)
            .capacity(CAPACITY);
        let (mut rx, mut tx) = options.pipe().unwrap();
        // Once round, so that there is old payload everywhere.
        for number in 0..70 {
            tx.send(&pattern(1, number, 90)).unwrap();
            rx.recv().unwrap();
        }
        assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
        self.queued
            .iter()
            .for_each(|message| tx.try_send(message).unwrap());
        for message in &self.queued[..self.received] {
            assert_eq!(&*rx.recv().unwrap(), message);
        }
        let memory = Memory::of_the_only_pipe();
        let mut rx = Some(rx);
        let mut sleeper = None;
        if matches!(self.call, Call::SendToASleeper(_)) {
            let line = Line::new();
            let receiver = rx.take().unwrap();
            let (child, back) = fork_apart(tx, || tell_all(receiver, &line));
            tx = back;
            child.until_asleep();
            // It keeps asleep whatever rings, so that nobody but the traced child writes.
            child.stop();
            sleeper = Some((child, line));
        }
        let before = memory.copy();
        let slice = vec![0; CAPACITY];
        Scene {
            rx,
            tx,
            memory,
            before,
            slice,
            sleeper,
        }
    }

    /// What a receiver sees before the call.
    fn waiting(&self) -> Vec<Seen> {
        let whole = |bytes: &Vec<u8>| Seen {
            bytes: bytes.clone(),
            unfinished: None,
        };
        self.queued[self.received..].iter().map(whole).collect()
    }

    /// Whether a receiver may see this during the call.
    fn allows(&self, seen: &[Seen]) -> bool {
        let waiting = self.waiting();
        if seen == waiting {
            return true;
        }
        match &self.call {
            Call::Receive | Call::ReceiveIntoSlice => seen == &waiting[1..],
            Call::Send(message) | Call::SendToASleeper(message) => {
                let Some((last, others)) = seen.split_last() else {
                    return false;
                };
                others == waiting && last.unfinished.is_none() && last.bytes == *message
            }
            Call::SendInParts(message) => {
                let Some((last, others)) = seen.split_last() else {
                    return false;
                };
                let is_begun = last.unfinished == Some(message.len() as u64);
                others == waiting && is_begun && message.starts_with(&last.bytes)
            }
            _ => false,
        }
    }
}

/// A sleeper's work: tells the number of each message.
fn tell_all(mut rx: Receiver, line: &Line) {
    loop {
        match rx.recv() {
            Ok(message) => line.put(identify(&message).1),
            Err(RecvError::Disconnected) => return line.put(END_OF_FILE),
            Err(error) => panic!("{error}"),
        }
    }
}

impl Scene {
    /// Starts a child at the call.
    fn start(&mut self, case: &Case) -> Option<Traced> {
        let (rx, tx, slice) = (&mut self.rx, &mut self.tx, &mut self.slice);
        let prepare = || {
            // What a process and its thread find out about themselves once, they find out here.
            let options = PipeOptions::new()
                .backend(Backend::SharedMemory)
                .capacity(CAPACITY);
            let (mut rx, mut tx) = options.pipe().unwrap();
            tx.send(&[0; 1500]).unwrap();
            rx.recv().unwrap();
            (rx, tx)
        };
        Traced::start(prepare, |_| match &case.call {
            Call::Send(message) | Call::SendToASleeper(message) => tx.send(message).unwrap(),
            Call::SendInParts(message) => {
                tx.send_timeout(message, Duration::ZERO).unwrap_err();
            }
            Call::TrySend => drop(tx.try_send(&[1; 100]).unwrap_err()),
            Call::SendNothing => drop(tx.send_timeout(&[1; 100], WAIT).unwrap_err()),
            Call::ReceiveNothing => {
                rx.as_mut().unwrap().recv_timeout(WAIT).unwrap_err();
            }
            Call::CloseReceiver => drop(rx.take()),
            Call::Receive => {
                let rx = rx.as_mut().unwrap();
                assert_eq!(&*rx.recv().unwrap(), case.queued[case.received]);
            }
            Call::ReceiveIntoSlice => {
                let rx = rx.as_mut().unwrap();
                let len = rx.recv_into(slice).unwrap();
                assert_eq!(&slice[..len], case.queued[case.received]);
            }
        })
    }

    /// Checks the memory after an instruction that changed it; tells whether a receiver sees more or
    /// less than before the call.
    fn check(&self, case: &Case, now: &Image, child: &Traced) -> bool {
        let before = &self.before;
        let seen = now
            .messages()
            .unwrap_or_else(|what| panic!("I1, I2: {what}"));
        assert!(case.allows(&seen), "I1: a receiver sees {seen:?}");
        let (read, tail) = (now.u64(at::RX_READ), before.u64(at::TX_TAIL));
        let left = usize::try_from(tail - read).unwrap();
        assert_eq!(
            now.run(read, left),
            before.run(read, left),
            "I6: unread bytes have changed"
        );
        if matches!(case.call, Call::ReceiveIntoSlice) && read != before.u64(at::RX_READ) {
            let message = &case.queued[case.received];
            let taken = child.read(self.slice.as_ptr().addr(), message.len());
            assert_eq!(
                taken, *message,
                "I6: read moved before the bytes were taken"
            );
        }
        let armed = at::DATA + at::ARMED;
        let is_rung = now.u32(at::DATA + at::BELL) != before.u32(at::DATA + at::BELL);
        let is_disarmed = before.u32(armed) != 0 && now.u32(armed) == 0;
        assert!(!is_disarmed || is_rung, "I4: the mark went before the ring");
        seen != case.waiting()
    }

    /// What must come out of the pipe after the child was killed when the memory was `at_death`.
    fn check_survivors(mut self, at_death: &Image, sends_first: bool) {
        let visible = at_death.messages().unwrap();
        let is_cut_short = visible.last().is_some_and(|seen| seen.unfinished.is_some());
        let whole = visible.iter().filter(|seen| seen.unfinished.is_none());
        let mut expected: Vec<Vec<u8>> = whole.map(|seen| seen.bytes.clone()).collect();
        let more: Vec<_> = (200..203).map(|number| message(number, 60)).collect();
        expected.extend(more.clone());
        if let Some((sleeper, line)) = self.sleeper.take() {
            sleeper.cont();
            more.iter()
                .for_each(|message| self.tx.send(message).unwrap());
            drop(self.tx);
            for message in expected {
                assert_eq!(line.take(), identify(&message).1);
            }
            assert_eq!(line.take(), END_OF_FILE);
            return sleeper.join();
        }
        let mut rx = self.rx.take().unwrap();
        let mut got = Vec::new();
        let mut aborted = 0;
        let mut receive = |rx: &mut Receiver| loop {
            match rx.try_recv() {
                Ok(message) => got.push(message.into_vec()),
                Err(TryRecvError::Aborted) => aborted += 1,
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return,
                Err(error) => panic!("{error}"),
            }
        };
        if !sends_first || self.tx.try_send(&more[0]).is_err() {
            receive(&mut rx);
            self.tx.try_send(&more[0]).unwrap();
        }
        receive(&mut rx);
        more[1..]
            .iter()
            .for_each(|message| self.tx.send(message).unwrap());
        receive(&mut rx);
        drop(self.tx);
        assert!(matches!(rx.recv(), Err(RecvError::Disconnected)));
        assert_eq!(got, expected, "with copies of the dead one's end");
        const OPEN: u32 = 1;
        let is_abort = is_cut_short && at_death.u32(at::TX_STATE) == OPEN;
        assert_eq!(aborted, u32::from(is_abort));
    }
}

/// An instruction that changed the memory, and the memory after it.
struct Change {
    point: Point,
    image: Image,
    /// Only payload was written that nobody can see.
    is_unseen: bool,
}

/// Runs the call instruction by instruction, then again for each change with a kill after it.
fn step_and_kill(queued: Vec<Vec<u8>>, received: usize, call: Call) {
    // On one processor a step does not have to wake another one.
    // SAFETY: no preconditions.
    pin_to(usize::try_from(unsafe { libc::sched_getcpu() }).unwrap());
    let case = Case {
        queued,
        received,
        call,
    };
    let mut scene = case.scene();
    let Some(mut child) = scene.start(&case) else {
        return;
    };
    let mut last = scene.before.clone();
    let mut now = vec![0; scene.memory.len()];
    let mut changes = Vec::new();
    let mut steps = 0;
    let mut was_different = false;
    while let Some(point) = child.step() {
        steps += 1;
        scene.memory.copy_to(&mut now);
        if now == last.0 {
            continue;
        }
        let image = Image(now.clone());
        let is_different = scene.check(&case, &image, &child);
        let control = image.control();
        let is_unseen = now[..control] == last.0[..control] && is_different == was_different;
        was_different = is_different;
        last = image.clone();
        changes.push(Change {
            point,
            image,
            is_unseen,
        });
    }
    child.finish();
    assert_eq!(was_different, case.call.is_seen(), "the call did its work");
    let slept = |event| {
        changes
            .iter()
            .any(|change| change.image.u32(event + at::ARMED) != 0)
    };
    match case.call {
        Call::ReceiveNothing => assert!(slept(at::DATA), "it never slept"),
        Call::SendNothing => assert!(slept(at::ROOM), "it never slept"),
        _ => {}
    }
    scene.check_survivors(&last, true);
    let mut kills = 0;
    for (index, change) in changes.iter().enumerate() {
        let neighbours = [index.wrapping_sub(1), index + 1];
        let is_inside = neighbours
            .iter()
            .all(|&at| changes.get(at).is_some_and(|at| at.is_unseen));
        let is_dull = change.is_unseen && is_inside && index % 16 != 0;
        if changes.len() > ALL_KILLED && is_dull {
            continue;
        }
        kill_at(&case, change, index % 2 == 0);
        kills += 1;
    }
    println!(
        "{steps} instructions, {} of them changed the memory, {kills} kills",
        changes.len()
    );
}

/// Kills a child right after the change and checks what the others find.
fn kill_at(case: &Case, change: &Change, sends_first: bool) {
    let mut scene = case.scene();
    let mut child = scene.start(case).expect("the first one could be traced");
    child.run_through(change.point);
    let image = scene.memory.copy();
    let data = image.control();
    assert_eq!(
        image.0[data..],
        change.image.0[data..],
        "the child has taken another way"
    );
    for word in [at::TX_TAIL, at::RX_READ, at::HEAD] {
        assert_eq!(
            image.u64(word),
            change.image.u64(word),
            "the child has taken another way"
        );
    }
    child.kill();
    scene.check_survivors(&image, sends_first);
}

fn a_send_of_8_bytes_is_whole_or_absent_after_every_instruction() {
    step_and_kill(vec![message(1, 40)], 0, Call::Send(message(100, 8)));
}

fn a_send_of_100_bytes_is_whole_or_absent_after_every_instruction() {
    step_and_kill(Vec::new(), 0, Call::Send(message(100, 100)));
}

fn a_send_by_block_copy_is_whole_or_absent_after_every_instruction() {
    step_and_kill(vec![message(1, 40)], 0, Call::Send(message(100, 203)));
}

fn a_send_in_parts_is_right_as_far_as_it_is_there_after_every_instruction() {
    let long = message(100, 3 * CAPACITY);
    step_and_kill(vec![message(1, 500); 5], 0, Call::SendInParts(long));
}

fn a_send_to_a_sleeper_leaves_it_marked_until_it_was_rung_for() {
    step_and_kill(Vec::new(), 0, Call::SendToASleeper(message(100, 16)));
}

/// Messages that leave room for none of 100 bytes.
fn full() -> Vec<Vec<u8>> {
    let mut queued = vec![message(1, 504); 7];
    queued.push(message(2, 490));
    queued
}

fn a_send_into_a_full_ring_shows_nothing() {
    step_and_kill(full(), 0, Call::TrySend);
}

fn a_receive_takes_the_message_out_in_one_instruction() {
    step_and_kill(vec![message(1, 40), message(2, 40)], 0, Call::Receive);
}

fn a_receive_that_gives_room_back_takes_the_message_out_in_one_instruction() {
    let queued = vec![message(1, 300), message(2, 300), message(3, 9)];
    step_and_kill(queued, 1, Call::Receive);
}

fn a_receive_into_a_slice_moves_on_only_when_the_bytes_are_there() {
    step_and_kill(
        vec![message(1, 61), message(2, 40)],
        0,
        Call::ReceiveIntoSlice,
    );
}

fn a_receive_in_parts_leaves_what_it_has_not_read_as_it_was() {
    step_and_kill(vec![message(1, 1500), message(2, 40)], 0, Call::Receive);
}

fn a_receiver_that_falls_asleep_leaves_the_pipe_to_others() {
    step_and_kill(Vec::new(), 0, Call::ReceiveNothing);
}

fn a_sender_that_falls_asleep_leaves_the_pipe_to_others() {
    step_and_kill(full(), 0, Call::SendNothing);
}

fn a_receiver_that_closes_its_end_leaves_the_pipe_to_others() {
    step_and_kill(vec![message(1, 40)], 0, Call::CloseReceiver);
}
