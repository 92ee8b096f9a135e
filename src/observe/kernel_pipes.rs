//! Kernel pipes of the processes that hold pipes of ours: how large, how full, and whose.
//!
//! To ask, one has to open them, which makes one a reader; each is closed before the next is opened.

use std::os::fd::AsFd;

use super::processes::{Descriptor, Place, Processes};
use super::survey::Sighting;
use super::{Holders, Presence};
use crate::sys::pipe;

/// A pipe(2) as one look found it.
///
/// # Examples
///
/// See [`Survey::take_with_kernel_pipes`](super::Survey::take_with_kernel_pipes).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KernelPipe {
    /// Its inode, the number in `pipe:[…]`.
    pub inode: u64,
    /// Bytes that it can hold (`F_GETPIPE_SZ`).
    pub capacity: u64,
    /// Bytes in it (`FIONREAD`).
    pub fill: u64,
    /// Who can write to it.
    pub writers: Holders,
    /// Who can read from it.
    pub readers: Holders,
}

/// Looks at the kernel pipes that the holders of `pipes` have, and fills in how full those are that carry one of
/// `pipes`, which are not listed by themselves.
pub(super) fn look(processes: &Processes, pipes: &mut [Sighting]) -> Vec<KernelPipe> {
    let mut found = Vec::new();
    let Some(place) = Place::of_pipes() else {
        return found;
    };
    for (&inode, held) in &processes.pipes {
        let carried = pipes.iter_mut().find(|pipe| pipe.carrier == Some(inode));
        if let Some(carried) = carried {
            if let (Ok(look), Some((capacity, fill))) = (
                &mut carried.pipe.look,
                measure(processes, held, inode, place),
            ) {
                look.capacity = Some(capacity);
                look.fill = fill;
            }
            continue;
        }
        let is_near = held.iter().any(|held| {
            let pid = processes.all[held.process].pid;
            pipes.iter().any(|sighting| sighting.pipe.is_held_by(pid))
        });
        if !is_near {
            continue;
        }
        if let Some((capacity, fill)) = measure(processes, held, inode, place) {
            let (writers, readers) = sides(processes, held, Presence::Unknown);
            found.push(KernelPipe {
                inode,
                capacity,
                fill,
                writers,
                readers,
            });
        }
    }
    found.sort_by_key(|pipe| pipe.inode);
    found
}

/// Capacity and fill, through the first descriptor that can be opened.
fn measure(
    processes: &Processes,
    held: &[Descriptor],
    inode: u64,
    place: Place,
) -> Option<(u64, u64)> {
    held.iter().find_map(|held| {
        let file = processes.open(held, inode, place).ok()??;
        let capacity = pipe::capacity(file.as_fd()).ok()?;
        let fill = pipe::queued(file.as_fd()).ok()?;
        Some((capacity as u64, fill as u64))
    })
}

/// Who has the descriptors for writing, and who for reading.
pub(super) fn sides(
    processes: &Processes,
    held: &[Descriptor],
    if_none_is_seen: Presence,
) -> (Holders, Holders) {
    let (mut writers, mut readers) = (Vec::new(), Vec::new());
    for held in held {
        match processes.is_writer(held) {
            Some(true) => writers.push(held),
            Some(false) => readers.push(held),
            None => {}
        }
    }
    let holders = |held: Vec<&Descriptor>| Holders::new(processes.of(held), if_none_is_seen);
    (holders(writers), holders(readers))
}
