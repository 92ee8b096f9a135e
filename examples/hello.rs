//! A child process says hello: the smallest use of a pipe.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut rx, mut tx) = shmpipe::pipe()?;
    // SAFETY: the program has one thread, so the child may do all that the parent may.
    if let nix::unistd::ForkResult::Child = unsafe { nix::unistd::fork() }? {
        return Ok(tx.send(b"hello from the child")?);
    }
    drop(tx); // the child's copy is now the only sender
    println!("{}", String::from_utf8_lossy(&rx.recv()?));
    assert!(rx.recv().is_err(), "the child has exited: end-of-file");
    Ok(())
}
