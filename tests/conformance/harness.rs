//! The harness itself: a watchdog that never fires is worth as much as none.

use std::time::Duration;

use nix::sys::signal::{Signal, raise};

use crate::support::{RUNNING_BODY, doing, fork, isolated, limit, run_body, thread};

/// Runs `body` where it is asked for, else returns what the harness says of the test `name`.
fn verdict(name: &str, limit: Duration, body: fn()) -> Option<Result<String, String>> {
    let path = format!("{}::{name}", module_path!());
    if std::env::var_os(RUNNING_BODY).is_some_and(|running| running == *path) {
        isolated(&path, limit, body);
        return None;
    }
    Some(run_body(&path, limit))
}

#[test]
fn the_watchdog_names_what_each_process_of_a_hanging_test_waits_for() {
    let name = "the_watchdog_names_what_each_process_of_a_hanging_test_waits_for";
    let outcome = verdict(name, Duration::from_secs(3), || {
        let child = fork(|| {
            doing("recv of message 3 of 5");
            std::thread::park();
        });
        let hanging = thread(|| {
            doing("room for a send");
            std::thread::park();
        });
        doing("the child's end");
        child.join();
        hanging.join();
    });
    let Some(outcome) = outcome else { return };
    let report = outcome.expect_err("a body that hangs");
    for part in [
        name,
        "did not end within 3s",
        "comm [recv of message]",
        "comm [room for a send]",
        "comm [the child's end]",
        "last said: recv of message 3 of 5",
        "state S (sleeping)",
        "wchan futex",
        "syscall ",
    ] {
        assert!(report.contains(part), "no [{part}] in:\n{report}");
    }
}

#[test]
fn a_body_that_panics_fails_its_test_with_the_panic() {
    let name = "a_body_that_panics_fails_its_test_with_the_panic";
    let body = || panic!("this panic is part of the test");
    let Some(outcome) = verdict(name, limit(&[]), body) else {
        return;
    };
    let report = outcome.expect_err("a body that panics");
    assert!(
        report.contains("this panic is part of the test"),
        "{report}"
    );
}

#[test]
fn a_child_that_panics_fails_its_test_with_the_panic() {
    let name = "a_child_that_panics_fails_its_test_with_the_panic";
    let body = || fork(|| panic!("this panic is part of the test")).join();
    let Some(outcome) = verdict(name, limit(&[]), body) else {
        return;
    };
    let report = outcome.expect_err("a body with a child that panics");
    assert!(
        report.contains("this panic is part of the test"),
        "{report}"
    );
    assert!(report.contains("the child's closure failed"), "{report}");
}

#[test]
fn a_body_that_is_killed_fails_its_test() {
    let name = "a_body_that_is_killed_fails_its_test";
    let body = || raise(Signal::SIGKILL).unwrap();
    let Some(outcome) = verdict(name, limit(&[]), body) else {
        return;
    };
    assert!(
        outcome
            .expect_err("a body that is killed")
            .contains("signal: 9")
    );
}

#[test]
fn a_name_that_is_no_test_fails() {
    let path = format!("{}::no_such_test", module_path!());
    run_body(&path, limit(&[])).expect_err("a test that is not there");
}

#[test]
fn a_body_starts_without_descriptors_of_its_own() {
    let name = "a_body_starts_without_descriptors_of_its_own";
    let body = || {
        let fds: Vec<_> = crate::support::open_fds().into_keys().collect();
        assert_eq!(fds, [0, 1, 2]);
    };
    let Some(outcome) = verdict(name, limit(&[]), body) else {
        return;
    };
    outcome.unwrap();
}
