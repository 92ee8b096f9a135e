//! Looking at pipes from outside: what is seen, that looking disturbs nobody, and that lies end in words.
//!
//! Needs the feature `observe`. Other tests' pipes are on the machine too, so each test looks for its own label.

#![cfg(not(loom))]

#[path = "../support/mod.rs"]
mod support;

mod counters;
mod disturbance;
mod hostile;
mod received;
mod seen;

use shmpipe::observe::{Pipe, Survey};
use shmpipe::{Backend, PipeOptions, Receiver, Sender};

/// A label that no other process uses.
fn label() -> String {
    format!("observed by {}", std::process::id())
}

/// A pipe of 64 KiB with a label.
fn open(backend: Backend, label: &str) -> (Receiver, Sender) {
    let options = PipeOptions::new().backend(backend).label(label);
    options.capacity(64 * 1024).pipe().unwrap()
}

/// All pipes with this label.
fn all(label: &str) -> Vec<Pipe> {
    let mut pipes = Survey::take().unwrap().pipes;
    pipes.retain(|pipe| pipe.label.as_deref() == Some(label));
    pipes
}

/// The only one.
#[track_caller]
fn one(label: &str) -> Pipe {
    let mut found = all(label);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}
