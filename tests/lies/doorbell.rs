//! A peer that rings without end: it may keep an end awake, but not beyond the end's time-out.
//!
//! The liar is a process with one end of the pipe and that end's socket.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::socket::{MsgFlags, send};
use shmpipe::{RecvError, RecvTimeoutError, SendTimeoutError};

use crate::stage::{Content, Stage, of_ring, open};
use crate::support::segment::at;
use crate::support::{fork_apart, on_no_backend, open_fds};
use crate::victim::{Outcome, Receive, Send};

on_no_backend! {
    a_flood_of_tokens_does_not_lengthen_a_receivers_time_out,
    a_flood_of_empty_packets_does_not_lengthen_a_receivers_time_out,
    a_flood_of_long_packets_and_false_arming_does_not_lengthen_a_receivers_time_out,
    a_flood_of_tokens_does_not_lengthen_a_senders_time_out,
    a_flood_of_packets_and_false_arming_does_not_lengthen_a_senders_time_out,
}

const TIMEOUT: Duration = Duration::from_millis(3);

const CALLS: usize = 40;

/// The only socket that this process has open.
fn own_socket() -> OwnedFd {
    let fds = open_fds();
    let mut sockets = fds
        .iter()
        .filter(|(_, target)| target.starts_with("socket:"));
    let (&fd, _) = sockets.next().expect("an end has a socket");
    assert_eq!(sockets.next(), None, "the liar has one end only");
    // SAFETY: /proc has just shown it, and the end keeps it open.
    let socket = unsafe { BorrowedFd::borrow_raw(fd) };
    socket.try_clone_to_owned().expect("one descriptor more")
}

/// What a liar sends, packet after packet.
#[derive(Clone, Copy)]
enum Flood {
    Tokens,
    EmptyPackets,
    LongPackets,
}

/// Rings until it is killed; the words of `event` go up meanwhile, where it is given.
fn ring_for_ever(flood: Flood, stage: &Stage, event: Option<usize>) -> ! {
    let socket = own_socket();
    for number in 0_u32.. {
        let token = number.to_ne_bytes();
        let packet = match flood {
            Flood::Tokens => &token[..],
            Flood::EmptyPackets => &[],
            Flood::LongPackets => &[0xff; 999],
        };
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let _ = send(socket.as_raw_fd(), packet, flags);
        if let Some(event) = event {
            stage.memory.store(event + at::ARMED, 4, number.into());
            stage.memory.store(event + at::BELL, 4, number.into());
            stage.memory.store(event + at::CLOSES, 4, number.into());
        }
    }
    unreachable!("it is killed before it has counted so far")
}

fn flood_a_receiver(flood: Flood, event: Option<usize>) {
    let (rx, mut tx, stage) = open(Content::Nothing);
    let (liar, mut rx) = fork_apart(rx, || ring_for_ever(flood, &stage, event));
    for _ in 0..CALLS {
        let start = Instant::now();
        assert!(matches!(
            rx.recv_timeout(TIMEOUT),
            Err(RecvTimeoutError::Timeout)
        ));
        assert!(!rx.poll(Some(TIMEOUT)).unwrap());
        assert!(start.elapsed() >= 2 * TIMEOUT, "{:?}", start.elapsed());
        assert_eq!(Receive::Within(TIMEOUT).make(&mut rx), Outcome::NotNow);
        assert_eq!(Receive::Try.make(&mut rx), Outcome::NotNow);
    }
    tx.send(b"in spite of the noise").unwrap();
    assert_eq!(&*rx.recv().unwrap(), b"in spite of the noise");
    drop(tx);
    liar.kill();
    assert!(matches!(rx.recv(), Err(RecvError::Disconnected)));
}

fn flood_a_sender(flood: Flood, event: Option<usize>) {
    let (rx, tx, stage) = open(Content::Full);
    let (liar, mut tx) = fork_apart(tx, || ring_for_ever(flood, &stage, event));
    for _ in 0..CALLS {
        let start = Instant::now();
        let outcome = tx.send_timeout(&[1; 100], TIMEOUT);
        assert!(
            matches!(outcome, Err(SendTimeoutError::Timeout)),
            "{outcome:?}"
        );
        assert!(start.elapsed() >= TIMEOUT, "{:?}", start.elapsed());
        assert_eq!(
            Send::Within(of_ring(12_000), TIMEOUT).make(&mut tx),
            Outcome::NotNow
        );
        assert_eq!(Send::Try(100).make(&mut tx), Outcome::NotNow);
    }
    drop(rx);
    liar.kill();
    assert_eq!(Send::Block(100).make(&mut tx), Outcome::End);
}

fn a_flood_of_tokens_does_not_lengthen_a_receivers_time_out() {
    flood_a_receiver(Flood::Tokens, None);
}

fn a_flood_of_empty_packets_does_not_lengthen_a_receivers_time_out() {
    flood_a_receiver(Flood::EmptyPackets, None);
}

fn a_flood_of_long_packets_and_false_arming_does_not_lengthen_a_receivers_time_out() {
    flood_a_receiver(Flood::LongPackets, Some(at::DATA));
}

fn a_flood_of_tokens_does_not_lengthen_a_senders_time_out() {
    flood_a_sender(Flood::Tokens, None);
}

fn a_flood_of_packets_and_false_arming_does_not_lengthen_a_senders_time_out() {
    flood_a_sender(Flood::EmptyPackets, Some(at::ROOM));
}
