//! Limits: a buffer too small for the message, a message over the limit, and going on afterwards.

use shmpipe::{
    Backend, PipeOptions, RecvError, SendError, SendTimeoutError, TryRecvError, TrySendError,
};

use crate::ends::{FILLER, SHORT, assert_empty_but_alive, open};
use crate::support::{check, on_both_backends, pattern};

on_both_backends! {
    recv_into_that_is_too_small_keeps_the_message_and_names_its_length,
    recv_into_that_is_too_small_keeps_the_order,
    recv_into_of_the_exact_length_takes_the_message,
    a_send_over_the_limit_names_length_and_limit_and_sends_nothing,
    a_message_of_exactly_the_limit_is_sent,
    a_limit_of_zero_allows_the_empty_message_alone,
    a_limit_holds_for_clones_and_forked_copies,
}

fn recv_into_that_is_too_small_keeps_the_message_and_names_its_length(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    tx.send(&pattern(1, 0, FILLER)).unwrap();
    for len in [0, 1, FILLER / 2, FILLER - 1] {
        let outcome = rx.recv_into(&mut vec![0; len]);
        assert!(
            matches!(outcome, Err(RecvError::BufferTooSmall { needed: FILLER })),
            "{outcome:?}"
        );
        assert!(rx.poll(Some(std::time::Duration::ZERO)).unwrap());
    }
    check(&rx.recv().unwrap(), 1, 0, FILLER);
    assert_empty_but_alive(&mut rx);
}

fn recv_into_that_is_too_small_keeps_the_order(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    (0..3).for_each(|number| tx.send(&pattern(1, number, FILLER)).unwrap());
    for number in 0..3 {
        let outcome = rx.recv_into(&mut [0; 10]);
        assert!(
            matches!(outcome, Err(RecvError::BufferTooSmall { needed: FILLER })),
            "{outcome:?}"
        );
        let mut buf = [0; FILLER];
        assert_eq!(rx.recv_into(&mut buf).unwrap(), FILLER);
        check(&buf, 1, number, FILLER);
    }
}

fn recv_into_of_the_exact_length_takes_the_message(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    for len in 0..200 {
        tx.send(&pattern(1, 0, len)).unwrap();
        let mut buf = vec![0; len];
        assert_eq!(rx.recv_into(&mut buf).unwrap(), len);
        check(&buf, 1, 0, len);
    }
}

fn a_send_over_the_limit_names_length_and_limit_and_sends_nothing(backend: Backend) {
    let (mut rx, mut tx) = PipeOptions::new()
        .backend(backend)
        .max_message(100)
        .pipe()
        .unwrap();
    let message = pattern(1, 0, 101);
    let outcome = tx.send(&message);
    assert!(
        matches!(outcome, Err(SendError::TooLarge { len: 101, max: 100 })),
        "{outcome:?}"
    );
    let outcome = tx.try_send(&message);
    assert!(
        matches!(outcome, Err(TrySendError::TooLarge { len: 101, max: 100 })),
        "{outcome:?}"
    );
    let outcome = tx.send_timeout(&message, SHORT);
    let too_large = matches!(
        outcome,
        Err(SendTimeoutError::TooLarge { len: 101, max: 100 })
    );
    assert!(too_large, "{outcome:?}");
    assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
    tx.send(b"the end still works").unwrap();
    assert_eq!(&*rx.recv().unwrap(), b"the end still works");
    assert_empty_but_alive(&mut rx);
}

fn a_message_of_exactly_the_limit_is_sent(backend: Backend) {
    let (mut rx, mut tx) = PipeOptions::new()
        .backend(backend)
        .max_message(100)
        .pipe()
        .unwrap();
    tx.send(&pattern(1, 0, 100)).unwrap();
    tx.try_send(&pattern(1, 1, 100)).unwrap();
    tx.send_timeout(&pattern(1, 2, 100), SHORT).unwrap();
    crate::ends::drain(&mut rx, 1, 0..3, 100);
}

fn a_limit_of_zero_allows_the_empty_message_alone(backend: Backend) {
    let (mut rx, mut tx) = PipeOptions::new()
        .backend(backend)
        .max_message(0)
        .pipe()
        .unwrap();
    assert!(matches!(
        tx.send(b"x"),
        Err(SendError::TooLarge { len: 1, max: 0 })
    ));
    tx.send(b"").unwrap();
    assert!(rx.recv().unwrap().is_empty());
    assert_empty_but_alive(&mut rx);
}

fn a_limit_holds_for_clones_and_forked_copies(backend: Backend) {
    let (mut rx, tx) = PipeOptions::new()
        .backend(backend)
        .max_message(100)
        .pipe()
        .unwrap();
    let mut clone = tx.try_clone().unwrap();
    let refused = |outcome| matches!(outcome, Err(SendError::TooLarge { len: 101, max: 100 }));
    assert!(refused(clone.send(&[0; 101])));
    let child = crate::support::fork(move || {
        let mut tx = tx;
        assert!(refused(tx.send(&[0; 101])));
        tx.send(&pattern(1, 0, 100)).unwrap();
    });
    child.join();
    check(&rx.recv().unwrap(), 1, 0, 100);
    assert_empty_but_alive(&mut rx);
}
