//! What receivers have taken, which nobody counts: it is what was sent less what is still in the pipe.

use std::fs::File;
use std::os::fd::AsFd;
use std::time::Duration;

use shmpipe::observe::{Look, State};
use shmpipe::{Backend, PipeOptions, TryRecvError};

use crate::support::segment::{Memory, at};
use crate::support::{Random, fork, on_both_backends, on_no_backend};
use crate::{label, one, open};

on_both_backends! {
    messages_taken_in_any_way_are_counted,
    counts_are_exact_wherever_the_pipe_stands_still,
    a_message_in_fragments_is_received_when_it_is_whole,
    what_its_sender_took_back_leaves_the_pipe_and_is_no_message,
    the_ticket_of_a_message_with_descriptors_is_no_byte_of_it,
    a_pipe_at_full_speed_is_counted_as_it_goes,
}
on_no_backend! {
    what_a_dead_sender_published_and_did_not_count_is_counted,
    marks_in_the_low_bits_of_the_position_change_nothing,
    a_ring_with_more_in_it_than_a_look_reads_is_estimated,
    a_ring_with_a_garbled_header_is_unreadable,
    random_bytes_in_the_ring_never_end_a_survey,
}

fn look(label: &str) -> Look {
    one(label).look.unwrap()
}

/// The segment of the pipe with this label.
fn memory(label: &str) -> Memory {
    let found = Memory::find_all(&format!("shmpipe:{label}"));
    assert_eq!(found.len(), 1, "{found:?}");
    found[0]
}

/// Messages and bytes sent, and the same received.
fn counts(label: &str) -> [u64; 4] {
    let Look {
        sender, receiver, ..
    } = look(label);
    assert!(!receiver.is_estimate);
    [
        sender.messages,
        sender.bytes,
        receiver.messages,
        receiver.bytes,
    ]
}

fn messages_taken_in_any_way_are_counted(backend: Backend) {
    let label = label();
    let (mut rx, mut tx) = open(backend, &label);
    tx.send_batch([&[7; 10][..], &[7; 0], &[7; 33]]).unwrap();
    tx.send(&[7; 100]).unwrap();
    assert_eq!(counts(&label), [4, 143, 0, 0]);
    let view = rx.recv_in_place().unwrap();
    if view.is_in_place() {
        assert_eq!(counts(&label), [4, 143, 0, 0], "it is still there");
    }
    drop(view);
    assert_eq!(counts(&label), [4, 143, 1, 10]);
    rx.recv_into(&mut []).unwrap();
    assert_eq!(counts(&label), [4, 143, 2, 10]);
    assert_eq!(rx.recv_batch().unwrap().len(), 2);
    assert_eq!(counts(&label), [4, 143, 4, 143]);
}

fn counts_are_exact_wherever_the_pipe_stands_still(backend: Backend) {
    let label = label();
    let (mut rx, mut tx) = open(backend, &label);
    let mut random = Random::from_environment();
    let mut expected = [0; 4];
    let bytes = vec![7; 20_000];
    for _ in 0..300 {
        for _ in 0..random.below(40) {
            let len = random.pick(&[0, 1, 8, 100, 3000, 9000, 20_000]) + random.below(8);
            let len = len.min(bytes.len());
            if tx.try_send(&bytes[..len]).is_ok() {
                expected[0] += 1;
                expected[1] += len as u64;
            }
        }
        for _ in 0..random.below(40) {
            if let Ok(message) = rx.try_recv() {
                expected[2] += 1;
                expected[3] += message.len() as u64;
            }
        }
        assert_eq!(counts(&label), expected);
    }
    assert!(expected[3] > 1 << 20, "{expected:?} went round the ring");
}

fn a_message_in_fragments_is_received_when_it_is_whole(backend: Backend) {
    const LARGE: usize = 300_000;
    let label = label();
    let (mut rx, mut tx) = open(backend, &label);
    let child = fork(|| tx.send(&vec![1; LARGE]).unwrap());
    child.until_asleep();
    let [_, sent, messages, received] = counts(&label);
    assert_eq!((messages, received), (0, 0));
    assert!(sent < LARGE as u64);
    assert_eq!(rx.recv().unwrap().len(), LARGE);
    child.join();
    assert_eq!(counts(&label), [1, LARGE as u64, 1, LARGE as u64]);
}

fn what_its_sender_took_back_leaves_the_pipe_and_is_no_message(backend: Backend) {
    let label = label();
    let (mut rx, mut tx) = open(backend, &label);
    tx.send_timeout(&vec![0; 300_000], Duration::from_millis(5))
        .unwrap_err();
    let sent = look(&label).sender.bytes;
    assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
    let look = look(&label);
    assert_eq!((look.sender.messages, look.receiver.messages), (0, 0));
    assert_eq!((look.receiver.bytes, look.fill), (sent, 0));
}

fn the_ticket_of_a_message_with_descriptors_is_no_byte_of_it(backend: Backend) {
    let label = label();
    let options = PipeOptions::new().backend(backend).label(&label);
    let (mut rx, mut tx) = options.descriptors(true).pipe().unwrap();
    let null = File::open("/dev/null").unwrap();
    tx.send_with_fds(b"11 bytes +8", &[null.as_fd()]).unwrap();
    tx.send(b"6 more").unwrap();
    assert_eq!(counts(&label), [2, 17, 0, 0]);
    rx.recv_with_fds().unwrap();
    assert_eq!(counts(&label), [2, 17, 1, 11]);
}

fn a_pipe_at_full_speed_is_counted_as_it_goes(backend: Backend) {
    const MESSAGES: u64 = 100_000;
    let label = label();
    let (mut rx, mut tx) = open(backend, &label);
    let sender = fork(|| {
        (0..MESSAGES).for_each(|number| tx.send(&[7; 300][..number as usize % 300]).unwrap())
    });
    let receiver = fork(|| (0..MESSAGES).for_each(|_| assert!(rx.recv().is_ok())));
    let mut last = [0; 2];
    loop {
        let look = look(&label);
        let now = [look.sender.messages, look.sender.bytes];
        assert!(now >= last, "{now:?} after {last:?}");
        if backend == Backend::SharedMemory {
            assert!(look.receiver.messages <= look.sender.messages, "{look:?}");
            assert!(look.receiver.bytes <= look.sender.bytes, "{look:?}");
        }
        last = now;
        if look.receiver.messages == MESSAGES {
            break;
        }
    }
    sender.join();
    receiver.join();
    let bytes = (0..MESSAGES).map(|number| number % 300).sum();
    assert_eq!(counts(&label), [MESSAGES, bytes, MESSAGES, bytes]);
}

fn what_a_dead_sender_published_and_did_not_count_is_counted() {
    let label = label();
    let (mut rx, mut tx) = open(Backend::SharedMemory, &label);
    let memory = memory(&label);
    tx.send(b"one").unwrap();
    let before = memory.copy();
    tx.send_batch([&b"four"[..], b"fifth"]).unwrap();
    // As it is when the sender dies between the first header of a run and all that it counts.
    for offset in [at::TX_TAIL, 0x0a8, 0x0b0] {
        memory.store(offset, 8, before.u64(offset));
    }
    assert_eq!(counts(&label), [3, 12, 0, 0]);
    for expected in [[3, 12, 1, 3], [3, 12, 2, 7], [3, 12, 3, 12]] {
        rx.recv().unwrap();
        assert_eq!(counts(&label), expected);
    }
    assert_eq!(look(&label).fill, 0);

    // The next sender, who finds the side's lock marked by the kernel, counts them.
    memory.store(at::TX_LOCK, 4, u64::from(libc::FUTEX_OWNER_DIED));
    tx.send(b"sixth").unwrap();
    assert_eq!(counts(&label), [4, 17, 3, 12]);
}

fn marks_in_the_low_bits_of_the_position_change_nothing() {
    let label = label();
    let (mut rx, mut tx) = open(Backend::SharedMemory, &label);
    let memory = memory(&label);
    tx.send_batch([b"one", b"two"]).unwrap();
    rx.recv().unwrap();
    let before = (counts(&label), look(&label).fill);
    let read = memory.copy().u64(at::RX_READ);
    memory.store(at::RX_READ, 8, read | 1);
    assert_eq!((counts(&label), look(&label).fill), before);
}

fn a_ring_with_more_in_it_than_a_look_reads_is_estimated() {
    const MESSAGES: u64 = 200_000;
    let label = label();
    let options = PipeOptions::new().backend(Backend::SharedMemory);
    let (mut rx, mut tx) = options.label(&label).capacity(4 << 20).pipe().unwrap();
    let sent = tx.send_batch((0..MESSAGES).map(u64::to_ne_bytes)).unwrap();
    assert_eq!(sent as u64, MESSAGES);
    let mut taken = 0;
    loop {
        let look = look(&label);
        assert_eq!(look.receiver.messages, taken, "all are as long");
        assert_eq!(look.receiver.bytes, taken * 8);
        let left = MESSAGES - taken;
        assert_eq!(look.fill, left * 16);
        if !look.receiver.is_estimate {
            assert!(left > 50_000, "{left} are few");
            break;
        }
        taken += rx.recv_batch().unwrap().len() as u64;
    }
    assert_ne!(taken, 0);
}

fn a_ring_with_a_garbled_header_is_unreadable() {
    let label = label();
    let (_rx, mut tx) = open(Backend::SharedMemory, &label);
    tx.send_batch([b"12345678", b"12345678"]).unwrap();
    let memory = memory(&label);
    let control = memory.copy().control();
    memory.store(control + 16, 8, 0xdead_beef);
    let pipe = one(&label);
    assert_eq!(pipe.state(), State::Unreadable);
    let why = pipe.look.unwrap_err().to_string();
    assert_eq!(
        why,
        "unreadable: the word 0xdeadbeef at its position 16 begins no record"
    );
}

fn random_bytes_in_the_ring_never_end_a_survey() {
    let mut random = Random::from_environment();
    let label = label();
    let (_rx, mut tx) = open(Backend::SharedMemory, &label);
    while tx.try_send(&[7; 100]).is_ok() {}
    let memory = memory(&label);
    let whole = memory.copy();
    let control = whole.control();
    for _ in 0..200 {
        for _ in 0..1 + random.below(8) {
            let place = control + random.below(64 * 1024 / 8) * 8;
            let word = random.pick(&[0, 1, u64::MAX, 3 << 32 | 1, 1 << 32 | 9, 2 << 32 | 8000]);
            memory.store(place, 8, word);
        }
        let read = random.below(1024) * 8;
        memory.store(at::RX_READ, 8, read as u64);
        let pipe = one(&label);
        let _ = (pipe.state(), format!("{pipe:?}"));
        if let Ok(look) = &pipe.look {
            assert!(look.fill <= look.capacity.unwrap(), "{look:?}");
            assert!(look.receiver.messages <= look.sender.messages, "{look:?}");
        }
        if random.below(4) == 0 {
            memory.write(control, &whole.0[control..]);
        }
    }
}
