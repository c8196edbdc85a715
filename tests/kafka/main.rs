//! Real Kafka against our files: what we write it must read, and what it writes we must read.
//!
//! Nothing here runs unless the environment variable `OTTLA_KAFKA` is set: to `1` for the versions
//! named in `jars.rs`, to `all` for the tests that take minutes, too, or to versions of one's own
//! with commas between them. It takes Java 17 and
//! Maven, which fetches the jars once. Every test is run against each version in turn, one at a
//! time, and tells what it counted on standard error.
//!
//! Knows nothing about the inside of the crate.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::as_conversions,
    reason = "a test fails by panicking; a broker in another process is waited for by the clock"
)]

mod backup;
mod broker;
mod by_kafka;
mod driver;
mod dump;
mod epochs;
mod features;
mod followed;
mod groups;
mod jars;
mod keys;
mod killed;
mod large;
mod model;
mod producers;
mod random;
mod segments;
mod several;
mod three;
mod to_and_fro;
mod victim;
