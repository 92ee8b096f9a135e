//! Values of any serde type between two processes, encoded by postcard. Needs `--features serde`.
//!
//! `--backend kernel` runs the same over kernel pipes.

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use shmpipe::PipeOptions;
use shmpipe::serde::RecvError;

mod common;

#[derive(Serialize, Deserialize, Debug)]
enum Event {
    Started {
        program: String,
        arguments: Vec<String>,
    },
    Counted(BTreeMap<String, u32>),
    Ended(Result<u8, String>),
}

fn main() -> ExitCode {
    common::run(events)
}

fn events(options: PipeOptions) -> common::Outcome {
    let (mut rx, mut tx) = options.serde_pipe::<Event>()?;
    let child = common::in_child(|| {
        tx.send(&Event::Started {
            program: "count".into(),
            arguments: vec!["--words".into()],
        })?;
        tx.send(&Event::Counted(BTreeMap::from([("pipe".into(), 2)])))?;
        tx.send(&Event::Ended(Ok(0)))?;
        // Bytes that are no event harm nobody but themselves.
        let mut bytes = tx.try_clone()?.into_inner();
        bytes.send(b"\xff not an event")?;
        tx.send(&Event::Ended(Err("killed".into())))?;
        Ok(())
    })?;
    drop(tx);

    loop {
        match rx.recv() {
            Ok(event) => println!("{event:?}"),
            Err(error @ RecvError::Decode(_)) => println!("passed over: {error}"),
            Err(RecvError::Pipe(shmpipe::RecvError::Disconnected)) => break,
            Err(error) => return Err(error.into()),
        }
    }
    common::join(child)
}
