//! Memory for messages: what the caller provides once the length is known, and room for messages in place.

use std::io::{ErrorKind, IoSliceMut, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use shmpipe::{Backend, PipeOptions, Receiver, RecvError, RecvTimeoutError, TryRecvError};

use crate::ends::{CAPACITY, FILLER, LARGE, SHORT, assert_at_end, assert_empty_but_alive, open};
use crate::support::{calls, check, fork, on_both_backends, pattern};

on_both_backends! {
    a_message_goes_to_memory_that_is_provided_for_its_length,
    a_message_goes_to_several_pieces_in_order,
    a_long_message_goes_to_provided_memory,
    a_refused_message_stays,
    memory_that_is_too_short_is_refused_and_the_message_stays,
    a_panic_while_memory_is_provided_loses_nothing_and_blocks_nobody,
    other_handles_may_be_used_while_memory_is_provided,
    an_empty_message_needs_no_memory,
    the_rest_of_a_message_that_was_read_goes_to_provided_memory,
    provided_memory_is_asked_for_only_where_a_message_is_there,
    room_for_messages_in_place_is_made_or_is_an_error,
    room_for_messages_in_place_is_never_replaced_by_copies,
}

/// Receives into one piece of exactly the length.
fn take(rx: &mut Receiver) -> Result<Vec<u8>, RecvError> {
    let mut bytes = Vec::new();
    let len = rx.recv_with(|len| {
        bytes.resize(len, 0);
        Some(&mut bytes[..])
    })?;
    assert_eq!(len, bytes.len());
    Ok(bytes)
}

fn a_message_goes_to_memory_that_is_provided_for_its_length(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    for (number, len) in (0..).zip([1, 7, 8, 100, 4080, 4081, CAPACITY / 8 - 8, CAPACITY / 2]) {
        tx.send(&pattern(1, number, len)).unwrap();
        check(&take(&mut rx).unwrap(), 1, number, len);
    }
    // More than is needed is left alone behind the message.
    tx.send(&pattern(1, 0, 10)).unwrap();
    let mut memory = [7; 20];
    assert_eq!(rx.recv_with(|_| Some(&mut memory[..])).unwrap(), 10);
    check(&memory[..10], 1, 0, 10);
    assert_eq!(memory[10..], [7; 10]);
    assert_empty_but_alive(&mut rx);
    drop(tx);
    assert!(matches!(take(&mut rx), Err(RecvError::Disconnected)));
    assert_at_end(&mut rx);
}

fn a_message_goes_to_several_pieces_in_order(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let lens = [1, 7, 8, 100, 4080, CAPACITY / 8 - 8, CAPACITY / 2];
    for (number, len) in (0..).zip(lens) {
        for split in [0, 1, 3, len / 2, len] {
            let split = split.min(len);
            tx.send(&pattern(1, number, len)).unwrap();
            let mut memory = vec![7; len + 5];
            let (head, rest) = memory.split_at_mut(split);
            let (middle, tail) = rest.split_at_mut((len - split) / 2);
            let pieces = [head, middle, &mut [], tail];
            let received = rx.recv_with(|asked| {
                assert_eq!(asked, len);
                Some(pieces.map(IoSliceMut::new))
            });
            assert_eq!(received.unwrap(), len);
            check(&memory[..len], 1, number, len);
            assert_eq!(memory[len..], [7; 5]);
        }
    }
    tx.send(b"headbody").unwrap();
    let (mut head, mut body) = ([0; 4], [0; 4]);
    let mut pieces = [IoSliceMut::new(&mut head), IoSliceMut::new(&mut body)];
    assert_eq!(rx.recv_with(|_| Some(&mut pieces[..])).unwrap(), 8);
    assert_eq!((&head, &body), (b"head", b"body"));
    assert_empty_but_alive(&mut rx);
}

fn a_long_message_goes_to_provided_memory(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let child = fork(|| (0..4).for_each(|number| tx.send(&pattern(1, number, LARGE)).unwrap()));
    drop(tx);
    for number in 0..2 {
        check(&take(&mut rx).unwrap(), 1, number, LARGE);
    }
    let mut memory = vec![0; LARGE];
    let (head, tail) = memory.split_at_mut(10_001);
    let pieces = [IoSliceMut::new(head), IoSliceMut::new(tail)];
    assert_eq!(rx.recv_with(|_| Some(pieces)).unwrap(), LARGE);
    check(&memory, 1, 2, LARGE);
    let outcome = rx.recv_with_timeout(Duration::from_secs(60), |len| {
        assert_eq!(len, LARGE);
        Some(&mut memory[..])
    });
    assert_eq!(outcome.unwrap(), LARGE);
    check(&memory, 1, 3, LARGE);
    child.join();
    assert_at_end(&mut rx);
}

fn a_refused_message_stays(backend: Backend) {
    for len in [1, FILLER, CAPACITY / 2, LARGE] {
        let (mut rx, mut tx) = open(backend);
        let child = fork(|| tx.send(&pattern(1, 0, len)).unwrap());
        drop(tx);
        for _ in 0..3 {
            let outcome = rx.recv_with(|_| None::<&mut [u8]>);
            assert!(
                matches!(outcome, Err(RecvError::BufferTooSmall { needed }) if needed == len),
                "{outcome:?}"
            );
        }
        check(&rx.recv().unwrap(), 1, 0, len);
        child.join();
        assert_at_end(&mut rx);
    }
}

fn memory_that_is_too_short_is_refused_and_the_message_stays(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    tx.send(&pattern(1, 0, FILLER)).unwrap();
    let mut memory = [0; FILLER];
    let outcome = rx.recv_with(|_| Some(&mut memory[..FILLER - 1]));
    let is_refused = |outcome| matches!(outcome, Err(RecvError::BufferTooSmall { needed: FILLER }));
    assert!(is_refused(outcome));
    let (head, tail) = memory.split_at_mut(100);
    let pieces = [
        IoSliceMut::new(head),
        IoSliceMut::new(&mut tail[..FILLER - 101]),
    ];
    assert!(is_refused(rx.recv_with(|_| Some(pieces))));
    assert!(is_refused(rx.recv_with(|_| Some(Vec::new()))));
    check(&take(&mut rx).unwrap(), 1, 0, FILLER);
}

fn a_panic_while_memory_is_provided_loses_nothing_and_blocks_nobody(backend: Backend) {
    for len in [FILLER, CAPACITY / 2, LARGE] {
        let (mut rx, mut tx) = open(backend);
        let mut other = rx.try_clone().unwrap();
        let child = fork(|| tx.send(&pattern(1, 0, len)).unwrap());
        drop(tx);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            rx.recv_with(|_| -> Option<&mut [u8]> { panic!("this panic is part of the test") })
        }));
        assert!(outcome.is_err());
        check(&other.recv().unwrap(), 1, 0, len);
        child.join();
        assert_at_end(&mut rx);
    }
}

fn other_handles_may_be_used_while_memory_is_provided(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let mut other = rx.try_clone().unwrap();
    (0..2).for_each(|number| tx.send(&pattern(1, number, FILLER)).unwrap());
    let mut memory = [0; FILLER];
    let len = rx.recv_with(|_| {
        // Takes the very message whose length was told.
        check(&other.recv().unwrap(), 1, 0, FILLER);
        tx.send(&pattern(1, 2, FILLER)).unwrap();
        Some(&mut memory[..])
    });
    assert_eq!(len.unwrap(), FILLER);
    check(&memory, 1, 1, FILLER);
    check(&take(&mut rx).unwrap(), 1, 2, FILLER);
    // The one behind is shorter, or longer and stays.
    for (first, second) in [(100, 10), (10, 100)] {
        tx.send(&pattern(2, 0, first)).unwrap();
        tx.send(&pattern(2, 1, second)).unwrap();
        let mut memory = vec![0; first];
        let (head, tail) = memory.split_at_mut(3);
        let outcome = rx.recv_with(|_| {
            check(&other.recv().unwrap(), 2, 0, first);
            Some([IoSliceMut::new(head), IoSliceMut::new(tail)])
        });
        if second < first {
            assert_eq!(outcome.unwrap(), second);
            check(&memory[..second], 2, 1, second);
        } else {
            let is_kept = matches!(outcome, Err(RecvError::BufferTooSmall { needed: 100 }));
            assert!(is_kept, "{outcome:?}");
            check(&take(&mut rx).unwrap(), 2, 1, second);
        }
    }
    assert_empty_but_alive(&mut rx);
}

fn an_empty_message_needs_no_memory(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    tx.send(b"").unwrap();
    let outcome = rx.recv_with(|_| -> Option<&mut [u8]> { unreachable!("it is empty") });
    assert_eq!(outcome.unwrap(), 0);
    assert_empty_but_alive(&mut rx);
}

fn the_rest_of_a_message_that_was_read_goes_to_provided_memory(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    for is_scattered in [false, true] {
        tx.send(b"0123456789").unwrap();
        rx.read_exact(&mut [0; 4]).unwrap();
        let mut memory = [0; 6];
        let (head, tail) = memory.split_at_mut(2);
        if is_scattered {
            let pieces = [IoSliceMut::new(head), IoSliceMut::new(tail)];
            assert_eq!(rx.recv_with(|_| Some(pieces)).unwrap(), 6);
            assert_eq!(&memory, b"456789");
        } else {
            assert_eq!(take(&mut rx).unwrap(), b"456789");
        }
        assert_empty_but_alive(&mut rx);
    }
}

fn provided_memory_is_asked_for_only_where_a_message_is_there(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let never = |_| -> Option<&mut [u8]> { unreachable!("nothing is there") };
    assert!(matches!(rx.try_recv_with(never), Err(TryRecvError::Empty)));
    let start = Instant::now();
    let outcome = rx.recv_with_timeout(SHORT, never);
    assert!(matches!(outcome, Err(RecvTimeoutError::Timeout)));
    assert!(start.elapsed() >= SHORT);
    tx.send(b"here").unwrap();
    let mut memory = [0; 4];
    assert_eq!(rx.try_recv_with(|_| Some(&mut memory[..])).unwrap(), 4);
    assert_eq!(&memory, b"here");
    drop(tx);
    assert!(matches!(rx.recv_with(never), Err(RecvError::Disconnected)));
}

fn room_for_messages_in_place_is_made_or_is_an_error(backend: Backend) {
    for len in [0, 1, 504, 505, 8184, 8185, 300_000, 1_000_000] {
        let outcome = PipeOptions::new().backend(backend).in_place(len).pipe();
        if backend == Backend::Kernel {
            let error = outcome.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            let text = error.to_string();
            assert!(text.contains(&format!("{len} bytes in place")), "{text}");
            continue;
        }
        let (mut rx, mut tx) = outcome.unwrap();
        for number in 0..20 {
            let mut slot = tx.reserve(len).unwrap();
            assert!(slot.is_in_place(), "{len}");
            slot.copy_from_slice(&pattern(1, number, len));
            slot.commit().unwrap();
            let view = rx.recv_in_place().unwrap();
            assert!(view.is_in_place(), "{len}");
            check(&view.to_vec(), 1, number, len);
        }
    }
    // More was asked for, or too much.
    let options = PipeOptions::new().backend(Backend::SharedMemory);
    let (rx, _tx) = options
        .clone()
        .capacity(1 << 20)
        .in_place(1000)
        .pipe()
        .unwrap();
    assert_eq!(rx.capacity(), 1 << 20);
    for len in [1 << 38, usize::MAX] {
        let error = options.clone().in_place(len).pipe().unwrap_err();
        assert!(
            matches!(
                error.kind(),
                ErrorKind::InvalidInput | ErrorKind::OutOfMemory
            ),
            "{error}"
        );
    }
}

/// Where memfd is refused, or the environment chooses the kernel's pipes.
fn room_for_messages_in_place_is_never_replaced_by_copies(backend: Backend) {
    let child = fork(|| {
        if backend == Backend::Kernel {
            // SAFETY: the forked child has no other thread.
            unsafe { std::env::set_var("SHMPIPE_BACKEND", "kernel") };
        } else {
            calls(libc::SYS_memfd_create).refuse(libc::EPERM);
        }
        assert_eq!(shmpipe::pipe().unwrap().0.backend(), Backend::Kernel);
        let error = PipeOptions::new().in_place(1000).pipe().unwrap_err();
        let kinds = [ErrorKind::Unsupported, ErrorKind::PermissionDenied];
        assert!(kinds.contains(&error.kind()), "{error}");
        let error = PipeOptions::new().in_place(1000).duplex().unwrap_err();
        assert!(kinds.contains(&error.kind()), "{error}");
    });
    child.join();
}
