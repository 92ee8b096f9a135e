//! Who a process is, and that it has died, where descriptors are wanting, /proc is not there or calls are refused.

use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use shmpipe::{Backend, RecvTimeoutError, SendTimeoutError, Sender};

use crate::ends::{LARGE, SHORT, assert_at_end, open};
use crate::support::{
    Child, Line, check, fork, has_ended, on_both_backends, pattern, privileged, raw_clone, skipped,
    without_pidfds, without_proc, without_spare_descriptors,
};

on_both_backends! {
    a_thread_goes_on_with_what_another_has_taken_without_a_descriptor,
    a_slot_made_without_a_descriptor_is_committed_by_another_thread,
    a_view_made_without_a_descriptor_is_given_back_by_another_thread,
    others_send_after_a_slots_holder_was_killed_that_had_no_descriptor,
    others_receive_after_a_views_holder_was_killed_that_had_no_descriptor,
    others_receive_after_one_inside_a_message_was_killed_that_had_no_descriptor,
    others_go_on_after_a_death_where_nobody_has_proc_or_pidfds,
    a_holder_that_nobody_has_waited_for_is_dead,
    a_holder_whose_main_thread_has_ended_is_alive,
    threads_and_children_without_proc_share_a_side,
    threads_and_children_without_proc_and_pidfds_share_a_side,
    two_pid_namespaces_without_proc_are_never_one,
    two_pid_namespaces_without_proc_and_pidfds_are_never_one,
    a_child_of_a_raw_clone_has_a_lock_of_its_own,
    a_death_of_a_raw_clone_inside_a_message_is_reported,
}

/// Long enough for others to find out about a death, many times over.
const LONG: Duration = Duration::from_secs(20);

fn a_thread_goes_on_with_what_another_has_taken_without_a_descriptor(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let sender = fork(|| tx.send(&pattern(1, 0, LARGE)).unwrap());
    sender.until_asleep();
    sender.stop();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let outcome = without_spare_descriptors(|| rx.recv_timeout(SHORT).map(|_| ()));
            assert!(
                matches!(outcome, Err(RecvTimeoutError::Timeout)),
                "{outcome:?}"
            );
        });
    });
    sender.cont();
    check(&rx.recv_timeout(LONG).unwrap(), 1, 0, LARGE);
    sender.join();
}

fn a_slot_made_without_a_descriptor_is_committed_by_another_thread(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    for number in 0..2 {
        let message = pattern(1, number, 100);
        let mut slot = without_spare_descriptors(|| tx.reserve(100)).unwrap();
        slot.copy_from_slice(&message);
        std::thread::scope(|scope| {
            scope.spawn(|| slot.commit().unwrap());
        });
        check(&rx.recv_timeout(LONG).unwrap(), 1, number, 100);
    }
}

fn a_view_made_without_a_descriptor_is_given_back_by_another_thread(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let mut again = rx.try_clone().unwrap();
    for number in 0..2 {
        tx.send(&pattern(1, 2 * number, 100)).unwrap();
        tx.send(&pattern(1, 2 * number + 1, 100)).unwrap();
        let view = without_spare_descriptors(|| rx.recv_in_place()).unwrap();
        let mut bytes = [0; 100];
        view.copy_to(&mut bytes);
        check(&bytes, 1, 2 * number, 100);
        std::thread::scope(|scope| {
            scope.spawn(move || drop(view));
        });
        check(&again.recv_timeout(LONG).unwrap(), 1, 2 * number + 1, 100);
    }
}

fn others_send_after_a_slots_holder_was_killed_that_had_no_descriptor(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let ready = Line::new();
    let holder = fork(|| {
        let _slot = without_spare_descriptors(|| tx.reserve(100)).unwrap();
        ready.signal();
        Line::new().wait();
    });
    ready.wait();
    holder.kill();
    tx.send_timeout(&pattern(1, 0, 100), LONG).unwrap();
    check(&rx.recv_timeout(LONG).unwrap(), 1, 0, 100);
}

fn others_receive_after_a_views_holder_was_killed_that_had_no_descriptor(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    tx.send(&pattern(1, 0, 100)).unwrap();
    tx.send(&pattern(1, 1, 100)).unwrap();
    let ready = Line::new();
    let holder = fork(|| {
        let view = without_spare_descriptors(|| rx.recv_in_place()).unwrap();
        ready.put(u64::from(view.is_in_place()));
        Line::new().wait();
    });
    let first = if ready.take() == 1 { 0 } else { 1 };
    holder.kill();
    drop(tx);
    for number in first..2 {
        check(&rx.recv_timeout(LONG).unwrap(), 1, number, 100);
    }
    assert_at_end(&mut rx);
}

fn others_receive_after_one_inside_a_message_was_killed_that_had_no_descriptor(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let sender = fork(|| {
        tx.send(&pattern(1, 0, LARGE)).unwrap();
        tx.send(&pattern(1, 1, 100)).unwrap();
    });
    sender.until_asleep();
    sender.stop();
    let ready = Line::new();
    let holder = fork(|| {
        let outcome = without_spare_descriptors(|| rx.recv_timeout(SHORT).map(|_| ()));
        assert!(
            matches!(outcome, Err(RecvTimeoutError::Timeout)),
            "{outcome:?}"
        );
        ready.signal();
        Line::new().wait();
    });
    ready.wait();
    holder.kill();
    sender.cont();
    // What the dead one has taken of the long message died with it, or is reported.
    let message = match rx.recv_timeout(LONG) {
        Err(RecvTimeoutError::Aborted) => rx.recv_timeout(LONG),
        outcome => outcome,
    };
    check(&message.unwrap(), 1, 1, 100);
    sender.join();
}

/// Runs `work` in a process without /proc.
fn where_proc_is_not(work: impl FnOnce()) {
    fork(|| {
        if privileged() {
            without_proc();
            work();
        }
    })
    .join();
}

fn others_go_on_after_a_death_where_nobody_has_proc_or_pidfds(backend: Backend) {
    where_proc_is_not(|| {
        without_pidfds();
        let (mut rx, mut tx) = open(backend);
        for number in 0..2 {
            let ready = Line::new();
            let holder = fork(|| {
                let _slot = tx.reserve(100).unwrap();
                ready.signal();
                Line::new().wait();
            });
            ready.wait();
            holder.kill();
            tx.send_timeout(&pattern(1, number, 100), LONG).unwrap();
            check(&rx.recv_timeout(LONG).unwrap(), 1, number, 100);
        }
    });
}

/// A child that has ended with a slot open, and for which nobody has waited.
fn dead_holder(tx: &mut Sender) -> Child {
    let ready = Line::new();
    let holder = fork(|| {
        let _slot = tx.reserve(100).unwrap();
        ready.signal();
        Line::new().wait();
    });
    ready.wait();
    kill(holder.pid(), Signal::SIGKILL).unwrap();
    let ended = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
    waitid(Id::Pid(holder.pid()), ended).unwrap();
    holder
}

fn a_holder_that_nobody_has_waited_for_is_dead(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let holder = dead_holder(&mut tx);
    // To one that is not its parent, and can make no descriptor.
    fork(|| {
        without_spare_descriptors(|| tx.send_timeout(&pattern(1, 0, 100), LONG)).unwrap();
    })
    .join();
    check(&rx.recv_timeout(LONG).unwrap(), 1, 0, 100);
    drop(holder);
    // To its parent, which has neither /proc nor pidfds.
    where_proc_is_not(|| {
        without_pidfds();
        let holder = dead_holder(&mut tx);
        tx.send_timeout(&pattern(1, 1, 100), LONG).unwrap();
        drop(holder);
        check(&rx.recv_timeout(LONG).unwrap(), 1, 1, 100);
    });
}

fn a_holder_whose_main_thread_has_ended_is_alive(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let mut others = tx.try_clone().unwrap();
    let (ready, go) = (Line::new(), Line::new());
    let holder = fork(|| {
        let main = Pid::this();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !has_ended(main) {
                    std::thread::yield_now();
                }
                let mut slot = tx.reserve(100).unwrap();
                slot.copy_from_slice(&pattern(1, 0, 100));
                ready.put(u64::from(slot.is_in_place()));
                go.wait();
                slot.commit().unwrap();
                // SAFETY: ends the process as a forked child has to.
                unsafe { libc::_exit(0) };
            });
            // SAFETY: ends this thread alone; its stack, which the other one uses, stays.
            unsafe { libc::syscall(libc::SYS_exit, 0) };
        });
    });
    if ready.take() == 1 {
        let message = pattern(2, 0, 100);
        let outcome = without_spare_descriptors(|| others.send_timeout(&message, 3 * SHORT));
        assert!(
            matches!(outcome, Err(SendTimeoutError::Timeout)),
            "{outcome:?}"
        );
    }
    go.signal();
    check(&rx.recv_timeout(LONG).unwrap(), 1, 0, 100);
    holder.join();
}

fn a_thread_and_a_child_share(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    tx.send(&pattern(1, 0, 100)).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| tx.send(&pattern(1, 1, LARGE / 16)).unwrap());
    });
    fork(|| tx.send(&pattern(1, 2, 100)).unwrap()).join();
    fork(|| fork(|| tx.send(&pattern(1, 3, 100)).unwrap()).join()).join();
    check(&rx.recv().unwrap(), 1, 0, 100);
    std::thread::scope(|scope| {
        scope.spawn(|| check(&rx.recv().unwrap(), 1, 1, LARGE / 16));
    });
    fork(|| check(&rx.recv().unwrap(), 1, 2, 100)).join();
    check(&rx.recv().unwrap(), 1, 3, 100);
}

fn threads_and_children_without_proc_share_a_side(backend: Backend) {
    where_proc_is_not(|| a_thread_and_a_child_share(backend));
}

fn threads_and_children_without_proc_and_pidfds_share_a_side(backend: Backend) {
    where_proc_is_not(|| {
        without_pidfds();
        a_thread_and_a_child_share(backend);
    });
    // The same where only the children have lost it.
    let (mut rx, mut tx) = open(backend);
    tx.send(&pattern(1, 0, 100)).unwrap();
    where_proc_is_not(|| {
        without_pidfds();
        tx.send(&pattern(1, 1, 100)).unwrap();
    });
    check(&rx.recv().unwrap(), 1, 0, 100);
    if let Ok(message) = rx.try_recv() {
        check(&message, 1, 1, 100);
    } else {
        skipped("no privilege to do without /proc");
    }
}

/// A side that is in use here is refused in a pid namespace of one's own, and works on here.
fn assert_two_namespaces_are_two(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    tx.send(&pattern(1, 0, 100)).unwrap();
    fork(|| {
        unshare(CloneFlags::CLONE_NEWPID).unwrap();
        fork(|| {
            let mut assert_refused = || {
                let refused = tx.send(&pattern(2, 0, 100)).unwrap_err();
                assert!(refused.to_string().contains("pid namespace"), "{refused}");
            };
            assert_refused();
            fork(assert_refused).join();
        })
        .join();
    })
    .join();
    tx.send(&pattern(1, 1, 100)).unwrap();
    check(&rx.recv().unwrap(), 1, 0, 100);
    check(&rx.recv().unwrap(), 1, 1, 100);
    drop(tx);
    assert_at_end(&mut rx);
}

fn two_pid_namespaces_without_proc_are_never_one(backend: Backend) {
    where_proc_is_not(|| assert_two_namespaces_are_two(backend));
}

fn two_pid_namespaces_without_proc_and_pidfds_are_never_one(backend: Backend) {
    where_proc_is_not(|| {
        without_pidfds();
        assert_two_namespaces_are_two(backend);
    });
}

fn a_child_of_a_raw_clone_has_a_lock_of_its_own(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    for number in 0..3 {
        // The first child's thread was never asked who it is, the others' was.
        raw_clone(|| tx.send(&pattern(1, number, 100)).unwrap()).join();
        check(&rx.recv_timeout(LONG).unwrap(), 1, number, 100);
    }
    raw_clone(|| {
        raw_clone(|| tx.send(&pattern(1, 3, LARGE / 16)).unwrap()).join();
        std::thread::scope(|scope| {
            scope.spawn(|| tx.send(&pattern(1, 4, 100)).unwrap());
        });
        fork(|| tx.send(&pattern(1, 5, 100)).unwrap()).join();
    })
    .join();
    check(&rx.recv_timeout(LONG).unwrap(), 1, 3, LARGE / 16);
    check(&rx.recv_timeout(LONG).unwrap(), 1, 4, 100);
    check(&rx.recv_timeout(LONG).unwrap(), 1, 5, 100);
}

fn a_death_of_a_raw_clone_inside_a_message_is_reported(backend: Backend) {
    for is_known in [false, true] {
        let (mut rx, mut tx) = open(backend);
        if is_known {
            tx.send(b"who we are is known").unwrap();
            rx.recv().unwrap();
        }
        let sender = raw_clone(|| tx.send(&pattern(1, 0, LARGE)).unwrap());
        sender.until_asleep();
        sender.kill();
        // The lock that it died with tells of its death, by the kernel's mark alone.
        let outcome = rx.recv_timeout(LONG).map(|message| message.len());
        assert!(
            matches!(outcome, Err(RecvTimeoutError::Aborted)),
            "{outcome:?}"
        );
        tx.send_timeout(&pattern(1, 1, 100), LONG).unwrap();
        check(&rx.recv_timeout(LONG).unwrap(), 1, 1, 100);
    }
}
