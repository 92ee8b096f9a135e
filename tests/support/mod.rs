//! What the test binaries share: a process for each test, forked children, and watching them sleep.
//!
//! It knows nothing of pipes except how to open one; what a pipe must do is in the tests.

#![allow(
    dead_code,
    unused_imports,
    reason = "each test binary uses a part of this"
)]

mod asleep;
mod byte_map;
mod child;
mod cpus;
mod fds;
mod isolate;
mod kernel_pipe;
mod line;
mod memory_group;
mod pattern;
mod program;
mod random;
mod report;
mod sanitizer;
mod seccomp;
pub(crate) mod segment;
mod shared;
mod surroundings;
#[cfg(target_arch = "x86_64")]
pub(crate) mod trace;

pub(crate) use asleep::{Thread, gettid, switches, thread, until_asleep};
pub(crate) use child::{Child, fork, fork_apart, raw_clone};
pub(crate) use cpus::{Others, pin_to, two_cpus};
pub(crate) use fds::{Held, Holdings, holdings, mappings, open_fds, with_fd_limit};
pub(crate) use isolate::{RUNNING_BODY, found, isolated, limit, run_body, skipped};
pub(crate) use kernel_pipe::pipe;
pub(crate) use line::Line;
pub(crate) use memory_group::MemoryGroup;
pub(crate) use pattern::{check, identify, pattern};
pub(crate) use program::{Tasks, ends_well, program, run_task};
pub(crate) use random::{Random, mixed};
pub(crate) use report::{doing, own_group};
pub(crate) use sanitizer::{leaking, not_under_a_sanitizer};
pub(crate) use seccomp::{Calls, allow_only, calls};
pub(crate) use shared::{shared_counter, shared_counters};
pub(crate) use surroundings::{
    has_ended, in_a_namespace_of_its_own, privileged, without_pidfds, without_proc,
    without_spare_descriptors,
};

/// Whether the long form of the tests was asked for with `SHMPIPE_LONG=1`.
pub(crate) fn long() -> bool {
    std::env::var_os("SHMPIPE_LONG").is_some_and(|value| value == "1")
}

/// Makes modules `shm` and `kernel`, each with one isolated test for each named
/// `fn(shmpipe::Backend)`, which may be followed by `within SECONDS`.
#[allow(unused_macros, reason = "each test binary uses a part of this")]
macro_rules! on_both_backends {
    ($($name:ident $(within $seconds:literal)?),+ $(,)?) => {
        mod shm {
            $crate::support::on_one_backend! { SharedMemory: $($name $(within $seconds)?),+ }
        }
        mod kernel {
            $crate::support::on_one_backend! { Kernel: $($name $(within $seconds)?),+ }
        }
    };
}

/// The tests of one backend: what [`on_both_backends`] makes two of.
#[allow(unused_macros, reason = "each test binary uses a part of this")]
macro_rules! on_one_backend {
    ($backend:ident: $($name:ident $(within $seconds:literal)?),+) => {
        $(
            #[test]
            fn $name() {
                $crate::support::isolated(
                    concat!(module_path!(), "::", stringify!($name)),
                    $crate::support::limit(&[$($seconds)?]),
                    || super::$name(shmpipe::Backend::$backend),
                );
            }
        )+
    };
}

/// One isolated test for each named `fn()` that concerns no backend in particular.
#[allow(unused_macros, reason = "each test binary uses a part of this")]
macro_rules! on_no_backend {
    ($($name:ident $(within $seconds:literal)?),+ $(,)?) => {
        mod alone {
            $(
                #[test]
                fn $name() {
                    $crate::support::isolated(
                        concat!(module_path!(), "::", stringify!($name)),
                        $crate::support::limit(&[$($seconds)?]),
                        super::$name,
                    );
                }
            )+
        }
    };
}

pub(crate) use {on_both_backends, on_no_backend, on_one_backend};
