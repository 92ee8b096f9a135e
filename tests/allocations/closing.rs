//! Closing a side: without an allocation, since a signal handler may do it.

use shmpipe::{Backend, PipeOptions};

use crate::counting::asked_by;
use crate::support::on_both_backends;

on_both_backends! {
    a_close_allocates_nothing,
}

fn a_close_allocates_nothing(backend: Backend) {
    for descriptors in [false, true] {
        let options = PipeOptions::new().backend(backend).descriptors(descriptors);
        let (rx, mut tx) = options.pipe().unwrap();
        let (rx_kept, tx_kept) = (rx.try_clone().unwrap(), tx.try_clone().unwrap());
        tx.send(b"there").unwrap();
        let asked = asked_by(|| {
            tx.close().unwrap();
            rx.close().unwrap();
        });
        assert_eq!(asked.requests, 0, "{asked:?}");
        drop((rx_kept, tx_kept));
    }
}
