//! The settings of a broker.
//!
//! Knows nothing about topics: what a topic can be told stands in `topic/config.rs`.

use crate::types::{Durability, config};

config! {
    /// The settings of a [`Broker`](crate::Broker).
    ///
    /// # Examples
    ///
    /// ```
    /// use ottla::{BrokerConfig, Durability};
    ///
    /// let config = BrokerConfig::default().durability(Durability::Always);
    /// assert!(!config.manual_upkeep);
    /// ```
    pub struct BrokerConfig("broker") {
        /// What an append to a topic survives whose own settings leave it open, and what a commit
        /// of a group survives. Default [`Durability::Os`].
        durability: Durability [Durability] = "durability", Durability::Os,
        |v| !matches!(v, Durability::Interval(every) if every.is_zero()),
        "os, always, or interval: and at least 1 millisecond";

        /// Starts no thread: interval syncs, retention and compaction are then done by
        /// [`Broker::upkeep`](crate::Broker::upkeep), and what an append leaves to the flusher is
        /// done in line. Default false.
        manual_upkeep: bool [bool] = "manual.upkeep", false,
        |_v| true, "true or false";
    }
}
