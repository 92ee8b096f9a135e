//! Ends that travel in messages: alive under way, and closed where nobody receives them.

use std::io::ErrorKind;
use std::os::fd::AsFd;

use shmpipe::{Backend, Connection, PipeOptions, Receiver, RecvError, SendError, Sender};

use crate::ancillary::{null, open_carrying, options};
use crate::ends::{assert_at_end, assert_breaks, assert_broken, assert_empty_but_alive, open};
use crate::support::{check, fork_apart, mappings, on_both_backends, open_fds, pattern};

on_both_backends! {
    a_sender_travels_and_its_pipe_lives_while_it_is_under_way,
    a_receiver_travels_and_its_pipe_lives_while_it_is_under_way,
    a_connection_travels_to_another_process_and_works_there,
    ends_of_the_other_backend_travel_too,
    an_end_travels_through_its_own_pipe,
    an_end_that_nobody_receives_is_closed_with_the_pipe,
    an_end_of_another_kind_is_an_error_and_closed,
    a_larger_end_than_the_receiver_takes_is_an_error_and_closed,
    a_connection_is_no_larger_than_the_receiver_takes_either,
    the_error_tells_how_many_descriptors_came_for_which_end,
    descriptors_stay_flat_over_many_journeys,
}

fn a_sender_travels_and_its_pipe_lives_while_it_is_under_way(backend: Backend) {
    let (mut rx, mut tx) = open_carrying(backend);
    let (mut end, travelling) = open(backend);
    tx.send_with_end(b"take it", travelling).unwrap();
    assert_empty_but_alive(&mut end);
    let (message, mut arrived) = rx.recv_with_end::<Sender>().unwrap();
    assert_eq!(&*message, b"take it");
    arrived.send(b"from there").unwrap();
    assert_eq!(&*end.recv().unwrap(), b"from there");
    assert_empty_but_alive(&mut end);
    drop(arrived);
    assert_at_end(&mut end);
}

fn a_receiver_travels_and_its_pipe_lives_while_it_is_under_way(backend: Backend) {
    let (mut rx, mut tx) = open_carrying(backend);
    let (travelling, mut end) = open(backend);
    tx.send_with_end(b"", travelling).unwrap();
    end.send(b"while it is under way").unwrap();
    let (_, mut arrived) = rx.recv_with_end::<Receiver>().unwrap();
    assert_eq!(&*arrived.recv().unwrap(), b"while it is under way");
    drop(arrived);
    assert_breaks(&mut end);
}

fn a_connection_travels_to_another_process_and_works_there(backend: Backend) {
    let (near, mut far) = options(backend).duplex().unwrap();
    let (child, mut near) = fork_apart(near, move || {
        let (_, mut end) = far.recv_with_end::<Connection>().unwrap();
        drop(far);
        while let Ok(request) = end.recv() {
            let request = request.into_vec();
            end.send(&request).unwrap();
        }
    });
    // Made after the fork, so the child has it from the message only.
    let (mut mine, theirs) = options(backend).duplex().unwrap();
    near.send_with_end(b"", theirs).unwrap();
    for number in 0..10 {
        mine.send(&pattern(1, number, 3000)).unwrap();
        check(&mine.recv().unwrap(), 1, number, 3000);
    }
    drop(mine);
    child.join();
}

fn a_larger_end_than_the_receiver_takes_is_an_error_and_closed(backend: Backend) {
    const MIB: usize = 1 << 20;
    let (rx, mut tx) = open_carrying(backend);
    let before = (open_fds(), mappings());
    // Over what is set, and over what holds where nothing is.
    let ring = PipeOptions::new().backend(Backend::SharedMemory);
    for (set, capacity) in [(Some(MIB), 2 * MIB), (None, 128 * MIB)] {
        let mut rx = rx.try_clone().unwrap();
        if let Some(bytes) = set {
            rx.set_max_end_capacity(bytes);
        }
        // Clones take as much.
        for mut rx in [rx.try_clone().unwrap(), rx] {
            let (travelling, mut end) = ring.clone().capacity(capacity).pipe().unwrap();
            tx.send_with_end(b"", travelling).unwrap();
            match rx.recv_with_end::<Receiver>() {
                Err(RecvError::Io(error)) => {
                    assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
                    let text = error.to_string();
                    assert!(text.contains(&format!("{capacity} bytes")), "{text}");
                    assert!(text.contains("set_max_end_capacity"), "{text}");
                }
                outcome => panic!("{outcome:?}"),
            }
            assert_breaks(&mut end);
            drop(end);
            // One of just as much is taken.
            let (travelling, mut end) = ring.clone().capacity(set.unwrap_or(MIB)).pipe().unwrap();
            tx.send_with_end(b"", travelling).unwrap();
            let (_, mut arrived) = rx.recv_with_end::<Receiver>().unwrap();
            end.send(b"through it").unwrap();
            assert_eq!(&*arrived.recv().unwrap(), b"through it");
        }
    }
    assert_eq!((open_fds(), mappings()), before);
}

fn a_connection_is_no_larger_than_the_receiver_takes_either(backend: Backend) {
    let (mut near, mut far) = options(backend).duplex().unwrap();
    far.set_max_end_capacity(65_536);
    let ring = PipeOptions::new().backend(Backend::SharedMemory);
    for (capacity, is_taken) in [(65_536, true), (131_072, false)] {
        let (left, _right) = ring.clone().capacity(capacity).duplex().unwrap();
        near.send_with_end(b"", left).unwrap();
        let outcome = far.recv_with_end::<Connection>();
        assert_eq!(outcome.is_ok(), is_taken, "{outcome:?}");
    }
}

fn ends_of_the_other_backend_travel_too(backend: Backend) {
    let other = match backend {
        Backend::Kernel => Backend::SharedMemory,
        _ => Backend::Kernel,
    };
    let (mut rx, mut tx) = open_carrying(backend);
    let (mut end, travelling) = open(other);
    tx.send_with_end(b"", travelling).unwrap();
    let (_, mut arrived) = rx.recv_with_end::<Sender>().unwrap();
    assert_eq!(arrived.backend(), other);
    arrived.send(b"by the other").unwrap();
    assert_eq!(&*end.recv().unwrap(), b"by the other");
}

fn an_end_travels_through_its_own_pipe(backend: Backend) {
    let (mut rx, mut tx) = open_carrying(backend);
    let copy = tx.try_clone().unwrap();
    tx.send_with_end(b"myself", copy).unwrap();
    drop(tx);
    let (message, mut arrived) = rx.recv_with_end::<Sender>().unwrap();
    assert_eq!(&*message, b"myself");
    arrived.send(b"the only one now").unwrap();
    drop(arrived);
    assert_eq!(&*rx.recv().unwrap(), b"the only one now");
    assert_at_end(&mut rx);
}

fn an_end_that_nobody_receives_is_closed_with_the_pipe(backend: Backend) {
    let (rx, mut tx) = open_carrying(backend);
    let (mut end, travelling) = open(backend);
    tx.send_with_end(b"", travelling).unwrap();
    assert_empty_but_alive(&mut end);
    drop(rx);
    // The sender alone keeps nothing under way.
    assert_at_end(&mut end);
    assert!(matches!(
        tx.send_with_fds(b"", &[null().as_fd()]),
        Err(SendError::Disconnected)
    ));
    assert_broken(&mut tx);
}

fn an_end_of_another_kind_is_an_error_and_closed(backend: Backend) {
    let (mut rx, mut tx) = open_carrying(backend);
    let (mut end, travelling) = open(backend);
    tx.send_with_end(b"", travelling).unwrap();
    tx.send(b"no end at all").unwrap();
    tx.send_with_fds(b"no end either", &[null().as_fd(), null().as_fd()])
        .unwrap();
    let kind = |outcome: Result<(shmpipe::Message<'_>, Receiver), RecvError>| match outcome {
        Err(RecvError::Io(error)) => error.kind(),
        other => panic!("{other:?}"),
    };
    assert_eq!(kind(rx.recv_with_end()), ErrorKind::InvalidData);
    assert_at_end(&mut end);
    assert_eq!(kind(rx.recv_with_end()), ErrorKind::InvalidInput);
    assert_eq!(kind(rx.recv_with_end()), ErrorKind::InvalidData);
    assert_empty_but_alive(&mut rx);
}

fn the_error_tells_how_many_descriptors_came_for_which_end(backend: Backend) {
    let (mut rx, mut tx) = open_carrying(backend);
    let text = |error: RecvError| match error {
        RecvError::Io(error) => error.to_string(),
        other => panic!("{other:?}"),
    };
    for (carries, of_a_sender) in [(false, 2), (true, 3)] {
        let options = options(backend).descriptors(carries);
        let of_a_connection = 2 * of_a_sender;
        tx.send_with_end(b"", options.duplex().unwrap().0).unwrap();
        assert_eq!(
            text(rx.recv_with_end::<Sender>().unwrap_err()),
            format!(
                "{of_a_connection} descriptors came where a sender was asked for, which is made of {of_a_sender}; \
                 a connection is made of {of_a_connection}"
            )
        );
        tx.send_with_end(b"", options.pipe().unwrap().0).unwrap();
        assert_eq!(
            text(rx.recv_with_end::<Connection>().unwrap_err()),
            format!(
                "{of_a_sender} descriptors came where a connection was asked for, which is made of \
                 {of_a_connection}; a sender or a receiver is made of {of_a_sender}"
            )
        );
    }
}

fn descriptors_stay_flat_over_many_journeys(backend: Backend) {
    let (mut rx, mut tx) = open_carrying(backend);
    drop(open(backend));
    let before = (open_fds(), mappings());
    for _ in 0..500 {
        let (end, travelling) = open(backend);
        tx.send_with_end(b"", travelling).unwrap();
        drop(rx.recv_with_end::<Sender>().unwrap());
        drop(end);
    }
    assert_eq!((open_fds(), mappings()), before);
}
