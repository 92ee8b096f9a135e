//! One end for several tasks and processes.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::mpsc;
use std::time::Duration;

use shmpipe::tokio::{Receiver, Sender};
use shmpipe::{Backend, RecvError};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};

use crate::support::{
    fork, fork_apart, identify, on_both_backends, open_fds, pattern, shared_counter,
};
use crate::{LARGE, open, open_async, run};

on_both_backends! {
    processes_that_share_an_end_with_tasks_get_each_message_once,
    two_tasks_that_share_an_end_get_each_message_once,
    a_task_does_not_run_round_while_another_holder_is_lent_the_message,
    a_task_that_others_poll_too_makes_no_more_pauses_for_it,
    a_pause_needs_no_thread_of_the_pool,
    a_runtime_that_is_shut_down_tells_a_task_that_pauses,
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
                    // Some in fragments.
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

fn a_task_that_others_poll_too_makes_no_more_pauses_for_it(backend: Backend) {
    run(async {
        let (mut lent_to, mut tx) = open(backend);
        let mut rx = Receiver::from_blocking(lent_to.try_clone().unwrap()).unwrap();
        tx.send(b"lent").unwrap();
        let view = lent_to.recv_in_place().unwrap();
        let (threads_before, fds_before) = (threads(), open_fds());
        let mut ticks = interval(Duration::from_millis(1));
        let mut polls = 0;
        {
            let mut recv = pin!(rx.recv());
            let counted = poll_fn(|cx| {
                polls += 1;
                recv.as_mut().poll(cx).map(drop)
            });
            let mut counted = pin!(counted);
            for _ in 0..200 {
                tokio::select! {
                    () = &mut counted => panic!("received what is lent"),
                    _ = ticks.tick() => {}
                }
            }
        }
        assert!(polls < 1000, "polled {polls} times");
        assert_eq!(threads(), threads_before);
        drop(view);
        tx.send(b"next").unwrap();
        assert_eq!(&*rx.recv().await.unwrap(), b"next");
        assert_eq!(open_fds(), fds_before);
    });
}

/// A long send takes a thread until its receiver has received, which here is the one that pauses.
fn a_pause_needs_no_thread_of_the_pool(backend: Backend) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.max_blocking_threads(1).enable_all().build();
    runtime.unwrap().block_on(async {
        let (mut lent_to, mut tx) = open(backend);
        tx.send(b"lent").unwrap();
        let mut rx = Receiver::from_blocking(lent_to.try_clone().unwrap()).unwrap();
        let mut tx = Sender::from_blocking(tx).unwrap();
        let view = lent_to.recv_in_place().unwrap();
        let sender = tokio::spawn(async move { tx.send(&[7; LARGE]).await });
        let receiver = tokio::spawn(async move { rx.recv().await.unwrap().len() });
        // The sleep is the time for which the message is lent; it synchronises nothing.
        sleep(Duration::from_millis(100)).await;
        drop(view);
        assert_eq!(receiver.await.unwrap(), LARGE);
        sender.await.unwrap().unwrap();
    });
}

fn a_runtime_that_is_shut_down_tells_a_task_that_pauses(backend: Backend) {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
    let (mut lent_to, mut tx) = open(backend);
    let mut rx = {
        let _inside = runtime.enter();
        Receiver::from_blocking(lent_to.try_clone().unwrap()).unwrap()
    };
    tx.send(b"lent").unwrap();
    let view = lent_to.recv_in_place().unwrap();
    // A task that is only told by its descriptor waits from its first poll on.
    let polls_until_it_waits = if view.is_in_place() { 66 } else { 1 };
    let handle = runtime.handle().clone();
    let (waits, is_waiting) = mpsc::channel();
    let task = std::thread::spawn(move || {
        let mut polls = 0;
        handle.block_on(async {
            let mut recv = pin!(rx.recv());
            let counted = poll_fn(|cx| {
                let outcome = recv.as_mut().poll(cx).map(|outcome| outcome.map(drop));
                polls += 1;
                if polls == polls_until_it_waits {
                    waits.send(()).unwrap();
                }
                outcome
            });
            counted.await
        })
    });
    is_waiting.recv().unwrap();
    runtime.shutdown_background();
    assert!(matches!(task.join().unwrap(), Err(RecvError::Io(_))));
    drop(view);
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}
