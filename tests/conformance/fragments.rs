//! Receivers with a part of a large message in their hands: nobody else gets the rest of it, and
//! whatever becomes of them, what follows arrives whole.

use std::time::{Duration, Instant};

use shmpipe::{Backend, Receiver, RecvError, RecvTimeoutError, SendError, TryRecvError};

use crate::ends::{
    FILLER, LARGE, SHORT, assert_at_end, assert_breaks, assert_empty_but_alive, open,
};
use crate::support::{Child, Line, check, fork, fork_apart, on_both_backends, pattern, thread};

on_both_backends! {
    a_clone_goes_on_with_the_fragments_that_another_handle_has_taken,
    another_process_waits_while_one_has_fragments,
    a_try_beside_a_receiver_that_waits_inside_a_message_finds_nothing,
    a_handle_with_a_fragment_moves_to_another_thread,
    a_handle_with_a_fragment_that_is_dropped_leaves_the_message_to_its_clones,
    a_handle_that_is_dropped_beside_a_blocked_clone_leaves_the_message_to_it,
    the_last_handle_with_a_fragment_that_is_dropped_breaks_the_pipe,
    the_last_handle_of_a_process_with_a_fragment_that_is_dropped_makes_the_message_aborted_for_others,
    a_forked_copy_of_a_handle_with_a_fragment_is_dropped_without_effect,
    a_process_with_a_fragment_that_exits_makes_the_message_aborted,
    a_process_with_a_fragment_that_is_killed_makes_the_message_aborted,
    a_process_that_is_killed_while_it_waits_inside_a_message_makes_it_aborted,
    the_end_of_a_program_that_a_process_with_a_fragment_executed_makes_the_message_aborted,
    a_handle_with_a_fragment_reports_its_senders_death_and_a_clone_the_end,
    a_survivor_of_a_receiver_with_a_fragment_and_of_its_sender_gets_the_end,
}

/// A sender asleep inside the first of three messages: large, small, large.
fn sender(tx: &mut shmpipe::Sender) -> Child {
    let child = fork(|| {
        tx.send(&pattern(1, 0, LARGE)).unwrap();
        tx.send(&pattern(1, 1, FILLER)).unwrap();
        tx.send(&pattern(1, 2, LARGE)).unwrap();
    });
    child.until_asleep();
    child
}

/// Takes what is there of the large message while its sender is stopped.
fn take_a_fragment(rx: &mut Receiver, sender: &Child) {
    sender.stop();
    assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
    sender.cont();
}

fn assert_the_next_messages(rx: &mut Receiver) {
    check(&rx.recv().unwrap(), 1, 1, FILLER);
    check(&rx.recv().unwrap(), 1, 2, LARGE);
    assert_empty_but_alive(rx);
}

fn a_clone_goes_on_with_the_fragments_that_another_handle_has_taken(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let mut clone = rx.try_clone().unwrap();
    let sender = sender(&mut tx);
    take_a_fragment(&mut rx, &sender);
    check(&clone.recv().unwrap(), 1, 0, LARGE);
    check(&rx.recv().unwrap(), 1, 1, FILLER);
    check(&clone.recv().unwrap(), 1, 2, LARGE);
    sender.join();
}

fn another_process_waits_while_one_has_fragments(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let sender = sender(&mut tx);
    sender.stop();
    let (has_a_fragment, go_on) = (Line::new(), Line::new());
    let holder = fork(|| {
        assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
        has_a_fragment.signal();
        go_on.wait();
        check(&rx.recv().unwrap(), 1, 0, LARGE);
    });
    has_a_fragment.wait();
    sender.cont();
    for _ in 0..2 {
        assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
        let start = Instant::now();
        let outcome = rx.recv_timeout(SHORT);
        assert!(
            matches!(outcome, Err(RecvTimeoutError::Timeout)),
            "{outcome:?}"
        );
        assert!(start.elapsed() >= SHORT);
        assert!(
            !rx.poll(Some(Duration::ZERO)).unwrap(),
            "a recv would block"
        );
    }
    let blocked = thread(move || {
        assert_the_next_messages(&mut rx);
    });
    blocked.until_asleep();
    go_on.signal();
    blocked.join();
    holder.join();
    sender.join();
}

fn a_try_beside_a_receiver_that_waits_inside_a_message_finds_nothing(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let sender = sender(&mut tx);
    sender.stop();
    let receiver = fork(|| check(&rx.recv().unwrap(), 1, 0, LARGE));
    receiver.until_asleep();
    // It keeps the lock, and there is more of its message than it has taken.
    receiver.stop();
    sender.cont();
    sender.until_asleep();
    for _ in 0..2 {
        let outcome = rx.try_recv().map(|message| message.len());
        assert!(matches!(outcome, Err(TryRecvError::Empty)), "{outcome:?}");
    }
    receiver.cont();
    receiver.join();
    assert_the_next_messages(&mut rx);
    sender.join();
}

fn a_handle_with_a_fragment_moves_to_another_thread(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let sender = sender(&mut tx);
    sender.stop();
    // The thread that took the fragment is gone when another one takes the rest.
    let mut rx = thread(move || {
        assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
        rx
    })
    .join();
    sender.cont();
    let mut rx = thread(move || {
        check(&rx.recv().unwrap(), 1, 0, LARGE);
        rx
    })
    .join();
    assert_the_next_messages(&mut rx);
    sender.join();
}

fn a_handle_with_a_fragment_that_is_dropped_leaves_the_message_to_its_clones(backend: Backend) {
    let (rx, mut tx) = open(backend);
    let mut clone = rx.try_clone().unwrap();
    let sender = sender(&mut tx);
    take_a_fragment(&mut clone, &sender);
    drop(clone);
    let mut rx = rx;
    check(&rx.recv().unwrap(), 1, 0, LARGE);
    assert_the_next_messages(&mut rx);
    sender.join();
}

fn a_handle_that_is_dropped_beside_a_blocked_clone_leaves_the_message_to_it(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let mut clone = rx.try_clone().unwrap();
    let sender = sender(&mut tx);
    sender.stop();
    assert!(matches!(clone.try_recv(), Err(TryRecvError::Empty)));
    let blocked = thread(move || {
        check(&rx.recv().unwrap(), 1, 0, LARGE);
        assert_the_next_messages(&mut rx);
        rx
    });
    blocked.until_asleep();
    drop(clone);
    sender.cont();
    blocked.join();
    sender.join();
}

fn the_last_handle_with_a_fragment_that_is_dropped_breaks_the_pipe(backend: Backend) {
    let (rx, mut tx) = open(backend);
    let (sender, mut rx) = fork_apart(rx, || {
        let outcome = tx.send(&pattern(1, 0, 3 * LARGE));
        assert!(
            matches!(outcome, Err(SendError::Disconnected)),
            "{outcome:?}"
        );
        assert_breaks(&mut tx);
    });
    sender.until_asleep();
    take_a_fragment(&mut rx, &sender);
    sender.until_asleep();
    drop(rx);
    sender.join();
}

fn the_last_handle_of_a_process_with_a_fragment_that_is_dropped_makes_the_message_aborted_for_others(
    backend: Backend,
) {
    let (rx, mut tx) = open(backend);
    let sender = sender(&mut tx);
    sender.stop();
    let (dropped, over) = (Line::new(), Line::new());
    let mut ends = Some(rx);
    let holder = fork(|| {
        let mut theirs = ends.take().unwrap();
        assert!(matches!(theirs.try_recv(), Err(TryRecvError::Empty)));
        drop(theirs);
        dropped.signal();
        over.wait();
    });
    let mut rx = ends.unwrap();
    dropped.wait();
    sender.cont();
    // The other process lives, and has closed its end.
    assert!(matches!(rx.recv(), Err(RecvError::Aborted)));
    assert_the_next_messages(&mut rx);
    over.signal();
    holder.join();
    sender.join();
}

fn a_forked_copy_of_a_handle_with_a_fragment_is_dropped_without_effect(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let sender = sender(&mut tx);
    take_a_fragment(&mut rx, &sender);
    let (child, mut rx) = fork_apart(rx, || {});
    child.join();
    let child = fork(|| assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty))));
    child.join();
    check(&rx.recv().unwrap(), 1, 0, LARGE);
    assert_the_next_messages(&mut rx);
    sender.join();
}

fn a_process_with_a_fragment_that_exits_makes_the_message_aborted(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let sender = sender(&mut tx);
    sender.stop();
    fork(|| assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)))).join();
    sender.cont();
    assert!(matches!(rx.recv(), Err(RecvError::Aborted)));
    assert_the_next_messages(&mut rx);
    sender.join();
}

fn a_process_with_a_fragment_that_is_killed_makes_the_message_aborted(backend: Backend) {
    for looks_first in [false, true] {
        let (mut rx, mut tx) = open(backend);
        let sender = sender(&mut tx);
        sender.stop();
        let has_a_fragment = Line::new();
        let holder = fork(|| {
            assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
            has_a_fragment.signal();
            loop {
                nix::unistd::pause();
            }
        });
        has_a_fragment.wait();
        holder.kill();
        sender.cont();
        if looks_first {
            assert!(rx.poll(None).unwrap());
            assert_eq!(shmpipe::wait(&mut [&mut rx], None).unwrap(), [0]);
        }
        assert!(matches!(rx.recv(), Err(RecvError::Aborted)));
        assert_the_next_messages(&mut rx);
        sender.join();
    }
}

fn a_process_that_is_killed_while_it_waits_inside_a_message_makes_it_aborted(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let sender = sender(&mut tx);
    sender.stop();
    let receiver = fork(|| panic!("received {:?}", rx.recv().map(|message| message.len())));
    receiver.until_asleep();
    receiver.kill();
    sender.cont();
    assert!(matches!(rx.recv(), Err(RecvError::Aborted)));
    assert_the_next_messages(&mut rx);
    sender.join();
}

fn the_end_of_a_program_that_a_process_with_a_fragment_executed_makes_the_message_aborted(
    backend: Backend,
) {
    let (mut rx, mut tx) = open(backend);
    let sender = sender(&mut tx);
    sender.stop();
    let program = fork(|| {
        assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
        let error = nix::unistd::execv(c"/bin/sleep", &[c"sleep", c"1000"]).unwrap_err();
        panic!("executing sleep: {error}");
    });
    until_it_sleeps(&program);
    sender.cont();
    // It counts as alive until then: see docs/design.md, "Messages in fragments".
    assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
    program.kill();
    assert!(matches!(rx.recv(), Err(RecvError::Aborted)));
    assert_the_next_messages(&mut rx);
    sender.join();
}

/// Waits until the child has become the program `sleep`, which holds no end any more.
fn until_it_sleeps(program: &Child) {
    let name = format!("/proc/{}/comm", program.pid());
    while std::fs::read_to_string(&name).unwrap().trim() != "sleep" {
        std::thread::sleep(Duration::from_millis(1));
    }
    program.until_asleep();
}

fn a_handle_with_a_fragment_reports_its_senders_death_and_a_clone_the_end(backend: Backend) {
    let (mut rx, tx) = open(backend);
    let mut clone = rx.try_clone().unwrap();
    let mut theirs = tx;
    let sender = fork(move || theirs.send(&pattern(1, 0, LARGE)).unwrap());
    sender.until_asleep();
    take_a_fragment(&mut rx, &sender);
    sender.until_asleep();
    sender.kill();
    assert!(matches!(rx.recv(), Err(RecvError::Aborted)));
    assert_at_end(&mut rx);
    assert_at_end(&mut clone);
}

fn a_survivor_of_a_receiver_with_a_fragment_and_of_its_sender_gets_the_end(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let sender = fork(move || tx.send(&pattern(1, 0, LARGE)).unwrap());
    sender.until_asleep();
    sender.stop();
    let receiver = fork(|| panic!("received {:?}", rx.recv().map(|message| message.len())));
    receiver.until_asleep();
    receiver.kill();
    sender.kill();
    // Whose loss the message is, the receiver's or the sender's, is not said here.
    let outcome = rx.recv().map(|message| message.len());
    assert!(
        matches!(outcome, Err(RecvError::Aborted | RecvError::Disconnected)),
        "{outcome:?}"
    );
    assert_at_end(&mut rx);
}
