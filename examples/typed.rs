//! Values of a plain struct between two processes, with nothing encoded: a message is the struct's bytes.
//!
//! `--backend kernel` runs the same over kernel pipes.

use std::process::ExitCode;

use shmpipe::PipeOptions;
use zerocopy::{Immutable, IntoBytes, TryFromBytes};

mod common;

#[derive(IntoBytes, TryFromBytes, Immutable, Debug)]
#[repr(C)]
struct Reading {
    second: u64,
    celsius: f32,
    state: State,
}

#[derive(IntoBytes, TryFromBytes, Immutable, Debug, PartialEq)]
#[repr(u32)]
enum State {
    WarmingUp = 1,
    Steady = 2,
}

fn main() -> ExitCode {
    common::run(typed)
}

fn typed(options: PipeOptions) -> common::Outcome {
    let (mut rx, mut tx) = options.typed_pipe::<Reading>()?;
    let sensor = common::in_child(|| {
        for second in 0..5 {
            let state = if second < 2 {
                State::WarmingUp
            } else {
                State::Steady
            };
            let celsius = 20.0 + second as f32 / 2.0;
            tx.send(&Reading {
                second,
                celsius,
                state,
            })?;
        }
        Ok(())
    })?;
    drop(tx); // the child's copy is now the only sender

    for reading in rx.messages() {
        let reading = reading?; // a struct of another size, or a state that is none, is an error
        if reading.state == State::Steady {
            println!("{reading:?}");
        }
    }
    common::join(sensor)
}
