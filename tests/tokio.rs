//! The ends for tokio: whole messages through tasks, alone, by the thousand, and with other processes.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use shmpipe::tokio::{Connection, Receiver, Sender};
use shmpipe::{Backend, PipeOptions, RecvError, SendError, TryRecvError};
use support::{
    Line, check, fork, fork_apart, identify, on_both_backends, open_fds, pattern, shared_counter,
    switches,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

on_both_backends! {
    messages_pass_between_two_tasks_in_order,
    a_thousand_pipes_on_one_thread within 120,
    recv_ends_when_the_last_sender_in_another_process_is_killed,
    send_ends_when_the_last_receiver_in_another_process_is_killed,
    a_dropped_recv_loses_no_message,
    a_dropped_send_of_a_short_message_sends_nothing,
    a_dropped_send_of_a_long_message_sends_it_whole_and_in_order,
    long_messages_pass_both_ways_at_once,
    select_takes_what_comes_first_and_time_outs_keep,
    processes_that_share_an_end_with_tasks_get_each_message_once,
    two_tasks_that_share_an_end_get_each_message_once,
    a_full_pipe_does_not_starve_other_tasks,
    the_byte_streams_carry_everything,
    stream_and_sink_carry_whole_messages,
    nothing_wakes_a_task_while_nothing_happens,
    an_end_goes_back_to_blocking_with_what_it_has_taken,
    an_end_closes_all_that_it_opened,
}

const CAPACITY: usize = 64 * 1024;
const LARGE: usize = 3 * CAPACITY;
const MOMENT: Duration = Duration::from_millis(2);

fn open(backend: Backend) -> (shmpipe::Receiver, shmpipe::Sender) {
    let options = PipeOptions::new().backend(backend).capacity(CAPACITY);
    options.pipe().unwrap()
}

/// Ends for tasks; inside a runtime.
fn open_async(backend: Backend) -> (Receiver, Sender) {
    let (rx, tx) = open(backend);
    (rx.try_into().unwrap(), tx.try_into().unwrap())
}

/// Runs `work` on a runtime of one thread.
fn run<T>(work: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(work)
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
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(16_000), hard).unwrap();
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

fn recv_ends_when_the_last_sender_in_another_process_is_killed(backend: Backend) {
    let (rx, mut tx) = open(backend);
    let sent = Line::new();
    let sender = fork(|| {
        (0..10).for_each(|number| tx.send(&pattern(1, number, 100)).unwrap());
        sent.signal();
        Line::new().wait();
    });
    drop(tx);
    run(async {
        let mut rx = Receiver::from_blocking(rx).unwrap();
        sent.wait();
        for number in 0..10 {
            check(&rx.recv().await.unwrap(), 1, number, 100);
        }
        let waiting = tokio::spawn(async move {
            assert!(matches!(rx.recv().await, Err(RecvError::Disconnected)));
        });
        sleep(MOMENT).await;
        sender.kill();
        waiting.await.unwrap();
    });
}

fn send_ends_when_the_last_receiver_in_another_process_is_killed(backend: Backend) {
    let (rx, tx) = open(backend);
    let (receiver, tx) = fork_apart(tx, || {
        let _held = &rx;
        Line::new().wait();
    });
    drop(rx);
    run(async {
        let mut tx = Sender::from_blocking(tx).unwrap();
        let sent = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&sent);
        let waiting = tokio::spawn(async move {
            loop {
                match tx.send(&[7; 1000]).await {
                    Ok(()) => count.fetch_add(1, Ordering::Relaxed),
                    Err(SendError::Disconnected) => return,
                    Err(error) => panic!("{error}"),
                };
            }
        });
        while sent.load(Ordering::Relaxed) <= 10 {
            tokio::task::yield_now().await;
        }
        // Most likely the pipe is full by then; a send that comes to its end sooner must do so all the same.
        sleep(MOMENT).await;
        receiver.kill();
        waiting.await.unwrap();
    });
}

fn a_dropped_recv_loses_no_message(backend: Backend) {
    const MESSAGES: u64 = 300;
    let (rx, mut tx) = open(backend);
    let (sender, rx) = fork_apart(rx, || {
        for number in 0..MESSAGES {
            // Every tenth in parts.
            let len = if number % 10 == 0 { LARGE } else { 100 };
            tx.send(&pattern(1, number, len)).unwrap();
            std::thread::sleep(Duration::from_micros(50));
        }
    });
    drop(tx);
    run(async {
        let mut rx = Receiver::from_blocking(rx).unwrap();
        let (mut next, mut dropped) = (0, 0);
        loop {
            tokio::select! {
                biased;
                () = tokio::task::yield_now() => dropped += 1,
                outcome = rx.recv() => match outcome {
                    Ok(message) => {
                        check(&message, 1, next, message.len());
                        next += 1;
                    }
                    Err(RecvError::Disconnected) => break,
                    Err(error) => panic!("{error}"),
                },
            }
        }
        assert_eq!(next, MESSAGES);
        assert!(dropped > 0);
    });
    sender.join();
}

fn a_dropped_send_of_a_short_message_sends_nothing(backend: Backend) {
    run(async {
        let (mut rx, mut tx) = open_async(backend);
        let mut sent = 0;
        while tx.try_send(&pattern(1, sent, 1000)).is_ok() {
            sent += 1;
        }
        for _ in 0..5 {
            let never = pattern(2, 0, 4000);
            assert!(timeout(MOMENT, tx.send(&never)).await.is_err());
        }
        drop(tx.send(b"not even polled"));
        for number in 0..sent {
            check(&rx.recv().await.unwrap(), 1, number, 1000);
        }
        tx.send(b"the next one").await.unwrap();
        assert_eq!(&*rx.recv().await.unwrap(), b"the next one");
    });
}

fn a_dropped_send_of_a_long_message_sends_it_whole_and_in_order(backend: Backend) {
    run(async {
        let (mut rx, mut tx) = open_async(backend);
        for round in 0..3 {
            let long = pattern(1, round, LARGE);
            assert!(timeout(MOMENT, tx.send(&long)).await.is_err());
            let next = tokio::spawn(async move {
                tx.send(b"behind it").await.unwrap();
                tx
            });
            check(&rx.recv().await.unwrap(), 1, round, LARGE);
            assert_eq!(&*rx.recv().await.unwrap(), b"behind it");
            tx = next.await.unwrap();
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

fn select_takes_what_comes_first_and_time_outs_keep(backend: Backend) {
    let (first, mut to_first) = open(backend);
    let (second, mut to_second) = open(backend);
    let go = Line::new();
    let (sender, go) = (
        fork(|| {
            go.wait();
            to_second.send(b"second").unwrap();
            go.wait();
            to_first.send(b"first").unwrap();
            go.wait();
        }),
        &go,
    );
    drop((to_first, to_second));
    run(async {
        let mut first = Receiver::from_blocking(first).unwrap();
        let mut second = Receiver::from_blocking(second).unwrap();
        let mut told = Vec::new();
        for _ in 0..2 {
            let begin = tokio::time::Instant::now();
            tokio::select! {
                _ = first.recv() => panic!("nothing was sent"),
                _ = second.recv() => panic!("nothing was sent"),
                () = sleep(MOMENT) => assert!(begin.elapsed() >= MOMENT),
            }
            go.signal();
            tokio::select! {
                message = first.recv() => told.push(message.unwrap().to_vec()),
                message = second.recv() => told.push(message.unwrap().to_vec()),
                () = sleep(Duration::from_secs(30)) => panic!("nothing came"),
            }
        }
        assert_eq!(told, [b"second".to_vec(), b"first".to_vec()]);
        go.signal();
        tokio::select! {
            outcome = first.recv() => assert!(matches!(outcome, Err(RecvError::Disconnected))),
            outcome = second.recv() => assert!(matches!(outcome, Err(RecvError::Disconnected))),
        }
    });
    sender.join();
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

fn the_byte_streams_carry_everything(backend: Backend) {
    const BYTES: usize = 4 << 20;
    run(async {
        let (mut rx, mut tx) = open_async(backend);
        let data: Vec<u8> = (0..BYTES).map(|at| (at % 251) as u8).collect();
        let expected = data.clone();
        let writer = tokio::spawn(async move {
            tx.write_all(&data).await.unwrap();
            AsyncWriteExt::flush(&mut tx).await.unwrap();
            tx.shutdown().await.unwrap();
        });
        let mut received = Vec::new();
        rx.read_to_end(&mut received).await.unwrap();
        assert!(received == expected);
        writer.await.unwrap();
    });
}

fn stream_and_sink_carry_whole_messages(backend: Backend) {
    run(async {
        let (rx, mut tx) = open_async(backend);
        let receiver = tokio::spawn(rx.map(Result::unwrap).collect::<Vec<_>>());
        let messages: Vec<_> = (0..200)
            .map(|number| pattern(1, number, if number % 50 == 0 { LARGE } else { 1000 }))
            .collect();
        for message in &messages {
            tx.feed(message.clone()).await.unwrap();
        }
        SinkExt::<Vec<u8>>::flush(&mut tx).await.unwrap();
        tx.send(b"last").await.unwrap();
        drop(tx);
        let received = receiver.await.unwrap();
        assert_eq!(received.len(), 201);
        assert!(received[..200] == messages[..] && received[200] == b"last");
    });
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
