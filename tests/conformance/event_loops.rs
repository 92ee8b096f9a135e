//! Readiness in event loops: epoll(7) by level and by edge, and mio as it is.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Token};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use shmpipe::{Backend, Receiver, Sender, TryRecvError, TrySendError};

use crate::ends::{FILLER, open};
use crate::support::{Child, check, fork, fork_apart, on_both_backends, pattern};

on_both_backends! {
    epoll_by_level_serves_many_pipes_until_their_ends,
    epoll_by_edge_serves_many_pipes_until_their_ends,
    epoll_by_level_sends_through_many_pipes,
    epoll_by_edge_sends_through_many_pipes,
    mio_serves_many_pipes_until_their_ends,
    mio_sends_through_many_pipes,
    one_epoll_instance_takes_both_ends_of_a_pipe,
}

const PIPES: usize = 8;
const MESSAGES: u64 = 400;

/// Tells which of the registered ends are ready, waiting for the first.
trait EventLoop {
    fn add(&mut self, end: &impl AsFd, index: usize) -> io::Result<()>;
    fn remove(&mut self, end: &impl AsFd) -> io::Result<()>;
    fn ready(&mut self) -> Vec<usize>;
    /// Whether an end has to be used up before it is told of again.
    fn is_by_edge(&self) -> bool;
}

struct ByEpoll {
    epoll: Epoll,
    flags: EpollFlags,
}

impl ByEpoll {
    fn new(flags: EpollFlags) -> Self {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
        Self { epoll, flags }
    }
}

impl EventLoop for ByEpoll {
    fn add(&mut self, end: &impl AsFd, index: usize) -> io::Result<()> {
        let event = EpollEvent::new(EpollFlags::EPOLLIN | self.flags, index as u64);
        Ok(self.epoll.add(end, event)?)
    }

    fn remove(&mut self, end: &impl AsFd) -> io::Result<()> {
        Ok(self.epoll.delete(end)?)
    }

    fn ready(&mut self) -> Vec<usize> {
        let mut events = [EpollEvent::empty(); 3];
        let count = self.epoll.wait(&mut events, EpollTimeout::NONE).unwrap();
        let indices = events[..count].iter().map(EpollEvent::data);
        indices
            .map(|index| usize::try_from(index).unwrap())
            .collect()
    }

    fn is_by_edge(&self) -> bool {
        self.flags.contains(EpollFlags::EPOLLET)
    }
}

struct ByMio(mio::Poll);

impl EventLoop for ByMio {
    fn add(&mut self, end: &impl AsFd, index: usize) -> io::Result<()> {
        let fd = end.as_fd().as_raw_fd();
        let registry = self.0.registry();
        registry.register(&mut SourceFd(&fd), Token(index), Interest::READABLE)
    }

    fn remove(&mut self, end: &impl AsFd) -> io::Result<()> {
        let fd = end.as_fd().as_raw_fd();
        self.0.registry().deregister(&mut SourceFd(&fd))
    }

    fn ready(&mut self) -> Vec<usize> {
        let mut events = Events::with_capacity(3);
        self.0.poll(&mut events, None).unwrap();
        events.iter().map(|event| event.token().0).collect()
    }

    fn is_by_edge(&self) -> bool {
        true
    }
}

/// A child for each pipe, which sends in bursts and then leaves.
fn senders(backend: Backend) -> (Vec<Receiver>, Vec<Child>) {
    let mut rxs = Vec::new();
    let mut children = Vec::new();
    for sender in 0..PIPES {
        let (rx, mut tx) = open(backend);
        children.push(fork(|| {
            drop(std::mem::take(&mut rxs));
            for number in 0..MESSAGES {
                tx.send(&pattern(sender as u16, number, FILLER)).unwrap();
                if number % 50 == 49 {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }));
        drop(tx);
        rxs.push(rx);
    }
    (rxs, children)
}

fn serve(backend: Backend, mut events: impl EventLoop) {
    let (mut rxs, children) = senders(backend);
    for (index, rx) in rxs.iter().enumerate() {
        events.add(rx, index).unwrap();
    }
    let mut next = [0; PIPES];
    let mut open = PIPES;
    while open > 0 {
        for index in events.ready() {
            let rx = &mut rxs[index];
            loop {
                match rx.try_recv() {
                    Ok(message) => {
                        check(&message, index as u16, next[index], FILLER);
                        next[index] += 1;
                    }
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => {
                        events.remove(rx).unwrap();
                        open -= 1;
                        break;
                    }
                    Err(error) => panic!("{error}"),
                }
                if !events.is_by_edge() {
                    break;
                }
            }
        }
    }
    assert_eq!(next, [MESSAGES; PIPES]);
    children.into_iter().for_each(Child::join);
}

fn epoll_by_level_serves_many_pipes_until_their_ends(backend: Backend) {
    serve(backend, ByEpoll::new(EpollFlags::empty()));
}

fn epoll_by_edge_serves_many_pipes_until_their_ends(backend: Backend) {
    serve(backend, ByEpoll::new(EpollFlags::EPOLLET));
}

fn mio_serves_many_pipes_until_their_ends(backend: Backend) {
    serve(backend, ByMio(mio::Poll::new().unwrap()));
}

/// A child for each pipe, which receives all and then leaves.
fn receivers(backend: Backend) -> (Vec<Sender>, Vec<Child>) {
    let mut txs: Vec<Sender> = Vec::new();
    let mut children = Vec::new();
    for sender in 0..PIPES {
        let (mut rx, tx) = open(backend);
        let (child, tx) = fork_apart(tx, || {
            drop(std::mem::take(&mut txs));
            for number in 0..MESSAGES {
                check(&rx.recv().unwrap(), sender as u16, number, FILLER);
            }
        });
        children.push(child);
        txs.push(tx);
    }
    (txs, children)
}

fn send(backend: Backend, mut events: impl EventLoop) {
    let (mut txs, children) = receivers(backend);
    for (index, tx) in txs.iter().enumerate() {
        events.add(tx, index).unwrap();
    }
    let mut next = [0; PIPES];
    let mut open = PIPES;
    while open > 0 {
        for index in events.ready() {
            let tx = &mut txs[index];
            loop {
                match tx.try_send(&pattern(index as u16, next[index], FILLER)) {
                    Ok(()) => next[index] += 1,
                    Err(TrySendError::Full) => break,
                    // The receiver has all it wants.
                    Err(TrySendError::Disconnected) => {
                        assert!(next[index] >= MESSAGES);
                        events.remove(tx).unwrap();
                        open -= 1;
                        break;
                    }
                    Err(error) => panic!("{error}"),
                }
                if !events.is_by_edge() {
                    break;
                }
            }
        }
    }
    children.into_iter().for_each(Child::join);
}

fn epoll_by_level_sends_through_many_pipes(backend: Backend) {
    send(backend, ByEpoll::new(EpollFlags::empty()));
}

fn epoll_by_edge_sends_through_many_pipes(backend: Backend) {
    send(backend, ByEpoll::new(EpollFlags::EPOLLET));
}

fn mio_sends_through_many_pipes(backend: Backend) {
    send(backend, ByMio(mio::Poll::new().unwrap()));
}

fn one_epoll_instance_takes_both_ends_of_a_pipe(backend: Backend) {
    let (mut rx, mut tx) = open(backend);
    let mut events = ByEpoll::new(EpollFlags::empty());
    events.add(&rx, 0).unwrap();
    events.add(&tx, 1).unwrap();
    assert_eq!(events.ready(), [1]);
    tx.send(b"x").unwrap();
    let mut ready = events.ready();
    ready.sort_unstable();
    assert_eq!(ready, [0, 1]);
    rx.recv().unwrap();
    assert_eq!(events.ready(), [1]);
}
