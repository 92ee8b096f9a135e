//! iceoryx2's publish-subscribe with one subscriber, which loses nothing and is polled.
//!
//! Both sides copy, as all others do; in the workloads of loans neither does.

use std::io;

use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::port::{BackpressureAction, BackpressureInfo};
use iceoryx2::prelude::{LogLevel, NodeBuilder, ipc, set_log_level};
use iceoryx2::sample::Sample;

use super::End;
use shmpipe_measure::message::Incoming;
use shmpipe_measure::wire::{Patience, Plan, Rx, Tx, Wire, attach, foreign, whole};

/// Most senders of a workload.
const SENDERS: usize = 8;

/// Most samples in a subscriber's buffer; more than a thousand is refused in some configurations.
const MOST_SAMPLES: usize = 1000;

/// A service of one direction.
pub(crate) struct Iceoryx(String);

/// The receiving end and how it waits: there is no blocking receive.
pub(crate) struct Polled {
    rx: Subscriber<ipc::Service, [u8], ()>,
    patience: Patience,
}

impl Iceoryx {
    /// Opens the service in the calling process, after the fork.
    fn service(&self, plan: &Plan) -> io::Result<Factory> {
        set_log_level(LogLevel::Fatal);
        let node = NodeBuilder::new()
            .create::<ipc::Service>()
            .map_err(foreign)?;
        let name = self.0.as_str().try_into().map_err(foreign)?;
        let samples = (plan.capacity / plan.len()).clamp(2, MOST_SAMPLES);
        node.service_builder(&name)
            .publish_subscribe::<[u8]>()
            .enable_safe_overflow(false)
            .subscriber_max_buffer_size(samples)
            .max_subscribers(1)
            .max_publishers(SENDERS)
            .max_nodes(2 * SENDERS)
            .open_or_create()
            .map_err(foreign)
    }
}

type Factory =
    iceoryx2::service::port_factory::publish_subscribe::PortFactory<ipc::Service, [u8], ()>;

impl Wire for Iceoryx {
    type Tx = End<Publisher<ipc::Service, [u8], ()>>;
    type Rx = Polled;

    fn open(plan: &Plan, way: &str) -> io::Result<Self> {
        Ok(Self(format!("{}-{way}", plan.name)))
    }

    fn tx(&self, plan: &Plan) -> io::Result<Self::Tx> {
        let patience = plan.patience();
        attach(|| self.service(plan))?
            .publisher_builder()
            .initial_max_slice_len(plan.len())
            .set_backpressure_handler(move |_: &BackpressureInfo| {
                // Its own strategy sleeps for milliseconds.
                patience.turn();
                BackpressureAction::Retry
            })
            .create()
            .map(End)
            .map_err(foreign)
    }

    fn rx(&self, plan: &Plan) -> io::Result<Polled> {
        let rx = attach(|| self.service(plan))?
            .subscriber_builder()
            .create()
            .map_err(foreign)?;
        Ok(Polled {
            rx,
            patience: plan.patience(),
        })
    }
}

impl Tx for End<Publisher<ipc::Service, [u8], ()>> {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let sample = self.0.loan_slice_uninit(message.len()).map_err(foreign)?;
        sample.write_from_slice(message).send().map_err(foreign)?;
        Ok(())
    }

    fn send_made(&mut self, pattern: &[u8], _: &mut [u8]) -> io::Result<bool> {
        self.send(pattern)?;
        Ok(true)
    }
}

impl Polled {
    /// Waits for the next sample.
    fn next(&self) -> io::Result<Sample<ipc::Service, [u8], ()>> {
        loop {
            if let Some(sample) = self.rx.receive().map_err(foreign)? {
                return Ok(sample);
            }
            self.patience.turn();
        }
    }
}

impl Rx for Polled {
    /// What is sent before the subscriber has looked is held back by nothing and lost.
    fn settle(&mut self) -> io::Result<()> {
        self.rx.has_samples().map_err(foreign)?;
        Ok(())
    }

    fn recv(&mut self, buf: &mut Vec<u8>) -> io::Result<()> {
        let sample = self.next()?;
        whole(sample.payload().len(), buf.len())?;
        buf.copy_from_slice(sample.payload());
        Ok(())
    }

    fn recv_lent(&mut self, messages: &mut Incoming) -> io::Result<bool> {
        let sample = self.next()?;
        messages.check_there(sample.payload())?;
        Ok(true)
    }
}
