//! One end for several tasks and processes.

use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use shmpipe::Backend;
use shmpipe::tokio::Receiver;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::{fork, fork_apart, identify, on_both_backends, pattern, shared_counter};
use crate::{LARGE, open, open_async, run};

on_both_backends! {
    processes_that_share_an_end_with_tasks_get_each_message_once,
    two_tasks_that_share_an_end_get_each_message_once,
    a_task_does_not_run_round_while_another_holder_is_lent_the_message,
}

fn processes_that_share_an_end_with_tasks_get_each_message_once(backend: Backend) {
    const MESSAGES: u64 = 4000;
    let (mut rx, mut tx) = open(backend);
    let received = shared_counter();
    let count = || received.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let (blocker, mut tx2) = fork_apart(tx.try_clone().unwrap(), || {
        tx = open(backend).1;
        while rx.recv().is_ok() {
            count();
        }
    });
    let (sender, tx) = {
        let child = fork(|| {
            (0..MESSAGES).for_each(|number| tx.send(&pattern(1, number, 100)).unwrap());
        });
        (child, tx)
    };
    drop(tx);
    run(async {
        let mut rx = Receiver::from_blocking(rx).unwrap();
        let tx2 = tokio::task::spawn_blocking(move || {
            (0..MESSAGES).for_each(|number| tx2.send(&pattern(2, number, 100)).unwrap());
        });
        let mut next = [0; 3];
        while let Ok(message) = rx.recv().await {
            let (sender, number) = identify(&message);
            assert!(number >= next[usize::from(sender)]);
            next[usize::from(sender)] = number + 1;
            count();
        }
        tx2.await.unwrap();
    });
    sender.join();
    blocker.join();
    assert_eq!(
        received.load(std::sync::atomic::Ordering::Relaxed),
        2 * MESSAGES
    );
}

fn two_tasks_that_share_an_end_get_each_message_once(backend: Backend) {
    const MESSAGES: u64 = 2000;
    run(async {
        let (rx, tx) = open_async(backend);
        let mut tasks = JoinSet::new();
        for rx in [rx.try_clone().unwrap(), rx] {
            let mut rx = rx;
            tasks.spawn(async move {
                let mut count = 0;
                while rx.recv().await.is_ok() {
                    count += 1;
                    tokio::task::yield_now().await;
                }
                count
            });
        }
        let mut senders = JoinSet::new();
        for (sender, tx) in [(1, tx.try_clone().unwrap()), (2, tx)] {
            let mut tx = tx;
            senders.spawn(async move {
                for number in 0..MESSAGES {
                    // Some in parts.
                    let len = if number % 100 == 0 { LARGE } else { 2000 };
                    tx.send(&pattern(sender, number, len)).await.unwrap();
                }
            });
        }
        senders.join_all().await;
        let counts: Vec<u64> = tasks.join_all().await;
        assert_eq!(counts.iter().sum::<u64>(), 2 * MESSAGES);
    });
}

/// What is lent in place to one holder is ready for no other, whose descriptor says that it is.
fn a_task_does_not_run_round_while_another_holder_is_lent_the_message(backend: Backend) {
    run(async {
        let (mut lent_to, mut tx) = open(backend);
        let mut rx = Receiver::from_blocking(lent_to.try_clone().unwrap()).unwrap();
        tx.send(b"lent").unwrap();
        tx.send(b"next").unwrap();
        let view = lent_to.recv_in_place().unwrap();
        let is_kept = view.is_in_place();
        let mut polls = 0;
        {
            let mut recv = pin!(rx.recv());
            let counted = poll_fn(|cx| {
                polls += 1;
                recv.as_mut()
                    .poll(cx)
                    .map(|message| message.unwrap().into_vec())
            });
            let outcome = timeout(Duration::from_millis(300), counted).await;
            // Over kernel pipes a message is never lent in place: it is the receiver's already.
            assert_eq!(outcome.is_err(), is_kept);
        }
        assert!(polls < 200, "polled {polls} times");
        drop(view);
        if is_kept {
            assert_eq!(&*rx.recv().await.unwrap(), b"next");
        }
    });
}
