//! One second of use of both backends, every message checked.

use std::io;
use std::time::{Duration, Instant};

use shmpipe::{Backend, PipeOptions};

use super::Finding;
use super::checks::{FILE_SIZE_REMEDY, is_over_file_size};
use crate::look::units::rate;

/// Time for each backend, half of it for round trips and half for one way.
const SPAN: Duration = Duration::from_millis(500);

/// Tests both.
pub(crate) fn both() -> [Finding; 2] {
    [
        test("self-test shm", Backend::SharedMemory),
        test("self-test kernel", Backend::Kernel),
    ]
}

fn test(what: &'static str, backend: Backend) -> Finding {
    match round_trips(backend).and_then(|time| Ok((time, one_way(backend)?))) {
        Ok((time, messages)) => {
            let micros = time.as_secs_f64() * 1e6;
            let found = format!(
                "round trip {micros:.2} µs, one way {} messages/s",
                rate(messages)
            );
            Finding::ok(what, found)
        }
        Err(error) if is_over_file_size(&error) => {
            Finding::note(what, error.to_string(), FILE_SIZE_REMEDY)
        }
        Err(error) => Finding::problem(
            what,
            error.to_string(),
            "the pipe does not do here what it promises: please report it with this output",
        ),
    }
}

/// Mean time of a round trip between two threads.
fn round_trips(backend: Backend) -> io::Result<Duration> {
    let (left, mut right) = PipeOptions::new().backend(backend).duplex()?;
    std::thread::scope(move |scope| {
        scope.spawn(move || -> io::Result<()> {
            while let Ok(message) = right.recv() {
                let message = message.into_vec();
                right.send(&message)?;
            }
            Ok(())
        });
        // Dropped before the scope waits for the other side.
        let mut left = left;
        let start = Instant::now();
        let mut number = 0_u64;
        while start.elapsed() < SPAN / 2 {
            left.send(&number.to_ne_bytes())?;
            let answer = left.recv()?;
            if *answer != number.to_ne_bytes() {
                return Err(wrong(number, &answer));
            }
            number += 1;
        }
        Ok(start.elapsed().div_f64(number.max(1) as f64))
    })
}

/// Messages a second from one thread to another.
fn one_way(backend: Backend) -> io::Result<f64> {
    let (rx, mut tx) = PipeOptions::new().backend(backend).pipe()?;
    std::thread::scope(move |scope| {
        scope.spawn(move || {
            let start = Instant::now();
            let mut number = 0_u64;
            while start.elapsed() < SPAN / 2 && tx.send(&number.to_ne_bytes()).is_ok() {
                number += 1;
            }
        });
        let mut rx = rx;
        let start = Instant::now();
        let mut number = 0_u64;
        while let Ok(message) = rx.recv() {
            if *message != number.to_ne_bytes() {
                return Err(wrong(number, &message));
            }
            number += 1;
        }
        if number == 0 {
            return Err(io::Error::other("no message came"));
        }
        Ok(number as f64 / start.elapsed().as_secs_f64())
    })
}

fn wrong(number: u64, message: &[u8]) -> io::Error {
    io::Error::other(format!("message {number} came as {message:02x?}"))
}
