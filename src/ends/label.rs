//! A pipe's label, for people and tools that look at a machine from outside.

use std::io;

use crate::PipeOptions;
use crate::ends::options::invalid_input;
use crate::segment::label;

/// # Name
impl PipeOptions {
    /// Names the pipe for those who look at it from outside: its memory shows in `/proc/PID/fd` as
    /// `memfd:shmpipe:LABEL`, on the kernel backend the page beside the pipe as `memfd:shmpipe-kernel:LABEL`,
    /// and `shmpipe ls` prints the label.
    ///
    /// Nothing else depends on it, and several pipes may have the same one. A kernel pipe has none where
    /// memfd_create(2) is refused.
    ///
    /// [`pipe`](Self::pipe) and [`duplex`](Self::duplex) report `InvalidInput`, naming the value, for a label
    /// that is empty, longer than 234 bytes (what memfd_create(2) leaves of its 249), or has a control
    /// character in it, NUL among them.
    ///
    /// # Examples
    ///
    /// ```
    /// let (_rx, tx) = shmpipe::PipeOptions::new().label("frames").pipe()?;
    /// let names: Vec<_> = std::fs::read_dir("/proc/self/fd")?
    ///     .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
    ///     .collect();
    /// assert!(names.iter().any(|name| name.to_string_lossy().contains(":frames")));
    /// # drop(tx);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn label(mut self, label: &str) -> Self {
        self.label = Some(label.to_owned());
        self
    }

    /// The label, once it is known that it can be one.
    pub(crate) fn checked_label(&self) -> io::Result<Option<&str>> {
        if let Some(wanted) = &self.label {
            label::check(wanted).map_err(invalid_input)?;
        }
        Ok(self.label.as_deref())
    }
}
