//! Waiting for the first of many ends.

use std::time::{Duration, Instant};

use shmpipe::{Backend, Receiver, Sender, TryRecvError, Waitable, wait};

use crate::ends::{FILLER, LARGE, SHORT, assert_at_end, drain, fill, open, open_duplex};
use crate::support::{
    Line, allowed_fds, check, fork, fork_apart, on_both_backends, pattern, switches,
};

on_both_backends! {
    wait_tells_the_ends_that_are_ready,
    wait_ends_with_an_empty_list_not_before_its_time,
    wait_of_zero_returns_at_once,
    wait_without_limit_blocks_until_a_message_comes,
    wait_tells_ends_of_both_backends,
    wait_tells_an_end_whose_sender_was_dropped,
    wait_tells_an_end_whose_sender_was_killed_also_beside_one_that_is_ready,
    wait_tells_a_sender_that_has_room,
    wait_for_a_thousand_ends within 120,
    wait_tells_all_that_are_ready_each_time,
    wait_makes_no_context_switches_while_nothing_happens,
    wait_goes_on_after_another_one_took_the_message,
    wait_does_not_hang_or_spin_while_another_one_is_inside_a_long_message,
    wait_tells_what_a_read_has_left,
    wait_for_the_same_end_twice_tells_both,
}

const NOW: Option<Duration> = Some(Duration::ZERO);

fn all(ends: &mut [Receiver]) -> Vec<&mut dyn Waitable> {
    ends.iter_mut()
        .map(|end| end as &mut dyn Waitable)
        .collect()
}

fn open_many(backend: Backend, count: usize) -> (Vec<Receiver>, Vec<Sender>) {
    (0..count).map(|_| open(backend)).unzip()
}

fn wait_tells_the_ends_that_are_ready(backend: Backend) {
    let (mut rxs, mut txs) = open_many(backend, 5);
    let (mut left, mut right) = open_duplex(backend);
    assert!(wait(&mut all(&mut rxs), NOW).unwrap().is_empty());
    txs[3].send(b"three").unwrap();
    txs[1].send(b"one").unwrap();
    right.send(b"five").unwrap();
    for timeout in [NOW, Some(SHORT), None] {
        let mut ends = all(&mut rxs);
        ends.push(&mut left);
        assert_eq!(wait(&mut ends, timeout).unwrap(), [1, 3, 5]);
    }
    assert_eq!(&*rxs[1].recv().unwrap(), b"one");
    assert_eq!(&*left.recv().unwrap(), b"five");
    assert_eq!(wait(&mut all(&mut rxs), None).unwrap(), [3]);
    assert_eq!(&*rxs[3].recv().unwrap(), b"three");
    assert!(wait(&mut all(&mut rxs), NOW).unwrap().is_empty());
}

fn wait_ends_with_an_empty_list_not_before_its_time(backend: Backend) {
    let (mut rxs, _txs) = open_many(backend, 3);
    for timeout in [1, 7, 50].map(Duration::from_millis) {
        let start = Instant::now();
        assert!(wait(&mut all(&mut rxs), Some(timeout)).unwrap().is_empty());
        assert!(start.elapsed() >= timeout);
        let start = Instant::now();
        assert!(wait(&mut [], Some(timeout)).unwrap().is_empty());
        assert!(start.elapsed() >= timeout);
    }
}

fn wait_of_zero_returns_at_once(backend: Backend) {
    let (mut rxs, mut txs) = open_many(backend, 2);
    assert!(wait(&mut [], NOW).unwrap().is_empty());
    for number in 0..100 {
        assert!(wait(&mut all(&mut rxs), NOW).unwrap().is_empty());
        txs[1].send(&pattern(1, number, FILLER)).unwrap();
        assert_eq!(wait(&mut all(&mut rxs), NOW).unwrap(), [1]);
        check(&rxs[1].recv().unwrap(), 1, number, FILLER);
    }
}

fn wait_without_limit_blocks_until_a_message_comes(backend: Backend) {
    for timeout in [None, Some(Duration::MAX)] {
        let (mut rxs, mut txs) = open_many(backend, 3);
        let child = fork(|| {
            for number in 0..3 {
                assert_eq!(wait(&mut all(&mut rxs), timeout).unwrap(), [2]);
                check(&rxs[2].try_recv().unwrap(), 1, number, FILLER);
            }
        });
        for number in 0..3 {
            child.until_asleep();
            txs[2].send(&pattern(1, number, FILLER)).unwrap();
        }
        child.join();
    }
}

fn wait_tells_ends_of_both_backends(backend: Backend) {
    let other = match backend {
        Backend::Kernel => Backend::SharedMemory,
        _ => Backend::Kernel,
    };
    let (mut first, mut to_first) = open(backend);
    let (mut second, mut to_second) = open(other);
    let child = fork(|| {
        assert_eq!(wait(&mut [&mut first, &mut second], None).unwrap(), [1]);
        second.recv().unwrap();
        assert_eq!(wait(&mut [&mut first, &mut second], None).unwrap(), [0]);
    });
    child.until_asleep();
    to_second.send(b"x").unwrap();
    child.until_asleep();
    to_first.send(b"x").unwrap();
    child.join();
}

fn wait_tells_an_end_whose_sender_was_dropped(backend: Backend) {
    let (mut rxs, mut txs) = open_many(backend, 3);
    let last = txs.pop();
    let (child, last) = fork_apart(last, || {
        assert_eq!(wait(&mut all(&mut rxs), None).unwrap(), [2]);
        assert_at_end(&mut rxs[2]);
        assert_eq!(wait(&mut all(&mut rxs), NOW).unwrap(), [2]);
    });
    child.until_asleep();
    drop(last);
    child.join();
}

fn wait_tells_an_end_whose_sender_was_killed_also_beside_one_that_is_ready(backend: Backend) {
    let (mut rxs, mut txs) = open_many(backend, 3);
    let victims = txs.pop();
    let never = Line::new();
    let victim = fork(|| {
        let _held = &victims;
        never.wait();
    });
    drop(victims);
    // Has heard of that drop, so that nothing but the kernel tells of the kill.
    assert!(wait(&mut all(&mut rxs), NOW).unwrap().is_empty());
    let child = fork(|| {
        assert_eq!(wait(&mut all(&mut rxs), None).unwrap(), [2]);
        assert_at_end(&mut rxs[2]);
    });
    child.until_asleep();
    victim.kill();
    child.join();
    txs[0].send(b"here").unwrap();
    assert_eq!(wait(&mut all(&mut rxs), None).unwrap(), [0, 2]);
}

fn drain_one(rx: &mut Receiver) {
    assert_eq!(&*rx.recv().unwrap(), b"here");
}

fn wait_tells_a_sender_that_has_room(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    assert_eq!(wait(&mut [&mut tx, &mut rx], None).unwrap(), [0]);
    let held = fill(&mut tx, 1);
    assert!(wait(&mut [&mut tx], NOW).unwrap().is_empty());
    assert_eq!(wait(&mut [&mut tx, &mut rx], None).unwrap(), [1]);
    let drained = Line::new();
    let (sender, mut rx) = fork_apart(rx, || {
        assert_eq!(wait(&mut [&mut tx], None).unwrap(), [0]);
        tx.try_send(&pattern(1, held, FILLER)).unwrap();
        drained.wait();
        fill(&mut tx, 2);
        assert_eq!(wait(&mut [&mut tx], None).unwrap(), [0]);
        assert!(tx.send(b"x").is_err());
    });
    sender.until_asleep();
    drain(&mut rx, 1, 0..held + 1, FILLER);
    drained.signal();
    sender.until_asleep();
    drop((rx, tx));
    sender.join();
}

fn wait_for_a_thousand_ends(backend: Backend) {
    if !allowed_fds(4096) {
        return;
    }
    let small = |_| {
        shmpipe::PipeOptions::new()
            .backend(backend)
            .capacity(4096)
            .pipe()
            .unwrap()
    };
    let (mut rxs, mut txs): (Vec<_>, Vec<_>) = (0..1000).map(small).unzip();
    let child = fork(|| {
        for expected in [999, 0, 500] {
            assert_eq!(wait(&mut all(&mut rxs), None).unwrap(), [expected]);
            rxs[expected].try_recv().unwrap();
        }
    });
    for index in [999, 0, 500] {
        child.until_asleep();
        txs[index].send(b"x").unwrap();
    }
    child.join();
    txs.iter_mut().for_each(|tx| tx.send(b"x").unwrap());
    let everyone: Vec<_> = (0..1000).collect();
    assert_eq!(wait(&mut all(&mut rxs), None).unwrap(), everyone);
}

fn wait_tells_all_that_are_ready_each_time(backend: Backend) {
    const ROUNDS: u64 = 30;
    let (mut rxs, mut txs) = open_many(backend, 4);
    for tx in &mut txs {
        (0..ROUNDS).for_each(|number| tx.send(&pattern(1, number, FILLER)).unwrap());
    }
    // The third is quiet, and speaks up in the middle of it all.
    drain(&mut rxs[2], 1, 0..ROUNDS, FILLER);
    for round in 0..ROUNDS {
        if round == ROUNDS / 2 {
            txs[2].send(b"here").unwrap();
        }
        let ready = wait(&mut all(&mut rxs), None).unwrap();
        if round == ROUNDS / 2 {
            assert_eq!(ready, [0, 1, 2, 3]);
            drain_one(&mut rxs[2]);
        } else {
            assert_eq!(ready, [0, 1, 3], "round {round}");
        }
        for index in [0, 1, 3] {
            check(&rxs[index].try_recv().unwrap(), 1, round, FILLER);
        }
    }
    assert!(wait(&mut all(&mut rxs), NOW).unwrap().is_empty());
}

fn wait_makes_no_context_switches_while_nothing_happens(backend: Backend) {
    let (mut rxs, mut txs) = open_many(backend, 10);
    let (_full, mut tx) = open(backend);
    fill(&mut tx, 1);
    let child = fork(|| {
        let mut ends = all(&mut rxs);
        ends.push(&mut tx);
        assert_eq!(wait(&mut ends, None).unwrap(), [7]);
    });
    child.until_asleep();
    let before = switches(child.pid(), child.pid());
    // The sleep measures; it synchronises nothing.
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(switches(child.pid(), child.pid()), before);
    txs[7].send(b"x").unwrap();
    child.join();
}

fn wait_goes_on_after_another_one_took_the_message(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let mut rival = rx.try_clone().unwrap();
    let child = fork(|| {
        loop {
            assert_eq!(wait(&mut [&mut rx], None).unwrap(), [0]);
            match rx.try_recv() {
                Ok(message) if &*message == b"the end" => return,
                Ok(_) | Err(TryRecvError::Empty) => {}
                Err(error) => panic!("{error}"),
            }
        }
    });
    for _ in 0..2000 {
        tx.send(b"for either").unwrap();
        let _ = rival.try_recv();
    }
    child.until_asleep();
    tx.send(b"the end").unwrap();
    child.join();
}

fn wait_does_not_hang_or_spin_while_another_one_is_inside_a_long_message(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let (has_a_fragment, go_on) = (Line::new(), Line::new());
    let sender = fork(|| tx.send(&pattern(1, 0, LARGE)).unwrap());
    sender.until_asleep();
    let other = fork(|| {
        // Takes what is there, and has the message for itself from now on.
        assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
        has_a_fragment.signal();
        go_on.wait();
        check(&rx.recv().unwrap(), 1, 0, LARGE);
    });
    has_a_fragment.wait();
    sender.until_asleep();
    let before = switches(nix::unistd::getpid(), crate::support::gettid());
    assert!(wait(&mut [&mut rx], Some(SHORT)).unwrap().is_empty());
    let after = switches(nix::unistd::getpid(), crate::support::gettid());
    assert!(
        after.voluntary - before.voluntary < 20,
        "{before:?} {after:?}"
    );
    go_on.signal();
    other.join();
    sender.join();
    tx.send(b"here").unwrap();
    assert_eq!(wait(&mut [&mut rx], None).unwrap(), [0]);
    drain_one(&mut rx);
}

fn wait_tells_what_a_read_has_left(backend: Backend) {
    use std::io::Read;
    let (mut rx, mut tx) = open(backend);
    tx.send(b"four").unwrap();
    assert_eq!(rx.read(&mut [0; 1]).unwrap(), 1);
    assert_eq!(wait(&mut [&mut rx], NOW).unwrap(), [0]);
    assert_eq!(rx.read(&mut [0; 8]).unwrap(), 3);
    assert!(wait(&mut [&mut rx], NOW).unwrap().is_empty());
}

fn wait_for_the_same_end_twice_tells_both(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let mut copy = rx.try_clone().unwrap();
    let child = fork(|| {
        assert_eq!(wait(&mut [&mut rx, &mut copy], None).unwrap(), [0, 1]);
    });
    child.until_asleep();
    tx.send(b"x").unwrap();
    child.join();
}
