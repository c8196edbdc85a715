//! SIGKILL at any moment: a child process appends until it is killed, says what was acknowledged,
//! and its parent looks at what it left.
//!
//! Knows nothing about the crate's inside. What is owed, under every durability and in both ways of
//! writing: the log opens by itself; what was acknowledged is there; nothing is there that was not
//! appended at that offset; batches are whole; committed offsets are at least what was acknowledged
//! and at most what was read.
//!
//! `power` does the same with a file system that goes away under the writer: `tests/real_disks.sh`.
//!
//! Plain `cargo test` kills a hundred times, `OTTLA_PROOF=ci` a thousand.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "a test fails by panicking and has a clock of its own"
)]

mod broker;
mod child;
mod log;
mod power;
mod said;
