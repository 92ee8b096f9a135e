//! The peer's part of a slice: receives, checks every byte, confirms.
//!
//! It knows of the clock nothing; a mark in the last message ends its loop.

use std::io;

use super::payload::{FILE_MESSAGE, LAST, Numbered, digest, mismatch, sum_words};
use super::processes::Link;
use super::systems::{Channel, Task};
use super::workloads::Workload;

/// The peer's part of a slice: receives, checks, echoes a ping-pong, and confirms at the end.
pub(crate) struct Serve<'a> {
    /// What comes.
    pub(crate) workload: Workload,
    /// The driver, which gets the confirmation.
    pub(crate) driver: &'a mut Link,
    /// Where a file goes; kept from slice to slice, so that its pages are there.
    pub(crate) received: &'a mut Vec<u8>,
}

impl Task for Serve<'_> {
    type Outcome = ();

    fn run<C: Channel>(self, channel: &mut C) -> io::Result<()> {
        match self.workload {
            Workload::PingPong(len) => self.messages(channel, len, true),
            Workload::OneWay(len) => self.messages(channel, len, false),
            Workload::File => self.file(channel),
        }
    }
}

impl Serve<'_> {
    fn messages<C: Channel>(self, channel: &mut C, len: usize, echo: bool) -> io::Result<()> {
        let mut message = Numbered::new(len);
        let mut number = 0;
        loop {
            channel.recv(&mut message.bytes)?;
            let last = message.check(number)?;
            if echo {
                channel.send(&message.bytes)?;
            }
            number += 1;
            if last {
                break;
            }
        }
        self.driver.say(&format!("done {number} 0"))
    }

    fn file<C: Channel>(self, channel: &mut C) -> io::Result<()> {
        let (mut transfers, mut sum) = (0, 0u64);
        loop {
            let mut header = [[0; 8]; 2];
            channel.recv(header.as_flattened_mut())?;
            let [number, len] = header.map(u64::from_ne_bytes);
            if number & !LAST != transfers {
                return Err(mismatch(format!(
                    "transfer {} came where transfer {transfers} was due",
                    number & !LAST
                )));
            }
            self.received
                .resize(usize::try_from(len).map_err(io::Error::other)?, 0);
            for part in self.received.chunks_mut(FILE_MESSAGE) {
                channel.recv(part)?;
                sum = sum.wrapping_add(sum_words(part));
            }
            transfers += 1;
            if number & LAST != 0 {
                break;
            }
        }
        self.driver.say(&format!("done {transfers} {sum}"))?;
        // After the driver's clock has stopped: a digest would take longer than the transfer.
        self.driver
            .say(&format!("digest {}", digest(self.received)))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    /// Lets the peer serve `workload` on a socket that holds `sent`, and returns its two lines at
    /// most to the driver.
    fn serve(workload: Workload, sent: &[&[u8]]) -> io::Result<Vec<String>> {
        let (mut ours, mut theirs) = UnixStream::pair()?;
        let (to_driver, driver) = UnixStream::pair()?;
        for message in sent {
            ours.write_all(message)?;
        }
        let mut link = Link::new(to_driver);
        let mut received = Vec::new();
        Serve {
            workload,
            driver: &mut link,
            received: &mut received,
        }
        .run(&mut theirs)?;
        drop(link);
        let mut heard = Link::new(driver);
        std::iter::from_fn(|| heard.hear().transpose()).collect()
    }

    #[test]
    fn the_peer_confirms_how_many_messages_came() {
        let (first, last) = (0u64.to_ne_bytes(), (1 | LAST).to_ne_bytes());
        let said = serve(Workload::OneWay(8), &[&first, &last]).unwrap();
        assert_eq!(said, ["done 2 0"]);
    }

    #[test]
    fn the_peer_refuses_a_message_that_is_out_of_order() {
        let (first, third) = (0u64.to_ne_bytes(), (2 | LAST).to_ne_bytes());
        let error = serve(Workload::OneWay(8), &[&first, &third]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(error.to_string(), "message 2 came where message 1 was due");
    }

    #[test]
    fn the_peer_digests_the_file_that_came_last() {
        let (first, last) = (0u64.to_ne_bytes(), (1 | LAST).to_ne_bytes());
        let len = 3u64.to_ne_bytes();
        let said = serve(Workload::File, &[&first, &len, b"abd", &last, &len, b"abc"]).unwrap();
        let sum = sum_words(b"abd").wrapping_add(sum_words(b"abc"));
        assert_eq!(
            said,
            [
                format!("done 2 {sum}"),
                format!("digest {}", digest(b"abc"))
            ]
        );
    }
}
