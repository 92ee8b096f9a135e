//! Ends for [tokio]: the same pipes, in tasks instead of threads. Feature `tokio`.
//!
//! An end is made from a blocking one ([`Receiver::from_blocking`], or `try_into()`) inside a runtime with I/O
//! enabled, and can be turned back. Both sides of a pipe are free to be of either kind, in the same or another
//! process. Making one puts its side into the mode of [`Receiver::as_fd`](crate::Receiver#impl-AsFd-for-Receiver)
//! and takes a descriptor of its own, and one for all of them at the end, neither of which holds the side.
//!
//! They are handed over as blocking ends are: by [`inherit`](Receiver::inherit) and
//! [`from_env`](Receiver::from_env), or [in messages](Sender::send_with_end). For every other way call
//! `into_blocking()` and then `into_fds`, and on the other side `from_fds` and then `from_blocking`. Only the blocking
//! ends have batches, `reserve` and `wait`; `into_blocking()` leads to those too.
//!
//! # Dropped futures
//!
//! Every call is cancel safe. A dropped [`recv`](Receiver::recv) has taken no message: it takes one only in the poll that
//! returns it. Fragments of a long one stay for the next call. A dropped [`send`](Sender::send) has sent nothing, however
//! long the message. So a time-out is `tokio::time::timeout` around either, and `select!` may drop both. The byte streams
//! are as safe as tokio says of its `read` and `write`; `read_exact` and `write_all` are not.
//!
//! No call of these ends takes a thread of the runtime's pool for blocking work.
//!
//! # Forks
//!
//! A runtime does not survive fork(2): the child has none of its threads, and shares its epoll(7) instance with the
//! parent. A child may drop its copies of these ends, which takes nothing from the parent. Waiting in a copy fails with
//! `Unsupported`, and so does its `try_clone`. A child uses the blocking end, which `into_blocking()` returns, and may
//! make of that an end in a runtime of its own. It must not go on with its copy of the parent's runtime, because that
//! would take the events that the parent waits for.
//!
//! # Examples
//!
//! `examples/tokio.rs` is a server of tasks for processes that block.
//!
//! ```
//! # #[::tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (rx, mut tx) = shmpipe::pipe()?;
//! let mut rx = shmpipe::tokio::Receiver::from_blocking(rx)?;
//! let other_side = std::thread::spawn(move || tx.send(b"from a thread"));
//! assert_eq!(&*rx.recv().await?, b"from a thread");
//! other_side.join().unwrap()?;
//! # Ok(())
//! # }
//! ```

// In this order the documentation of an end shows its calls: those of a file that is declared earlier come first.
mod connection;
mod receiver;
mod sender;

mod ancillary;
mod handed;

mod pause;
mod registered;
mod watch;

pub use connection::Connection;
pub use receiver::Receiver;
pub use sender::Sender;

crate::ends::unwind::unwind_safe! {
    [] Sender;
    [] Receiver;
    [] Connection;
}
