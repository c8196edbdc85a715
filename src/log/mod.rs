//! Floor 4: one partition.

mod config;

pub use config::LogConfig;
