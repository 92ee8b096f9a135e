//! Opening, filling and draining pipes: the small steps that many tests share.

use std::time::Duration;

use shmpipe::{
    Backend, Connection, PipeOptions, Receiver, RecvError, RecvTimeoutError, SendError,
    SendTimeoutError, Sender, TryRecvError, TrySendError,
};

use crate::support::{check, pattern};

/// Capacity of the pipes that [`open`] makes.
pub(crate) const CAPACITY: usize = 64 * 1024;

/// Length of a message that cannot be in the pipe all at once.
pub(crate) const LARGE: usize = 3 * CAPACITY;

/// Length of the messages with which [`fill`] fills a pipe.
pub(crate) const FILLER: usize = 1000;

/// A time-out long enough to tell from none at all.
pub(crate) const SHORT: Duration = Duration::from_millis(30);

/// A one-way pipe of 64 KiB.
pub(crate) fn open(backend: Backend) -> (Receiver, Sender) {
    PipeOptions::new()
        .backend(backend)
        .capacity(CAPACITY)
        .pipe()
        .unwrap()
}

/// A two-way pipe of 64 KiB each way.
pub(crate) fn open_duplex(backend: Backend) -> (Connection, Connection) {
    PipeOptions::new()
        .backend(backend)
        .capacity(CAPACITY)
        .duplex()
        .unwrap()
}

/// Sends messages of [`FILLER`] bytes, numbered from 0, until there is no room for another, and
/// returns how many that took.
#[track_caller]
pub(crate) fn fill(tx: &mut Sender, sender: u16) -> u64 {
    let mut number = 0;
    loop {
        match tx.try_send(&pattern(sender, number, FILLER)) {
            Ok(()) => number += 1,
            Err(TrySendError::Full) => break,
            Err(error) => panic!("message {number} of the filling: {error}"),
        }
    }
    assert!(number > 0, "an empty pipe has room for a message");
    number
}

/// Receives the messages `numbers` of `sender`, each `len` bytes long.
#[track_caller]
pub(crate) fn drain(rx: &mut Receiver, sender: u16, numbers: std::ops::Range<u64>, len: usize) {
    for number in numbers {
        check(&rx.recv().unwrap(), sender, number, len);
    }
}

/// Asserts that every way of receiving reports the end, again and again.
#[track_caller]
pub(crate) fn assert_at_end(rx: &mut Receiver) {
    for _ in 0..3 {
        assert!(matches!(rx.recv(), Err(RecvError::Disconnected)));
        assert!(matches!(rx.try_recv(), Err(TryRecvError::Disconnected)));
        let outcome = rx.recv_timeout(Duration::from_secs(3600));
        assert!(matches!(outcome, Err(RecvTimeoutError::Disconnected)));
        assert!(matches!(
            rx.recv_into(&mut [0; 8]),
            Err(RecvError::Disconnected)
        ));
        assert!(rx.poll(None).unwrap());
        assert!(rx.poll(Some(Duration::ZERO)).unwrap());
        assert!(rx.poll(Some(SHORT)).unwrap());
        assert_eq!(rx.messages().count(), 0);
    }
}

/// Asserts that nothing is there now and that senders live.
#[track_caller]
pub(crate) fn assert_empty_but_alive(rx: &mut Receiver) {
    assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
    assert!(!rx.poll(Some(Duration::ZERO)).unwrap());
    assert!(matches!(
        rx.recv_timeout(SHORT),
        Err(RecvTimeoutError::Timeout)
    ));
}

/// Asserts that every way of sending reports a broken pipe, for an empty message too.
#[track_caller]
pub(crate) fn assert_broken(tx: &mut Sender) {
    for message in [&b""[..], b"x", &[7; FILLER], &[7; LARGE]] {
        assert!(matches!(tx.send(message), Err(SendError::Disconnected)));
        let outcome = tx.send_timeout(message, Duration::from_secs(3600));
        assert!(matches!(outcome, Err(SendTimeoutError::Disconnected)));
        if message.len() <= FILLER {
            assert!(matches!(
                tx.try_send(message),
                Err(TrySendError::Disconnected)
            ));
        }
    }
}

/// Sends until the death of the last receiver shows. A kill may be noticed a moment late, so some
/// messages may still go in; a full pipe at the latest shows it.
#[track_caller]
pub(crate) fn assert_breaks(tx: &mut Sender) {
    loop {
        match tx.send(&[7; FILLER]) {
            Ok(()) => {}
            Err(SendError::Disconnected) => break,
            Err(error) => panic!("a pipe without receiver: {error}"),
        }
    }
    assert_broken(tx);
}
