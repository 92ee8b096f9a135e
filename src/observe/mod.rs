//! Looking at the pipes of a machine from outside, without disturbing them (feature `observe`).
//!
//! [`Survey::take`] finds every pipe of this crate that the caller may see, through `/proc/PID/fd`, and reads its
//! counters (`docs/protocol.md`). What it does to a pipe is next to nothing:
//!
//! - It opens the pipe's memory for reading, by a description of its own, reads its first page and the lengths of
//!   the messages in it by pread(2) and closes it again; it maps nothing and takes no lock.
//! - It opens no end: neither the sockets that count the holders of a ring nor a kernel pipe. So no side lives
//!   longer, and no end-of-file comes later, for being looked at.
//!   [`Survey::take_with_kernel_pipes`] is the exception that one has to ask for: it opens kernel pipes for reading,
//!   for the few microseconds that two questions take.
//! - It believes nothing: memory that fails the checks under which an end would be attached, or whose positions
//!   cannot be, is a pipe with an [`Unreadable`] look, and never a panic.
//!
//! All numbers are of one moment, but not of exactly the same one: the other processes go on.
//!
//! ```
//! use shmpipe::observe::{Pipe, Survey};
//!
//! let (_rx, mut tx) = shmpipe::PipeOptions::new().label("example").pipe()?;
//! tx.send(b"five!")?;
//! let survey = Survey::take()?;
//! let own = |pipe: &&Pipe| pipe.is_held_by(std::process::id()) && pipe.label.as_deref() == Some("example");
//! let pipe = survey.pipes.iter().find(own).expect("our own process is readable");
//! let look = pipe.look.as_ref().expect("and the pipe is well");
//! assert_eq!((look.sender.messages, look.sender.bytes), (1, 5));
//! assert_eq!(look.receiver.messages, 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod holders;
mod kernel_pipes;
mod look;
mod processes;
mod sockets;
mod state;
mod survey;
mod walk;

pub use holders::{Holders, Presence, Process};
pub use kernel_pipes::KernelPipe;
pub use look::{Look, Side, Unreadable};
pub use state::State;
pub use survey::{Pipe, Survey};
