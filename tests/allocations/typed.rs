//! Values by their bytes.

use shmpipe::typed::RecvError;
use shmpipe::{Backend, PipeOptions};

use crate::counting::asked_by;
use crate::support::on_both_backends;

on_both_backends! {
    the_counter_counts,
    values_are_sent_and_received_without_an_allocation,
    messages_that_are_no_value_are_found_out_without_an_allocation_unless_they_are_too_long,
}

fn the_counter_counts(_backend: Backend) {
    let asked = asked_by(|| drop(std::hint::black_box(vec![0_u8; 12_345])));
    assert_eq!((asked.requests, asked.largest), (1, 12_345));
}

fn values_are_sent_and_received_without_an_allocation(backend: Backend) {
    let options = PipeOptions::new().backend(backend);
    let (mut rx, mut tx) = options.typed_pipe::<[u64; 500]>().unwrap();
    let mut rounds = |count| {
        for number in 0..count {
            tx.send(&[number; 500]).unwrap();
            assert!(rx.poll(None).unwrap());
            assert_eq!(rx.recv().unwrap(), [number; 500]);
            assert!(rx.try_recv().is_err());
        }
    };
    // What a thread sets up once, at its first call.
    rounds(1);
    let asked = asked_by(|| rounds(1000));
    assert_eq!(asked.requests, 0, "{asked:?}");
}

fn messages_that_are_no_value_are_found_out_without_an_allocation_unless_they_are_too_long(
    backend: Backend,
) {
    let options = PipeOptions::new().backend(backend);
    let (mut rx, tx) = options.typed_pipe::<bool>().unwrap();
    let mut tx = tx.into_inner();
    let asked = asked_by(|| {
        for wrong in [&[][..], &[2]] {
            tx.send(wrong).unwrap();
            assert!(rx.recv().is_err());
        }
    });
    assert_eq!(asked.requests, 0, "{asked:?}");
    let asked = asked_by(|| {
        tx.send(&[1; 10_000]).unwrap();
        assert!(matches!(
            rx.recv(),
            Err(RecvError::WrongSize { found: 10_000, .. })
        ));
    });
    assert!(asked.largest <= 2 * 10_000, "{asked:?}");
}
