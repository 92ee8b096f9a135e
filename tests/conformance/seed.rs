//! Two small programs, as people write them with pipes.

use shmpipe::{Backend, Connection};

use crate::ends::{open, open_duplex};
use crate::support::{Child, Line, fork, on_both_backends};

on_both_backends! {
    five_children_that_share_the_right_end_greet_their_parent_at_the_left,
    five_children_that_share_the_left_end_greet_their_parent_at_the_right,
    a_running_number_reaches_exactly_one_of_two_receivers,
}

/// Five children share `theirs`; each says hello, and the parent hears all of them at `mine`.
fn five_greetings(mut mine: Connection, mut theirs: Connection) {
    let greet = |number: u32| fork(|| theirs.send(format!("hello{number}").as_bytes()).unwrap());
    let children: Vec<_> = (0..5).map(greet).collect();
    let mut greetings: Vec<_> = (0..5)
        .map(|_| String::from_utf8(mine.recv().unwrap().into_vec()).unwrap())
        .collect();
    greetings.sort_unstable();
    assert_eq!(
        greetings,
        ["hello0", "hello1", "hello2", "hello3", "hello4"]
    );
    children.into_iter().for_each(Child::join);
}

fn five_children_that_share_the_right_end_greet_their_parent_at_the_left(backend: Backend) {
    let (left, right) = open_duplex(backend);
    five_greetings(left, right);
}

fn five_children_that_share_the_left_end_greet_their_parent_at_the_right(backend: Backend) {
    let (left, right) = open_duplex(backend);
    five_greetings(right, left);
}

fn a_running_number_reaches_exactly_one_of_two_receivers(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let printed = Line::new();
    let print = |_| {
        fork(|| {
            loop {
                let message = rx.recv().unwrap();
                let text = std::str::from_utf8(&message).unwrap();
                printed.put(text.parse().unwrap());
            }
        })
    };
    let printers = [0, 1].map(print);
    printers.iter().for_each(Child::until_asleep);
    for number in 0..100 {
        tx.send(number.to_string().as_bytes()).unwrap();
        assert_eq!(printed.take(), number);
    }
    printers.iter().for_each(Child::until_asleep);
    assert!(matches!(rx.try_recv(), Err(shmpipe::TryRecvError::Empty)));
    printed.put(u64::MAX);
    assert_eq!(printed.take(), u64::MAX, "a number was printed twice");
    printers.into_iter().for_each(Child::kill);
}
