//! All the pipes of a machine at one moment, each once.

use std::collections::BTreeMap;
use std::io;

use super::kernel_pipes::{self, KernelPipe};
use super::processes::{Memory, Place, Processes};
use super::sockets::Sockets;
use super::{Holders, Look, Presence, Process, State, Unreadable, look};
use crate::Backend;
use crate::segment::geometry::{Geometry, Kind};
use crate::segment::label;

/// What a survey of the machine has found.
///
/// # Examples
///
/// See [`take`](Self::take).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Survey {
    /// Every pipe that the caller may see, once for each direction, in the order of their making as far as that
    /// is known.
    pub pipes: Vec<Pipe>,
    /// Processes that the caller may not look into; they may hold pipes, and be more holders of those above.
    pub unreadable_processes: usize,
    /// Kernel pipes of the processes that hold pipes, where they were asked for.
    pub kernel_pipes: Vec<KernelPipe>,
}

/// One direction of a pipe.
///
/// # Examples
///
/// ```
/// use shmpipe::observe::Survey;
///
/// let (_rx, _tx) = shmpipe::pipe()?;
/// for pipe in Survey::take()?.pipes {
///     match &pipe.look {
///         Ok(look) => println!("pipe {}: {} bytes in it, by {}", pipe.inode, look.fill, look.backend),
///         Err(unreadable) => println!("pipe {}: {unreadable}", pipe.inode),
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Pipe {
    /// Inode of its memory, which no other pipe has as long as this one lives.
    pub inode: u64,
    /// The label that its maker gave it. Any characters but control characters if its maker is honest.
    pub label: Option<String>,
    /// What its memory says.
    pub look: Result<Look, Unreadable>,
    /// Who can send.
    pub senders: Holders,
    /// Who can receive.
    pub receivers: Holders,
    /// Who has its memory open and neither side as far as the caller may see. Who has it open for reading alone is not
    /// counted: that is somebody who looks, as a survey does.
    pub others: Vec<Process>,
}

impl Pipe {
    /// What it is doing.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::observe::{Pipe, State, Survey};
    ///
    /// let (_rx, tx) = shmpipe::PipeOptions::new().label("deserted").pipe()?;
    /// drop(tx);
    /// let survey = Survey::take()?;
    /// let own = |pipe: &&Pipe| pipe.is_held_by(std::process::id()) && pipe.label.as_deref() == Some("deserted");
    /// let pipe = survey.pipes.iter().find(own).expect("our own process is readable");
    ///
    /// assert_eq!(pipe.state(), State::EndOfFile);
    /// assert_eq!(pipe.state().to_string(), "end-of-file");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn state(&self) -> State {
        State::of(self)
    }

    /// Whether this process has any part of it open.
    ///
    /// # Examples
    ///
    /// See [`state`](Self::state).
    pub fn is_held_by(&self, pid: u32) -> bool {
        let sides = self.senders.processes.iter();
        sides
            .chain(&self.receivers.processes)
            .chain(&self.others)
            .any(|process| process.pid == pid)
    }
}

impl Survey {
    /// Looks at every pipe on the machine.
    ///
    /// Pipes are found through the descriptors of processes that the caller may look into: one's own, or all with
    /// the rights of root (`PTRACE_MODE_READ_FSCREDS`, ptrace(2)).
    ///
    /// While the link of a descriptor in `/proc/PID/fd` is read, the kernel holds the file. A side whose last descriptor is
    /// closed in just that time ends when the link is read, whoever reads it: mostly microseconds later, and longer where the
    /// reader loses its CPU there. Who waits for the end is woken by it.
    ///
    /// # Errors
    ///
    /// `/proc` cannot be read. What cannot be read of one process or pipe is in the result.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::observe::Survey;
    ///
    /// let (_rx, _tx) = shmpipe::pipe()?;
    /// let survey = Survey::take()?;
    /// for pipe in &survey.pipes {
    ///     let label = pipe.label.as_deref().unwrap_or("-");
    ///     println!("{label}: {}, sent by {:?}", pipe.state(), pipe.senders.processes);
    /// }
    /// assert!(survey.pipes.iter().any(|pipe| pipe.is_held_by(std::process::id())));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn take() -> io::Result<Self> {
        Self::of(Processes::list()?, false)
    }

    /// Takes a survey as [`take`](Self::take) does, and looks at the kernel pipes of the processes that hold pipes too.
    ///
    /// To ask a kernel pipe how full it is takes a descriptor of it, so the caller is one of its readers for some
    /// microseconds each: a writer whose last reader goes in just that time gets its broken pipe so much later.
    ///
    /// # Errors
    ///
    /// The errors of [`take`](Self::take).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::{fd::AsRawFd, linux::fs::MetadataExt};
    ///
    /// let (_reader, writer) = nix::unistd::pipe()?;
    /// nix::unistd::write(&writer, b"five!")?;
    /// let (_rx, _tx) = shmpipe::pipe()?; // so that this process is one of those that hold pipes
    /// let survey = shmpipe::observe::Survey::take_with_kernel_pipes()?;
    /// let file = std::fs::metadata(format!("/proc/self/fd/{}", writer.as_raw_fd()))?;
    /// let pipe = survey.kernel_pipes.iter().find(|pipe| pipe.inode == file.st_ino());
    /// assert_eq!(pipe.expect("our own process is readable").fill, 5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn take_with_kernel_pipes() -> io::Result<Self> {
        Self::of(Processes::list()?, true)
    }

    fn of(processes: Processes, with_kernel_pipes: bool) -> io::Result<Self> {
        let place = Place::of_memory();
        let mut by_inode: BTreeMap<u64, Vec<&Memory>> = BTreeMap::new();
        for memory in &processes.memories {
            // Whatever else is called so is none of ours and might not answer.
            if place.is_none_or(|place| place.has(memory)) {
                by_inode.entry(memory.inode).or_default().push(memory);
            }
        }
        let mut sockets = None;
        let mut sightings = Vec::new();
        for (inode, memories) in by_inode {
            let found = look_through(&processes, inode, &memories, place);
            let is_ring =
                matches!(&found, Ok((geometry, _)) if geometry.kind() == Some(Kind::Ring));
            if is_ring && sockets.is_none() {
                sockets = Some(Sockets::list().unwrap_or_default());
            }
            let pipe = sight(&processes, inode, &memories, found, sockets.as_ref());
            // One that has died while it was looked at is no pipe any more.
            sightings.extend(pipe);
        }
        let kernel_pipes = if with_kernel_pipes {
            kernel_pipes::look(&processes, &mut sightings)
        } else {
            Vec::new()
        };
        let mut pipes: Vec<Pipe> = sightings
            .into_iter()
            .map(|sighting| sighting.pipe)
            .collect();
        pipes.sort_by_key(|pipe| {
            let age = pipe.look.as_ref().ok().and_then(|look| look.age);
            (std::cmp::Reverse(age), pipe.inode)
        });
        Ok(Self {
            pipes,
            unreadable_processes: processes.unreadable,
            kernel_pipes,
        })
    }
}

/// A pipe, and the inode of the kernel pipe that carries it, if one does.
pub(super) struct Sighting {
    pub(super) pipe: Pipe,
    pub(super) carrier: Option<u64>,
}

/// Looks through the first descriptor that still leads to the memory; `None` inside when none does.
fn look_through(
    processes: &Processes,
    inode: u64,
    memories: &[&Memory],
    place: Option<Place>,
) -> Result<(Geometry, Look), Option<Unreadable>> {
    let Some(place) = place else {
        let why = "no memfd can be made to compare it with, so it is not opened";
        return Err(Some(Unreadable(why.into())));
    };
    let mut refused = None;
    for memory in memories {
        let file = match processes.open(&memory.held, inode, place) {
            Ok(Some(file)) => file,
            Ok(None) => continue,
            Err(error) => {
                refused = Some(Unreadable::from(error));
                continue;
            }
        };
        let geometry = look::geometry(&file).map_err(Some)?;
        let look = look::take(&file, &geometry).map_err(Some)?;
        return Ok((geometry, look));
    }
    Err(refused)
}

fn sight(
    processes: &Processes,
    inode: u64,
    memories: &[&Memory],
    found: Result<(Geometry, Look), Option<Unreadable>>,
    sockets: Option<&Sockets>,
) -> Option<Sighting> {
    let name = &memories.first()?.name;
    let (_, label) = label::parse(name)?;
    let mut carrier = None;
    let (look, senders, receivers) = match found {
        Err(None) => return None,
        Err(Some(reason)) => {
            let nobody = Holders::new(Vec::new(), Presence::Unknown);
            (Err(reason), nobody.clone(), nobody)
        }
        Ok((geometry, look)) => {
            let sides = geometry.sides();
            let (senders, receivers) = if look.backend == Backend::Kernel {
                carrier = Some(sides.tx.identity).filter(|&inode| inode != 0);
                pipe_sides(processes, carrier)
            } else {
                socket_sides(processes, sides.tx.identity, sides.rx.identity, sockets)
            };
            (Ok(look), senders, receivers)
        }
    };
    let mut pipe = Pipe {
        inode,
        label: label.map(str::to_owned),
        look,
        senders,
        receivers,
        others: Vec::new(),
    };
    let mut others = processes.of(memories.iter().map(|memory| &memory.held));
    others.retain(|process| !pipe.is_held_by(process.pid));
    others.sort();
    others.dedup();
    pipe.others = others;
    Some(Sighting { pipe, carrier })
}

/// Who holds the two sockets of a ring. A socket that is in nobody's table, while the other one is in this
/// namespace's, is closed for good.
fn socket_sides(
    processes: &Processes,
    tx: u64,
    rx: u64,
    sockets: Option<&Sockets>,
) -> (Holders, Holders) {
    let inode = |cookie| sockets.and_then(|sockets| sockets.inode(cookie));
    let (tx, rx) = (inode(tx), inode(rx));
    let side = |own: Option<u64>, other: Option<u64>| {
        let held = own.and_then(|inode| processes.sockets.get(&inode));
        let presence = match (own, other) {
            (Some(_), _) => Presence::Held,
            (None, Some(_)) => Presence::Closed,
            (None, None) => Presence::Unknown,
        };
        Holders::new(processes.of(held.into_iter().flatten()), presence)
    };
    (side(tx, rx), side(rx, tx))
}

/// Who holds the two ends of a kernel pipe; whom the caller may not see may hold them too.
fn pipe_sides(processes: &Processes, carrier: Option<u64>) -> (Holders, Holders) {
    let held = carrier.and_then(|inode| processes.pipes.get(&inode));
    let if_none = if processes.unreadable == 0 && carrier.is_some() {
        Presence::Closed
    } else {
        Presence::Unknown
    };
    kernel_pipes::sides(processes, held.map_or(&[], Vec::as_slice), if_none)
}
