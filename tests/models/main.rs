//! Exhaustive models of what must survive a SIGKILL at any step: the doorbell, watched sides and the side
//! lock.
//!
//! They follow the code of `src/wait` and `src/ring/lock.rs` step by step, and each step names the
//! function it stands for; they do not run that code, which is for loom and for the tests that kill
//! processes. Every wrong order that the code avoids is tried too, to show that the explorer finds it.

mod doorbell;
mod explorer;
mod poll_group;
mod readiness;
mod side_lock;
