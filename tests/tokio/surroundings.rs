//! Ends for tasks where descriptors are short, or where the standard streams are closed.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Context;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use shmpipe::Backend;
use shmpipe::tokio::Receiver;
use tokio::task::JoinSet;

use crate::support::{check, fork, on_both_backends, open_fds, pattern};
use crate::{LARGE, open, open_async, run};

on_both_backends! {
    long_messages_of_moving_tasks_arrive_while_descriptors_are_short within 120,
    no_descriptor_of_an_end_takes_the_place_of_a_standard_stream,
}

/// Threads that do their first long send or receive while there is no descriptor for it, and tasks that move between
/// these and others.
fn long_messages_of_moving_tasks_arrive_while_descriptors_are_short(backend: Backend) {
    const ROUNDS: u64 = 12;
    const PAIRS: u16 = 6;
    const MESSAGES: u64 = 12;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    for round in 0..ROUNDS {
        // New threads each time, of which nobody knows anything yet.
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(4).enable_all().build().unwrap();
        let mut tasks = JoinSet::new();
        let inside = runtime.enter();
        let ends: Vec<_> = (0..PAIRS).map(|_| open_async(backend)).collect();
        let last = *open_fds().keys().next_back().unwrap();
        let short = u64::try_from(last).unwrap() + 1;
        setrlimit(Resource::RLIMIT_NOFILE, short, hard).unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&is_over);
        let toggling = std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                for limit in [soft, short] {
                    // How long either lasts is up to chance; nothing waits for it.
                    std::thread::sleep(Duration::from_micros(300));
                    setrlimit(Resource::RLIMIT_NOFILE, limit, hard).unwrap();
                }
            }
            setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
        });
        for (pair, (mut rx, mut tx)) in (0..PAIRS).zip(ends) {
            tasks.spawn(async move {
                for number in 0..MESSAGES {
                    tx.send(&pattern(pair, number, LARGE)).await.unwrap();
                    tokio::task::yield_now().await;
                }
            });
            tasks.spawn(async move {
                for number in 0..MESSAGES {
                    check(&rx.recv().await.unwrap(), pair, number, LARGE);
                    tokio::task::yield_now().await;
                }
            });
        }
        drop(inside);
        runtime.block_on(async {
            while let Some(outcome) = tasks.join_next().await {
                assert!(outcome.is_ok(), "round {round}: {outcome:?}");
            }
        });
        is_over.store(true, Ordering::Relaxed);
        toggling.join().unwrap();
    }
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
