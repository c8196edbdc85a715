//! Floor 1: bytes to values and back, without any I/O.

mod corruption;

pub use corruption::Corruption;
