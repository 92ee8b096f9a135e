//! The single checks: each reads what the kernel reports and judges it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use shmpipe::observe::{Presence, Survey};
use shmpipe::{Backend, PipeOptions};

use super::Finding;
use crate::look::units::{rate, size};
use shmpipe_measure::machine;

/// What to do where a limit on the size of files is in the way.
pub(super) const FILE_SIZE_REMEDY: &str = "a pipe's memory counts as a file: over the limit on their size \
    (RLIMIT_FSIZE) it falls back to a kernel pipe; raise it by ulimit -f";

/// All of them, in the order in which they are printed.
pub(crate) fn all() -> Vec<Finding> {
    vec![
        kernel(),
        cpus(),
        quota(),
        memory_files(),
        shared_memory(),
        kernel_pipes(),
        free_memory(),
        descriptors(),
        file_size(),
        largest_pipe(),
        view_of_others(),
        ptrace_scope(),
        socket_list(),
        huge_pages(),
    ]
}

fn line(path: impl AsRef<Path>) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.lines().next()?.trim().to_owned())
}

fn kernel() -> Finding {
    let release = machine::kernel_release();
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version < (5, 16) {
        Finding::problem(
            "kernel",
            release,
            "older than 5.16: a thread that dies may leave a side locked; use a newer kernel",
        )
    } else if version < (6, 9) {
        Finding::note(
            "kernel",
            release,
            "before 6.9 processes are told apart by their start time, which is less sharp",
        )
    } else {
        Finding::ok("kernel", release)
    }
}

fn cpus() -> Finding {
    match machine::usable_cpus() {
        Err(error) => Finding::problem(
            "CPUs",
            error.to_string(),
            "sched_getaffinity(2) has to be allowed",
        ),
        Ok(cpus) if cpus.len() < 2 => Finding::note(
            "CPUs",
            format!("1 usable (CPU {})", cpus.first().copied().unwrap_or(0)),
            "both sides share it: each message costs a switch of processes, some µs; widen the affinity mask",
        ),
        Ok(cpus) => Finding::ok("CPUs", format!("{} usable", cpus.len())),
    }
}

/// The directory of this process's own cgroup, version 2.
fn cgroup() -> Option<PathBuf> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    Some(Path::new("/sys/fs/cgroup").join(own.trim_start_matches('/')))
}

/// The tightest setting called `name` of this cgroup and those around it.
fn tightest(name: &str, parse: impl Fn(&str) -> Option<f64>) -> Option<f64> {
    let own = cgroup()?;
    let groups = own
        .ancestors()
        .take_while(|path| path.starts_with("/sys/fs/cgroup"));
    groups
        .filter_map(|group| parse(&line(group.join(name))?))
        .min_by(f64::total_cmp)
}

fn quota() -> Finding {
    let share = |text: &str| {
        let (quota, period) = text.split_once(' ')?;
        Some(quota.parse::<f64>().ok()? / period.parse::<f64>().ok()?)
    };
    match tightest("cpu.max", share) {
        None => Finding::ok("cgroup quota", "none"),
        Some(cpus) if cpus < 2.0 => Finding::note(
            "cgroup quota",
            format!("{cpus:.2} CPUs"),
            "spinning eats into it and throttling stops both sides for tens of ms; give two CPUs or more",
        ),
        Some(cpus) => Finding::ok("cgroup quota", format!("{cpus:.2} CPUs")),
    }
}

fn memory_files() -> Finding {
    let what = "memfd and seals";
    let remedy =
        "allow memfd_create(2) and fcntl(2) F_ADD_SEALS; pipes fall back to kernel pipes without";
    let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    let outcome = memfd_create(c"shmpipe doctor", MFdFlags::MFD_ALLOW_SEALING)
        .and_then(|memory| fcntl(memory, FcntlArg::F_ADD_SEALS(seals)));
    match outcome {
        Ok(_) => Finding::ok(what, "available"),
        Err(errno) => Finding::note(what, errno.desc(), remedy),
    }
}

fn shared_memory() -> Finding {
    let what = "shared memory";
    match PipeOptions::new().backend(Backend::SharedMemory).pipe() {
        Ok(_) => Finding::ok(what, "memory, futex, robust locks and sockets work"),
        Err(error) if is_over_file_size(&error) => {
            Finding::note(what, error.to_string(), FILE_SIZE_REMEDY)
        }
        Err(error) if is_short_of_something(&error) => Finding::problem(
            what,
            error.to_string(),
            "no pipe can be made, on kernel pipes neither: see memory and descriptors below",
        ),
        Err(error) => Finding::note(
            what,
            error.to_string(),
            "pipes fall back to kernel pipes where a call is refused; allow that call for the speed",
        ),
    }
}

/// Whether a pipe is larger than the caller's limit on the size of files.
pub(super) fn is_over_file_size(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::FileTooLarge
}

/// Whether an error shows a want that no fall-back helps against.
fn is_short_of_something(error: &io::Error) -> bool {
    let errno = shmpipe::raw_os_error(error).map(Errno::from_raw);
    matches!(
        errno,
        Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::ENOSPC)
    )
}

fn kernel_pipes() -> Finding {
    match PipeOptions::new().backend(Backend::Kernel).pipe() {
        Ok(_) => Finding::ok("kernel pipes", "work"),
        Err(error) => Finding::problem(
            "kernel pipes",
            error.to_string(),
            "there is nothing to fall back to: allow pipe2(2), and see descriptors below",
        ),
    }
}

fn free_memory() -> Finding {
    let what = "memory";
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        .map_or(0, |kib| kib * 1024);
    let limit = tightest("memory.max", |text| text.parse().ok());
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a limit in bytes"
    )]
    let limit = limit.map_or(u64::MAX, |limit| limit as u64);
    let found = if limit == u64::MAX {
        format!("{}B available, no cgroup limit", rate(available as f64))
    } else {
        format!(
            "{}B available, cgroup limit {}B",
            rate(available as f64),
            rate(limit as f64)
        )
    };
    if available.min(limit) < 64 << 20 {
        Finding::note(
            what,
            found,
            "a pipe's capacity is allocated when it is made: keep capacities small",
        )
    } else {
        Finding::ok(what, found)
    }
}

fn descriptors() -> Finding {
    let what = "descriptors";
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Err(errno) => Finding::problem(what, errno.desc(), "getrlimit(2) has to be allowed"),
        Ok((soft, hard)) if soft < 1024 => Finding::note(
            what,
            format!("{soft} a process, at most {hard}"),
            "an end takes two, a two-way end four: raise it by ulimit -n",
        ),
        Ok((soft, _)) => Finding::ok(what, format!("{soft} a process")),
    }
}

fn file_size() -> Finding {
    let what = "file size";
    match getrlimit(Resource::RLIMIT_FSIZE) {
        Ok((RLIM_INFINITY, _)) => Finding::ok(what, "no limit"),
        Ok((soft, _)) => Finding::note(
            what,
            format!("limited to {} bytes", soft),
            "a pipe larger than this falls back to a kernel pipe, or is refused: raise it by ulimit -f",
        ),
        Err(errno) => Finding::problem(what, errno.desc(), "getrlimit(2) has to be allowed"),
    }
}

fn largest_pipe() -> Finding {
    let what = "pipe-max-size";
    let most: Option<u64> = line("/proc/sys/fs/pipe-max-size").and_then(|text| text.parse().ok());
    match most {
        None => Finding::note(
            what,
            "unknown",
            "/proc/sys/fs/pipe-max-size is not readable",
        ),
        Some(most) if most < 1 << 20 => Finding::note(
            what,
            size(most),
            "kernel pipes of 1 MiB are refused: sysctl fs.pipe-max-size=1048576",
        ),
        Some(most) => Finding::ok(what, size(most)),
    }
}

fn view_of_others() -> Finding {
    let what = "view of processes";
    match Survey::take() {
        Err(error) => {
            Finding::problem(what, error.to_string(), "mount /proc, for ls, top and stat")
        }
        Ok(survey) if survey.unreadable_processes > 0 => Finding::note(
            what,
            format!("{} not readable", survey.unreadable_processes),
            "ls, top and stat leave these out: run as root, or with CAP_SYS_PTRACE, for all",
        ),
        Ok(_) => Finding::ok(what, "all readable"),
    }
}

fn ptrace_scope() -> Finding {
    let what = "ptrace scope";
    match line("/proc/sys/kernel/yama/ptrace_scope").as_deref() {
        None => Finding::ok(what, "no Yama"),
        Some("0") => Finding::ok(what, "0, classic"),
        Some(scope) => Finding::ok(
            what,
            format!("{scope}; restricts debuggers, not looking at pipes"),
        ),
    }
}

fn socket_list() -> Finding {
    let what = "holders of rings";
    let label = format!("doctor {}", std::process::id());
    let Ok(_ends) = PipeOptions::new()
        .backend(Backend::SharedMemory)
        .label(&label)
        .pipe()
    else {
        return Finding::note(
            what,
            "not tried",
            "there is no shared-memory pipe to look at",
        );
    };
    let survey = Survey::take()
        .map(|survey| survey.pipes)
        .unwrap_or_default();
    let own = survey
        .iter()
        .find(|pipe| pipe.label.as_deref() == Some(&*label));
    match own.map(|pipe| pipe.senders.presence) {
        Some(Presence::Held) => Finding::ok(what, "can be named"),
        _ => Finding::note(
            what,
            "cannot be named",
            "the kernel lists no Unix sockets here (CONFIG_UNIX_DIAG, netlink): ls cannot tell the sides apart",
        ),
    }
}

/// Whether they can be had where a pipe asks for them, and whether it gets them without.
fn huge_pages() -> Finding {
    let what = "huge pages";
    let setting = line("/sys/kernel/mm/transparent_hugepage/shmem_enabled");
    let chosen = setting.as_deref().and_then(|text| {
        let (_, rest) = text.split_once('[')?;
        Some(rest.split_once(']')?.0)
    });
    let works = format!(
        "PipeOptions::huge_pages works; shmem_enabled for other pipes: {}",
        chosen.unwrap_or("never")
    );
    let size = line("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size");
    let Some(size) = size.and_then(|size| size.parse().ok()) else {
        return Finding::note(
            what,
            "PipeOptions::huge_pages does not work: this kernel has no transparent ones",
            "large pipes may be slower; CONFIG_TRANSPARENT_HUGEPAGE of the kernel gives them",
        );
    };
    let options = PipeOptions::new()
        .backend(Backend::SharedMemory)
        .capacity(size)
        .huge_pages(true);
    match options.pipe() {
        Err(error) if is_over_file_size(&error) => Finding::note(
            what,
            format!("PipeOptions::huge_pages does not work: {error}"),
            FILE_SIZE_REMEDY,
        ),
        Err(error) => Finding::note(
            what,
            format!("PipeOptions::huge_pages does not work: {error}"),
            "it takes Linux 6.1, a shmem_enabled that is not deny, and a huge page to be free: leave it out",
        ),
        Ok(_) if matches!(chosen, Some("always" | "force")) => Finding::note(
            what,
            works,
            "a small pipe may then take 2 MiB: within_size is enough for large ones",
        ),
        Ok(_) => Finding::ok(what, works),
    }
}
