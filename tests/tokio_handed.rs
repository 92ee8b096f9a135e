//! The ends for tokio in executed programs and in messages: handed over as blocking ends are, and told of deaths there.

mod support;

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use shmpipe::tokio::{Connection, Receiver, Sender};
use shmpipe::{Backend, PipeOptions, RecvError, SendError};
use support::{
    Line, Tasks, check, ends_well, fork, fork_apart, on_both_backends, open_fds, pattern, pipe,
    run_task,
};
use tokio::time::timeout;

on_both_backends! {
    an_end_for_tasks_is_inherited_by_a_program_with_tasks,
    recv_ends_when_the_program_that_was_handed_the_sender_is_killed,
    send_ends_when_the_program_that_was_handed_the_receiver_is_killed,
    a_program_without_the_variable_gets_an_error_that_names_it,
    ends_for_tasks_and_blocking_ones_travel_in_messages,
    recv_ends_when_the_process_that_a_sender_travelled_to_is_killed,
    an_end_that_nobody_receives_is_closed_with_the_pipe,
    descriptors_travel_between_tasks_with_their_messages,
    a_send_of_descriptors_that_finds_no_room_goes_on_when_there_is_some,
    a_dropped_receive_of_descriptors_takes_nothing,
    ends_for_tasks_tell_who_holds_the_other_side,
}

const TASKS: Tasks = &[("answer", answer), ("stay", stay)];

#[test]
fn a_binary_that_was_executed_for_a_task_does_it() {
    run_task(TASKS);
}

/// This binary, to be executed for `task`.
fn program(task: &str) -> std::process::Command {
    support::program("a_binary_that_was_executed_for_a_task_does_it", task)
}

fn options(backend: Backend) -> PipeOptions {
    PipeOptions::new().backend(backend).descriptors(true)
}

/// Ends for tasks of a pipe that carries descriptors; inside a runtime.
fn open(backend: Backend) -> (Receiver, Sender) {
    let (rx, tx) = options(backend).pipe().unwrap();
    (rx.try_into().unwrap(), tx.try_into().unwrap())
}

/// Runs `work` on a runtime of one thread.
fn run<T>(work: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(work)
}

fn null() -> OwnedFd {
    File::open("/dev/null").unwrap().into()
}

fn an_end_for_tasks_is_inherited_by_a_program_with_tasks(backend: Backend) {
    run(async {
        let (near, far) = options(backend).duplex().unwrap();
        let mut near = Connection::from_blocking(near).unwrap();
        let mut command = program("answer");
        let far = Connection::from_blocking(far).unwrap();
        far.inherit(&mut command, "END").unwrap();
        let child = command.spawn().unwrap();
        drop(command);
        for number in 0..10 {
            near.send(&pattern(1, number, 1000)).await.unwrap();
            check(&near.recv().await.unwrap(), 1, number, 1000);
        }
        let (mut rx, tx) = near.split();
        drop(tx);
        assert!(matches!(rx.recv().await, Err(RecvError::Disconnected)));
        ends_well(child);
    });
}

fn answer() {
    run(async {
        let mut end = Connection::from_env("END").unwrap();
        while let Ok(request) = end.recv().await {
            let request = request.into_vec();
            end.send(&request).await.unwrap();
        }
    });
}

fn recv_ends_when_the_program_that_was_handed_the_sender_is_killed(backend: Backend) {
    run(async {
        let (near, far) = options(backend).duplex().unwrap();
        let mut near = Connection::from_blocking(near).unwrap();
        let mut command = program("stay");
        far.inherit(&mut command, "END").unwrap();
        let mut child = command.spawn().unwrap();
        drop(command);
        assert_eq!(&*near.recv().await.unwrap(), b"last words");
        let waiting = tokio::spawn(async move {
            assert!(matches!(near.recv().await, Err(RecvError::Disconnected)));
        });
        tokio::task::yield_now().await;
        child.kill().unwrap();
        waiting.await.unwrap();
        child.wait().unwrap();
    });
}

fn send_ends_when_the_program_that_was_handed_the_receiver_is_killed(backend: Backend) {
    run(async {
        let (near, far) = options(backend).duplex().unwrap();
        let mut near = Connection::from_blocking(near).unwrap();
        let mut command = program("stay");
        far.inherit(&mut command, "END").unwrap();
        let mut child = command.spawn().unwrap();
        drop(command);
        assert_eq!(&*near.recv().await.unwrap(), b"last words");
        while near.try_send(&[7; 1000]).is_ok() {}
        let waiting = tokio::spawn(async move {
            loop {
                if let Err(error) = near.send(&[7; 1000]).await {
                    assert!(matches!(error, SendError::Disconnected), "{error}");
                    return;
                }
            }
        });
        tokio::task::yield_now().await;
        child.kill().unwrap();
        waiting.await.unwrap();
        child.wait().unwrap();
    });
}

/// Sends once, receives nothing and waits to be killed.
fn stay() {
    run(async {
        let mut end = Connection::from_env("END").unwrap();
        end.send(b"last words").await.unwrap();
        std::future::pending::<()>().await;
    });
}

fn a_program_without_the_variable_gets_an_error_that_names_it(backend: Backend) {
    let expected = format!("NOT_HANDED_{backend}");
    let name = expected.as_str();
    run(async {
        let texts = [
            Receiver::from_env(name).unwrap_err().to_string(),
            Sender::from_env(name).unwrap_err().to_string(),
            Connection::from_env(name).unwrap_err().to_string(),
        ];
        texts
            .iter()
            .for_each(|text| assert!(text.contains(name), "{text}"));
    });
}

fn ends_for_tasks_and_blocking_ones_travel_in_messages(backend: Backend) {
    run(async {
        let (mut rx, mut tx) = open(backend);
        let (mut end, travelling) = open(backend);
        tx.send_with_end(b"for tasks", travelling).await.unwrap();
        let (message, mut arrived) = rx.recv_with_end::<shmpipe::Sender>().await.unwrap();
        assert_eq!(&*message, b"for tasks");
        arrived.send(b"blocking there").unwrap();
        drop(arrived);
        assert_eq!(&*end.recv().await.unwrap(), b"blocking there");
        assert!(matches!(end.recv().await, Err(RecvError::Disconnected)));

        let (near, far) = options(backend).duplex().unwrap();
        let mut near = Connection::from_blocking(near).unwrap();
        tx.send_with_end(b"blocking", far).await.unwrap();
        let (_, mut arrived) = rx.recv_with_end::<Connection>().await.unwrap();
        arrived.send(b"for tasks there").await.unwrap();
        assert_eq!(&*near.recv().await.unwrap(), b"for tasks there");
        near.send_with_end(b"", rx).await.unwrap();
        let (_, mut rx) = arrived.recv_with_end::<Receiver>().await.unwrap();
        tx.send(b"through the end that travelled").await.unwrap();
        assert_eq!(rx.recv().await.unwrap().len(), 30);
    });
}

fn recv_ends_when_the_process_that_a_sender_travelled_to_is_killed(backend: Backend) {
    let (mut rx, tx) = options(backend).pipe().unwrap();
    let (child, tx) = fork_apart(tx, move || {
        let (_, mut arrived) = rx.recv_with_end::<shmpipe::Sender>().unwrap();
        arrived.send(b"last words").unwrap();
        Line::new().wait();
    });
    run(async {
        let mut tx = Sender::from_blocking(tx).unwrap();
        // Made after the fork, so the child has it from the message only.
        let (mut end, travelling) = open(backend);
        tx.send_with_end(b"", travelling).await.unwrap();
        assert_eq!(&*end.recv().await.unwrap(), b"last words");
        let waiting = tokio::spawn(async move {
            assert!(matches!(end.recv().await, Err(RecvError::Disconnected)));
        });
        tokio::task::yield_now().await;
        child.kill();
        waiting.await.unwrap();
    });
}

fn an_end_that_nobody_receives_is_closed_with_the_pipe(backend: Backend) {
    run(async {
        let (rx, mut tx) = open(backend);
        let (mut end, travelling) = open(backend);
        tx.send_with_end(b"", travelling).await.unwrap();
        drop(rx);
        assert!(matches!(end.recv().await, Err(RecvError::Disconnected)));
        let outcome = tx.send_with_fds(b"", &[null().as_fd()]).await;
        assert!(matches!(outcome, Err(SendError::Disconnected)));
    });
}

fn descriptors_travel_between_tasks_with_their_messages(backend: Backend) {
    run(async {
        let (mut rx, mut tx) = open(backend);
        let sender = tokio::spawn(async move {
            for number in 0..200 {
                let message = pattern(1, number, 3000);
                if number % 3 == 0 {
                    tx.send(&message).await.unwrap();
                } else {
                    let (reader, mut writer) = pipe().unwrap();
                    std::io::Write::write_all(&mut writer, &number.to_ne_bytes()).unwrap();
                    tx.send_with_fds(&message, &[reader.as_fd()]).await.unwrap();
                }
            }
        });
        for number in 0..200 {
            let (message, mut fds) = rx.recv_with_fds().await.unwrap();
            check(&message, 1, number, 3000);
            assert_eq!(fds.len(), usize::from(number % 3 != 0));
            if let Some(fd) = fds.pop() {
                let mut bytes = [0; 8];
                File::from(fd).read_exact(&mut bytes).unwrap();
                assert_eq!(u64::from_ne_bytes(bytes), number);
            }
        }
        sender.await.unwrap();
        let end = rx.recv_with_fds().await.map(drop);
        assert!(matches!(end, Err(RecvError::Disconnected)));
    });
}

fn a_send_of_descriptors_that_finds_no_room_goes_on_when_there_is_some(backend: Backend) {
    run(async {
        let (mut rx, mut tx) = open(backend);
        // More than may be under way at once, and more bytes than the pipe holds.
        const MESSAGES: u64 = 1000;
        let sender = tokio::spawn(async move {
            let fd = null();
            for number in 0..MESSAGES {
                let message = pattern(1, number, 500);
                tx.send_with_fds(&message, &[fd.as_fd()]).await.unwrap();
            }
            tx
        });
        // Until it waits.
        for _ in 0..2 * MESSAGES {
            tokio::task::yield_now().await;
        }
        assert!(!sender.is_finished(), "all of it found room");
        for number in 0..MESSAGES {
            let (message, fds) = rx.recv_with_fds().await.unwrap();
            check(&message, 1, number, 500);
            assert_eq!(fds.len(), 1);
        }
        drop(sender.await.unwrap());
    });
}

fn a_dropped_receive_of_descriptors_takes_nothing(backend: Backend) {
    run(async {
        let (mut rx, mut tx) = open(backend);
        assert!(
            timeout(Duration::ZERO, rx.recv_with_fds()).await.is_err(),
            "nothing is there"
        );
        tx.send_with_fds(b"kept", &[null().as_fd()]).await.unwrap();
        let before = open_fds().len();
        let (message, fds) = rx.recv_with_fds().await.unwrap();
        assert_eq!((&*message, fds.len()), (&b"kept"[..], 1));
        assert_eq!(open_fds().len(), before + 1);
    });
}

fn ends_for_tasks_tell_who_holds_the_other_side(backend: Backend) {
    let (near, far) = options(backend).duplex().unwrap();
    let child = fork(|| Line::new().wait());
    drop(far);
    run(async {
        let near = Connection::from_blocking(near).unwrap();
        let ids = |holders: std::io::Result<Vec<shmpipe::Holder>>| {
            let holders = holders.unwrap();
            holders.iter().map(shmpipe::Holder::id).collect::<Vec<_>>()
        };
        let expected = [u32::try_from(child.pid().as_raw()).unwrap()];
        assert_eq!(ids(near.holders()), expected);
        assert_eq!(near.backend(), backend);
        assert_eq!(near.capacity(), 64 * 1024);
        let (rx, tx) = near.split();
        assert_eq!(ids(rx.holders()), expected);
        assert_eq!(ids(tx.holders()), expected);
        assert_eq!((rx.capacity(), tx.backend()), (64 * 1024, backend));
        child.kill();
        assert!(ids(rx.holders()).is_empty() && ids(tx.holders()).is_empty());
    });
}
