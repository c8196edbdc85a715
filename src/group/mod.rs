//! Floor 6.

mod assignor;
mod membership;
mod partition;
pub use assignor::Assignor;
pub use membership::GroupState;
