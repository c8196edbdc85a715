//! How records get into the topic: in batches, or one by one, packed or not, synced or not.
//!
//! Knows nothing about lines. Invariant: what [`Sink::settle`] has returned for is in the topic, as
//! safely as was asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla::{
    AppendedBatch, Compression, Error, Log, PartitionId, Partitioner, Producer, ProducerConfig,
    Record, Topic,
};
use serde_json::{Value, json};

use crate::failure::{Failure, Result};

use super::lines::Item;

/// Bytes of records in a batch, when the topic takes so many.
const BATCH_BYTES: usize = 256 << 10;

/// A batch's own header.
const HEADER_BYTES: usize = 61;

/// How somebody wants to append.
#[derive(Debug)]
pub(super) struct Wishes {
    pub(super) partition: Option<PartitionId>,
    /// Survive a power cut.
    pub(super) durable: bool,
    pub(super) one_by_one: bool,
    pub(super) batch_bytes: Option<usize>,
    pub(super) compression: Option<Compression>,
}

/// What takes the records.
#[derive(Debug)]
pub(super) struct Sink {
    topic: Topic,
    wishes: Wishes,
    batch_bytes: usize,
    record_bytes_max: usize,
    /// Bytes of the items that wait.
    waiting: usize,
    records: u64,
    /// By the partition that records name themselves.
    producers: BTreeMap<Option<PartitionId>, Producer>,
    logs: BTreeMap<PartitionId, Log>,
    /// Offsets by partition: first and next.
    appended: BTreeMap<PartitionId, (u64, u64)>,
}

/// Every record goes to one partition.
struct Fixed(PartitionId);

impl Partitioner for Fixed {
    fn partition(&self, _: &str, _: &Record<'_>, _: u32) -> PartitionId {
        self.0
    }
}

impl Sink {
    pub(super) fn new(topic: Topic, wishes: Wishes) -> Result<Self> {
        let limit = usize::try_from(topic.config().max_message_bytes).unwrap_or(usize::MAX);
        let record_bytes_max = limit.saturating_sub(HEADER_BYTES);
        let topic = match wishes.partition {
            None => topic,
            Some(partition) => {
                topic.partition(partition)?;
                topic.with_partitioner(Arc::new(Fixed(partition)))
            }
        };
        Ok(Self {
            batch_bytes: wishes
                .batch_bytes
                .unwrap_or(BATCH_BYTES)
                .clamp(1, record_bytes_max.max(1)),
            record_bytes_max,
            topic,
            wishes,
            waiting: 0,
            records: 0,
            producers: BTreeMap::new(),
            logs: BTreeMap::new(),
            appended: BTreeMap::new(),
        })
    }

    /// The longest line that can be a record.
    pub(super) fn line_bytes_max(&self) -> usize {
        self.record_bytes_max
    }

    /// Bytes of a batch.
    pub(super) fn batch_bytes(&self) -> usize {
        BATCH_BYTES.max(self.batch_bytes)
    }

    /// Counts an item in; true when those that wait are a batch.
    pub(super) fn is_enough(&mut self, item: Option<&Item<'_>>) -> bool {
        self.waiting += item.map_or(0, Item::bytes_max);
        // The next record may be as long as this one again.
        self.wishes.one_by_one || self.waiting >= self.batch_bytes
    }

    /// Appends items, in order.
    pub(super) fn take(&mut self, items: &[Item<'_>]) -> Result<()> {
        self.waiting = 0;
        for same in items.chunk_by(|a, b| a.partition() == b.partition()) {
            let partition = same.first().and_then(Item::partition);
            let mut rest = same;
            while !rest.is_empty() {
                let (batch, behind) = rest.split_at(self.fitting(rest));
                self.append(batch, partition)?;
                rest = behind;
            }
        }
        if self.wishes.one_by_one {
            self.settle()?;
        }
        Ok(())
    }

    /// How many of the items fit into a batch.
    fn fitting(&self, items: &[Item<'_>]) -> usize {
        let mut bytes = 0_usize;
        let fit = items.iter().take_while(|item| {
            bytes += item.bytes_max();
            bytes <= self.record_bytes_max
        });
        fit.count().max(1)
    }

    fn append(&mut self, items: &[Item<'_>], partition: Option<PartitionId>) -> Result<()> {
        let appended = if self.wishes.compression.is_some() {
            self.send(items, partition)
        } else {
            self.append_batch(items, partition)
        };
        match appended {
            Ok(()) => {}
            Err(Error::InvalidRecord { .. } | Error::RecordTooLarge { .. })
                if items.len() > 1 && self.wishes.compression.is_none() =>
            {
                // One of them cannot be stored, and none was: find out which.
                return self.append_each(items, partition);
            }
            Err(error @ (Error::InvalidRecord { .. } | Error::RecordTooLarge { .. })) => {
                let line = self.records + 1;
                let failure = Failure::from(error).at(&format!("record {line}"));
                return Err(Failure::new(format!(
                    "{failure}; the records before it are stored"
                )));
            }
            Err(error) => {
                // Behind them one can go on when there is space again.
                let stored = self.records;
                return Err(Failure::from(error)
                    .followed_by(&format!("; the first {stored} records are stored")));
            }
        }
        self.records += u64::try_from(items.len()).unwrap_or(0);
        Ok(())
    }

    fn append_each(&mut self, items: &[Item<'_>], partition: Option<PartitionId>) -> Result<()> {
        for item in items.chunks(1) {
            self.append(item, partition)?;
        }
        Ok(())
    }

    fn append_batch(
        &mut self,
        items: &[Item<'_>],
        partition: Option<PartitionId>,
    ) -> ottla::Result<()> {
        let records = items.iter().map(Item::record);
        match partition {
            None => {
                for batch in self.topic.append_batch(records)? {
                    let AppendedBatch {
                        partition, offsets, ..
                    } = batch;
                    self.count(partition, offsets.start, offsets.end);
                }
            }
            Some(partition) => {
                let offsets = self.log(partition)?.append_batch(records)?;
                self.count(partition, offsets.start, offsets.end);
            }
        }
        Ok(())
    }

    fn count(&mut self, partition: PartitionId, start: u64, end: u64) {
        let span = self.appended.entry(partition).or_insert((start, end));
        span.1 = end;
    }

    fn log(&mut self, partition: PartitionId) -> ottla::Result<Log> {
        if let Some(log) = self.logs.get(&partition) {
            return Ok(log.clone());
        }
        let log = self.topic.partition(partition)?;
        self.logs.insert(partition, log.clone());
        Ok(log)
    }

    /// Hands records to a producer, which packs them.
    fn send(&mut self, items: &[Item<'_>], partition: Option<PartitionId>) -> ottla::Result<()> {
        let producer = match self.producers.entry(partition) {
            std::collections::btree_map::Entry::Occupied(there) => there.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => {
                let topic = match partition {
                    None => self.topic.clone(),
                    Some(partition) => {
                        self.topic.partition(partition)?;
                        self.topic.with_partitioner(Arc::new(Fixed(partition)))
                    }
                };
                let bytes = u64::try_from(self.batch_bytes).unwrap_or(u64::MAX);
                let config = ProducerConfig::default()
                    .batch_size(bytes.min(1 << 30))
                    .compression_type(self.wishes.compression.unwrap_or_default());
                place.insert(topic.producer(config)?)
            }
        };
        let mut deliveries = Vec::with_capacity(items.len());
        for item in items {
            match producer.send(item.record()) {
                Ok(delivery) => deliveries.push(delivery),
                Err(error) => {
                    // Those before it are taken.
                    self.records += u64::try_from(deliveries.len()).unwrap_or(0);
                    return Err(error);
                }
            }
        }
        producer.flush()?;
        let mut places = Vec::with_capacity(deliveries.len());
        for delivery in &deliveries {
            places.push(delivery.wait()?);
        }
        for place in places {
            self.count(place.partition, place.offset, place.offset + 1);
        }
        Ok(())
    }

    /// Waits until what was appended is as safe as was asked for.
    pub(super) fn settle(&mut self) -> Result<()> {
        if !self.wishes.durable {
            return Ok(());
        }
        let touched: Vec<PartitionId> = self.appended.keys().copied().collect();
        for partition in touched {
            let log = self.log(partition)?;
            if log.flushed_offset() < log.end_offset() {
                log.flush()?;
            }
        }
        Ok(())
    }

    /// The last settling.
    pub(super) fn finish(&mut self) -> Result<()> {
        for producer in self.producers.values() {
            producer.flush()?;
        }
        self.settle()
    }

    /// What was appended, for `--json`.
    pub(super) fn summary(&self, topic: &str) -> Value {
        let partition = |(partition, (first, next)): (&PartitionId, &(u64, u64))| {
            let partition = json!(partition);
            json!({ "partition": partition, "firstOffset": first, "nextOffset": next })
        };
        json!({
            "topic": topic,
            "records": self.records,
            "partitions": self.appended.iter().map(partition).collect::<Vec<_>>(),
        })
    }
}
