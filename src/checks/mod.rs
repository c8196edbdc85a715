//! Tests that need a whole log and look inside it: step by step, mostly on a simulated disk.
//! Compiled for the tests of the repository alone (`build.rs`).
//!
//! Knows nothing about random histories and power cuts everywhere: those are in `proof`, which sees
//! only what a user sees.

mod digests;
mod epochs;
mod flusher;
mod following;
mod held_back;
mod opening;
mod parking;
mod syncs;
mod turns;
mod waking;
