//! Floor 6.

mod assignor;
mod partition;
pub use assignor::Assignor;
