//! Tells the crate that it is built in its repository: there the proofs and the tests that look
//! inside several modules are compiled with the tests.
//!
//! A release has neither them nor this file, so that it is smaller and builds without a script.

#![expect(clippy::print_stdout, reason = "this is how Cargo is told")]

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cfg=ottla_repository");
}
