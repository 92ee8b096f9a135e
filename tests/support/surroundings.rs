//! Processes in poor surroundings: without /proc, without a descriptor to spare, in namespaces of their own.
//!
//! What a privilege is needed for is done in a user namespace of one's own where the caller has none.

use std::fs;
use std::os::fd::AsRawFd;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Pid, chroot, getegid, geteuid, mkdtemp};

use super::{calls, fork, skipped, with_fd_limit};

/// Makes the calling process, of one thread, able to change its root and its namespaces. It says that the test is skipped
/// where it cannot be.
pub(crate) fn privileged() -> bool {
    let (uid, gid) = (geteuid(), getegid());
    if uid.is_root() {
        return true;
    }
    if let Err(errno) = unshare(CloneFlags::CLONE_NEWUSER) {
        skipped(&format!("no user namespace of one's own: {errno}"));
        return false;
    }
    fs::write("/proc/self/setgroups", "deny").expect("the own process");
    fs::write("/proc/self/uid_map", format!("0 {uid} 1")).expect("the own process");
    fs::write("/proc/self/gid_map", format!("0 {gid} 1")).expect("the own process");
    true
}

/// Leaves the calling process, which is [`privileged`], without /proc: its root is an empty directory from now on, which
/// has no name any more and is gone with the process.
pub(crate) fn without_proc() {
    let empty = mkdtemp(&std::env::temp_dir().join("shmpipe-test-XXXXXX"))
        .expect("a directory of one's own");
    std::env::set_current_dir(&empty).expect("a directory of one's own");
    fs::remove_dir(&empty).expect("an empty directory");
    chroot(".").expect("the privilege");
    fs::read_dir("/proc").expect_err("an empty directory");
}

/// From now on nothing finds out about processes through descriptors: pidfd_open(2) is refused.
pub(crate) fn without_pidfds() {
    calls(libc::SYS_pidfd_open).refuse(libc::EPERM);
}

/// Runs `work` while no descriptor at all can be made.
pub(crate) fn without_spare_descriptors<T>(work: impl FnOnce() -> T) -> T {
    let lowest_free = fs::File::open("/")
        .expect("a descriptor to spare")
        .as_raw_fd();
    with_fd_limit(u64::try_from(lowest_free).expect("a number"), work)
}

/// Runs `work` in the first process of a pid namespace, which has a /proc of its own: nobody but the forks of that
/// process is in it. It says that the test is skipped where that cannot be.
pub(crate) fn in_a_namespace_of_its_own(work: impl FnOnce()) {
    fork(|| {
        if !privileged() {
            return;
        }
        if let Err(errno) = unshare(CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS) {
            return skipped(&format!("no namespaces of one's own: {errno}"));
        }
        fork(|| {
            let none = None::<&str>;
            let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            mount(none, "/", none, private, none).expect("a namespace of one's own");
            match mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), none) {
                Ok(()) => work(),
                Err(errno) => skipped(&format!("no /proc of one's own: {errno}")),
            }
        })
        .join();
    })
    .join();
}

/// Whether the main thread of a process has ended, as /proc shows it.
pub(crate) fn has_ended(process: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"));
    stat.is_ok_and(|stat| {
        stat.rsplit_once(')')
            .expect("proc_pid_stat(5)")
            .1
            .starts_with(" Z")
    })
}
