//! Stands in for `sys::cpus` under the model checker: one CPU, so nobody spins.

pub(crate) fn current() -> u32 {
    0
}

pub(crate) fn can_run_beside_us(_cpu: u32) -> bool {
    false
}

pub(crate) fn give_way() {}

pub(crate) fn warm_up() {}
