//! Ends for tasks where the standard streams are closed.

use std::pin::pin;
use std::task::Context;

use nix::errno::Errno;
use shmpipe::Backend;
use shmpipe::tokio::Receiver;

use crate::support::{fork, on_both_backends, open_fds};
use crate::{open, run};

on_both_backends! {
    no_descriptor_of_an_end_takes_the_place_of_a_standard_stream,
}

fn no_descriptor_of_an_end_takes_the_place_of_a_standard_stream(backend: Backend) {
    let work = || {
        let (mut lent_to, mut tx) = open(backend);
        tx.send(b"lent").unwrap();
        run(async {
            for number in 0..3 {
                nix::unistd::close(number).unwrap();
            }
            let mut rx = Receiver::from_blocking(lent_to.try_clone().unwrap()).unwrap();
            let before = open_fds().len();
            let view = lent_to.recv_in_place().unwrap();
            let mut recv = pin!(rx.recv());
            let mut cx = Context::from_waker(std::task::Waker::noop());
            // Until it pauses between its looks, for which it has a timer.
            for _ in 0..100 {
                assert!(recv.as_mut().poll(&mut cx).is_pending());
                tokio::task::yield_now().await;
            }
            let made = open_fds().len() - before;
            assert_eq!(made, usize::from(view.is_in_place()));
            for number in 0..3 {
                let outcome = nix::unistd::close(number);
                assert_eq!(outcome, Err(Errno::EBADF), "{number} is taken");
            }
        });
    };
    fork(work).join();
}
