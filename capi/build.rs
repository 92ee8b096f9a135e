//! Gives the shared library its name for the dynamic linker.

fn main() {
    // As cargo-c has it: before 1.0 each minor version may break programs that were built with another one.
    let number =
        |part: &str| std::env::var(format!("CARGO_PKG_VERSION_{part}")).unwrap_or_default();
    let (major, minor) = (number("MAJOR"), number("MINOR"));
    let version = if major == "0" {
        format!("{major}.{minor}")
    } else {
        major
    };
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libshmpipe.so.{version}");
    // Threads keep pointers to code of this library, so dlclose(3) must not unmap it.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    println!("cargo::rerun-if-changed=build.rs");
}
