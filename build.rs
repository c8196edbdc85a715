//! Tells the crate that it is built in its repository: only there it has the proofs, the simulated
//! disk, and the unit tests that stand in files of their own.
//!
//! A release has neither them nor this file, so that it is smaller and builds without a script.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cfg=ottla_repository");
}
