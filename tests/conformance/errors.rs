//! Errors as values: their texts, their `io::Error` kinds, and their sources.

use std::error::Error;
use std::io::{self, ErrorKind};

use shmpipe::{
    RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError,
};

use crate::support::on_no_backend;

on_no_backend! {
    each_send_error_becomes_the_io_error_that_a_pipe_gives,
    each_receive_error_becomes_the_io_error_that_a_pipe_gives,
    an_operating_system_error_comes_back_as_it_was,
    the_io_error_keeps_the_original_inside,
    each_text_is_lower_case_without_full_stop,
    each_text_has_its_numbers,
    an_operating_system_error_is_the_source,
}

fn kind(error: impl Into<io::Error>) -> ErrorKind {
    error.into().kind()
}

fn each_send_error_becomes_the_io_error_that_a_pipe_gives() {
    assert_eq!(kind(SendError::Disconnected), ErrorKind::BrokenPipe);
    assert_eq!(kind(TrySendError::Disconnected), ErrorKind::BrokenPipe);
    assert_eq!(kind(SendTimeoutError::Disconnected), ErrorKind::BrokenPipe);
    assert_eq!(kind(TrySendError::Full), ErrorKind::WouldBlock);
    assert_eq!(kind(SendTimeoutError::Timeout), ErrorKind::TimedOut);
    assert_eq!(
        kind(SendError::TooLarge { len: 2, max: 1 }),
        ErrorKind::InvalidInput
    );
    assert_eq!(
        kind(TrySendError::TooLarge { len: 2, max: 1 }),
        ErrorKind::InvalidInput
    );
    assert_eq!(
        kind(SendTimeoutError::TooLarge { len: 2, max: 1 }),
        ErrorKind::InvalidInput
    );
    assert_eq!(
        kind(TrySendError::TooLargeAtOnce { len: 2, max: 1 }),
        ErrorKind::InvalidInput
    );
    assert_eq!(kind(SendError::Corrupted), ErrorKind::InvalidData);
    assert_eq!(kind(TrySendError::Corrupted), ErrorKind::InvalidData);
    assert_eq!(kind(SendTimeoutError::Corrupted), ErrorKind::InvalidData);
    assert_eq!(kind(SendError::Reentrant), ErrorKind::Deadlock);
    assert_eq!(kind(TrySendError::Reentrant), ErrorKind::Deadlock);
    assert_eq!(kind(SendTimeoutError::Reentrant), ErrorKind::Deadlock);
    assert_eq!(kind(SendError::Interrupted), ErrorKind::Interrupted);
    assert_eq!(kind(SendTimeoutError::Interrupted), ErrorKind::Interrupted);
}

fn each_receive_error_becomes_the_io_error_that_a_pipe_gives() {
    assert_eq!(kind(RecvError::Disconnected), ErrorKind::UnexpectedEof);
    assert_eq!(kind(TryRecvError::Disconnected), ErrorKind::UnexpectedEof);
    assert_eq!(
        kind(RecvTimeoutError::Disconnected),
        ErrorKind::UnexpectedEof
    );
    assert_eq!(kind(TryRecvError::Empty), ErrorKind::WouldBlock);
    assert_eq!(kind(RecvTimeoutError::Timeout), ErrorKind::TimedOut);
    assert_eq!(
        kind(RecvError::BufferTooSmall { needed: 2 }),
        ErrorKind::InvalidInput
    );
    assert_eq!(kind(RecvError::Aborted), ErrorKind::InvalidData);
    assert_eq!(kind(TryRecvError::Aborted), ErrorKind::InvalidData);
    assert_eq!(kind(RecvTimeoutError::Aborted), ErrorKind::InvalidData);
    assert_eq!(kind(RecvError::Corrupted), ErrorKind::InvalidData);
    assert_eq!(kind(TryRecvError::Corrupted), ErrorKind::InvalidData);
    assert_eq!(kind(RecvTimeoutError::Corrupted), ErrorKind::InvalidData);
    assert_eq!(kind(RecvError::Reentrant), ErrorKind::Deadlock);
    assert_eq!(kind(TryRecvError::Reentrant), ErrorKind::Deadlock);
    assert_eq!(kind(RecvTimeoutError::Reentrant), ErrorKind::Deadlock);
    assert_eq!(kind(RecvError::Interrupted), ErrorKind::Interrupted);
    assert_eq!(kind(RecvTimeoutError::Interrupted), ErrorKind::Interrupted);
}

fn emfile() -> io::Error {
    io::Error::from_raw_os_error(libc::EMFILE)
}

fn an_operating_system_error_comes_back_as_it_was() {
    let all: [io::Error; 6] = [
        SendError::Io(emfile()).into(),
        TrySendError::Io(emfile()).into(),
        SendTimeoutError::Io(emfile()).into(),
        RecvError::Io(emfile()).into(),
        TryRecvError::Io(emfile()).into(),
        RecvTimeoutError::Io(emfile()).into(),
    ];
    all.iter()
        .for_each(|error| assert_eq!(error.raw_os_error(), Some(libc::EMFILE)));
}

fn the_io_error_keeps_the_original_inside() {
    let error = io::Error::from(SendError::TooLarge { len: 101, max: 100 });
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<SendError>());
    assert!(
        matches!(inner, Some(SendError::TooLarge { len: 101, max: 100 })),
        "{error:?}"
    );
    assert_eq!(
        error.to_string(),
        SendError::TooLarge { len: 101, max: 100 }.to_string()
    );
    let error = io::Error::from(RecvError::Aborted);
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<RecvError>());
    assert!(matches!(inner, Some(RecvError::Aborted)), "{error:?}");
}

fn each_text_is_lower_case_without_full_stop() {
    let all: Vec<Box<dyn Error + Send + Sync>> = vec![
        Box::new(SendError::Disconnected),
        Box::new(SendError::Corrupted),
        Box::new(SendError::TooLarge { len: 2, max: 1 }),
        Box::new(TrySendError::Full),
        Box::new(TrySendError::TooLarge { len: 2, max: 1 }),
        Box::new(TrySendError::TooLargeAtOnce { len: 2, max: 1 }),
        Box::new(SendTimeoutError::Timeout),
        Box::new(SendError::Reentrant),
        Box::new(SendError::Interrupted),
        Box::new(RecvError::Reentrant),
        Box::new(RecvError::Interrupted),
        Box::new(RecvError::Disconnected),
        Box::new(RecvError::Aborted),
        Box::new(RecvError::Corrupted),
        Box::new(RecvError::BufferTooSmall { needed: 2 }),
        Box::new(TryRecvError::Empty),
        Box::new(RecvTimeoutError::Timeout),
    ];
    for error in all {
        let text = error.to_string();
        assert!(
            text.starts_with(|first: char| first.is_lowercase()),
            "{text}"
        );
        assert!(!text.ends_with('.') && !text.is_empty(), "{text}");
        assert!(!format!("{error:?}").is_empty());
        assert!(error.source().is_none(), "{text}");
    }
}

fn each_text_has_its_numbers() {
    let text = SendError::TooLarge { len: 101, max: 100 }.to_string();
    assert!(text.contains("101") && text.contains("100"), "{text}");
    let text = TrySendError::TooLargeAtOnce { len: 101, max: 100 }.to_string();
    assert!(text.contains("101") && text.contains("100"), "{text}");
    let over_the_limit = TrySendError::TooLarge { len: 101, max: 100 };
    assert_ne!(text, over_the_limit.to_string());
    let text = RecvError::BufferTooSmall { needed: 4711 }.to_string();
    assert!(text.contains("4711"), "{text}");
}

fn an_operating_system_error_is_the_source() {
    let error = RecvError::Io(emfile());
    assert_eq!(error.to_string(), emfile().to_string());
    let source = error
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>());
    assert_eq!(source.and_then(io::Error::raw_os_error), Some(libc::EMFILE));
}
