//! What the tests of the tools share: real pipes in real processes, and the command.
//!
//! A helper process is this test binary again, told its part by the environment.

#![allow(dead_code, reason = "each test binary uses a part of this")]

use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use serde_json::Value;
use shmpipe::{Backend, PipeOptions, Receiver, Sender};

/// Tells a helper what to do.
const PART: &str = "SHMPIPE_TEST_PART";

/// Descriptors that are to be inherited must not be so by a helper that another thread starts just then.
static STARTING: Mutex<()> = Mutex::new(());

/// Runs the built command to its end.
pub(crate) fn shmpipe(arguments: &[&str]) -> Output {
    let _starting = STARTING.lock().unwrap();
    Command::new(env!("CARGO_BIN_EXE_shmpipe"))
        .args(arguments)
        .output()
        .expect("the command runs")
}

/// As [`shmpipe`], for a run that succeeds and says something.
#[track_caller]
pub(crate) fn text_of(arguments: &[&str]) -> String {
    let output = shmpipe(arguments);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{complaints}");
    assert_eq!(complaints, "");
    String::from_utf8(output.stdout).expect("text")
}

/// Parses JSON and holds it against the schema.
#[track_caller]
pub(crate) fn checked(text: &str) -> Value {
    let schema = include_str!("../../schema/shmpipe.schema.json");
    let schema: Value = serde_json::from_str(schema).unwrap();
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let value: Value = serde_json::from_str(text).unwrap();
    let errors: Vec<_> = validator
        .iter_errors(&value)
        .map(|error| error.to_string())
        .collect();
    assert!(errors.is_empty(), "{errors:?} in {text}");
    value
}

/// A label that no other test uses.
pub(crate) fn label(test: &str) -> String {
    format!("{test}-{}", std::process::id())
}

/// A pipe of 64 KiB with a label.
pub(crate) fn open(backend: Backend, label: &str) -> (Receiver, Sender) {
    let options = PipeOptions::new().backend(backend).label(label);
    options.capacity(64 * 1024).pipe().unwrap()
}

/// A helper process; killed and reaped when dropped.
pub(crate) struct Helper(Child);

impl Helper {
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Starts this test binary again as a helper with these descriptors and waits until it says that it is ready.
    fn start(part: &str, fds: Vec<OwnedFd>) -> Self {
        let numbers: Vec<_> = fds.iter().map(|fd| fd.as_raw_fd().to_string()).collect();
        let starting = STARTING.lock().unwrap();
        for fd in &fds {
            fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
        }
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "helper", "--nocapture", "--test-threads=1"])
            .env(PART, format!("{part} {}", numbers.join(" ")))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        drop(fds);
        drop(starting);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let is_ready = lines.any(|line| line.unwrap().contains("helper is ready"));
        assert!(is_ready, "the helper ended: {part}");
        Self(child)
    }

    /// Sends a message each so many microseconds until the pipe is broken.
    pub(crate) fn sender(tx: Sender, every: Duration) -> Self {
        let part = format!("send {}", every.as_micros());
        Self::start(&part, tx.into_fds().unwrap())
    }

    /// Receives a message each so many microseconds until the end.
    pub(crate) fn receiver(rx: Receiver, every: Duration) -> Self {
        let part = format!("recv {}", every.as_micros());
        Self::start(&part, rx.into_fds().unwrap())
    }

    /// Makes pipes with this label and closes them, without end.
    pub(crate) fn churner(label: &str) -> Self {
        Self::start(&format!("churn 0 {label}"), Vec::new())
    }

    /// Makes pipes with this label and holds them.
    pub(crate) fn holder(pipes: usize, label: &str) -> Self {
        Self::start(&format!("hold {pipes} {label}"), Vec::new())
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The part of a helper, in the test called `helper` of each binary; nothing in an ordinary run.
pub(crate) fn play_part() {
    let Ok(part) = std::env::var(PART) else {
        return;
    };
    let words: Vec<_> = part.split_whitespace().collect();
    let every = || Duration::from_micros(words[1].parse().unwrap());
    let fds = || {
        words[2..].iter().map(|word| {
            // SAFETY: the parent has left these descriptors open for this process, which takes each once.
            unsafe { OwnedFd::from_raw_fd(word.parse().unwrap()) }
        })
    };
    match words[0] {
        "send" => {
            // SAFETY: they come from `into_fds` of a sender.
            let mut tx = unsafe { Sender::from_fds(fds()) }.unwrap();
            println!("\nhelper is ready");
            while tx.send(&[7; 64]).is_ok() {
                pause(every());
            }
        }
        "recv" => {
            // SAFETY: they come from `into_fds` of a receiver.
            let mut rx = unsafe { Receiver::from_fds(fds()) }.unwrap();
            println!("\nhelper is ready");
            while rx.recv().is_ok() {
                pause(every());
            }
        }
        "churn" => {
            println!("\nhelper is ready");
            loop {
                let (_rx, mut tx) = open(Backend::SharedMemory, words[2]);
                tx.send(b"and gone").unwrap();
            }
        }
        _ => {
            let count = words[1].parse().unwrap();
            let ends: Vec<_> = (0..count)
                .map(|_| open(Backend::SharedMemory, words[2]))
                .collect();
            println!("\nhelper is ready");
            // Until the parent is gone.
            let _ = std::io::stdin().read(&mut [0]);
            drop(ends);
        }
    }
}

/// The slowness that a test is about.
fn pause(span: Duration) {
    if !span.is_zero() {
        std::thread::sleep(span);
    }
}
