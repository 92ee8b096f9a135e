//! Requests and replies over a two-way pipe: a server process that answers until its client is gone.
//!
//! `--backend kernel` runs the same over kernel pipes.

use std::process::ExitCode;
use std::time::Duration;

use shmpipe::{Connection, PipeOptions, RecvError, SendError};

mod common;

fn main() -> ExitCode {
    common::run(request_reply)
}

fn request_reply(options: PipeOptions) -> common::Outcome {
    let (client, mut server) = options.duplex()?;
    let mut client = Some(client);
    let child = common::in_child(|| {
        drop(client.take()); // or the server would wait for itself
        serve(&mut server)
    })?;
    drop(server);

    let mut client = client.take().expect("only the child takes it");
    for request in ["a pipe", "shared memory", ""] {
        client.send(request.as_bytes())?;
        // A server that died would be `Disconnected` at once; only one that hangs takes ten seconds.
        let reply = client.recv_timeout(Duration::from_secs(10))?;
        println!("{request:?} has {}", String::from_utf8_lossy(&reply));
    }
    drop(client); // end-of-file for the server
    common::join(child)
}

fn serve(end: &mut Connection) -> common::Outcome {
    loop {
        let request = match end.recv() {
            Ok(request) => request,
            Err(RecvError::Disconnected) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let reply = format!("{} bytes", request.len());
        match end.send(reply.as_bytes()) {
            // A client that does not wait for its reply is nothing to complain of.
            Ok(()) | Err(SendError::Disconnected) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
