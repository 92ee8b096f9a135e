//! Several handles and processes that try at once: each message reaches somebody, and an answer of "nothing is
//! there" or "there is no room" is true.
//!
//! What becomes of one message that is only partly there is in `shared_ends`.

use std::io::ErrorKind;
use std::sync::atomic::Ordering;
use std::time::Duration;

use shmpipe::{
    Backend, PipeOptions, Receiver, RecvTimeoutError, Sender, TryRecvError, TrySendError, wait,
};

use crate::ends::{CAPACITY, LARGE, open};
use crate::support::{
    Child, Random, check, doing, fork, fork_apart, long, on_both_backends, pattern, shared_counter,
    thread,
};

on_both_backends! {
    every_message_comes_in_order_to_fresh_clones_that_each_call_once within 120,
    every_message_comes_in_order_to_fresh_processes_that_each_call_once within 120,
    try_recv_of_several_threads_finds_a_message_that_is_surely_there within 120,
    try_recv_of_several_processes_finds_a_message_that_is_surely_there within 120,
    try_send_of_several_threads_finds_room_that_is_surely_there within 120,
    try_send_of_several_processes_finds_room_that_is_surely_there within 120,
}

/// Length of a message that goes in fragments and fits the pipe.
const FITS: usize = 30_000;

/// How many take and give at once.
const USERS: usize = 3;

/// One receiving call that does not wait for ever: the message's number when it got one, and `None` at the end
/// of the stream.
fn one_call(rx: &mut Receiver, random: &mut Random, number: u64, len: usize) -> Option<bool> {
    let some_time = Duration::from_micros(random.below_u64(200));
    match random.below(4) {
        0 => {
            let _is_ready = rx.poll(Some(some_time)).unwrap();
            return Some(false);
        }
        1 => {
            let _ready = wait(&mut [rx], Some(some_time)).unwrap();
            return Some(false);
        }
        2 => match rx.recv_timeout(some_time) {
            Ok(message) => check(&message, 0, number, len),
            Err(RecvTimeoutError::Timeout) => return Some(false),
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(error) => panic!("{error}"),
        },
        _ => match rx.try_recv() {
            Ok(message) => check(&message, 0, number, len),
            Err(TryRecvError::Empty) => return Some(false),
            Err(TryRecvError::Disconnected) => return None,
            Err(error) => panic!("{error}"),
        },
    }
    Some(true)
}

fn send_all(mut tx: Sender, messages: u64, len: usize) {
    (0..messages).for_each(|number| tx.send(&pattern(0, number, len)).unwrap());
}

fn every_message_comes_in_order_to_fresh_clones_that_each_call_once(backend: Backend) {
    let messages = if long() { 20_000 } else { 3000 };
    let mut random = Random::from_environment();
    for len in [FITS, LARGE] {
        doing(&format!("clones, {len} bytes"));
        let messages = messages * FITS as u64 / len as u64;
        let (rx, tx) = open(backend);
        let (sender, rx) = fork_apart(rx, || send_all(tx, messages, len));
        let mut next = 0;
        loop {
            let mut clone = rx.try_clone().unwrap();
            match one_call(&mut clone, &mut random, next, len) {
                Some(received) => next += u64::from(received),
                None => break,
            }
        }
        assert_eq!(next, messages, "messages of {len} bytes");
        sender.join();
    }
}

fn every_message_comes_in_order_to_fresh_processes_that_each_call_once(backend: Backend) {
    let messages = if long() { 2000 } else { 200 };
    let mut random = Random::from_environment();
    let (rx, tx) = open(backend);
    let (sender, mut rx) = fork_apart(rx, || send_all(tx, messages, FITS));
    let (next, ended) = (shared_counter(), shared_counter());
    while ended.load(Ordering::Acquire) == 0 {
        let mut theirs = Random::new(random.word());
        let child = fork(|| {
            let number = next.load(Ordering::Acquire);
            match one_call(&mut rx, &mut theirs, number, FITS) {
                Some(received) => next.store(number + u64::from(received), Ordering::Release),
                None => ended.store(1, Ordering::Release),
            }
        });
        child.join();
    }
    assert_eq!(next.load(Ordering::Acquire), messages);
    sender.join();
}

/// Lengths of messages and of pipes: less and more than an eighth of the pipe, and a pipe of one page.
const SIZES: [(usize, usize); 5] = [
    (8, 1),
    (2000, 1),
    (8, CAPACITY),
    (2000, CAPACITY),
    (FITS, CAPACITY),
];

fn rounds(len: usize) -> u64 {
    let rounds = if len == FITS { 500 } else { 5000 };
    if long() { 20 * rounds } else { rounds }
}

fn open_sized(backend: Backend, capacity: usize) -> (Receiver, Sender) {
    let options = PipeOptions::new().backend(backend).capacity(capacity);
    options.pipe().unwrap()
}

/// Sends a message and takes one, again and again. There is one for each user that has sent and not yet taken, so
/// that a try finds one whatever the others do; returns how many did not.
fn send_and_try_to_receive(rx: &mut Receiver, tx: &mut Sender, len: usize) -> u64 {
    let message = pattern(0, 0, len);
    let mut false_answers = 0;
    for _ in 0..rounds(len) {
        tx.send(&message).unwrap();
        loop {
            match rx.try_recv() {
                Ok(received) => {
                    check(&received, 0, 0, len);
                    break;
                }
                Err(TryRecvError::Empty) => false_answers += 1,
                // True, where the machine has kept another user off its CPU for so long.
                Err(TryRecvError::Io(error)) if error.kind() == ErrorKind::ResourceBusy => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
    false_answers
}

/// The mirror of it, in a pipe that takes a message of each user at any time.
fn try_to_send_and_receive(rx: &mut Receiver, tx: &mut Sender, len: usize) -> u64 {
    let message = pattern(0, 0, len);
    let mut false_answers = 0;
    for _ in 0..rounds(len) {
        loop {
            match tx.try_send(&message) {
                Ok(()) => break,
                Err(TrySendError::Full) => false_answers += 1,
                // As above.
                Err(TrySendError::Io(error)) if error.kind() == ErrorKind::ResourceBusy => {}
                Err(error) => panic!("{error}"),
            }
        }
        check(&rx.recv().unwrap(), 0, 0, len);
    }
    false_answers
}

type Work = fn(&mut Receiver, &mut Sender, usize) -> u64;

/// Does `work` in several threads, each with handles of its own, and adds up what it returns.
fn in_threads(rx: &Receiver, tx: &Sender, len: usize, work: Work) -> u64 {
    let start = |_| {
        let (mut rx, mut tx) = (rx.try_clone().unwrap(), tx.try_clone().unwrap());
        thread(move || work(&mut rx, &mut tx, len))
    };
    let threads: Vec<_> = (0..USERS).map(start).collect();
    threads.into_iter().map(|thread| thread.join()).sum()
}

/// As [`in_threads`], in processes.
fn in_processes(rx: &Receiver, tx: &Sender, len: usize, work: Work) -> u64 {
    let total = shared_counter();
    let start = |_| {
        fork(|| {
            let (mut rx, mut tx) = (rx.try_clone().unwrap(), tx.try_clone().unwrap());
            total.fetch_add(work(&mut rx, &mut tx, len), Ordering::Relaxed);
        })
    };
    let children: Vec<_> = (0..USERS).map(start).collect();
    children.into_iter().for_each(Child::join);
    total.load(Ordering::Relaxed)
}

type Together = fn(&Receiver, &Sender, usize, Work) -> u64;

/// Asserts that there is no false answer with any size of messages and pipe.
fn assert_true_answers(
    backend: Backend,
    together: Together,
    work: Work,
    capacity: impl Fn(usize, usize) -> usize,
) {
    let mut wrong = Vec::new();
    for (len, asked) in SIZES {
        let (rx, tx) = open_sized(backend, capacity(len, asked));
        doing(&format!("{len} bytes through {}", rx.capacity()));
        let false_answers = together(&rx, &tx, len, work);
        if false_answers > 0 {
            wrong.push((len, rx.capacity(), false_answers));
        }
    }
    assert!(
        wrong.is_empty(),
        "false answers, by length and capacity, of {USERS} users: {wrong:?}"
    );
}

/// Twice what a message of each user takes, since a kernel pipe may take only half of its capacity without a wait,
/// and two pages at least for the same reason.
fn roomy(len: usize, asked: usize) -> usize {
    let page = open_sized(Backend::Kernel, 1).0.capacity();
    asked.max(2 * page).max(2 * USERS * (len + 64))
}

fn try_recv_of_several_threads_finds_a_message_that_is_surely_there(backend: Backend) {
    assert_true_answers(backend, in_threads, send_and_try_to_receive, |_, asked| {
        asked
    });
}

fn try_recv_of_several_processes_finds_a_message_that_is_surely_there(backend: Backend) {
    assert_true_answers(
        backend,
        in_processes,
        send_and_try_to_receive,
        |_, asked| asked,
    );
}

fn try_send_of_several_threads_finds_room_that_is_surely_there(backend: Backend) {
    assert_true_answers(backend, in_threads, try_to_send_and_receive, roomy);
}

fn try_send_of_several_processes_finds_room_that_is_surely_there(backend: Backend) {
    assert_true_answers(backend, in_processes, try_to_send_and_receive, roomy);
}
