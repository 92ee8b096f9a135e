//! A stream of bytes between two processes, by `io::copy` and `BufRead`: shmpipe in place of `std::io::pipe`.
//!
//! `--backend kernel` runs the same over kernel pipes.

use std::io::{self, BufRead, Read, Write};
use std::process::ExitCode;

use shmpipe::PipeOptions;

mod common;

fn main() -> ExitCode {
    common::run(byte_stream)
}

fn byte_stream(options: PipeOptions) -> common::Outcome {
    let (mut rx, mut tx) = options.pipe()?;
    let writer = common::in_child(|| {
        writeln!(tx, "a header line")?;
        writeln!(tx, "and another")?;
        let copied = io::copy(&mut io::repeat(b'x').take(10_000_000), &mut tx)?;
        println!("copied {copied} bytes in");
        Ok(())
    })?;
    drop(tx); // or the stream has no end: this process would still be a writer

    for _ in 0..2 {
        let mut line = String::new();
        rx.read_line(&mut line)?;
        println!("line: {}", line.trim_end());
    }
    let copied = io::copy(&mut rx, &mut io::sink())?;
    println!("copied {copied} bytes out");
    assert_eq!(copied, 10_000_000);
    common::join(writer)
}
