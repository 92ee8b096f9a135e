//! Deaths, stops and signals around a sender and a receiver that live on: nothing of theirs is lost,
//! nothing stands still, and their time-outs keep.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
use shmpipe::{Backend, Receiver, RecvError, RecvTimeoutError, SendTimeoutError, Sender};

use crate::ends::{CAPACITY, FILLER, assert_at_end, assert_breaks, assert_empty_but_alive, open};
use crate::support::{Child, Line, check, fork, long, on_both_backends, pattern, shared_counter};
use crate::support::{Random, mixed};

on_both_backends! {
    stops_and_signals_at_any_moment_lose_nothing_and_end_no_wait_early within 120,
    a_process_killed_while_it_drops_its_ends_leaves_the_others_an_end_on_each_pipe within 120,
    copies_that_are_killed_at_any_moment_do_not_disturb_their_originals within 120,
}

extern "C" fn nothing(_signal: libc::c_int) {}

/// Has SIGUSR1 do nothing but interrupt: a handler without `SA_RESTART`, kept over fork(2).
fn be_interrupted() {
    let action = SigAction::new(
        SigHandler::Handler(nothing),
        SaFlags::empty(),
        SigSet::empty(),
    );
    // SAFETY: the handler does nothing.
    unsafe { sigaction(Signal::SIGUSR1, &action) }.unwrap();
}

/// Mostly small, sometimes larger than the pipe.
fn size(number: u64) -> usize {
    let mixed = mixed(number);
    let bound = match mixed % 16 {
        0 => 3 * CAPACITY as u64,
        1 => 4096,
        _ => 256,
    };
    8 + usize::try_from((mixed >> 8) % bound).unwrap()
}

/// Time-outs of the two sides, so short that many end.
fn patience(random: &mut Random) -> Duration {
    Duration::from_micros(random.below_u64(2000))
}

/// Both sides work with time-outs while they are stopped, continued and interrupted at random. A
/// message whose send timed out is sent again, and must not have been received before.
fn stops_and_signals_at_any_moment_lose_nothing_and_end_no_wait_early(backend: Backend) {
    let blows = if long() { 50_000 } else { 2000 };
    be_interrupted();
    let (mut rx, mut tx) = open(backend);
    let over = shared_counter();
    let sender = fork(|| {
        let mut random = Random::new(17);
        let mut number = 0;
        while over.load(Ordering::Relaxed) == 0 {
            let patience = patience(&mut random);
            let start = Instant::now();
            match tx.send_timeout(&pattern(1, number, size(number)), patience) {
                Ok(()) => number += 1,
                Err(SendTimeoutError::Timeout) => assert!(start.elapsed() >= patience),
                Err(error) => panic!("message {number}: {error}"),
            }
        }
        tx.send(&[]).unwrap();
    });
    let receiver = fork(|| {
        let mut random = Random::new(19);
        let mut number = 0;
        loop {
            let patience = patience(&mut random);
            let start = Instant::now();
            match rx.recv_timeout(patience) {
                Ok(message) if message.is_empty() => break,
                Ok(message) => check(&message, 1, number, size(number)),
                Err(RecvTimeoutError::Timeout) => {
                    assert!(start.elapsed() >= patience);
                    continue;
                }
                Err(error) => panic!("message {number}: {error}"),
            }
            number += 1;
        }
    });
    let mut random = Random::new(23);
    for _ in 0..blows {
        let victim = [&sender, &receiver][random.below_u64(2) as usize];
        // Chooses a moment; nothing depends on how long it is.
        let pause = Duration::from_micros(random.below_u64(300));
        match random.below_u64(2) {
            0 => kill(victim.pid(), Signal::SIGUSR1).unwrap(),
            _ => {
                victim.stop();
                std::thread::sleep(pause);
                victim.cont();
            }
        }
        std::thread::sleep(pause);
    }
    over.store(1, Ordering::Relaxed);
    sender.join();
    receiver.join();
}

/// One process holds one end of each of many pipes and is killed in the middle of dropping them. Each
/// drop closes the end and says so in shared memory.
fn a_process_killed_while_it_drops_its_ends_leaves_the_others_an_end_on_each_pipe(
    backend: Backend,
) {
    const PIPES: u64 = 4;
    let rounds = if long() { 10_000 } else { 300 };
    let mut random = Random::new(29);
    let dropped = shared_counter();
    for _ in 0..rounds {
        let pipes = || (0..PIPES).map(|_| open(backend));
        let (mut our_rxs, their_txs): (Vec<_>, Vec<_>) = pipes().unzip();
        let (their_rxs, mut our_txs): (Vec<_>, Vec<_>) = pipes().unzip();
        dropped.store(0, Ordering::Relaxed);
        let mut theirs = Some((their_txs, their_rxs));
        let victim = fork(|| {
            our_rxs.clear();
            our_txs.clear();
            let (txs, rxs) = theirs.take().expect("inherited");
            for (mut tx, rx) in txs.into_iter().zip(rxs) {
                tx.send(b"farewell").unwrap();
                drop((tx, rx));
                dropped.fetch_add(1, Ordering::Release);
            }
            Line::new().wait();
        });
        drop(theirs);
        let enough = random.below_u64(PIPES + 1);
        while dropped.load(Ordering::Acquire) < enough {
            std::hint::spin_loop();
        }
        victim.kill();
        for rx in &mut our_rxs {
            if let Ok(message) = rx.recv() {
                assert_eq!(&*message, b"farewell");
            }
            assert!(matches!(rx.recv(), Err(RecvError::Disconnected)));
        }
        our_txs.iter_mut().for_each(assert_breaks);
    }
}

/// Forked copies of both ends clone, drop, look and are refused a message that is too long, and
/// are killed anywhere in that, while the original ends pass messages. The copies take and send none.
fn copies_that_are_killed_at_any_moment_do_not_disturb_their_originals(backend: Backend) {
    let kills = if long() { 50_000 } else { 1000 };
    let (mut rx, mut tx) = open(backend);
    let mut random = Random::new(31);
    let start = |rx: &mut Receiver, tx: &mut Sender| {
        fork(|| {
            loop {
                drop((rx.try_clone().unwrap(), tx.try_clone().unwrap()));
                assert!(tx.try_send(&[7; 10 * CAPACITY]).is_err());
                let _ = rx.poll(Some(Duration::from_micros(100))).unwrap();
            }
        })
    };
    let mut copies: [Option<Child>; 3] = [(); 3].map(|()| Some(start(&mut rx, &mut tx)));
    for number in 0..kills {
        // Chooses a moment; nothing depends on how long it is.
        std::thread::sleep(Duration::from_micros(random.below_u64(500)));
        let copy = &mut copies[random.below_u64(3) as usize];
        copy.take().expect("replaced after each kill").kill();
        *copy = Some(start(&mut rx, &mut tx));
        let len = FILLER + usize::try_from(number % 100).unwrap();
        tx.send(&pattern(1, number, len)).unwrap();
        check(&rx.recv().unwrap(), 1, number, len);
    }
    copies.into_iter().flatten().for_each(Child::kill);
    assert_empty_but_alive(&mut rx);
    drop(tx);
    assert_at_end(&mut rx);
}
