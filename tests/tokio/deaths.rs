//! Tasks that wait are told when the last process of the other side is killed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use shmpipe::tokio::{Receiver, Sender};
use shmpipe::{Backend, RecvError, SendError};
use tokio::time::sleep;

use crate::support::{Line, check, fork, fork_apart, on_both_backends, pattern};
use crate::{MOMENT, open, run};

on_both_backends! {
    recv_ends_when_the_last_sender_in_another_process_is_killed,
    send_ends_when_the_last_receiver_in_another_process_is_killed,
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
