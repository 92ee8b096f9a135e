//! Capacity: what may be asked for, what one gets, and that it is really there.

use std::io::ErrorKind;

use shmpipe::{Backend, PipeOptions};

use crate::ends::{CAPACITY, FILLER, assert_empty_but_alive, drain, fill};
use crate::support::{check, fork, on_both_backends, on_no_backend, page_size, pattern};

on_both_backends! {
    the_default_capacity_is_that_of_a_kernel_pipe,
    a_capacity_is_rounded_up_to_a_power_of_two_of_at_least_a_page,
    a_capacity_of_zero_is_refused_by_name,
    a_capacity_that_nothing_can_hold_is_refused_by_name,
    both_ends_and_their_clones_tell_the_same_capacity,
    a_pipe_takes_at_least_half_of_its_capacity_without_a_receiver,
    messages_of_every_size_pass_through_the_smallest_pipe,
    one_set_of_options_makes_many_pipes,
}

on_no_backend! {
    a_kernel_pipe_beyond_what_the_kernel_has_is_refused_with_value_limit_and_number,
}

fn the_default_capacity_is_that_of_a_kernel_pipe(backend: Backend) {
    let (rx, tx) = PipeOptions::new().backend(backend).pipe().unwrap();
    assert_eq!((rx.capacity(), tx.capacity()), (CAPACITY, CAPACITY));
    let (rx, _tx) = PipeOptions::default().backend(backend).pipe().unwrap();
    assert_eq!(rx.capacity(), CAPACITY);
}

fn a_capacity_is_rounded_up_to_a_power_of_two_of_at_least_a_page(backend: Backend) {
    let page = page_size();
    for asked in [
        1,
        3,
        100,
        page - 1,
        page,
        page + 1,
        page + 904,
        65_537,
        1 << 20,
    ] {
        let (mut rx, mut tx) = PipeOptions::new()
            .backend(backend)
            .capacity(asked)
            .pipe()
            .unwrap();
        let capacity = tx.capacity();
        assert!(
            capacity >= asked.max(page) && capacity.is_power_of_two(),
            "{asked}: {capacity}"
        );
        assert!(
            capacity < 2 * asked.max(page),
            "{asked}: {capacity} is more than was asked for"
        );
        assert_eq!(rx.capacity(), capacity);
        let held = fill(&mut tx, 1);
        drain(&mut rx, 1, 0..held, FILLER);
    }
}

fn a_capacity_of_zero_is_refused_by_name(backend: Backend) {
    let error = PipeOptions::new()
        .backend(backend)
        .capacity(0)
        .pipe()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("of 0 bytes"), "{error}");
    let error = PipeOptions::new()
        .backend(backend)
        .capacity(0)
        .duplex()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

fn a_capacity_that_nothing_can_hold_is_refused_by_name(backend: Backend) {
    for asked in [usize::MAX, usize::MAX / 2 + 2, 1 << 60, (1 << 60) + 1] {
        let options = PipeOptions::new().backend(backend).capacity(asked);
        let error = options.pipe().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
        assert!(error.to_string().contains(&asked.to_string()), "{error}");
        let error = options.duplex().unwrap_err();
        assert!(error.to_string().contains(&asked.to_string()), "{error}");
    }
}

fn both_ends_and_their_clones_tell_the_same_capacity(backend: Backend) {
    let (rx, tx) = PipeOptions::new()
        .backend(backend)
        .capacity(1 << 18)
        .pipe()
        .unwrap();
    let clones = (rx.try_clone().unwrap(), tx.try_clone().unwrap());
    let all = [
        rx.capacity(),
        tx.capacity(),
        clones.0.capacity(),
        clones.1.capacity(),
    ];
    assert_eq!(all, [1 << 18; 4]);
    let (left, right) = PipeOptions::new()
        .backend(backend)
        .capacity(1 << 18)
        .duplex()
        .unwrap();
    assert_eq!((left.capacity(), right.capacity()), (1 << 18, 1 << 18));
}

fn a_pipe_takes_at_least_half_of_its_capacity_without_a_receiver(backend: Backend) {
    for capacity in [page_size(), CAPACITY, 1 << 20] {
        let (mut rx, mut tx) = PipeOptions::new()
            .backend(backend)
            .capacity(capacity)
            .pipe()
            .unwrap();
        let messages = u64::try_from(capacity / 2 / 256).unwrap();
        (0..messages).for_each(|number| tx.try_send(&pattern(1, number, 256)).unwrap());
        drain(&mut rx, 1, 0..messages, 256);
    }
}

fn messages_of_every_size_pass_through_the_smallest_pipe(backend: Backend) {
    let (mut rx, mut tx) = PipeOptions::new()
        .backend(backend)
        .capacity(1)
        .pipe()
        .unwrap();
    let sizes = || (0..10_000).step_by(37).chain([100_000]);
    let child = fork(|| {
        for (number, len) in (0..).zip(sizes()) {
            tx.send(&pattern(1, number, len)).unwrap();
        }
    });
    for (number, len) in (0..).zip(sizes()) {
        check(&rx.recv().unwrap(), 1, number, len);
    }
    child.join();
    assert_empty_but_alive(&mut rx);
}

fn one_set_of_options_makes_many_pipes(backend: Backend) {
    let options = PipeOptions::new()
        .backend(backend)
        .capacity(2 * page_size())
        .max_message(100);
    let mut pipes: Vec<_> = (0..10).map(|_| options.pipe().unwrap()).collect();
    for ((_, tx), number) in pipes.iter_mut().zip(0..) {
        tx.send(&pattern(1, number, 100)).unwrap();
    }
    for ((rx, tx), number) in pipes.iter_mut().zip(0..) {
        check(&rx.recv().unwrap(), 1, number, 100);
        assert_eq!((tx.capacity(), rx.backend()), (2 * page_size(), backend));
    }
}

fn a_kernel_pipe_beyond_what_the_kernel_has_is_refused_with_value_limit_and_number() {
    for asked in [1_usize << 31, 1 << 40] {
        let options = PipeOptions::new().backend(Backend::Kernel).capacity(asked);
        let error = options.pipe().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        let text = error.to_string();
        let limit = std::fs::read_to_string("/proc/sys/fs/pipe-max-size").unwrap();
        for part in [&asked.to_string(), limit.trim(), "1073741824"] {
            assert!(text.contains(part), "{text:?} says nothing of {part}");
        }
        let source = std::error::Error::source(&error).expect("what the system reported");
        let source = source.downcast_ref::<std::io::Error>().unwrap();
        assert_eq!(source.raw_os_error(), Some(libc::EINVAL));
    }
}
