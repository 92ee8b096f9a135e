//! Fork: both processes go on with both ends, whatever the other threads were doing.

use std::io::Read;

use shmpipe::{Backend, Receiver, TryRecvError};

use crate::ends::{
    FILLER, LARGE, assert_at_end, assert_empty_but_alive, drain, fill, open, open_duplex,
};
use crate::support::{Line, check, fork, fork_apart, identify, on_both_backends, pattern, thread};

on_both_backends! {
    a_child_receives_what_its_parent_sent_before_the_fork,
    parent_and_child_use_both_ends_in_turns,
    a_grandchild_uses_the_ends_that_its_grandparent_made,
    both_processes_go_on_after_a_fork_while_a_thread_is_in_send,
    both_processes_go_on_after_a_fork_while_a_thread_is_inside_a_large_send,
    both_processes_go_on_after_a_fork_while_a_thread_is_in_recv,
    both_processes_go_on_after_forks_while_threads_are_busy_sending_and_receiving,
    a_child_uses_its_inherited_end_after_its_parent_received_a_fragment_of_a_large_message,
    a_child_uses_its_inherited_end_after_its_parent_read_a_fragment_of_a_message,
    the_death_of_a_child_that_inherited_an_end_changes_nothing,
    a_child_that_drops_its_inherited_ends_changes_nothing,
    a_duplex_end_is_shared_by_parent_and_child,
}

fn a_child_receives_what_its_parent_sent_before_the_fork(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    (0..10).for_each(|number| tx.send(&pattern(1, number, FILLER)).unwrap());
    fork(|| drain(&mut rx, 1, 0..4, FILLER)).join();
    drain(&mut rx, 1, 4..7, FILLER);
    fork(|| drain(&mut rx, 1, 7..10, FILLER)).join();
    drop(tx);
    assert_at_end(&mut rx);
}

fn parent_and_child_use_both_ends_in_turns(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let (childs_turn, parents_turn) = (Line::new(), Line::new());
    let turn = |rx: &mut Receiver, tx: &mut shmpipe::Sender, sender: u16, number: u64| {
        check(&rx.recv().unwrap(), 1 - sender, number, FILLER);
        tx.send(&pattern(sender, number, FILLER)).unwrap();
    };
    tx.send(&pattern(0, 0, FILLER)).unwrap();
    let child = fork(|| {
        for number in 0..200 {
            childs_turn.wait();
            turn(&mut rx, &mut tx, 1, number);
            parents_turn.signal();
        }
    });
    for number in 0..200 {
        childs_turn.signal();
        parents_turn.wait();
        check(&rx.recv().unwrap(), 1, number, FILLER);
        tx.send(&pattern(0, number + 1, FILLER)).unwrap();
    }
    child.join();
    drain(&mut rx, 0, 200..201, FILLER);
}

fn a_grandchild_uses_the_ends_that_its_grandparent_made(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    tx.send(b"to the grandchild").unwrap();
    let child = fork(|| {
        let grandchild = fork(|| {
            assert_eq!(&*rx.recv().unwrap(), b"to the grandchild");
            tx.send(b"to the grandparent").unwrap();
        });
        grandchild.join();
    });
    child.join();
    assert_eq!(&*rx.recv().unwrap(), b"to the grandparent");
    drop(tx);
    assert_at_end(&mut rx);
}

fn both_processes_go_on_after_a_fork_while_a_thread_is_in_send(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let held = fill(&mut tx, 1);
    let mut theirs = tx.try_clone().unwrap();
    let sender = thread(move || theirs.send(&pattern(1, held, FILLER)).unwrap());
    sender.until_asleep();
    let taken = Line::new();
    let child = fork(|| {
        assert!(matches!(
            tx.try_send(&[7; FILLER]),
            Err(shmpipe::TrySendError::Full)
        ));
        check(&rx.recv().unwrap(), 1, 0, FILLER);
        taken.signal();
        tx.send(&pattern(2, 0, FILLER)).unwrap();
    });
    taken.wait();
    let (mut next, mut from_child) = (1, 0);
    while next < held + 1 || from_child < 1 {
        let message = rx.recv().unwrap();
        let (sender, number) = identify(&message);
        check(&message, sender, number, FILLER);
        if sender == 1 {
            assert_eq!(number, next);
            next += 1;
        } else {
            from_child += 1;
        }
    }
    sender.join();
    child.join();
    assert_empty_but_alive(&mut rx);
}

fn both_processes_go_on_after_a_fork_while_a_thread_is_inside_a_large_send(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let mut theirs = tx.try_clone().unwrap();
    let sender = thread(move || theirs.send(&pattern(1, 0, LARGE)).unwrap());
    sender.until_asleep();
    let child = fork(|| {
        tx.send(&pattern(2, 0, FILLER)).unwrap();
        tx.send(&pattern(2, 1, LARGE)).unwrap();
    });
    child.until_asleep();
    check(&rx.recv().unwrap(), 1, 0, LARGE);
    check(&rx.recv().unwrap(), 2, 0, FILLER);
    check(&rx.recv().unwrap(), 2, 1, LARGE);
    sender.join();
    child.join();
    assert_empty_but_alive(&mut rx);
}

fn both_processes_go_on_after_a_fork_while_a_thread_is_in_recv(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let mut theirs = rx.try_clone().unwrap();
    let receiver = thread(move || theirs.recv().unwrap().into_vec());
    receiver.until_asleep();
    let told = Line::new();
    let child = fork(|| {
        tx.send(&pattern(2, 0, FILLER)).unwrap(); // for the thread of the parent
        told.wait();
        check(&rx.recv().unwrap(), 2, 1, FILLER);
    });
    check(&receiver.join(), 2, 0, FILLER);
    told.signal();
    child.until_asleep();
    tx.send(&pattern(2, 1, FILLER)).unwrap();
    child.join();
    tx.send(&pattern(2, 2, FILLER)).unwrap();
    check(&rx.recv().unwrap(), 2, 2, FILLER);
}

fn both_processes_go_on_after_forks_while_threads_are_busy_sending_and_receiving(backend: Backend) {
    const MESSAGES: u64 = 5000;
    const CHILDREN: u16 = 20;
    let (rx, mut tx) = open(backend);
    let mut theirs = tx.try_clone().unwrap();
    let sender = thread(move || {
        for number in 0..MESSAGES {
            let len = if number % 100 == 0 { LARGE } else { FILLER };
            theirs.send(&pattern(0, number, len)).unwrap();
        }
    });
    let receiver = thread(move || {
        let mut rx = rx;
        let mut next = [0; 1 + CHILDREN as usize];
        while next[0] < MESSAGES || next[1..].iter().any(|&count| count < 10) {
            let message = rx.recv().unwrap();
            let (sender, number) = identify(&message);
            check(&message, sender, number, message.len());
            assert_eq!(number, next[usize::from(sender)], "sender {sender}");
            next[usize::from(sender)] += 1;
        }
        rx
    });
    for sender in 1..=CHILDREN {
        // Forked at whatever the two threads are doing.
        fork(|| (0..10).for_each(|number| tx.send(&pattern(sender, number, FILLER)).unwrap()))
            .join();
    }
    sender.join();
    drop(tx);
    assert_at_end(&mut receiver.join());
}

fn a_child_uses_its_inherited_end_after_its_parent_received_a_fragment_of_a_large_message(
    backend: Backend,
) {
    let (mut rx, mut tx) = open(backend);
    let go = Line::new();
    let sender = fork(|| {
        tx.send(&pattern(1, 0, LARGE)).unwrap();
        go.wait();
        tx.send(&pattern(1, 1, FILLER)).unwrap();
    });
    assert!(rx.poll(None).unwrap());
    assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
    // The parts are in the parent's hands, so the child's copy waits for the next message.
    let child = fork(|| check(&rx.recv().unwrap(), 1, 1, FILLER));
    child.until_asleep();
    check(&rx.recv().unwrap(), 1, 0, LARGE);
    go.signal();
    child.join();
    sender.join();
    assert_empty_but_alive(&mut rx);
}

fn a_child_uses_its_inherited_end_after_its_parent_read_a_fragment_of_a_message(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    tx.send(b"0123456789").unwrap();
    let mut start = [0; 4];
    rx.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"0123");
    let child = fork(|| {
        // The rest was in the parent's memory and so is in the child's, as with stdio.
        while &*rx.recv().unwrap() != b"next" {}
    });
    tx.send(b"next").unwrap();
    child.join();
    assert_eq!(&*rx.recv().unwrap(), b"456789");
    drop(tx);
    assert_at_end(&mut rx);
}

fn the_death_of_a_child_that_inherited_an_end_changes_nothing(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    for number in 0..20 {
        let child = fork(|| {
            if number % 2 == 0 {
                tx.send(&pattern(1, number, FILLER)).unwrap();
                check(&rx.recv().unwrap(), 1, number, FILLER);
            }
            Line::new().wait();
        });
        child.until_asleep();
        child.kill();
        tx.send(&pattern(2, number, FILLER)).unwrap();
        check(&rx.recv().unwrap(), 2, number, FILLER);
    }
    assert_empty_but_alive(&mut rx);
    drop(tx);
    assert_at_end(&mut rx);
}

fn a_child_that_drops_its_inherited_ends_changes_nothing(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    for number in 0..20 {
        tx.send(&pattern(1, number, FILLER)).unwrap();
        let (child, ends) = fork_apart((rx, tx), || {});
        child.join();
        (rx, tx) = ends;
        check(&rx.recv().unwrap(), 1, number, FILLER);
        assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
    }
    drop(tx);
    assert_at_end(&mut rx);
}

fn a_duplex_end_is_shared_by_parent_and_child(backend: Backend) {
    let (mut left, mut right) = open_duplex(backend);
    let child = fork(|| {
        check(&right.recv().unwrap(), 1, 0, FILLER);
        right.send(&pattern(2, 0, FILLER)).unwrap();
    });
    left.send(&pattern(1, 0, FILLER)).unwrap();
    check(&left.recv().unwrap(), 2, 0, FILLER);
    child.join();
    left.send(&pattern(1, 1, FILLER)).unwrap();
    check(&right.recv().unwrap(), 1, 1, FILLER);
    drop(right);
    assert!(matches!(left.recv(), Err(shmpipe::RecvError::Disconnected)));
}
