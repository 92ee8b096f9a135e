//! Who holds the other side: forked, executed and killed processes, and the caller itself; and the receive
//! that nobody but its caller could end.

use std::process::Command;
use std::time::{Duration, Instant};

use nix::mount::MsFlags;
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{Pid, getpid};
use shmpipe::{
    Backend, Holder, PipeOptions, Receiver, RecvError, RecvTimeoutError, Sender, TryRecvError,
};

use crate::ends::{LARGE, SHORT, assert_at_end, open, open_duplex};
use crate::support::{
    Line, ends_well, fork, fork_apart, in_a_namespace_of_its_own, on_both_backends, pattern,
    skipped, thread, until_asleep,
};

on_both_backends! {
    the_own_process_is_a_holder_where_it_has_the_other_side,
    forked_holders_are_found_and_killed_ones_are_not,
    an_executed_program_is_a_holder_under_its_own_name,
    a_command_that_is_to_hand_an_end_over_makes_its_process_a_holder,
    the_two_sides_are_told_apart,
    a_connection_finds_who_has_either_half_of_the_other_end,
    an_end_under_way_is_nobodys,
    a_receive_that_only_the_own_process_could_end_is_an_error,
    a_receive_waits_for_another_process_and_is_an_error_when_that_is_gone,
    what_others_sent_before_they_went_is_received_before_the_error,
    a_death_inside_a_message_is_told_while_another_process_could_send,
    a_deadlock_is_not_told_while_another_thread_could_send,
    a_deadlock_is_not_told_to_calls_that_end_by_themselves,
    a_pipe_without_the_option_waits,
    the_option_goes_with_an_end_that_is_handed_over,
    a_command_that_was_not_dropped_is_found_to_be_a_deadlock,
    a_process_whose_main_thread_has_ended_is_a_holder,
    a_deadlock_is_told_whatever_zombies_there_are,
    a_deadlock_is_told_beside_an_older_process_that_cannot_be_looked_into,
    a_sender_in_a_process_that_cannot_be_looked_into_is_no_deadlock,
    a_sender_in_a_process_that_cannot_be_seen_is_no_deadlock,
    a_sender_handed_to_an_older_process_that_cannot_be_looked_into_is_no_deadlock,
    a_receiver_that_watched_one_sender_sees_another_die_in_a_message within 20,
}

fn ids(holders: std::io::Result<Vec<Holder>>) -> Vec<u32> {
    holders.unwrap().iter().map(Holder::id).collect()
}

fn own() -> u32 {
    std::process::id()
}

fn the_own_process_is_a_holder_where_it_has_the_other_side(backend: Backend) {
    let (rx, tx) = open(backend);
    assert_eq!(ids(rx.holders()), [own()]);
    assert_eq!(ids(tx.holders()), [own()]);
    let second = tx.try_clone().unwrap();
    drop(tx);
    assert_eq!(ids(rx.holders()), [own()]);
    drop(second);
    assert_eq!(ids(rx.holders()), []);
}

fn forked_holders_are_found_and_killed_ones_are_not(backend: Backend) {
    let (rx, tx) = open(backend);
    let (go, ready) = (Line::new(), Line::new());
    let mut rx = Some(rx);
    let mut tx = Some(tx);
    let mut holder = || {
        fork(|| {
            rx.take();
            ready.signal();
            go.wait();
            drop(tx.take());
            ready.signal();
            Line::new().wait();
        })
    };
    let (first, second) = (holder(), holder());
    ready.wait();
    ready.wait();
    drop(tx.take());
    let rx = rx.unwrap();
    let mut expected = [first.pid(), second.pid()].map(|pid| pid.as_raw().unsigned_abs());
    expected.sort_unstable();
    assert_eq!(ids(rx.holders()), expected);
    let second_id = second.pid().as_raw().unsigned_abs();
    first.kill();
    assert_eq!(ids(rx.holders()), [second_id]);
    go.signal();
    ready.wait();
    assert_eq!(ids(rx.holders()), []);
    second.kill();
}

fn an_executed_program_is_a_holder_under_its_own_name(backend: Backend) {
    let (rx, mut tx) = open(backend);
    let mut command = Command::new("sleep");
    rx.inherit(command.arg("1000"), "END").unwrap();
    let mut child = command.spawn().unwrap();
    drop(command);
    let holders = tx.holders().unwrap();
    assert_eq!(holders.len(), 1);
    assert_eq!((holders[0].id(), holders[0].name()), (child.id(), "sleep"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(ids(tx.holders()), []);
    crate::ends::assert_breaks(&mut tx);
}

fn a_command_that_is_to_hand_an_end_over_makes_its_process_a_holder(backend: Backend) {
    let (mut rx, tx) = open(backend);
    let mut command = Command::new("true");
    tx.inherit(&mut command, "END").unwrap();
    ends_well(command.spawn().unwrap());
    assert_eq!(ids(rx.holders()), [own()]);
    drop(command);
    assert_eq!(ids(rx.holders()), []);
    assert_at_end(&mut rx);
}

fn the_two_sides_are_told_apart(backend: Backend) {
    let (rx, tx) = open(backend);
    let (child, tx) = fork_apart(tx, || {
        assert_eq!(ids(rx.holders()), [std::os::unix::process::parent_id()]);
        Line::new().wait();
    });
    drop(rx);
    assert_eq!(ids(tx.holders()), [child.pid().as_raw().unsigned_abs()]);
    child.kill();
    assert_eq!(ids(tx.holders()), []);
}

fn a_connection_finds_who_has_either_half_of_the_other_end(backend: Backend) {
    let (near, far) = open_duplex(backend);
    let (rx, tx) = far.split();
    let (first, rx) = fork_apart(rx, || Line::new().wait()); // keeps the sender
    drop(tx);
    let (second, near) = fork_apart(near, || Line::new().wait()); // keeps the receiver
    drop(rx);
    let mut expected = [first.pid(), second.pid()].map(|pid| pid.as_raw().unsigned_abs());
    expected.sort_unstable();
    assert_eq!(ids(near.holders()), expected);
    first.kill();
    let second_id = second.pid().as_raw().unsigned_abs();
    assert_eq!(ids(near.holders()), [second_id]);
    second.kill();
    assert_eq!(ids(near.holders()), []);
}

fn an_end_under_way_is_nobodys(backend: Backend) {
    let options = PipeOptions::new().backend(backend).descriptors(true);
    let (mut rx, mut tx) = options.pipe().unwrap();
    let (end, travelling) = open(backend);
    tx.send_with_end(b"", travelling).unwrap();
    assert_eq!(ids(end.holders()), []);
    let _arrived = rx.recv_with_end::<Sender>().unwrap();
    assert_eq!(ids(end.holders()), [own()]);
}

/// A pipe whose receives tell a deadlock.
fn open_detecting(backend: Backend) -> (Receiver, Sender) {
    let options = PipeOptions::new().backend(backend).detect_deadlock(true);
    options.pipe().unwrap()
}

/// Runs `work` in a process of one thread, which can look into every other one that it sees.
fn alone(work: impl FnOnce()) {
    if nix::unistd::geteuid().is_root() {
        fork(work).join();
    } else {
        in_a_namespace_of_its_own(work);
    }
}

/// Runs `work` where the superuser and an ordinary user are the only ones, and are not the same; `hidden` hides from the
/// latter whatever is not his.
fn with_another_user(hidden: bool, work: impl FnOnce()) {
    if !nix::unistd::geteuid().is_root() {
        return skipped("not the superuser, who alone can become another user");
    }
    in_a_namespace_of_its_own(|| {
        if hidden {
            let none = None::<&str>;
            let options = Some("hidepid=2");
            nix::mount::mount(none, "/proc", none, MsFlags::MS_REMOUNT, options).unwrap();
        }
        // What was there before a pipe is known by its start, of which clock ticks are told.
        let rest = fork(|| Line::new().wait());
        rest.until_asleep();
        rest.kill();
        work();
    });
}

/// Gives up the superuser's rights, for good.
fn become_ordinary() {
    const NOBODY: u32 = 65534;
    let (user, group) = (NOBODY.into(), NOBODY.into());
    nix::unistd::setresgid(group, group, group).unwrap();
    nix::unistd::setresuid(user, user, user).unwrap();
    nix::sys::prctl::set_dumpable(true).unwrap();
}

/// Sends through `tx` when the process `receiver` has been asleep for a while.
fn send_to_a_sleeper(tx: &mut Sender, receiver: Pid) {
    crate::support::until_asleep(&[(receiver, receiver)]);
    tx.send(b"no deadlock").unwrap();
}

fn assert_deadlock(rx: &mut Receiver) {
    assert!(matches!(rx.recv(), Err(RecvError::Deadlock)));
    assert!(matches!(
        rx.recv_into(&mut [0; 8]),
        Err(RecvError::Deadlock)
    ));
    let outcome = rx.recv_batch().map(|batch| batch.len());
    assert!(matches!(outcome, Err(RecvError::Deadlock)));
    let outcome = rx.recv_in_place().map(|view| view.len());
    assert!(matches!(outcome, Err(RecvError::Deadlock)));
    let mut messages = rx.messages();
    assert!(matches!(messages.next(), Some(Err(RecvError::Deadlock))));
    assert!(messages.next().is_none());
    assert!(rx.poll(None).unwrap());
}

fn a_receive_that_only_the_own_process_could_end_is_an_error(backend: Backend) {
    alone(|| {
        let (mut rx, mut tx) = open_detecting(backend);
        for _ in 0..2 {
            assert_deadlock(&mut rx);
            tx.send(b"the pipe is good all the same").unwrap();
            rx.recv().unwrap();
        }
        drop(tx);
        assert_at_end(&mut rx);
    });
}

fn a_receive_waits_for_another_process_and_is_an_error_when_that_is_gone(backend: Backend) {
    alone(|| {
        let (mut rx, tx) = open_detecting(backend);
        let (receiver, own) = (nix::unistd::getpid(), tx.try_clone().unwrap());
        let others = [fork(|| Line::new().wait()), fork(|| Line::new().wait())];
        let ends: Vec<_> = others.iter().map(|other| other.pid()).collect();
        let (killer, _own) = fork_apart((tx, own), || {
            for victim in ends {
                crate::support::until_asleep(&[(receiver, receiver)]);
                nix::sys::signal::kill(victim, nix::sys::signal::Signal::SIGKILL).unwrap();
            }
        });
        assert!(matches!(rx.recv(), Err(RecvError::Deadlock)));
        killer.join();
        assert_deadlock(&mut rx);
    });
}

fn what_others_sent_before_they_went_is_received_before_the_error(backend: Backend) {
    alone(|| {
        let (mut rx, mut tx) = open_detecting(backend);
        // Somewhere among these the child sends and goes between the receiver's look at the pipe and its look
        // at /proc.
        for round in 0..100 {
            let child = fork(|| {
                let from = Instant::now();
                while from.elapsed() < Duration::from_micros(round * 10) {
                    std::hint::spin_loop();
                }
                tx.send(b"last words").unwrap();
            });
            assert_eq!(&*rx.recv().unwrap(), b"last words");
            child.join();
        }
        assert_deadlock(&mut rx);
    });
}

/// The receiver falls asleep with a look at the bystander, and wakes inside the other one's message.
fn a_death_inside_a_message_is_told_while_another_process_could_send(backend: Backend) {
    // In a fork: the first process of a pid namespace cannot be stopped from inside.
    alone(|| {
        fork(|| {
            let (rx, mut tx) = open_detecting(backend);
            let receiver = getpid();
            let bystander = fork(|| Line::new().wait());
            let started = Line::new();
            let sender = fork(|| {
                started.wait();
                let outcome = tx.send(&pattern(1, 0, LARGE));
                panic!("sent {outcome:?}");
            });
            let victim = sender.pid();
            let tell = |who, signal| nix::sys::signal::kill(who, signal).unwrap();
            let (killer, (mut rx, _own)) = fork_apart((rx, tx), || {
                until_asleep(&[(receiver, receiver)]);
                tell(receiver, Signal::SIGSTOP);
                started.signal();
                until_asleep(&[(victim, victim)]);
                tell(victim, Signal::SIGSTOP);
                tell(receiver, Signal::SIGCONT);
                until_asleep(&[(receiver, receiver)]);
                tell(victim, Signal::SIGKILL);
            });
            assert!(matches!(rx.recv(), Err(RecvError::Aborted)));
            killer.join();
            drop(bystander);
            drop(sender);
            assert_deadlock(&mut rx);
        })
        .join()
    });
}

fn a_deadlock_is_not_told_while_another_thread_could_send(backend: Backend) {
    let (mut rx, mut tx) = open_detecting(backend);
    let receiver = thread(move || rx.recv().unwrap().into_vec());
    receiver.until_asleep();
    tx.send(b"from another thread").unwrap();
    assert_eq!(receiver.join(), b"from another thread");
}

fn a_deadlock_is_not_told_to_calls_that_end_by_themselves(backend: Backend) {
    alone(|| {
        let (mut rx, _tx) = open_detecting(backend);
        assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
        assert!(matches!(
            rx.recv_timeout(SHORT),
            Err(RecvTimeoutError::Timeout)
        ));
        assert!(!rx.poll(Some(Duration::ZERO)).unwrap());
        assert!(!rx.poll(Some(SHORT)).unwrap());
    });
}

fn a_pipe_without_the_option_waits(backend: Backend) {
    let (mut rx, tx) = open(backend);
    let child = fork(|| {
        let _tx = tx;
        let outcome = rx.recv();
        panic!("a receive without senders but its own: {outcome:?}");
    });
    child.until_asleep();
    child.kill();
}

fn the_option_goes_with_an_end_that_is_handed_over(backend: Backend) {
    alone(|| {
        let (rx, _tx) = open_detecting(backend);
        let mut rx = crate::handover::receiver(rx.into_fds().unwrap()).unwrap();
        assert_deadlock(&mut rx);
    });
}

fn a_command_that_was_not_dropped_is_found_to_be_a_deadlock(backend: Backend) {
    alone(|| {
        let (mut rx, tx) = open_detecting(backend);
        let mut command = Command::new("true");
        tx.inherit(&mut command, "END").unwrap();
        let child = command.spawn().unwrap();
        assert!(matches!(rx.recv(), Err(RecvError::Deadlock)));
        drop(command);
        assert_at_end(&mut rx);
        ends_well(child);
    });
}

fn a_process_whose_main_thread_has_ended_is_a_holder(backend: Backend) {
    alone(|| {
        let (mut rx, mut tx) = open_detecting(backend);
        let (receiver, ready) = (getpid(), Line::new());
        let mut parents = Some(tx.try_clone().unwrap());
        let child = fork(|| {
            drop(parents.take());
            let main = Pid::this();
            let told = &ready;
            std::thread::scope(|scope| {
                scope.spawn(move || {
                    while !crate::support::has_ended(main) {
                        std::thread::yield_now();
                    }
                    told.signal();
                    send_to_a_sleeper(&mut tx, receiver);
                    // SAFETY: ends the process as a forked child has to.
                    unsafe { libc::_exit(0) };
                });
                // SAFETY: ends this thread alone; its stack, which the other one uses, stays.
                unsafe { libc::syscall(libc::SYS_exit, 0) };
            });
        });
        ready.wait();
        let child_id = child.pid().as_raw().unsigned_abs();
        assert_eq!(ids(rx.holders()), [own(), child_id]);
        assert_eq!(&*rx.recv().unwrap(), b"no deadlock");
        child.join();
        assert_deadlock(&mut rx);
    });
}

fn a_deadlock_is_told_whatever_zombies_there_are(backend: Backend) {
    let is_superuser = nix::unistd::geteuid().is_root();
    in_a_namespace_of_its_own(|| {
        let zombies = [fork(|| ()), fork(|| ())];
        if is_superuser {
            become_ordinary();
        }
        let (mut rx, _tx) = open_detecting(backend);
        let zombies = zombies.into_iter().chain([fork(|| ())]);
        let zombies: Vec<_> = zombies.collect();
        for zombie in &zombies {
            waitid(
                Id::Pid(zombie.pid()),
                WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT,
            )
            .unwrap();
        }
        assert_deadlock(&mut rx);
        zombies.into_iter().for_each(crate::support::Child::join);
    });
}

fn a_deadlock_is_told_beside_an_older_process_that_cannot_be_looked_into(backend: Backend) {
    with_another_user(false, || {
        let older = fork(|| Line::new().wait());
        older.until_asleep();
        fork(|| {
            become_ordinary();
            let (mut rx, _tx) = open_detecting(backend);
            assert_deadlock(&mut rx);
        })
        .join();
        older.kill();
    });
}

fn a_receiver_waits_for_the_superusers_sender(backend: Backend) {
    let (mut rx, mut tx) = open_detecting(backend);
    let receiver = getpid();
    let (go, mut parents) = (Line::new(), Some(tx.try_clone().unwrap()));
    let superusers = fork(|| {
        drop(parents.take());
        send_to_a_sleeper(&mut tx, receiver);
        go.wait();
        crate::support::until_asleep(&[(receiver, receiver)]);
    });
    become_ordinary();
    assert_eq!(&*rx.recv().unwrap(), b"no deadlock");
    go.signal();
    // What is left is a deadlock, told when the doubtful one has ended; of one that cannot be seen nothing is told.
    if crate::support::has_ended(superusers.pid()) || std::fs::exists("/proc/1").unwrap() {
        assert!(matches!(rx.recv(), Err(RecvError::Deadlock)));
    }
    drop(tx);
}

fn a_sender_in_a_process_that_cannot_be_looked_into_is_no_deadlock(backend: Backend) {
    with_another_user(false, || {
        fork(|| a_receiver_waits_for_the_superusers_sender(backend)).join();
    });
}

fn a_sender_in_a_process_that_cannot_be_seen_is_no_deadlock(backend: Backend) {
    with_another_user(true, || {
        fork(|| a_receiver_waits_for_the_superusers_sender(backend)).join();
    });
}

fn a_sender_handed_to_an_older_process_that_cannot_be_looked_into_is_no_deadlock(backend: Backend) {
    with_another_user(false, || {
        let options = PipeOptions::new().backend(backend).descriptors(true);
        let (mut way, mut out) = options.pipe().unwrap();
        let (told, told_back) = (Line::new(), Line::new());
        let older = fork(|| {
            let (_, mut tx) = way.recv_with_end::<Sender>().unwrap();
            let receiver = Pid::from_raw(i32::try_from(told.take()).unwrap());
            told_back.signal();
            send_to_a_sleeper(&mut tx, receiver);
            told.wait();
        });
        older.until_asleep();
        fork(|| {
            become_ordinary();
            let (mut rx, tx) = open_detecting(backend);
            let _own = tx.try_clone().unwrap();
            out.send_with_end(b"", tx).unwrap();
            told.put(u64::from(own()));
            told_back.wait();
            assert_eq!(&*rx.recv().unwrap(), b"no deadlock");
        })
        .join();
        told.signal();
        older.join();
    });
}

fn a_receiver_that_watched_one_sender_sees_another_die_in_a_message(backend: Backend) {
    let options = PipeOptions::new().backend(backend).detect_deadlock(true);
    // It has a sender itself, so it sleeps on the end of this process, which sends nothing.
    let (mut rx, mut tx) = options.pipe().unwrap();
    let receiver = fork(|| assert!(matches!(rx.recv(), Err(RecvError::Aborted))));
    receiver.until_asleep();
    receiver.stop();
    let sender = fork(|| tx.send(&[7; LARGE]).unwrap());
    sender.until_asleep();
    sender.stop();
    receiver.cont();
    // It has taken what there is.
    receiver.until_asleep();
    sender.kill();
    receiver.join();
}
