//! Compaction and retention under power cuts and in random histories.
//!
//! Knows nothing about how segments are rewritten. `oracle` says what a log owes that forgets
//! and compacts; `cuts` pulls the plug in every pass; `histories` mixes everything with everything.

mod cuts;
mod histories;
mod oracle;
