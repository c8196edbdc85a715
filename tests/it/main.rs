//! The crate as a user sees it: one test binary, a module per feature, through the public API.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints what it counted"
)]

mod bad_input;
mod codecs;
mod compaction;
mod concurrency;
mod flights;
mod helpers;
mod latest_state;
mod public_api;
mod readme;
mod retention;
mod serde;
mod stress;
