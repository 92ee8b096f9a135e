//! Victims that send long messages in tasks, which hold the senders' side by a note and not by its lock.

use std::time::Duration;

use shmpipe::Backend;
use tokio::time::timeout;

use crate::senders::{LARGE, PLAIN, Receiving, Scenario, Talk};
use crate::support::on_both_backends;
use crate::walk::count;

on_both_backends! {
    a_long_send_of_a_task within 600,
    a_long_send_of_a_task_that_is_dropped within 600,
}

impl Talk {
    /// Sends in a task; whether it came to its end within that time.
    fn send_in_a_task(&mut self, len: usize, within: Duration) -> bool {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().unwrap();
        let message = self.next(len);
        let tx = self.tx.try_clone().unwrap();
        let is_done = runtime.block_on(async {
            let mut tx = shmpipe::tokio::Sender::from_blocking(tx).unwrap();
            let outcome = timeout(within, tx.send(&message)).await;
            outcome.map(Result::unwrap).is_ok()
        });
        if is_done {
            count(self.returned);
        }
        is_done
    }
}

fn a_long_send_of_a_task(backend: Backend) {
    let scenario = Scenario {
        receiving: Receiving::Early,
        goes_in_fragments: true,
        work: |talk| assert!(talk.send_in_a_task(LARGE, Duration::from_secs(600))),
        ..PLAIN
    };
    scenario.walk("a send of 3 times the pipe in a task", backend, 40);
}

fn a_long_send_of_a_task_that_is_dropped(backend: Backend) {
    let scenario = Scenario {
        goes_in_fragments: true,
        work: |talk| assert!(!talk.send_in_a_task(LARGE, Duration::from_millis(2))),
        ..PLAIN
    };
    scenario.walk("a message that a task takes back", backend, 20);
}
