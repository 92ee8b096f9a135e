//! Stands in for `sys::futex` under the model checker.

use std::io;
use std::ptr;

use super::clock::Deadline;
use super::kernel::queue;
use crate::sync::{AtomicU32, Ordering};

pub(crate) const WAITERS: u32 = 0x8000_0000;
pub(crate) const OWNER_DIED: u32 = 0x4000_0000;
pub(crate) const TID_MASK: u32 = 0x3fff_ffff;

pub(crate) fn wait(word: &AtomicU32, expected: u32, deadline: Deadline) -> io::Result<()> {
    queue(ptr::from_ref(word).addr()).sleep(deadline, || word.load(Ordering::Relaxed) == expected);
    Ok(())
}

pub(crate) fn wake(word: &AtomicU32, count: i32) -> usize {
    queue(ptr::from_ref(word).addr()).wake(count.unsigned_abs() as usize)
}

pub(crate) fn is_available() -> io::Result<()> {
    Ok(())
}
