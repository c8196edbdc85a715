//! What can be wrong with bytes.

/// What is wrong with bytes that were read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Corruption {
    /// The bytes end before the value does.
    #[error("{needed} bytes are needed and {available} are there")]
    Truncated {
        /// Bytes that the value takes.
        needed: u64,
        /// Bytes that are there.
        available: u64,
    },
}
