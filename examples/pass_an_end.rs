//! A client sends a request and, in the same message, the end over which it wants the answers.
//!
//! The server holds one receiver for all clients and knows none of them; each answer goes to whoever asked.
//! `--backend kernel` runs the same over kernel pipes.

use std::error::Error;
use std::process::exit;

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork, getpid};
use shmpipe::{PipeOptions, Receiver, Sender};

mod common;

fn main() -> Result<(), Box<dyn Error>> {
    let options = common::options()?;
    let (mut requests, mut to_server) = options.clone().descriptors(true).pipe()?;

    let mut clients = Vec::new();
    for number in 0..3 {
        // SAFETY: the program has one thread, so the child may do all that the parent may.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => clients.push(child),
            ForkResult::Child => exit(match client(&options, &mut to_server, number) {
                Ok(()) => 0,
                Err(error) => {
                    eprintln!("client {number}: {error}");
                    1
                }
            }),
        }
    }
    drop(to_server);
    serve(&mut requests)?;
    for client in clients {
        assert_eq!(waitpid(client, None)?, WaitStatus::Exited(client, 0));
    }
    Ok(())
}

/// Answers each request over the end that came with it, until every client has gone.
fn serve(requests: &mut Receiver) -> Result<(), Box<dyn Error>> {
    loop {
        let (request, mut answers) = match requests.recv_with_end::<Sender>() {
            Ok((request, answers)) => (request.to_vec(), answers),
            Err(shmpipe::RecvError::Disconnected) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for word in request.split(|&byte| byte == b' ') {
            answers.send(word)?;
        }
        // The end of the answers is the end of file at the client.
    }
}

fn client(
    options: &PipeOptions,
    to_server: &mut Sender,
    number: u32,
) -> Result<(), Box<dyn Error>> {
    let (mut answers, answer_here) = options.pipe()?;
    let request = format!("request {number} of {}", getpid());
    to_server.send_with_end(request.as_bytes(), answer_here)?;
    for word in answers.messages() {
        println!("client {number}: {}", String::from_utf8_lossy(&word?));
    }
    Ok(())
}
