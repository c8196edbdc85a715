//! Tells the crate that it is built in its repository: there the proofs and the tests that look
//! inside several modules are compiled with the tests.
//!
//! A release has neither them nor this file, so that it is smaller and builds without a script.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cfg=ottla_repository");
}
