//! System calls refused by a seccomp(2) filter, all of one number or those with certain arguments.
//!
//! A filter stays for the life of the process and is inherited, so it is for forked children only.

use libc::{c_long, sock_filter, sock_fprog};

const SECCOMP_RET_ALLOW: u32 = 0x7fff_0000;
const SECCOMP_RET_ERRNO: u32 = 0x0005_0000;
const SECCOMP_RET_KILL_PROCESS: u32 = 0x8000_0000;

/// Where the arguments start in seccomp_data, and how long each is.
const ARGUMENTS: u32 = 16;
const ARGUMENT: u32 = 8;

/// The system calls that a filter refuses.
#[derive(Clone, Debug)]
pub(crate) struct Calls {
    number: c_long,
    /// Index of an argument, the bits of it to look at, and their value.
    arguments: Vec<(u32, u32, u32)>,
}

/// All calls of this number.
pub(crate) fn calls(number: c_long) -> Calls {
    Calls {
        number,
        arguments: Vec::new(),
    }
}

impl Calls {
    /// Of these only those whose argument `index` is `value`, as far as 32 bits tell.
    pub(crate) fn with(self, index: u32, value: impl TryInto<u32>) -> Self {
        self.with_bits(index, u32::MAX, value)
    }

    /// Of these only those in whose argument `index` the bits of `mask` are `value`.
    pub(crate) fn with_bits(mut self, index: u32, mask: u32, value: impl TryInto<u32>) -> Self {
        let value = value.try_into().ok().expect("an argument of 32 bits");
        self.arguments.push((index, mask, value));
        self
    }

    /// Refuses them with `errno` from now on, in the calling thread and its children.
    pub(crate) fn refuse(&self, errno: i32) {
        let mut filter = vec![
            // The first word of seccomp_data is the call's number.
            load(0),
            unless_equal(u32::try_from(self.number).unwrap()),
        ];
        for &(index, mask, value) in &self.arguments {
            filter.push(load(ARGUMENTS + ARGUMENT * index));
            filter.push(statement(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, mask));
            filter.push(unless_equal(value));
        }
        let errno = u32::try_from(errno).unwrap();
        let refused = filter.len();
        filter.push(give(SECCOMP_RET_ERRNO | errno));
        filter.push(give(SECCOMP_RET_ALLOW));
        for (at, statement) in filter[..refused].iter_mut().enumerate() {
            if u32::from(statement.code) & 0x07 == libc::BPF_JMP {
                statement.jf = u8::try_from(refused - at).unwrap();
            }
        }
        install(&mut filter);
    }
}

/// Has every call that is not one of these kill the process, from now on.
pub(crate) fn allow_only(numbers: &[c_long]) {
    let mut filter = vec![load(0)];
    for &number in numbers {
        // The jump over the verdict is taken where the number is another one.
        let mut test = unless_equal(u32::try_from(number).unwrap());
        test.jf = 1;
        filter.extend([test, give(SECCOMP_RET_ALLOW)]);
    }
    filter.push(give(SECCOMP_RET_KILL_PROCESS));
    install(&mut filter);
}

fn install(filter: &mut [sock_filter]) {
    let program = sock_fprog {
        len: u16::try_from(filter.len()).unwrap(),
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: the call takes integers only.
    let outcome = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(outcome, 0);
    // SAFETY: the program and its statements are live; the kernel copies them.
    let outcome = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const program,
        )
    };
    assert_eq!(outcome, 0, "{}", std::io::Error::last_os_error());
}

fn statement(code: u32, k: u32) -> sock_filter {
    let code = u16::try_from(code).unwrap();
    sock_filter {
        code,
        jt: 0,
        jf: 0,
        k,
    }
}

/// Loads the word at this place of seccomp_data.
fn load(offset: u32) -> sock_filter {
    statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset)
}

/// Goes on if the word is `value`; else leaves, to a place that is filled in later.
fn unless_equal(value: u32) -> sock_filter {
    statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value)
}

fn give(verdict: u32) -> sock_filter {
    statement(libc::BPF_RET | libc::BPF_K, verdict)
}
