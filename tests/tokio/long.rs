//! Messages longer than one record: no thread waits for them, and nobody's are mixed, lost or sent by half.

use std::future::poll_fn;
use std::mem;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use shmpipe::tokio::{Receiver, Sender};
use shmpipe::{Backend, PipeOptions, RecvError, TrySendError};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::{
    Line, check, fork, fork_apart, identify, on_both_backends, pattern, shared_counter,
};
use crate::{CAPACITY, LARGE, MOMENT, open, open_async, run};

on_both_backends! {
    long_sends_on_two_pipes_need_no_thread_of_the_pool within 20,
    sends_of_descriptors_that_wait_need_no_thread_of_the_pool within 20,
    a_dropped_send_of_a_long_message_sends_nothing,
    a_forgotten_send_of_a_long_message_is_taken_back_by_the_next_call,
    an_end_that_is_dropped_inside_a_long_send_keeps_nobody_out,
    a_forked_copy_that_is_dropped_inside_a_long_send_changes_nothing,
    others_wait_for_a_long_send_of_a_task_and_then_go_on,
    long_messages_of_tasks_threads_and_processes_are_not_mixed within 120,
    a_receiver_is_told_when_a_task_inside_a_long_send_is_killed,
    a_long_send_ends_when_the_last_receiver_goes,
}

/// A runtime with one thread for its tasks and one for blocking work.
fn run_with_a_small_pool<T>(work: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.max_blocking_threads(1).enable_all().build();
    runtime.unwrap().block_on(work)
}

/// Polls `future` until it has to wait for `times` polls in a row.
async fn begin<F: Future>(future: &mut std::pin::Pin<&mut F>) {
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Pending => Poll::Ready(()),
        Poll::Ready(_) => panic!("it is longer than the pipe"),
    })
    .await;
}

fn long_sends_on_two_pipes_need_no_thread_of_the_pool(backend: Backend) {
    run_with_a_small_pool(async {
        let (mut first, mut to_first) = open_async(backend);
        let (mut second, mut to_second) = open_async(backend);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { to_first.send(&pattern(1, 0, LARGE)).await.unwrap() });
        tokio::task::yield_now().await;
        tasks.spawn(async move { to_second.send(&pattern(2, 0, LARGE)).await.unwrap() });
        // The one that was begun last comes first.
        check(&second.recv().await.unwrap(), 2, 0, LARGE);
        check(&first.recv().await.unwrap(), 1, 0, LARGE);
        tasks.join_all().await;
    });
}

fn sends_of_descriptors_that_wait_need_no_thread_of_the_pool(backend: Backend) {
    use std::os::fd::AsFd;
    let options = PipeOptions::new().backend(backend).descriptors(true);
    let open = || {
        let (rx, tx) = options.pipe().unwrap();
        let rx = Receiver::from_blocking(rx).unwrap();
        (rx, Sender::from_blocking(tx).unwrap())
    };
    run_with_a_small_pool(async {
        const MESSAGES: u64 = 200;
        let mut receivers = Vec::new();
        let mut tasks = JoinSet::new();
        for sender in [1, 2] {
            let (rx, mut tx) = open();
            receivers.push((sender, rx));
            tasks.spawn(async move {
                let null = std::fs::File::open("/dev/null").unwrap();
                for number in 0..MESSAGES {
                    let message = pattern(sender, number, 3000);
                    tx.send_with_fds(&message, &[null.as_fd()]).await.unwrap();
                }
            });
            tokio::task::yield_now().await;
        }
        for (sender, mut rx) in receivers.into_iter().rev() {
            for number in 0..MESSAGES {
                let (message, fds) = rx.recv_with_fds().await.unwrap();
                check(&message, sender, number, 3000);
                assert_eq!(fds.len(), 1);
            }
        }
        tasks.join_all().await;
    });
}

fn a_dropped_send_of_a_long_message_sends_nothing(backend: Backend) {
    run(async {
        let (mut rx, mut tx) = open_async(backend);
        for round in 0..3 {
            let never = pattern(1, round, LARGE);
            assert!(timeout(MOMENT, tx.send(&never)).await.is_err());
            // A receiver that has come as far as this waits for what is next.
            assert!(timeout(MOMENT, rx.recv()).await.is_err());
            // Another handle first: nobody but the drop has taken the message back.
            let mut other = tx.try_clone().unwrap();
            let next = tokio::spawn(async move {
                other.send(b"behind it").await.unwrap();
                tx.send(&pattern(2, round, LARGE)).await.unwrap();
                tx
            });
            assert_eq!(&*rx.recv().await.unwrap(), b"behind it");
            check(&rx.recv().await.unwrap(), 2, round, LARGE);
            tx = next.await.unwrap();
        }
    });
}

fn a_forgotten_send_of_a_long_message_is_taken_back_by_the_next_call(backend: Backend) {
    run(async {
        let (mut rx, mut tx) = open_async(backend);
        let never = pattern(1, 0, LARGE);
        let mut send = Box::pin(tx.send(&never));
        begin(&mut send.as_mut()).await;
        mem::forget(send);
        let next = tokio::spawn(async move {
            tx.send(b"next").await.unwrap();
            tx.send(&pattern(2, 0, LARGE)).await.unwrap();
        });
        assert_eq!(&*rx.recv().await.unwrap(), b"next");
        check(&rx.recv().await.unwrap(), 2, 0, LARGE);
        next.await.unwrap();
    });
}

fn an_end_that_is_dropped_inside_a_long_send_keeps_nobody_out(backend: Backend) {
    use futures_util::SinkExt;
    run(async {
        let (mut rx, mut other) = open_async(backend);
        for is_dropped in [true, false] {
            let mut tx = other.try_clone().unwrap();
            tx.feed(pattern(1, 0, LARGE)).await.unwrap();
            {
                let mut flush = pin!(SinkExt::<Vec<u8>>::flush(&mut tx));
                begin(&mut flush).await;
            }
            assert!(matches!(
                other.try_send(b"kept out"),
                Err(TrySendError::Full)
            ));
            let blocking = (!is_dropped).then(|| tx.into_blocking());
            let next = tokio::spawn(async move {
                other.send(b"next").await.unwrap();
                other
            });
            assert_eq!(&*rx.recv().await.unwrap(), b"next");
            other = next.await.unwrap();
            if let Some(mut blocking) = blocking {
                blocking.send(b"blocking").unwrap();
                assert_eq!(&*rx.recv().await.unwrap(), b"blocking");
            }
        }
    });
}

fn a_forked_copy_that_is_dropped_inside_a_long_send_changes_nothing(backend: Backend) {
    run(async {
        let (mut rx, mut tx) = open_async(backend);
        let message = pattern(1, 0, LARGE);
        let mut copy = Some(Box::pin(async move {
            tx.send(&message).await.unwrap();
            tx.send(b"next").await.unwrap();
        }));
        begin(&mut copy.as_mut().unwrap().as_mut()).await;
        fork(|| drop(copy.take())).join();
        let send = tokio::spawn(copy.unwrap());
        check(&rx.recv().await.unwrap(), 1, 0, LARGE);
        assert_eq!(&*rx.recv().await.unwrap(), b"next");
        send.await.unwrap();
    });
}

fn others_wait_for_a_long_send_of_a_task_and_then_go_on(backend: Backend) {
    let (rx, tx) = open(backend);
    let mut other = tx.try_clone().unwrap();
    run(async {
        let mut rx = Receiver::from_blocking(rx).unwrap();
        let mut tx = Sender::from_blocking(tx).unwrap();
        let message = pattern(1, 0, LARGE);
        let mut send = pin!(tx.send(&message));
        begin(&mut send).await;
        assert!(matches!(other.try_send(b"x"), Err(TrySendError::Full)));
        let begun = std::time::Instant::now();
        assert!(other.send_timeout(b"x", 5 * MOMENT).is_err());
        assert!(begun.elapsed() >= 5 * MOMENT);
        let waiting = std::thread::spawn(move || {
            other.send(&pattern(2, 0, LARGE)).unwrap();
            other.send(&pattern(2, 1, 100)).unwrap();
        });
        let receive = async {
            check(&rx.recv().await.unwrap(), 1, 0, LARGE);
            check(&rx.recv().await.unwrap(), 2, 0, LARGE);
            check(&rx.recv().await.unwrap(), 2, 1, 100);
        };
        let (outcome, ()) = tokio::join!(send, receive);
        outcome.unwrap();
        waiting.join().unwrap();
    });
}

fn long_messages_of_tasks_threads_and_processes_are_not_mixed(backend: Backend) {
    const MESSAGES: u64 = 60;
    let len = |number: u64| 12 + (number as usize * 7919) % (2 * CAPACITY);
    let received = shared_counter();
    let (rx, tx) = open(backend);
    let (process, (rx, tx)) = {
        let mut copy = tx.try_clone().unwrap();
        let mut parents = Some((rx, tx));
        let process = fork(|| {
            drop(parents.take());
            (0..MESSAGES).for_each(|number| copy.send(&pattern(5, number, len(number))).unwrap());
        });
        (process, parents.unwrap())
    };
    run_with_a_small_pool(async {
        let mut tasks = JoinSet::new();
        for sender in 1..=3 {
            let mut tx = Sender::from_blocking(tx.try_clone().unwrap()).unwrap();
            tasks.spawn(async move {
                for number in 0..MESSAGES {
                    tx.send(&pattern(sender, number, len(number)))
                        .await
                        .unwrap();
                }
            });
        }
        let mut blocking = tx;
        let thread = std::thread::spawn(move || {
            (0..MESSAGES)
                .for_each(|number| blocking.send(&pattern(4, number, len(number))).unwrap());
        });
        let mut receivers = JoinSet::new();
        let rx = Receiver::from_blocking(rx).unwrap();
        for rx in [rx.try_clone().unwrap(), rx] {
            let mut rx = rx;
            receivers.spawn(async move {
                let mut next = [0; 6];
                while let Ok(message) = rx.recv().await {
                    let (sender, number) = identify(&message);
                    check(&message, sender, number, len(number));
                    assert!(number >= next[usize::from(sender)]);
                    next[usize::from(sender)] = number + 1;
                    received.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                }
            });
        }
        tasks.join_all().await;
        receivers.join_all().await;
        thread.join().unwrap();
    });
    process.join();
    assert_eq!(received.load(Ordering::Relaxed), 5 * MESSAGES);
}

fn a_receiver_is_told_when_a_task_inside_a_long_send_is_killed(backend: Backend) {
    let (mut rx, tx) = open(backend);
    let begun = Line::new();
    let mut survivor = tx.try_clone().unwrap();
    let mut parents = Some(survivor);
    let sender = fork(|| {
        drop(parents.take());
        run(async {
            let mut tx = Sender::from_blocking(tx).unwrap();
            let message = pattern(1, 0, LARGE);
            let mut send = pin!(tx.send(&message));
            begin(&mut send).await;
            begun.signal();
            send.await.unwrap();
        });
    });
    survivor = parents.unwrap();
    begun.wait();
    // Inside the message, of which no more comes.
    sender.stop();
    let outcome = rx.recv_timeout(MOMENT).map(drop);
    assert!(matches!(outcome, Err(shmpipe::RecvTimeoutError::Timeout)));
    let receiving = std::thread::spawn(move || {
        let outcome = rx.recv().map(drop);
        (rx, outcome)
    });
    assert!(matches!(survivor.try_send(b"x"), Err(TrySendError::Full)));
    sender.kill();
    let (mut rx, outcome) = receiving.join().unwrap();
    assert!(matches!(outcome, Err(RecvError::Aborted)), "{outcome:?}");
    let next = std::thread::spawn(move || survivor.send(&pattern(2, 0, LARGE)).unwrap());
    check(&rx.recv().unwrap(), 2, 0, LARGE);
    next.join().unwrap();
    assert!(matches!(rx.recv().map(drop), Err(RecvError::Disconnected)));
}

fn a_long_send_ends_when_the_last_receiver_goes(backend: Backend) {
    let (rx, tx) = open(backend);
    let (receiver, tx) = fork_apart(tx, || {
        let _held = &rx;
        Line::new().wait();
    });
    drop(rx);
    run(async {
        let mut tx = Sender::from_blocking(tx).unwrap();
        let mut other = tx.try_clone().unwrap();
        let waiting = tokio::spawn(async move { tx.send(&[7; LARGE]).await });
        tokio::task::yield_now().await;
        receiver.kill();
        let within = Duration::from_secs(30);
        let outcome = timeout(within, waiting).await.unwrap().unwrap();
        assert!(matches!(outcome, Err(shmpipe::SendError::Disconnected)));
        let outcome = timeout(within, other.send(&[7; LARGE])).await.unwrap();
        assert!(matches!(outcome, Err(shmpipe::SendError::Disconnected)));
    });
}
