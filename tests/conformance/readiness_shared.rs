//! Readiness of an end that several processes share, compared with what its calls say whenever all rest.

use std::os::fd::AsFd;
use std::time::Duration;

use shmpipe::{Backend, Receiver, RecvTimeoutError, Sender, TryRecvError, TrySendError};

use crate::ends::open;
use crate::readiness::{is_readable, may_have_more_room, short};
use crate::support::{Child, Line, Random, fork, long, on_both_backends};

on_both_backends! {
    whenever_all_rest_both_ends_show_what_their_calls_say within 180,
    whenever_all_rest_a_killed_holder_has_left_the_ends_right within 180,
}

/// A moment, for calls that may wait.
const MOMENT: Duration = Duration::from_micros(300);

fn send_something(tx: &mut Sender, random: &mut Random, short: usize) {
    let len = random.pick(&[0, 8, 100, 1000, 4000, short]);
    let message = vec![7; len];
    match random.below(4) {
        0 => match tx.send_timeout(&message, MOMENT) {
            Ok(()) | Err(shmpipe::SendTimeoutError::Timeout) => {}
            Err(error) => panic!("{error}"),
        },
        1 => drop(is_readable(tx.as_fd())),
        _ => match tx.try_send(&message) {
            Ok(()) | Err(TrySendError::Full) => {}
            Err(error) => panic!("{error}"),
        },
    }
}

fn receive_something(rx: &mut Receiver, random: &mut Random) {
    match random.below(5) {
        0 => match rx.recv_timeout(MOMENT) {
            Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            Err(error) => panic!("{error}"),
        },
        1 => drop(rx.poll(Some(MOMENT)).unwrap()),
        2 => drop(is_readable(rx.as_fd())),
        3 => drop(shmpipe::wait(&mut [rx], Some(MOMENT)).unwrap()),
        _ => match rx.try_recv() {
            Ok(_) | Err(TryRecvError::Empty) => {}
            Err(error) => panic!("{error}"),
        },
    }
}

/// What was shown, and what it came to.
#[derive(Debug, Default)]
struct Seen {
    empty: u32,
    messages: u32,
    /// Readable for nothing, which the call after it put right.
    late_tokens: u32,
    full: u32,
    room: u32,
}

impl Seen {
    /// Nobody else is inside any call.
    fn compare(&mut self, rx: &mut Receiver, tx: &mut Sender, backend: Backend) {
        let short = short(backend);
        match (is_readable(rx.as_fd()), rx.try_recv()) {
            (false, Err(TryRecvError::Empty)) => self.empty += 1,
            (true, Ok(_)) => self.messages += 1,
            (true, Err(TryRecvError::Empty)) => {
                assert!(!is_readable(rx.as_fd()), "readable for nothing, twice");
                self.late_tokens += 1;
            }
            (shown, outcome) => panic!("readable: {shown}, but {outcome:?}"),
        }
        match (is_readable(tx.as_fd()), tx.try_send(&vec![7; short])) {
            (false, Err(TrySendError::Full)) => self.full += 1,
            (true, Ok(())) => self.room += 1,
            (false, Ok(())) if may_have_more_room(backend) => self.full += 1,
            (true, Err(TrySendError::Full)) => {
                assert!(!is_readable(tx.as_fd()), "readable for nothing, twice");
                self.late_tokens += 1;
            }
            (shown, outcome) => panic!("readable: {shown}, but {outcome:?}"),
        }
    }
}

fn whenever_all_rest_both_ends_show_what_their_calls_say(backend: Backend) {
    let rounds = if long() { 30_000 } else { 3_000 };
    let (mut rx, mut tx) = open(backend);
    let mut random = Random::from_environment();
    let done = Line::new();
    let goes: [Line; 4] = std::array::from_fn(|_| Line::new());
    let seeds: [u64; 4] = std::array::from_fn(|_| random.word());
    let workers: [_; 4] = std::array::from_fn(|index| {
        let (rx, tx, done) = (&mut rx, &mut tx, &done);
        let go = &goes[index];
        let mut random = Random::new(seeds[index]);
        fork(move || {
            loop {
                // How many calls to make; the last of them makes none.
                let calls = go.take();
                if calls == u64::MAX {
                    return;
                }
                for _ in 0..calls {
                    if index % 2 == 0 {
                        send_something(tx, &mut random, short(backend));
                    } else {
                        receive_something(rx, &mut random);
                    }
                }
                done.signal();
            }
        })
    });
    let mut seen = Seen::default();
    for _ in 0..rounds {
        // Now senders and now receivers have more to do, so that full and empty pipes come up.
        let favoured = random.below(3);
        for (index, go) in goes.iter().enumerate() {
            let most = if index % 2 == favoured { 60 } else { 6 };
            go.put(random.below(most) as u64);
        }
        (0..4).for_each(|_| done.wait());
        seen.compare(&mut rx, &mut tx, backend);
    }
    goes.iter().for_each(|go| go.put(u64::MAX));
    workers.into_iter().for_each(Child::join);
    crate::support::found(&format!("{backend}: {seen:?}"));
    let least = [seen.empty, seen.messages, seen.full, seen.room];
    assert!(least.iter().all(|&count| count > rounds / 100), "{seen:?}");
}

fn whenever_all_rest_a_killed_holder_has_left_the_ends_right(backend: Backend) {
    let rounds = if long() { 5_000 } else { 300 };
    let (mut rx, mut tx) = open(backend);
    let mut random = Random::from_environment();
    let mut seen = Seen::default();
    for round in 0..rounds {
        let started = Line::new();
        let mut theirs = Random::new(random.word());
        let victim = fork(|| {
            started.signal();
            loop {
                match theirs.below(2 + round % 2) {
                    0 => receive_something(&mut rx, &mut theirs),
                    _ => send_something(&mut tx, &mut theirs, short(backend)),
                }
            }
        });
        started.wait();
        // No synchronisation: the kill is to come anywhere.
        std::thread::sleep(Duration::from_micros(random.below_u64(2000)));
        victim.kill();
        // What a dead one had made visible and not yet told of is told with the next call of its side.
        let _ = tx.try_send(b"");
        let _ = rx.try_recv();
        for _ in 0..3 {
            seen.compare(&mut rx, &mut tx, backend);
        }
    }
    crate::support::found(&format!("{backend}: {seen:?}"));
    assert!(seen.messages > 0 && seen.room > 0, "{seen:?}");
}
