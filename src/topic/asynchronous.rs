//! Appending to a topic without a thread that waits for the sync.
//!
//! Knows nothing about tasks: a [`Delivery`] wakes its own.

use std::sync::Arc;

use crate::delivery::Delivery;
use crate::error::Result;
use crate::types::{Appended, Record};

use super::Topic;

impl Topic {
    /// Appends one record and returns before it is safe. The [`Delivery`] resolves to its partition
    /// and offset when the record survives what the topic's durability says.
    ///
    /// The record is appended within this call, to the partition that [`Topic::append`] would
    /// choose: appends to a partition have the order of their calls, whatever becomes of the
    /// deliveries. Under [`Durability::Always`](crate::Durability::Always) threads of the broker
    /// sync the partitions in parallel, once for all records that wait; otherwise the delivery is
    /// done at once. With [`manual_upkeep`](crate::BrokerConfig::manual_upkeep) this call syncs.
    ///
    /// The delivery does not keep the broker open; closing the broker syncs what waits.
    ///
    /// # Errors
    ///
    /// As [`Topic::append`], except those of the sync: the record was not appended. If the sync
    /// fails, the delivery resolves to [`Error::Poisoned`](crate::Error::Poisoned) or
    /// [`Error::Io`](crate::Error::Io); it is then not known whether the record survives a crash.
    ///
    /// # Examples
    ///
    /// ```
    /// use ottla::{Broker, Durability, Record, TopicConfig};
    ///
    /// # let scratch = tempfile::tempdir()?;
    /// let broker = Broker::open(scratch.path().join("data"))?;
    /// let config = TopicConfig::default().durability(Durability::Always);
    /// let topic = broker.create_topic("flights", config)?;
    /// # pollster::block_on(async {
    /// let departed = topic.append_async(Record::keyed("N14228", "departed EWR"))?;
    /// let landed = topic.append_async(Record::keyed("N14228", "landed IAH"))?;
    /// // One sync is enough for both.
    /// assert_eq!((departed.await?.offset, landed.await?.offset), (0, 1));
    /// # Ok::<(), ottla::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn append_async<'a>(&self, record: impl Into<Record<'a>>) -> Result<Delivery<Appended>> {
        self.may_append()?;
        let record = record.into();
        let partition = self.place(&record);
        let topic = &self.shared;
        let appended = topic.log_to_append(partition).and_then(|log| {
            let offsets = log.append_unsynced(&record)?;
            let topic = Arc::clone(topic);
            let explain = move |error| topic.explain(error);
            Ok(log.confirmed(partition, offsets, Appended::new, explain))
        });
        appended.map_err(|error| topic.explain(error))
    }
}
