//! Closing a side in this process beside ends for tasks.

use std::future::poll_fn;
use std::io::{Error, ErrorKind};
use std::pin::{Pin, pin};
use std::task::Poll;

use shmpipe::tokio::{Receiver, Sender};
use shmpipe::{Backend, RecvError, SendError};

use crate::support::{Line, fork, on_both_backends};
use crate::{open, run};

on_both_backends! {
    a_task_that_receives_ends_when_another_handle_closes_the_side within 20,
    a_task_that_sends_ends_when_another_handle_closes_the_side within 20,
    a_task_in_the_middle_of_a_long_message_ends_when_another_handle_closes_the_side within 20,
    a_forked_child_lets_go_of_the_side_though_it_has_copies_of_ends_for_tasks within 20,
    the_other_side_of_a_closed_side_of_tasks_is_gone within 20,
}

/// Polls `future` once, which has to wait.
async fn begin<F: Future>(future: &mut Pin<&mut F>) {
    poll_fn(|cx| {
        assert!(future.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
}

#[track_caller]
fn assert_closed(error: impl Into<Error>) {
    let error = error.into();
    assert_eq!(error.kind(), ErrorKind::NotConnected, "{error:?}");
}

fn a_task_that_receives_ends_when_another_handle_closes_the_side(backend: Backend) {
    let (rx, mut tx) = open(backend);
    run(async {
        let other = rx.try_clone().unwrap();
        let mut rx = Receiver::from_blocking(rx).unwrap();
        {
            let mut recv = pin!(rx.recv());
            begin(&mut recv).await;
            let closing = std::thread::spawn(move || other.close());
            assert_closed(recv.await.unwrap_err());
            closing.join().unwrap().unwrap();
        }
        assert_closed(rx.try_recv().map(drop).unwrap_err());
        assert_closed(rx.try_clone().unwrap_err());
        assert!(matches!(tx.send(b"x"), Err(SendError::Disconnected)));
    });
}

fn a_task_that_sends_ends_when_another_handle_closes_the_side(backend: Backend) {
    let (mut rx, tx) = open(backend);
    run(async {
        let other = tx.try_clone().unwrap();
        let mut tx = Sender::from_blocking(tx).unwrap();
        while tx.try_send(&[7; 1000]).is_ok() {}
        let mut send = pin!(tx.send(&[8; 1000]));
        begin(&mut send).await;
        let closing = std::thread::spawn(move || other.close());
        assert_closed(send.await.unwrap_err());
        closing.join().unwrap().unwrap();
    });
    loop {
        match rx.recv() {
            Ok(message) => assert_eq!(message[0], 7),
            outcome => break assert!(matches!(outcome, Err(RecvError::Disconnected))),
        }
    }
}

fn a_task_in_the_middle_of_a_long_message_ends_when_another_handle_closes_the_side(
    backend: Backend,
) {
    let (mut rx, tx) = open(backend);
    run(async {
        let other = tx.try_clone().unwrap();
        let mut tx = Sender::from_blocking(tx).unwrap();
        let message = vec![7; 2_000_000];
        let mut send = pin!(tx.send(&message));
        begin(&mut send).await;
        let closing = std::thread::spawn(move || other.close());
        assert_closed(send.await.unwrap_err());
        closing.join().unwrap().unwrap();
    });
    loop {
        match rx.recv() {
            Err(RecvError::Aborted) => {}
            outcome => break assert!(matches!(outcome, Err(RecvError::Disconnected))),
        }
    }
}

fn a_forked_child_lets_go_of_the_side_though_it_has_copies_of_ends_for_tasks(backend: Backend) {
    let (mut rx, tx) = open(backend);
    run(async {
        let kept = tx.try_clone().unwrap();
        let mut tx = Sender::from_blocking(tx).unwrap();
        let (has_closed, may_end) = (Line::new(), Line::new());
        let child = fork(|| {
            kept.close().unwrap();
            has_closed.signal();
            may_end.wait();
        });
        has_closed.wait();
        // The parent's own goes on.
        while tx.try_send(&[7; 1000]).is_ok() {}
        {
            let mut send = pin!(tx.send(&[8; 1000]));
            begin(&mut send).await;
            let receiver = std::thread::spawn(move || {
                while rx.recv().unwrap()[0] == 7 {}
                rx
            });
            send.await.unwrap();
            rx = receiver.join().unwrap();
        }
        drop((tx, kept));
        assert!(matches!(rx.recv(), Err(RecvError::Disconnected)));
        may_end.signal();
        child.join();
    });
}

fn the_other_side_of_a_closed_side_of_tasks_is_gone(backend: Backend) {
    let (rx, tx) = open(backend);
    run(async {
        let mut rx = Receiver::from_blocking(rx).unwrap();
        let tx = Sender::from_blocking(tx).unwrap();
        let kept = tx.try_clone().unwrap();
        let mut recv = pin!(rx.recv());
        begin(&mut recv).await;
        let closing = std::thread::spawn(move || {
            tx.close().unwrap();
            tx
        });
        assert!(matches!(recv.await, Err(RecvError::Disconnected)));
        drop((closing.join().unwrap(), kept));
    });
}
