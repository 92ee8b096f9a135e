//! A pipe before a call, the child that makes the call, and what may be found during and after it.
//!
//! Stepping and killing is [`trace`](crate::support::trace)'s; which calls are tried is in `main`.

use std::time::Duration;

use shmpipe::{Backend, PipeOptions, Receiver, RecvError, Sender, TryRecvError};

use crate::support::segment::{Image, Memory, Seen, at};
use crate::support::trace::Traced;
use crate::support::{Child, Line, fork_apart, identify, pattern};

/// Bytes of the ring: the smallest, so that a look at all of it is quick.
const CAPACITY: usize = 4096;

/// What the child does.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Send(Vec<u8>),
    /// Parts of a message longer than the ring, which is then taken back.
    SendInFragments(Vec<u8>),
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
    pub(crate) fn is_seen(&self) -> bool {
        use Call::{CloseReceiver, ReceiveNothing, SendNothing, TrySend};
        !matches!(self, TrySend | ReceiveNothing | SendNothing | CloseReceiver)
    }
}

/// A call, and what is in the ring before it.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) queued: Vec<Vec<u8>>,
    /// How many of them have been received, their room perhaps not given back.
    pub(crate) received: usize,
    pub(crate) call: Call,
}

/// A pipe before the call, and whoever sleeps at it.
pub(crate) struct Scene {
    rx: Option<Receiver>,
    tx: Sender,
    pub(crate) memory: Memory,
    pub(crate) before: Image,
    /// Where the child receives to.
    slice: Vec<u8>,
    sleeper: Option<(Child, Line)>,
}

/// The end of the line that a sleeper tells its messages by.
const END_OF_FILE: u64 = u64::MAX;

/// A message that can be told from others.
pub(crate) fn message(number: u64, len: usize) -> Vec<u8> {
    pattern(0, number, len)
}

impl Case {
    pub(crate) fn scene(&self) -> Scene {
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
        // A handle that has sent may ask the clock in its next call or not, as the time would have it.
        let tx = tx.try_clone().unwrap();
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
            Call::SendInFragments(message) => {
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
    pub(crate) fn start(&mut self, case: &Case) -> Option<Traced> {
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
            Call::SendInFragments(message) => {
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

    /// Checks the memory after an instruction that changed it; returns whether a receiver sees more or
    /// less than before the call.
    pub(crate) fn check(&self, case: &Case, now: &Image, child: &Traced) -> bool {
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
    pub(crate) fn check_survivors(mut self, at_death: &Image, sends_first: bool) {
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
        let expected = match at_death.u32(at::TX_STATE) {
            OPEN if is_cut_short => 1..=1,
            // Taken back by a sender that died before it let go of the lock: who looks at the lock
            // first is told of a death, and who looks at the next message first is not.
            _ if is_cut_short && at_death.u32(at::TX_LOCK) != 0 => 0..=1,
            _ => 0..=0,
        };
        assert!(expected.contains(&aborted), "{aborted} reports of a death");
    }
}
