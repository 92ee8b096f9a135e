//! Handing an end to a program that is executed, by the crate's own variables.
//!
//! A `Command` that is never spawned makes the variable and keeps the descriptors.

use std::ffi::{CString, OsStr, OsString, c_char, c_int};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::process::Command;
use std::{io, ptr};

use shmpipe::{Connection, Receiver, Sender};

use crate::border::{out, text};
use crate::connection::shmpipe_connection;
use crate::end::End;
use crate::options::free;
use crate::receiver::shmpipe_receiver;
use crate::sender::shmpipe_sender;
use crate::status::{Told, call, shmpipe_status};

/// The ends that a program is to inherit which is about to be executed.
pub struct shmpipe_inheritance {
    /// Has the descriptors and the variables.
    command: Command,
    numbers: Vec<c_int>,
    /// What `envp` points to.
    texts: Vec<CString>,
    envp: Vec<*const c_char>,
}

impl shmpipe_inheritance {
    fn new() -> Self {
        Self {
            command: Command::new(""),
            numbers: Vec::new(),
            texts: Vec::new(),
            envp: Vec::new(),
        }
    }

    /// Notes the descriptors that the variable `name` now has.
    fn note(&mut self, name: &OsStr) -> io::Result<()> {
        let set = self.command.get_envs().find(|&(key, _)| key == name);
        // As the crate documents it: VERSION:KIND:FD,FD:INODE.
        let numbers = set
            .and_then(|(_, value)| value?.to_str()?.split(':').nth(2))
            .and_then(|numbers| {
                numbers
                    .split(',')
                    .map(|number| number.parse().ok())
                    .collect()
            })
            .ok_or_else(|| io::Error::other("the variable has another form"))?;
        let mut numbers: Vec<c_int> = numbers;
        self.numbers.append(&mut numbers);
        Ok(())
    }

    /// The environment of this process, with the variables.
    fn fill_envp(&mut self) {
        let handed = || self.command.get_envs();
        let is_handed = |name: &OsStr| handed().any(|(key, _)| key == name);
        let kept = std::env::vars_os().filter(|(name, _)| !is_handed(name));
        let set = handed().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
        let texts = kept.chain(set).filter_map(|(name, value)| {
            let mut text: OsString = name;
            text.push("=");
            text.push(value);
            CString::new(text.into_vec()).ok()
        });
        self.texts = texts.collect();
        self.envp = self.texts.iter().map(|text| text.as_ptr()).collect();
        self.envp.push(ptr::null());
    }
}

/// Makes room for the ends that a program is to inherit. The order of things in the parent:
///
///     shmpipe_inheritance_new(&inheritance);
///     shmpipe_sender_inherit(&tx, inheritance, "RESULTS");
///     shmpipe_inheritance_envp(inheritance, &envp);
///     if ((pid = fork()) == 0) {
///         shmpipe_inheritance_keep(inheritance);
///         execve(path, argv, envp);
///         _exit(127);
///     }
///     shmpipe_inheritance_free(&inheritance);
///
/// and in the program, in C by shmpipe_sender_from_env("RESULTS", &tx), in Rust by Sender::from_env("RESULTS").
///
/// A child that is forked meanwhile and executes nothing has copies of these ends too, and frees them as well.
///
/// Threads: any. Ownership: `*inheritance` is the caller's, to be given to shmpipe_inheritance_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_inheritance_new(
    inheritance: *mut *mut shmpipe_inheritance,
) -> shmpipe_status {
    call(|| {
        // SAFETY: by the caller.
        let inheritance = unsafe { out(inheritance, "inheritance", ptr::null_mut()) }?;
        *inheritance = Box::into_raw(Box::new(shmpipe_inheritance::new()));
        Ok(())
    })
}

/// Checks the place and the name before an end is taken.
///
/// # Safety
///
/// As the exported calls.
unsafe fn to_whom<'a>(
    inheritance: *mut shmpipe_inheritance,
    name: *const c_char,
) -> Result<(&'a mut shmpipe_inheritance, &'a OsStr), Told> {
    // SAFETY: by the caller.
    let inheritance =
        unsafe { inheritance.as_mut() }.ok_or_else(|| Told::invalid("inheritance is NULL"))?;
    // SAFETY: by the caller.
    let name = OsStr::from_bytes(unsafe { text(name, "name") }?.to_bytes());
    Ok((inheritance, name))
}

/// Hands a sender to the program that is going to be executed, which takes it by shmpipe_sender_from_env() of the same
/// name, or in Rust by `Sender::from_env`. Several ends go with one program under different names. Who goes on using the
/// end hands over a clone of it.
///
/// SHMPIPE_INVALID: a name that no variable can have, or that is used for this program already, or a handle that cannot be
/// taken: NULL, or a connection's half. SHMPIPE_IO: there are no descriptors left for the copies.
///
/// Threads: `*tx` and `inheritance` by one at a time. Ownership: `*tx` is taken, and becomes NULL, except with
/// SHMPIPE_LENT and where it cannot be taken.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_sender_inherit(
    tx: *mut *mut shmpipe_sender,
    inheritance: *mut shmpipe_inheritance,
    name: *const c_char,
) -> shmpipe_status {
    call(|| {
        // SAFETY: by the caller.
        let (inheritance, name) = unsafe { to_whom(inheritance, name) }?;
        // SAFETY: by the caller.
        let end = unsafe { shmpipe_sender::take(tx, "tx") }?;
        end.inherit(&mut inheritance.command, name)?;
        Ok(inheritance.note(name)?)
    })
}

/// Hands a receiver to the program that is going to be executed; otherwise as shmpipe_sender_inherit(). What it has
/// received and not yet handed out does not go with it.
///
/// Threads: `*rx` and `inheritance` by one at a time. Ownership: `*rx` is taken, and becomes NULL, except with
/// SHMPIPE_LENT and where it cannot be taken.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_receiver_inherit(
    rx: *mut *mut shmpipe_receiver,
    inheritance: *mut shmpipe_inheritance,
    name: *const c_char,
) -> shmpipe_status {
    call(|| {
        // SAFETY: by the caller.
        let (inheritance, name) = unsafe { to_whom(inheritance, name) }?;
        // SAFETY: by the caller.
        let end = unsafe { shmpipe_receiver::take(rx, "rx") }?;
        end.inherit(&mut inheritance.command, name)?;
        Ok(inheritance.note(name)?)
    })
}

/// Hands a connection to the program that is going to be executed; otherwise as shmpipe_receiver_inherit().
///
/// Threads: both halves and `inheritance` by one at a time. Ownership: `*connection` is taken, and becomes NULL, except
/// with SHMPIPE_LENT and where it cannot be taken.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_connection_inherit(
    connection: *mut *mut shmpipe_connection,
    inheritance: *mut shmpipe_inheritance,
    name: *const c_char,
) -> shmpipe_status {
    call(|| {
        // SAFETY: by the caller.
        let (inheritance, name) = unsafe { to_whom(inheritance, name) }?;
        // SAFETY: by the caller.
        let (rx, tx) = unsafe { shmpipe_connection::take(connection, "connection") }?;
        let mut fds = rx.into_fds()?;
        fds.append(&mut tx.into_fds()?);
        // SAFETY: those of the two halves of a connection, in the order that it has them.
        let end = unsafe { Connection::from_fds(fds) }?;
        end.inherit(&mut inheritance.command, name)?;
        Ok(inheritance.note(name)?)
    })
}

/// Sets `*envp` to the environment for execve(2): that of this process now, with a variable for each end. Call it before
/// fork(2), since it allocates.
///
/// Threads: `inheritance` by one at a time; nobody changes the environment meanwhile. Ownership: the list is
/// `inheritance`'s. It stays until the next call of this kind, or its end.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_inheritance_envp(
    inheritance: *mut shmpipe_inheritance,
    envp: *mut *const *mut c_char,
) -> shmpipe_status {
    call(|| {
        // SAFETY: by the caller.
        let envp = unsafe { out(envp, "envp", ptr::null()) }?;
        // SAFETY: by the caller.
        let inheritance =
            unsafe { inheritance.as_mut() }.ok_or_else(|| Told::invalid("inheritance is NULL"))?;
        inheritance.fill_envp();
        *envp = inheritance.envp.as_ptr().cast();
        Ok(())
    })
}

/// Sets `*fds` and `*count` to the descriptors that have to be open in the program, under the same numbers. For
/// posix_spawn(3): add posix_spawn_file_actions_adddup2(actions, fd, fd) for each, which clears the close-on-exec flag,
/// and call shmpipe_inheritance_keep() nowhere.
///
/// Threads: `inheritance` by one at a time. Ownership: the list and the descriptors are `inheritance`'s. The list stays
/// until the next end is added.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_inheritance_fds(
    inheritance: *const shmpipe_inheritance,
    fds: *mut *const c_int,
    count: *mut usize,
) -> shmpipe_status {
    call(|| {
        // SAFETY: by the caller.
        let fds = unsafe { out(fds, "fds", ptr::null()) }?;
        // SAFETY: by the caller.
        let count = unsafe { out(count, "count", 0) }?;
        // SAFETY: by the caller.
        let inheritance =
            unsafe { inheritance.as_ref() }.ok_or_else(|| Told::invalid("inheritance is NULL"))?;
        *fds = inheritance.numbers.as_ptr();
        *count = inheritance.numbers.len();
        Ok(())
    })
}

/// Lets the program that the calling process executes next inherit the descriptors: clears their close-on-exec flags. To
/// be called in the forked child. In the parent every program that any thread executes would inherit them.
///
/// It makes system calls and allocates nothing, so that the child of a process with several threads may call it.
///
/// Threads: any, in a forked child.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_inheritance_keep(
    inheritance: *const shmpipe_inheritance,
) -> shmpipe_status {
    call(|| {
        // SAFETY: by the caller.
        let inheritance =
            unsafe { inheritance.as_ref() }.ok_or_else(|| Told::invalid("inheritance is NULL"))?;
        for &number in &inheritance.numbers {
            // SAFETY: a descriptor that the command has open.
            if unsafe { libc::fcntl(number, libc::F_SETFD, 0) } < 0 {
                return Err(io::Error::last_os_error().into());
            }
        }
        Ok(())
    })
}

/// Drops this process's copies of the ends and sets `*inheritance` to NULL. NULL in either place does nothing. Call it in
/// the parent as soon as the program runs: until then this process counts as a holder of the ends, so that their
/// end-of-file does not come.
///
/// Threads: `*inheritance` by one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_inheritance_free(inheritance: *mut *mut shmpipe_inheritance) {
    // SAFETY: by the caller.
    unsafe { free(inheritance) };
}

/// Takes the sender that the parent process has handed to this program by shmpipe_sender_inherit() of the same name, or
/// in Rust by `Sender::inherit`. It can be taken once. Call it early: until then every program that this one starts
/// inherits the descriptors too.
///
/// SHMPIPE_IO: shmpipe_last_errno() has ENOENT where the variable is not set, EEXIST where the end was taken before,
/// EBADMSG where the variable has another form, or names an end of another kind or descriptors that are closed or no
/// end's. Nothing is closed then.
///
/// Threads: any; nobody changes the environment meanwhile. Ownership: `*tx` is the caller's, to be given to
/// shmpipe_sender_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_sender_from_env(
    name: *const c_char,
    tx: *mut *mut shmpipe_sender,
) -> shmpipe_status {
    call(|| {
        // SAFETY: by the caller.
        let tx = unsafe { out(tx, "tx", ptr::null_mut()) }?;
        // SAFETY: by the caller.
        let name = OsStr::from_bytes(unsafe { text(name, "name") }?.to_bytes());
        *tx = shmpipe_sender::handle(Sender::from_env(name)?);
        Ok(())
    })
}

/// As shmpipe_sender_from_env(), for a receiver.
///
/// Threads: any; nobody changes the environment meanwhile. Ownership: `*rx` is the caller's, to be given to
/// shmpipe_receiver_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_receiver_from_env(
    name: *const c_char,
    rx: *mut *mut shmpipe_receiver,
) -> shmpipe_status {
    call(|| {
        // SAFETY: by the caller.
        let rx = unsafe { out(rx, "rx", ptr::null_mut()) }?;
        // SAFETY: by the caller.
        let name = OsStr::from_bytes(unsafe { text(name, "name") }?.to_bytes());
        *rx = shmpipe_receiver::handle(Receiver::from_env(name)?);
        Ok(())
    })
}

/// As shmpipe_sender_from_env(), for a connection.
///
/// Threads: any; nobody changes the environment meanwhile. Ownership: `*connection` is the caller's, to be given to
/// shmpipe_connection_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn shmpipe_connection_from_env(
    name: *const c_char,
    connection: *mut *mut shmpipe_connection,
) -> shmpipe_status {
    call(|| {
        // SAFETY: by the caller.
        let connection = unsafe { out(connection, "connection", ptr::null_mut()) }?;
        // SAFETY: by the caller.
        let name = OsStr::from_bytes(unsafe { text(name, "name") }?.to_bytes());
        *connection = shmpipe_connection::handle(Connection::from_env(name)?);
        Ok(())
    })
}
