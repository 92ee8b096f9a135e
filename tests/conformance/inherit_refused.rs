//! What a program is told that was handed nothing, garbage, or something else than an end of the kind it
//! asks for: the variable, its value and the reason.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::process::Command;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::stat::fstat;
use shmpipe::{Backend, Connection, Receiver, Sender};

use crate::ends::{assert_at_end, open};
use crate::inherit::program;
use crate::support::{ends_well, fork, on_both_backends, on_no_backend, open_fds};

on_both_backends! {
    an_end_can_be_taken_once,
    an_end_of_another_kind_is_refused_and_can_still_be_taken,
    a_variable_that_reached_a_program_further_down_is_refused,
    what_a_program_has_opened_itself_is_not_taken_over,
    descriptors_of_something_else_are_refused_and_stay_open,
    a_second_end_by_the_name_of_the_first_is_refused,
}

on_no_backend! {
    a_variable_that_is_not_set_is_named,
    garbage_is_refused_with_the_variable_and_its_value,
    the_form_that_is_asked_for_has_as_many_descriptors_as_the_end,
    a_negative_number_is_called_so,
    closed_descriptors_are_refused,
    a_name_that_no_variable_can_have_is_refused,
}

#[track_caller]
fn assert_refused<T>(outcome: io::Result<T>, kind: ErrorKind, words: &[&str]) {
    let Err(error) = outcome else {
        panic!("taken, where {words:?} was expected");
    };
    let text = error.to_string();
    assert_eq!(error.kind(), kind, "{text}");
    for part in words {
        assert!(text.contains(part), "{text:?} says nothing of {part:?}");
    }
}

/// Runs `work` in a child of one thread where the variable `END` has `value`.
fn with_end(value: &str, work: impl FnOnce()) {
    let child = fork(|| {
        // SAFETY: a forked child has a single thread, so nothing else reads the environment.
        unsafe { std::env::set_var("END", value) };
        work();
    });
    child.join();
}

fn a_variable_that_is_not_set_is_named() {
    let words = ["NO_SUCH_END", "not set"];
    assert_refused(Sender::from_env("NO_SUCH_END"), ErrorKind::NotFound, &words);
    assert_refused(
        Receiver::from_env("NO_SUCH_END"),
        ErrorKind::NotFound,
        &words,
    );
    let outcome = Connection::from_env("NO_SUCH_END");
    assert_refused(outcome, ErrorKind::NotFound, &words);
}

fn garbage_is_refused_with_the_variable_and_its_value() {
    for value in [
        "",
        "5",
        "nonsense",
        "1:tx",
        "1:tx:5,6",
        "2:tx:5,6:7",
        "1:tx:5;6:7",
    ] {
        with_end(value, || {
            let named = format!("END={value}");
            assert_refused(Sender::from_env("END"), ErrorKind::InvalidData, &[&named]);
        });
    }
}

fn the_form_that_is_asked_for_has_as_many_descriptors_as_the_end() {
    with_end("garbage", || {
        let kind = ErrorKind::InvalidData;
        let words = ["not of the form 1:tx:FD,FD:INODE", "one FD more with"];
        assert_refused(Sender::from_env("END"), kind, &words);
        let words = ["not of the form 1:rx:FD,FD:INODE", "one FD more with"];
        assert_refused(Receiver::from_env("END"), kind, &words);
        let words = [
            "not of the form 1:duplex:FD,FD,FD,FD:INODE",
            "two FD more with",
        ];
        assert_refused(Connection::from_env("END"), kind, &words);
    });
}

fn a_negative_number_is_called_so() {
    with_end("1:duplex:-1,1,2,3:123", || {
        let words = ["-1 is a negative number and no descriptor"];
        let outcome = Connection::from_env("END");
        assert_refused(outcome, ErrorKind::InvalidData, &words);
    });
    with_end("1:duplex:5,1,2,3:123", || {
        let words = ["descriptor 1 is a standard stream"];
        let outcome = Connection::from_env("END");
        assert_refused(outcome, ErrorKind::InvalidData, &words);
    });
}

fn closed_descriptors_are_refused() {
    with_end("1:tx:1000,1001:7", || {
        let words = ["END=1:tx:1000,1001:7", "descriptor 1000 is closed"];
        assert_refused(Sender::from_env("END"), ErrorKind::InvalidData, &words);
    });
}

fn a_name_that_no_variable_can_have_is_refused() {
    for name in ["", "A=B", "A\0B"] {
        let (mut rx, tx) = shmpipe::pipe().unwrap();
        let mut command = Command::new("true");
        let outcome = tx.inherit(&mut command, name);
        assert_refused(outcome, ErrorKind::InvalidInput, &["environment variable"]);
        assert_at_end(&mut rx);
        ends_well(command.spawn().unwrap());
    }
}

fn an_end_can_be_taken_once(backend: Backend) {
    let (mut rx, tx) = open(backend);
    let mut command = program("twice");
    tx.inherit(&mut command, "END").unwrap();
    let child = command.spawn().unwrap();
    drop(command);
    assert_eq!(&*rx.recv().unwrap(), b"by the first");
    assert_at_end(&mut rx);
    ends_well(child);
}

pub(crate) fn twice() {
    let mut tx = Sender::from_env("END").unwrap();
    let words = ["END=1:tx:", "taken before"];
    for _ in 0..2 {
        assert_refused(Sender::from_env("END"), ErrorKind::AlreadyExists, &words);
    }
    tx.send(b"by the first").unwrap();
    drop(tx);
    assert_refused(Sender::from_env("END"), ErrorKind::AlreadyExists, &words);
}

fn an_end_of_another_kind_is_refused_and_can_still_be_taken(backend: Backend) {
    let (mut rx, tx) = open(backend);
    let mut command = program("wrong kind first");
    tx.inherit(&mut command, "END").unwrap();
    let child = command.spawn().unwrap();
    drop(command);
    assert_eq!(&*rx.recv().unwrap(), b"all the same");
    assert_at_end(&mut rx);
    ends_well(child);
}

pub(crate) fn wrong_kind_first() {
    let before = open_fds();
    let words = ["END=1:tx:", "kind tx, where rx"];
    assert_refused(Receiver::from_env("END"), ErrorKind::InvalidData, &words);
    let words = ["END=1:tx:", "kind tx, where duplex"];
    assert_refused(Connection::from_env("END"), ErrorKind::InvalidData, &words);
    // A true sender's descriptors by the name of a receiver's.
    let value = std::env::var("END").unwrap().replace("tx", "rx");
    // SAFETY: the harness's main thread sleeps and reads no environment.
    unsafe { std::env::set_var("FORGED", &value) };
    let words = [&format!("FORGED={value}"), "of this pipe"];
    assert_refused(Receiver::from_env("FORGED"), ErrorKind::InvalidData, &words);
    assert_eq!(open_fds(), before);
    Sender::from_env("END")
        .unwrap()
        .send(b"all the same")
        .unwrap();
}

/// The program hands its end to one of its own under another name, and the variable by which it got the end
/// itself comes along: it may well name the same numbers.
fn a_variable_that_reached_a_program_further_down_is_refused(backend: Backend) {
    let (_rx, tx) = open(backend);
    let mut command = program("stale variable");
    tx.inherit(&mut command, "END").unwrap();
    ends_well(command.spawn().unwrap());
}

pub(crate) fn stale_variable() {
    const AGAIN: &str = "SHMPIPE_TEST_AGAIN";
    if std::env::var_os(AGAIN).is_some() {
        let value = std::env::var("END").unwrap();
        let words = ["END=1:tx:", "descriptor"];
        assert_refused(Sender::from_env("END"), ErrorKind::InvalidData, &words);
        // Its own end is another one, also at the numbers of the first.
        let own = std::env::var("OWN").unwrap();
        let own_numbers = own.split(':').nth(2).unwrap();
        let inode = value.rsplit_once(':').unwrap().1;
        let crossed = format!("1:tx:{own_numbers}:{inode}");
        // SAFETY: the harness's main thread sleeps and reads no environment.
        unsafe { std::env::set_var("CROSSED", crossed) };
        let words = ["CROSSED=1:tx:", "another file"];
        assert_refused(Sender::from_env("CROSSED"), ErrorKind::InvalidData, &words);
        Sender::from_env("OWN").unwrap();
        return;
    }
    drop(Sender::from_env("END").unwrap());
    let (_rx, tx) = shmpipe::pipe().unwrap();
    let mut command = program("stale variable");
    tx.inherit(command.env(AGAIN, "1"), "OWN").unwrap();
    ends_well(command.spawn().unwrap());
}

/// The value that names `fds` as a sender's.
fn forged(fds: &[OwnedFd]) -> String {
    let numbers: Vec<String> = fds.iter().map(|fd| fd.as_raw_fd().to_string()).collect();
    let inode = fstat(&fds[0]).unwrap().st_ino;
    format!("1:tx:{}:{inode}", numbers.join(","))
}

fn what_a_program_has_opened_itself_is_not_taken_over(backend: Backend) {
    let (mut rx, tx) = open(backend);
    let fds = tx.into_fds().unwrap();
    let value = forged(&fds);
    with_end(&value, || {
        let words = [&format!("END={value}"), "opened by this program itself"];
        assert_refused(Sender::from_env("END"), ErrorKind::InvalidData, &words);
        assert!(fds.iter().all(|fd| fstat(fd).is_ok()));
    });
    drop(fds);
    assert_at_end(&mut rx);
}

fn make_inheritable(fds: &[OwnedFd]) {
    for fd in fds {
        fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    }
}

fn descriptors_of_something_else_are_refused_and_stay_open(backend: Backend) {
    let null = || OwnedFd::from(File::open("/dev/null").unwrap());
    let of_an_end = || open(backend).1.into_fds().unwrap();
    let cases: [(Vec<OwnedFd>, &str); 4] = [
        (vec![null(), null()], "is no memfd"),
        (vec![of_an_end().remove(0), null()], "of this pipe"),
        (
            vec![of_an_end().remove(0), of_an_end().remove(1)],
            "of this pipe",
        ),
        (
            of_an_end().into_iter().take(1).collect(),
            "1 descriptor came where a sender was asked for, which is made of 2",
        ),
    ];
    for (fds, words) in cases {
        make_inheritable(&fds);
        let value = forged(&fds);
        with_end(&value, || {
            let before: Vec<RawFd> = open_fds().into_keys().collect();
            let outcome = Sender::from_env("END");
            let text = outcome.unwrap_err().to_string();
            assert!(
                text.contains(words) && text.contains(&format!("END={value}")),
                "{text}"
            );
            assert_eq!(open_fds().into_keys().collect::<Vec<_>>(), before);
        });
    }
}

fn a_second_end_by_the_name_of_the_first_is_refused(backend: Backend) {
    let (mut rx, tx) = open(backend);
    let second = tx.try_clone().unwrap();
    let mut command = program("one message");
    tx.inherit(&mut command, "END").unwrap();
    let outcome = second.inherit(&mut command, "END");
    assert_refused(outcome, ErrorKind::InvalidInput, &["END", "already"]);
    ends_well(command.spawn().unwrap());
    drop(command);
    assert_eq!(&*rx.recv().unwrap(), b"one");
    assert_at_end(&mut rx);
}
