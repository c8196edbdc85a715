//! The settings of a broker.
//!
//! Knows nothing about topics: what a topic can be told stands in `topic/config.rs`.

use std::time::Duration;

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

        /// How long upkeep waits between two rounds of retention and compaction. Default 10
        /// seconds (Kafka: 5 minutes and 15 seconds).
        upkeep_interval_ms: Duration [Duration] =
        "log.retention.check.interval.ms", Duration::from_secs(10),
        |v| *v >= Duration::from_millis(1), "at least 1";
    }
}
