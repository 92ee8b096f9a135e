//! Labels: what `/proc` shows of a pipe, and what cannot be a label.

use std::io::ErrorKind;

use shmpipe::{Backend, PipeOptions};

use crate::support::{fork, on_both_backends, open_fds};

on_both_backends! {
    a_label_shows_in_the_name_of_the_memory,
    a_pipe_without_a_label_shows_the_fixed_name_alone,
    both_directions_of_a_duplex_pipe_carry_its_label,
    pipes_of_one_label_are_separate,
    a_label_as_long_as_may_be_is_taken_and_a_longer_one_refused_by_its_length,
    a_label_with_a_control_character_is_refused_by_name,
    an_empty_label_is_refused,
    a_refused_label_leaves_nothing_open,
    a_label_outlives_the_hand_over,
}

/// The names of all memory of pipes that this process has open.
fn names() -> Vec<String> {
    open_fds()
        .into_values()
        .filter(|name| name.starts_with("/memfd:shmpipe"))
        .collect()
}

fn word(backend: Backend) -> &'static str {
    match backend {
        Backend::Kernel => "shmpipe-kernel",
        _ => "shmpipe",
    }
}

fn labelled(backend: Backend, label: &str) -> PipeOptions {
    PipeOptions::new().backend(backend).label(label)
}

fn a_label_shows_in_the_name_of_the_memory(backend: Backend) {
    let label = "résumés / of:all (kinds)";
    let _ends = labelled(backend, label).pipe().unwrap();
    let due = format!("/memfd:{}:{label} (deleted)", word(backend));
    assert_eq!(names(), [due]);
}

fn a_pipe_without_a_label_shows_the_fixed_name_alone(backend: Backend) {
    let _ends = PipeOptions::new().backend(backend).pipe().unwrap();
    assert_eq!(names(), [format!("/memfd:{} (deleted)", word(backend))]);
}

fn both_directions_of_a_duplex_pipe_carry_its_label(backend: Backend) {
    let _ends = labelled(backend, "both").duplex().unwrap();
    let due = format!("/memfd:{}:both (deleted)", word(backend));
    assert_eq!(names(), [due.clone(), due]);
}

fn pipes_of_one_label_are_separate(backend: Backend) {
    let options = labelled(backend, "same");
    let (mut one_rx, mut one_tx) = options.pipe().unwrap();
    let (mut other_rx, mut other_tx) = options.pipe().unwrap();
    one_tx.send(b"one").unwrap();
    other_tx.send(b"other").unwrap();
    assert_eq!(&*one_rx.recv().unwrap(), b"one");
    assert_eq!(&*other_rx.recv().unwrap(), b"other");
}

fn a_label_as_long_as_may_be_is_taken_and_a_longer_one_refused_by_its_length(backend: Backend) {
    let longest = "l".repeat(234);
    let _ends = labelled(backend, &longest).pipe().unwrap();
    assert!(names()[0].contains(&longest));
    let error = labelled(backend, &"l".repeat(235)).pipe().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("235 bytes"), "{error}");
}

fn a_label_with_a_control_character_is_refused_by_name(backend: Backend) {
    for (label, shown) in [
        ("a\0b", r"'\0'"),
        ("a\nb", r"'\n'"),
        ("\u{1b}[2J", r"'\u{1b}'"),
        ("a\u{85}", r"'\u{85}'"),
    ] {
        let error = labelled(backend, label).pipe().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(shown), "{error}");
        assert!(labelled(backend, label).duplex().is_err());
    }
}

fn an_empty_label_is_refused(backend: Backend) {
    let error = labelled(backend, "").pipe().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("0 bytes"), "{error}");
}

fn a_refused_label_leaves_nothing_open(backend: Backend) {
    let before = open_fds();
    labelled(backend, "\t").pipe().unwrap_err();
    assert_eq!(open_fds(), before);
}

fn a_label_outlives_the_hand_over(backend: Backend) {
    let (mut rx, tx) = labelled(backend, "handed").pipe().unwrap();
    let fds = tx.into_fds().unwrap();
    // SAFETY: they come from `into_fds` of a sender.
    let mut tx = unsafe { shmpipe::Sender::from_fds(fds) }.unwrap();
    let child = fork(move || {
        assert!(
            names().iter().any(|name| name.contains(":handed")),
            "{:?}",
            names()
        );
        tx.send(b"here").unwrap();
    });
    assert_eq!(&*rx.recv().unwrap(), b"here");
    child.join();
}
