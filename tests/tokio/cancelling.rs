//! Futures that are dropped before they are done.

use std::time::Duration;

use shmpipe::tokio::Receiver;
use shmpipe::{Backend, RecvError};
use tokio::time::{sleep, timeout};

use crate::support::{Line, check, fork, fork_apart, on_both_backends, pattern};
use crate::{LARGE, MOMENT, open, open_async, run};

on_both_backends! {
    a_dropped_recv_loses_no_message,
    a_dropped_send_of_a_short_message_sends_nothing,
    select_takes_what_comes_first_and_time_outs_keep,
}

fn a_dropped_recv_loses_no_message(backend: Backend) {
    const MESSAGES: u64 = 300;
    let (rx, mut tx) = open(backend);
    let (sender, rx) = fork_apart(rx, || {
        for number in 0..MESSAGES {
            // Every tenth in fragments.
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
