//! How the memory of a pipe is mapped: page tables that are filled ahead, and huge pages.

use std::fs;
use std::io::ErrorKind;

use shmpipe::{Backend, Connection, PipeOptions, Receiver, Sender};

use crate::inherit::program;
use crate::support::{
    check, ends_well, fork, mappings, on_both_backends, open_fds, page_size, pattern, skipped,
};

on_both_backends! {
    the_page_tables_are_filled_when_a_pipe_is_made,
    what_goes_through_a_filled_pipe_meets_no_page_faults,
    without_prefault_they_are_filled_as_pages_are_used,
    ends_that_are_handed_over_are_filled_by_prefault_alone,
    an_executed_program_fills_an_end_by_prefault_alone,
    a_forked_copy_has_its_page_tables_filled_by_prefault,
    huge_pages_carry_messages_of_all_sizes_between_processes,
    huge_pages_go_with_an_end_that_is_handed_over,
    a_capacity_of_less_than_a_huge_page_is_refused_by_value,
}

const MIB: usize = 1 << 20;

/// What the kernel says of one mapping of a pipe's memory (proc_pid_smaps(5)), in bytes.
#[derive(Debug, Default)]
struct Mapping {
    start: usize,
    size: usize,
    /// Filled page tables.
    filled: usize,
    /// Of these, by huge pages.
    huge: usize,
}

/// All of this process, the rings' only.
fn rings() -> Vec<Mapping> {
    let text = fs::read_to_string("/proc/self/smaps").unwrap();
    let mut found = Vec::<Mapping>::new();
    let mut is_ours = false;
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap();
        let Some(key) = first.strip_suffix(':') else {
            is_ours = line.contains("/memfd:shmpipe ");
            if is_ours {
                let (start, _) = first.split_once('-').unwrap();
                let start = usize::from_str_radix(start, 16).unwrap();
                found.push(Mapping {
                    start,
                    ..Mapping::default()
                });
            }
            continue;
        };
        if !is_ours {
            continue;
        }
        let mapping = found.last_mut().unwrap();
        let field = match key {
            "Size" => &mut mapping.size,
            "Rss" => &mut mapping.filled,
            "ShmemPmdMapped" => &mut mapping.huge,
            _ => continue,
        };
        *field = words.next().unwrap().parse::<usize>().unwrap() * 1024;
    }
    found
}

/// How many mappings a ring has in a process: one, and the data again behind it. A kernel pipe has none.
fn mappings_of(backend: Backend, pipes: usize) -> usize {
    match backend {
        Backend::Kernel => 0,
        _ => 2 * pipes,
    }
}

#[track_caller]
fn assert_filled(backend: Backend, pipes: usize) {
    let rings = rings();
    assert_eq!(rings.len(), mappings_of(backend, pipes), "{rings:?}");
    for ring in &rings {
        assert_eq!(ring.filled, ring.size, "{rings:?}");
    }
}

#[track_caller]
fn assert_empty(backend: Backend, pipes: usize) {
    let rings = rings();
    assert_eq!(rings.len(), mappings_of(backend, pipes), "{rings:?}");
    // The head is read and written when a pipe is made or attached, and with a page that is read the kernel may map
    // those around it, 64 KiB of them (mm/memory.c, `fault_around_bytes`).
    let few = 16 * page_size();
    assert!(rings.iter().all(|ring| ring.filled <= few), "{rings:?}");
}

fn options(backend: Backend, prefault: bool) -> PipeOptions {
    PipeOptions::new()
        .backend(backend)
        .capacity(MIB)
        .prefault(prefault)
}

#[track_caller]
fn assert_carries(rx: &mut Receiver, tx: &mut Sender) {
    for (number, len) in (0..).zip([0, 1, 5000, 100_000]) {
        tx.send(&pattern(1, number, len)).unwrap();
        check(&rx.recv().unwrap(), 1, number, len);
    }
}

fn the_page_tables_are_filled_when_a_pipe_is_made(backend: Backend) {
    let (mut rx, mut tx) = PipeOptions::new()
        .backend(backend)
        .capacity(MIB)
        .pipe()
        .unwrap();
    assert_filled(backend, 1);
    assert_carries(&mut rx, &mut tx);
    assert_filled(backend, 1);
}

/// Of the calling thread, so far, for which no file had to be read (getrusage(2)).
fn page_faults() -> i64 {
    let who = nix::sys::resource::UsageWho::RUSAGE_THREAD;
    nix::sys::resource::getrusage(who)
        .unwrap()
        .minor_page_faults()
}

fn what_goes_through_a_filled_pipe_meets_no_page_faults(backend: Backend) {
    const LEN: usize = 6000;
    let (mut rx, mut tx) = options(backend, true).pipe().unwrap();
    let sent = vec![1; LEN];
    let mut received = vec![2; LEN];
    let mut round = || {
        tx.send(&sent).unwrap();
        assert_eq!(rx.recv_into(&mut received).unwrap(), LEN);
    };
    // What the calls need otherwise.
    round();
    let before = page_faults();
    // Three times round the ring, some messages from its end to its beginning.
    (0..3 * MIB / LEN).for_each(|_| round());
    let faults = page_faults() - before;
    assert!(received == sent);
    // A stack may grow, or the kernel move a page. The ring has 256 pages in each view.
    assert!(faults < 16, "{faults}");
}

fn without_prefault_they_are_filled_as_pages_are_used(backend: Backend) {
    let (mut rx, mut tx) = options(backend, false).pipe().unwrap();
    assert_empty(backend, 1);
    assert_carries(&mut rx, &mut tx);
    let used: usize = rings().iter().map(|ring| ring.filled).sum();
    if backend == Backend::SharedMemory {
        assert!((100_000..MIB).contains(&used), "{used}");
    }
    tx.prefault().unwrap();
    assert_filled(backend, 1);
    assert_carries(&mut rx, &mut tx);
}

/// Whoever sent an end could have all that it claims allocated for it.
fn ends_that_are_handed_over_are_filled_by_prefault_alone(backend: Backend) {
    for prefault in [true, false] {
        let (left, right) = options(backend, prefault).duplex().unwrap();
        let parts = [left.into_fds().unwrap(), right.into_fds().unwrap()];
        assert!(rings().is_empty());
        let [left, right] = parts.map(|fds| {
            // SAFETY: they come from `into_fds` of a connection.
            unsafe { Connection::from_fds(fds) }.unwrap()
        });
        // Each end maps both directions for itself.
        assert_empty(backend, 4);
        left.prefault().unwrap();
        right.prefault().unwrap();
        assert_filled(backend, 4);
        let ((mut rx, _), (_, mut tx)) = (left.split(), right.split());
        assert_carries(&mut rx, &mut tx);
    }
}

fn an_executed_program_fills_an_end_by_prefault_alone(backend: Backend) {
    for prefault in [true, false] {
        let (rx, mut tx) = options(backend, prefault).pipe().unwrap();
        let mut command = program("prefault");
        rx.inherit(&mut command, "END").unwrap();
        tx.send(backend.to_string().as_bytes()).unwrap();
        ends_well(command.spawn().unwrap());
    }
}

pub(crate) fn prefault() {
    let mut rx = Receiver::from_env("END").unwrap();
    assert_empty(rx.backend(), 1);
    rx.prefault().unwrap();
    assert_filled(rx.backend(), 1);
    let backend = rx.backend().to_string();
    assert_eq!(&*rx.recv().unwrap(), backend.as_bytes());
}

fn a_forked_copy_has_its_page_tables_filled_by_prefault(backend: Backend) {
    let (mut rx, mut tx) = options(backend, true).pipe().unwrap();
    let child = fork(|| {
        assert_empty(backend, 1);
        tx.prefault().unwrap();
        assert_filled(backend, 1);
        tx.send(b"by the child").unwrap();
        rx.prefault().unwrap();
    });
    assert_eq!(&*rx.recv().unwrap(), b"by the child");
    child.join();
}

/// A pipe of huge pages, and how long one is; `None`, with the reason said, where there are none.
fn huge(backend: Backend) -> Option<(Receiver, Sender, usize)> {
    let sysfs = "/sys/kernel/mm/transparent_hugepage/";
    let read = |name: &str| fs::read_to_string(format!("{sysfs}{name}")).unwrap_or_default();
    let size = read("hpage_pmd_size").trim().parse().unwrap_or(2 * MIB);
    let options = PipeOptions::new().backend(backend).huge_pages(true);
    // So much a kernel pipe gives to everybody.
    let capacity = match backend {
        Backend::Kernel => MIB,
        _ => 4 * size,
    };
    match options.capacity(capacity).pipe() {
        Ok((rx, tx)) => Some((rx, tx, size)),
        Err(error) => {
            let is_denied = read("shmem_enabled").contains("[deny]");
            let why = match error.kind() {
                ErrorKind::OutOfMemory => "no huge page is free",
                ErrorKind::InvalidInput if is_denied || read("hpage_pmd_size").is_empty() => {
                    "this system has no huge pages for shared memory"
                }
                _ => panic!("{error}"),
            };
            skipped(why);
            None
        }
    }
}

#[track_caller]
fn assert_huge(backend: Backend, size: usize, pipes: usize) {
    let rings = rings();
    assert_eq!(rings.len(), mappings_of(backend, pipes), "{rings:?}");
    for ring in rings.chunks(2) {
        assert_eq!(
            (ring[0].start % size, ring[0].huge),
            (0, 4 * size),
            "{rings:?}"
        );
        // What lies in whole huge pages from its place in the file on.
        assert_eq!(ring[1].huge, 3 * size, "{rings:?}");
        assert!(
            ring.iter().all(|part| part.filled == part.size),
            "{rings:?}"
        );
    }
}

fn huge_pages_carry_messages_of_all_sizes_between_processes(backend: Backend) {
    let Some((mut rx, mut tx, size)) = huge(backend) else {
        return;
    };
    assert_huge(backend, size, 1);
    let lengths = [1, 100_000, 3 * size, 9 * size, 8];
    let child = fork(|| {
        for (number, len) in (0..).zip(lengths) {
            tx.send(&pattern(1, number, len)).unwrap();
        }
    });
    for (number, len) in (0..).zip(lengths) {
        check(&rx.recv().unwrap(), 1, number, len);
    }
    child.join();
    assert_huge(backend, size, 1);
    let before = mappings();
    drop((rx, tx));
    assert!(rings().is_empty());
    assert!(backend == Backend::Kernel || mappings() < before);
}

fn huge_pages_go_with_an_end_that_is_handed_over(backend: Backend) {
    let Some((mut rx, tx, size)) = huge(backend) else {
        return;
    };
    // SAFETY: they come from `into_fds` of a sender.
    let mut tx = unsafe { Sender::from_fds(tx.into_fds().unwrap()) }.unwrap();
    tx.prefault().unwrap();
    assert_huge(backend, size, 2);
    assert_carries(&mut rx, &mut tx);
}

fn a_capacity_of_less_than_a_huge_page_is_refused_by_value(backend: Backend) {
    let before = open_fds();
    let options = PipeOptions::new().backend(backend).huge_pages(true);
    let outcome = options.capacity(65_536).pipe();
    match backend {
        Backend::Kernel => {
            let (mut rx, mut tx) = outcome.unwrap();
            tx.send(b"without them").unwrap();
            assert_eq!(&*rx.recv().unwrap(), b"without them");
        }
        _ => {
            let error = outcome.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains("65536"), "{error}");
            assert_eq!(open_fds(), before);
        }
    }
}
