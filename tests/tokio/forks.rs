//! Ends for tasks in a forked child: a copy that is dropped there takes nothing from its parent, and one that is used
//! says so.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use shmpipe::tokio::{Connection, Receiver, Sender};
use shmpipe::{Backend, PipeOptions, RecvError, SendError};

use crate::support::{Line, fork, on_both_backends};
use crate::{CAPACITY, open, run};

on_both_backends! {
    recv_wakes_after_a_forked_child_dropped_its_copy within 20,
    send_wakes_after_a_forked_child_dropped_its_copy within 20,
    a_pause_ends_after_a_forked_child_dropped_its_copy within 20,
    a_forked_child_gets_an_error_from_an_end_for_tasks,
    a_forked_child_uses_the_blocking_end_below_an_end_for_tasks within 20,
}

/// Polls `future` once, which has to wait.
async fn begin<F: Future>(future: &mut std::pin::Pin<&mut F>) {
    poll_fn(|cx| {
        assert!(future.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
}

fn recv_wakes_after_a_forked_child_dropped_its_copy(backend: Backend) {
    let (rx, mut tx) = open(backend);
    run(async {
        let rx = Receiver::from_blocking(rx).unwrap();
        let mut copy = Some(rx);
        fork(|| drop(copy.take())).join();
        let mut rx = copy.unwrap();
        let mut recv = Box::pin(rx.recv());
        begin(&mut recv.as_mut()).await;
        let sender = std::thread::spawn(move || tx.send(b"for the parent"));
        assert_eq!(&*recv.await.unwrap(), b"for the parent");
        sender.join().unwrap().unwrap();
        // Others, and the way back.
        let mut copy = Some(rx.try_clone().unwrap());
        fork(|| drop(copy.take().map(Receiver::into_blocking))).join();
        assert!(matches!(rx.recv().await, Err(RecvError::Disconnected)));
        assert!(matches!(
            copy.unwrap().recv().await,
            Err(RecvError::Disconnected)
        ));
    });
}

fn send_wakes_after_a_forked_child_dropped_its_copy(backend: Backend) {
    let (mut rx, tx) = open(backend);
    run(async {
        let mut copy = Some(Sender::from_blocking(tx).unwrap());
        while copy.as_mut().unwrap().try_send(&[7; 1000]).is_ok() {}
        fork(|| drop(copy.take())).join();
        let mut tx = copy.unwrap();
        let mut send = pin!(tx.send(&[8; 1000]));
        begin(&mut send).await;
        let receiver = std::thread::spawn(move || while rx.recv().unwrap()[0] == 7 {});
        send.await.unwrap();
        receiver.join().unwrap();
    });
}

fn a_pause_ends_after_a_forked_child_dropped_its_copy(backend: Backend) {
    run(async {
        let (mut lent_to, mut tx) = open(backend);
        tx.send(b"lent").unwrap();
        tx.send(b"next").unwrap();
        let rx = Receiver::from_blocking(lent_to.try_clone().unwrap()).unwrap();
        let view = lent_to.recv_in_place().unwrap();
        let is_kept = view.is_in_place();
        let mut copy = Some(Box::pin(async move {
            let mut rx = rx;
            rx.recv().await.unwrap().into_vec()
        }));
        if is_kept {
            // Until it pauses between its looks.
            for _ in 0..100 {
                begin(&mut copy.as_mut().unwrap().as_mut()).await;
            }
            fork(|| drop(copy.take())).join();
        }
        let received = tokio::spawn(copy.unwrap());
        // Then only the end of its pause wakes it.
        tokio::task::yield_now().await;
        drop(view);
        assert_eq!(received.await.unwrap(), b"next");
    });
}

fn a_forked_child_gets_an_error_from_an_end_for_tasks(backend: Backend) {
    let options = PipeOptions::new().backend(backend).capacity(CAPACITY);
    run(async {
        let (near, far) = options.duplex().unwrap();
        let mut near = Connection::from_blocking(near).unwrap();
        let mut far = Connection::from_blocking(far).unwrap();
        fork(|| {
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            {
                let mut recv = pin!(near.recv());
                let Poll::Ready(Err(RecvError::Io(error))) = recv.as_mut().poll(&mut cx) else {
                    panic!("it waits in its parent's runtime");
                };
                assert_eq!(error.kind(), std::io::ErrorKind::Unsupported, "{error}");
                assert!(error.to_string().contains("fork"), "{error}");
            }
            let message = [7; 2 * CAPACITY];
            let mut send = pin!(near.send(&message));
            let Poll::Ready(Err(SendError::Io(error))) = send.as_mut().poll(&mut cx) else {
                panic!("it waits in its parent's runtime");
            };
            assert_eq!(error.kind(), std::io::ErrorKind::Unsupported, "{error}");
        })
        .join();
        fork(|| {
            let error = near.try_clone().unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::Unsupported, "{error}");
        })
        .join();
        far.send(b"nobody else took it").await.unwrap();
        assert_eq!(&*near.recv().await.unwrap(), b"nobody else took it");
    });
}

fn a_forked_child_uses_the_blocking_end_below_an_end_for_tasks(backend: Backend) {
    let options = PipeOptions::new().backend(backend).capacity(CAPACITY);
    let go = Line::new();
    run(async {
        let (near, far) = options.duplex().unwrap();
        let mut near = Connection::from_blocking(near).unwrap();
        let mut far = Some(Connection::from_blocking(far).unwrap());
        let child = fork(|| {
            let mut far = far.take().unwrap().into_blocking();
            go.wait();
            assert_eq!(&*far.recv().unwrap(), b"to the child");
            far.send(b"from the child").unwrap();
        });
        drop(far);
        go.signal();
        near.send(b"to the child").await.unwrap();
        assert_eq!(&*near.recv().await.unwrap(), b"from the child");
        assert!(matches!(near.recv().await, Err(RecvError::Disconnected)));
        child.join();
    });
}
