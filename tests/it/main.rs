//! The crate as a user sees it: one test binary, a module per feature, through the public API.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "a test fails by panicking and has a clock of its own"
)]

mod backup;
mod bad_input;
mod codecs;
mod compaction;
mod concurrency;
mod conditional;
mod disk_budget;
mod errors;
mod flights;
mod foreign_records;
mod groups;
mod grow_into_kafka;
mod helpers;
mod last_offset;
mod latest_state;
mod looking;
mod metrics;
mod panics;
mod public_api;
mod public_errors;
mod read_only;
mod readme;
mod retention;
#[cfg(unix)]
mod roots;
#[cfg(feature = "serde")]
mod serde;
mod stress;
mod temporary;
mod topics;
mod typed;
mod upkeep;
mod verify;
