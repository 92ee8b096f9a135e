//! A server of tasks: requests come from processes that block, answers go back, and a timer runs beside them.
//!
//! `cargo run --features tokio --example tokio [-- --backend shm|kernel]`

use std::time::Duration;

use shmpipe::{Connection, RecvError};
use tokio::task::JoinSet;
use tokio::time::interval;

mod common;

const CLIENTS: u32 = 4;
const REQUESTS: u32 = 3;

/// What each client process does, with nothing but blocking calls.
fn client(number: u32, mut connection: Connection) -> Result<(), Box<dyn std::error::Error>> {
    for request in 0..REQUESTS {
        connection.send(format!("{number}.{request}").as_bytes())?;
        let answer = connection.recv()?;
        println!("client {number}: {}", String::from_utf8_lossy(&answer));
    }
    Ok(())
}

async fn serve(mut connection: shmpipe::tokio::Connection) -> u32 {
    let mut served = 0;
    loop {
        let answer = match connection.recv().await {
            Ok(request) => [b"answer to ", &*request].concat(),
            Err(RecvError::Disconnected) => return served,
            Err(error) => panic!("{error}"),
        };
        tokio::time::sleep(Duration::from_millis(5)).await;
        connection.send(&answer).await.expect("the client waits");
        served += 1;
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = common::options()?;
    // The processes first: a program with a runtime in it has threads, and should not fork any more.
    let mut connections = Vec::new();
    for number in 0..CLIENTS {
        let (ours, theirs) = options.duplex()?;
        // SAFETY: the program has one thread, so the child may do all that the parent may.
        if let nix::unistd::ForkResult::Child = unsafe { nix::unistd::fork() }? {
            drop(ours);
            connections.clear();
            return client(number, theirs);
        }
        connections.push(ours);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut clients = JoinSet::new();
        for connection in connections {
            clients.spawn(serve(connection.try_into()?));
        }
        let mut ticks = interval(Duration::from_millis(10));
        let mut served = 0;
        loop {
            tokio::select! {
                _ = ticks.tick() => println!("tick"),
                client = clients.join_next() => match client {
                    Some(count) => served += count?,
                    None => break,
                },
            }
        }
        assert_eq!(served, CLIENTS * REQUESTS);
        Ok(())
    })
}
