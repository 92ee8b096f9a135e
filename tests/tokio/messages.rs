//! Whole messages through tasks: in order, by the thousand, long ones, and what an end leaves behind.

use std::time::Duration;

use shmpipe::tokio::{Connection, Receiver, Sender};
use shmpipe::{Backend, PipeOptions, RecvError, TryRecvError};
use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::support::{
    Line, allowed_fds, check, fork, fork_apart, on_both_backends, open_fds, pattern, switches,
};
use crate::{CAPACITY, LARGE, open, open_async, run};

on_both_backends! {
    messages_pass_between_two_tasks_in_order,
    a_thousand_pipes_on_one_thread within 120,
    long_messages_pass_both_ways_at_once,
    a_full_pipe_does_not_starve_other_tasks,
    nothing_wakes_a_task_while_nothing_happens,
    an_end_goes_back_to_blocking_with_what_it_has_taken,
    an_end_closes_all_that_it_opened,
}

fn messages_pass_between_two_tasks_in_order(backend: Backend) {
    const MESSAGES: u64 = 5000;
    run(async {
        let (mut rx, mut tx) = open_async(backend);
        let sender = tokio::spawn(async move {
            for number in 0..MESSAGES {
                let len = usize::try_from(number % 5000).unwrap();
                tx.send(&pattern(1, number, len.max(12))).await.unwrap();
            }
        });
        for number in 0..MESSAGES {
            let len = usize::try_from(number % 5000).unwrap();
            check(&rx.recv().await.unwrap(), 1, number, len.max(12));
        }
        sender.await.unwrap();
        assert!(matches!(rx.recv().await, Err(RecvError::Disconnected)));
        assert!(matches!(rx.recv().await, Err(RecvError::Disconnected)));
    });
}

fn a_thousand_pipes_on_one_thread(backend: Backend) {
    const PIPES: u16 = 1000;
    if !allowed_fds(16_000) {
        return;
    }
    run(async {
        let options = PipeOptions::new().backend(backend).capacity(4096);
        let mut tasks = JoinSet::new();
        for number in 0..PIPES {
            let (near, far) = options.duplex().unwrap();
            let mut near = Connection::from_blocking(near).unwrap();
            let mut far = Connection::from_blocking(far).unwrap();
            tasks.spawn(async move {
                for turn in 0..10 {
                    near.send(&pattern(number, turn, 100)).await.unwrap();
                    check(&near.recv().await.unwrap(), number, turn, 100);
                }
            });
            tasks.spawn(async move {
                let mut turns = 0;
                while let Ok(message) = far.recv().await {
                    let message = message.into_vec();
                    far.send(&message).await.unwrap();
                    turns += 1;
                }
                assert_eq!(turns, 10);
            });
        }
        while let Some(outcome) = tasks.join_next().await {
            outcome.unwrap();
        }
    });
}

fn long_messages_pass_both_ways_at_once(backend: Backend) {
    let options = PipeOptions::new().backend(backend).capacity(CAPACITY);
    let (left, right) = options.duplex().unwrap();
    run(async {
        let mut tasks = JoinSet::new();
        for end in [left, right] {
            let (mut rx, mut tx) = Connection::from_blocking(end).unwrap().split();
            tasks.spawn(async move {
                for number in 0..20 {
                    tx.send(&pattern(1, number, LARGE)).await.unwrap();
                    tx.send(&pattern(1, number, 20)).await.unwrap();
                }
            });
            tasks.spawn(async move {
                for number in 0..20 {
                    check(&rx.recv().await.unwrap(), 1, number, LARGE);
                    check(&rx.recv().await.unwrap(), 1, number, 20);
                }
            });
        }
        while let Some(outcome) = tasks.join_next().await {
            outcome.unwrap();
        }
    });
}

fn a_full_pipe_does_not_starve_other_tasks(backend: Backend) {
    let (rx, mut tx) = open(backend);
    let stop = Line::new();
    let (sender, rx) = fork_apart(rx, || while tx.send(&[7; 100]).is_ok() {});
    drop((tx, stop));
    run(async {
        let mut rx = Receiver::from_blocking(rx).unwrap();
        let busy = tokio::spawn(async move { while rx.recv().await.is_ok() {} });
        for _ in 0..20 {
            sleep(Duration::from_millis(1)).await;
        }
        busy.abort();
        assert!(busy.await.unwrap_err().is_cancelled());
    });
    sender.join();
}

fn nothing_wakes_a_task_while_nothing_happens(backend: Backend) {
    let (rx, mut tx) = open(backend);
    let (full, mut into_full) = open(backend);
    while into_full.try_send(&[7; 1000]).is_ok() {}
    let (child, (mut tx, full)) = {
        let mut parents = Some((tx.try_clone().unwrap(), full));
        let child = fork(|| {
            drop(parents.take());
            tx = open(backend).1;
            run(async {
                let mut rx = Receiver::from_blocking(rx).unwrap();
                let mut into_full = Sender::from_blocking(into_full).unwrap();
                tokio::select! {
                    outcome = into_full.send(&[7; 1000]) => panic!("{outcome:?}"),
                    message = rx.recv() => assert_eq!(&*message.unwrap(), b"now"),
                }
            });
        });
        (child, parents.unwrap())
    };
    child.until_asleep();
    let before = switches(child.pid(), child.pid());
    // The sleep measures; it synchronises nothing.
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(switches(child.pid(), child.pid()), before);
    tx.send(b"now").unwrap();
    child.join();
    drop(full);
}

fn an_end_goes_back_to_blocking_with_what_it_has_taken(backend: Backend) {
    run(async {
        let (rx, mut tx) = open(backend);
        let mut rx = Receiver::from_blocking(rx).unwrap();
        tx.send(b"half read").unwrap();
        let mut buf = [0; 4];
        rx.read_exact(&mut buf).await.unwrap();
        assert!(matches!(rx.try_recv(), Ok(rest) if &*rest == b" read"));
        tx.send(b"half read").unwrap();
        rx.read_exact(&mut buf).await.unwrap();
        let mut rx = rx.into_blocking();
        assert_eq!(&*rx.recv().unwrap(), b" read");
        assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
        let tx = Sender::from_blocking(tx).unwrap();
        tx.into_blocking().send(b"blocking again").unwrap();
        assert_eq!(&*rx.recv().unwrap(), b"blocking again");
    });
}

fn an_end_closes_all_that_it_opened(backend: Backend) {
    run(async {
        tokio::task::yield_now().await;
        let before = open_fds();
        for _ in 0..3 {
            let (mut rx, mut tx) = open_async(backend);
            tx.send(b"x").await.unwrap();
            rx.recv().await.unwrap();
            let copy = tx.try_clone().unwrap();
            drop((tx, copy));
            assert!(matches!(rx.recv().await, Err(RecvError::Disconnected)));
        }
        assert_eq!(open_fds(), before);
    });
}
