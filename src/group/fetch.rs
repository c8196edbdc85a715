//! The partitions that a consumer has, and reading from them.
//!
//! Knows nothing about members, and of commits only where one says that reading begins.
//!
//! 1. Each partition is read from one place on, in the order of its offsets.
//! 2. A partition whose log cannot be read does not keep the others from being read.
//! 3. Partitions take turns: the next poll begins after the partition that filled this one.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::log::{Log, LogWatch};
use crate::reader::Reader;
use crate::sync::Signal;
use crate::topic::ConsumerRecord;
use crate::types::{Epoch, Offset, PartitionId, ReadIsolation, Start};

use super::group::Group;
use super::partition::PartitionKey;
use super::records::{ConsumerRecords, Skipped};

#[derive(Debug, Default)]
pub(super) struct Fetcher {
    partitions: Vec<Assigned>,
    /// The partition with which the next poll begins.
    next: usize,
    /// How many records the last poll returned: room for as many is reserved.
    last_len: usize,
}

#[derive(Debug)]
pub(super) struct Assigned {
    pub(super) partition: PartitionKey,
    paused: bool,
    /// What this consumer knows to be committed, and the log's epoch at that time: a truncation may
    /// have set it back since.
    committed: Option<(Offset, Epoch)>,
    /// The offset of the last commit, or where reading began. At any other position the member
    /// holds the partition.
    clean: Option<Offset>,
    /// Whether the group knows that the member holds the partition.
    held: bool,
    /// The topic's name, with a counter that members do not share.
    name: Arc<str>,
    source: Option<Source>,
}

#[derive(Debug)]
struct Source {
    log: Log,
    reader: Reader,
    /// Only while the member waits for it: not when paused or between two polls.
    watch: Option<LogWatch>,
    /// The reader met an error and waits to be set again.
    failed: bool,
}

/// What a member may commit: everything of a partition below an offset is done.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) partition: PartitionKey,
    pub(super) offset: Offset,
    pub(super) epoch: Epoch,
    /// The caller named the offset: if it was cut off, no other one replaces it.
    pub(super) named: bool,
    pub(super) log: Log,
    pub(super) metadata: Option<Arc<str>>,
}

struct Beginning {
    log: Log,
    at: Start,
    /// Where reading should begin; if it begins later, records are gone.
    wanted: Option<Offset>,
    committed: Option<(Offset, Epoch)>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) records: usize,
    /// Of keys, values and headers, over all partitions.
    pub(super) bytes: u64,
    pub(super) partition_bytes: u64,
}

#[derive(Debug)]
pub(super) struct Context<'a> {
    pub(super) group: &'a Group,
    /// What wakes the member, while it waits.
    pub(super) waiting: Option<&'a Arc<Signal>>,
    pub(super) start: Option<Start>,
    pub(super) isolation: ReadIsolation,
}

/// What one poll returns, and how much room is left.
struct Basket<'a> {
    limits: Limits,
    room: usize,
    bytes: u64,
    /// Of the partition that is being read.
    partition_bytes: u64,
    /// A record was left because `bytes` is at its limit.
    overflowed: bool,
    records: &'a mut Vec<ConsumerRecord>,
    skipped: &'a mut Vec<Skipped>,
}

impl Basket<'_> {
    #[inline]
    fn is_full(&self) -> bool {
        self.overflowed || self.records.len() >= self.limits.records
    }

    /// Whether a record is left for the next poll. The first one never is, or it would never be
    /// returned.
    #[inline]
    fn leaves(&mut self, bytes: u64) -> bool {
        if self.records.is_empty() {
            return false;
        }
        if self.bytes.saturating_add(bytes) > self.limits.bytes {
            self.overflowed = true;
            return true;
        }
        let of_partition = self.partition_bytes.saturating_add(bytes);
        self.partition_bytes > 0 && of_partition > self.limits.partition_bytes
    }

    #[inline]
    fn put(&mut self, record: ConsumerRecord) {
        if self.records.capacity() == 0 {
            self.records.reserve(self.room);
        }
        let bytes = record.size_bytes();
        self.bytes = self.bytes.saturating_add(bytes);
        self.partition_bytes = self.partition_bytes.saturating_add(bytes);
        self.records.push(record);
    }
}

impl Fetcher {
    pub(super) fn iter(&self) -> std::slice::Iter<'_, Assigned> {
        self.partitions.iter()
    }

    pub(super) fn iter_mut(&mut self) -> std::slice::IterMut<'_, Assigned> {
        self.partitions.iter_mut()
    }

    pub(super) fn find(&mut self, topic: &str, partition: PartitionId) -> Result<&mut Assigned> {
        let mut assigned = self.partitions.iter_mut();
        assigned
            .find(|assigned| assigned.is(topic, partition))
            .ok_or_else(|| not_assigned(topic, partition))
    }

    pub(super) fn add(&mut self, partition: PartitionKey) {
        let place = self
            .partitions
            .partition_point(|other| other.partition < partition);
        self.partitions.insert(place, Assigned::new(partition));
    }

    pub(super) fn remove(&mut self, partition: &PartitionKey) -> Option<Assigned> {
        let place = self
            .partitions
            .binary_search_by(|other| other.partition.cmp(partition))
            .ok()?;
        Some(self.partitions.remove(place))
    }

    pub(super) fn clear(&mut self) -> Vec<Assigned> {
        std::mem::take(&mut self.partitions)
    }

    pub(super) fn has(&self, partition: &PartitionKey) -> bool {
        let place = self
            .partitions
            .binary_search_by(|other| other.partition.cmp(partition));
        place.is_ok()
    }

    pub(super) fn stop_watching(&mut self) {
        for source in self.partitions.iter_mut().filter_map(|a| a.source.as_mut()) {
            source.watch = None;
        }
    }

    /// The partitions that have no position yet.
    pub(super) fn unbegun(&self) -> Vec<PartitionKey> {
        let unbegun = self.partitions.iter().filter(|a| a.source.is_none());
        unbegun.map(|assigned| assigned.partition.clone()).collect()
    }

    /// The partitions that the member holds since the last call, or no longer holds.
    pub(super) fn changed_holds(&mut self) -> Vec<(PartitionKey, bool)> {
        let changed = self.partitions.iter_mut().filter_map(|assigned| {
            let holds = assigned.holds();
            let changed = std::mem::replace(&mut assigned.held, holds) != holds;
            changed.then(|| (assigned.partition.clone(), holds))
        });
        changed.collect()
    }

    /// Reads into `polled`. Returns the first error of a partition; the others are read all the
    /// same (I2).
    pub(super) fn fetch(
        &mut self,
        context: &Context<'_>,
        limits: Limits,
        polled: &mut ConsumerRecords,
    ) -> std::result::Result<(), (PartitionKey, Error)> {
        let count = self.partitions.len();
        let mut result = Ok(());
        let mut basket = Basket {
            limits,
            room: self.last_len,
            bytes: 0,
            partition_bytes: 0,
            overflowed: false,
            records: &mut polled.records,
            skipped: &mut polled.skipped,
        };
        let mut filled = None;
        for step in 0..count {
            let at = self.next.wrapping_add(step) % count;
            let Some(assigned) = self.partitions.get_mut(at) else {
                continue;
            };
            let read = if assigned.paused || basket.is_full() {
                assigned.resolve_start(context, basket.skipped)
            } else {
                assigned.read(context, &mut basket)
            };
            if let Err(error) = read
                && result.is_ok()
                && !assigned.is_gone(context, &error)
            {
                result = Err((assigned.partition.clone(), error));
            }
            if filled.is_none() && basket.is_full() {
                // A partition that left a record for lack of room is next; the others had their
                // turn.
                filled = Some(if basket.overflowed {
                    at
                } else {
                    at.wrapping_add(1)
                });
            }
        }
        self.next = filled.unwrap_or(self.next);
        if !basket.records.is_empty() {
            self.last_len = basket.records.len();
        }
        result
    }
}

impl Assigned {
    fn new(partition: PartitionKey) -> Self {
        Self {
            name: Arc::from(partition.topic.name.as_ref()),
            partition,
            paused: false,
            committed: None,
            clean: None,
            held: false,
            source: None,
        }
    }

    /// What can be committed. `None` before reading has begun, and if it is committed already.
    pub(super) fn claim(&self) -> Option<Claim> {
        let source = self.source.as_ref()?;
        let (offset, epoch) = (source.reader.position(), source.reader.epoch());
        let known = self.committed == Some((offset, source.log.epoch()));
        (!known).then(|| Claim {
            partition: self.partition.clone(),
            offset,
            epoch,
            named: false,
            log: source.log.clone(),
            metadata: None,
        })
    }

    /// Whether there are polled records without a commit, or the member has moved.
    fn holds(&self) -> bool {
        let position = self.source.as_ref().map(|source| source.reader.position());
        position.is_some() && position != self.clean
    }

    pub(super) fn set_committed(&mut self, offset: Offset, epoch: Epoch) {
        self.committed = Some((offset, epoch));
        self.clean = Some(offset);
    }

    pub(super) fn epoch(&self) -> Option<Epoch> {
        self.source.as_ref().map(|source| source.reader.epoch())
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused
    }

    pub(super) fn is(&self, topic: &str, partition: PartitionId) -> bool {
        self.partition.partition == partition && *self.partition.topic.name == *topic
    }

    pub(super) fn position(&self, context: &Context<'_>) -> Result<Offset> {
        if let Some(Source { reader, log, .. }) = &self.source {
            // What was cut off is not read any more: the next poll continues at the new end.
            return Ok(reader.position().min(log.shared_end(reader.epoch())));
        }
        let Beginning { log, at, .. } = self.beginning(context)?;
        Ok(log.reader_with(at, context.isolation)?.position())
    }

    pub(super) fn lag(&self, context: &Context<'_>) -> Result<u64> {
        let log = match &self.source {
            Some(source) => source.log.clone(),
            None => context.group.shared.topics.log(&self.partition)?,
        };
        let place = match self.read_place(context)? {
            Some(place) => place,
            None => self.position(context)?,
        };
        let next = place.max(log.start_offset());
        let end = log.readable_end(context.isolation)?;
        Ok(end.saturating_sub(next))
    }

    /// Goes back to the last commit, or to where the group began.
    pub(super) fn rewind(&mut self, context: &Context<'_>) -> Result<()> {
        let Beginning {
            log, at, committed, ..
        } = self.beginning(context)?;
        self.committed = committed;
        self.begin(context, log, at)
    }

    pub(super) fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    pub(super) fn seek(&mut self, context: &Context<'_>, to: Start) -> Result<()> {
        if let Some(source) = &mut self.source {
            source.reader.seek(to)?;
            source.failed = false;
            return Ok(());
        }
        let log = context.group.shared.topics.log(&self.partition)?;
        self.committed = self.read_commit(context, &log)?;
        self.begin(context, log, to)?;
        // The member holds it: a place that was asked for is not lost to another member.
        self.clean = None;
        Ok(())
    }

    /// Whether the error only says that the topic was deleted, which the next look at the topics
    /// will find out.
    fn is_gone(&self, context: &Context<'_>, error: &Error) -> bool {
        matches!(error, Error::Closed | Error::UnknownTopic { .. })
            && context.group.shared.check_open().is_ok()
            && !context.group.shared.topics.lives(&self.partition.topic)
    }

    /// Reads into the basket. If retention has overtaken the reader, `context.start` says where to
    /// continue, and the gap is reported.
    fn read(&mut self, context: &Context<'_>, basket: &mut Basket<'_>) -> Result<()> {
        self.resolve_start(context, basket.skipped)?;
        self.watch(context);
        basket.partition_bytes = 0;
        let requested = match self.read_on(basket) {
            Err(Error::OffsetOutOfRange { requested, .. }) => requested,
            Err(Error::Truncated { end, .. }) => return self.go_back(context, end, basket),
            other => return other,
        };
        let log = context.group.shared.topics.log(&self.partition)?;
        let at = self.near(context, &log, requested)?;
        let clean = self.clean.filter(|clean| *clean != requested);
        self.begin(context, log, at)?;
        self.watch(context);
        // Records that were polled before the jump are still held.
        self.clean = clean.or(self.clean);
        self.note_skipped(requested, basket.skipped);
        self.read_on(basket)
    }

    /// Continues where the log was cut off: the group's later commits were set back to there.
    fn go_back(
        &mut self,
        context: &Context<'_>,
        end: Offset,
        basket: &mut Basket<'_>,
    ) -> Result<()> {
        let log = context.group.shared.topics.log(&self.partition)?;
        let at = self.near(context, &log, end)?;
        let clean = self.clean.filter(|clean| *clean < end);
        self.committed = self.read_commit(context, &log)?;
        self.begin(context, log, at)?;
        // Records from below the cut that were polled and not committed are still held.
        self.clean = clean.or(self.clean);
        self.read_on(basket)
    }

    fn read_on(&mut self, basket: &mut Basket<'_>) -> Result<()> {
        let (name, partition) = (&self.name, self.partition.partition);
        let Some(source) = &mut self.source else {
            return Ok(());
        };
        if source.failed {
            let place = (source.reader.position(), source.reader.epoch());
            source.reader.seek(place)?;
            source.failed = false;
        }
        while !basket.is_full() {
            match source.reader.next() {
                None => break,
                Some(Ok(record)) => {
                    // Back to the record that is left for the next poll. Where that fails the
                    // record is returned now: it must not be skipped.
                    if basket.leaves(record.size_bytes())
                        && source.reader.seek(record.offset).is_ok()
                    {
                        break;
                    }
                    basket.put(ConsumerRecord::new(name, partition, record));
                }
                Some(Err(error)) => {
                    source.failed = true;
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Finds where to begin, once, as soon as the partition is gained: that time decides what is
    /// latest.
    fn resolve_start(&mut self, context: &Context<'_>, skipped: &mut Vec<Skipped>) -> Result<()> {
        if self.source.is_none() {
            let Beginning {
                log,
                at,
                wanted,
                committed,
            } = self.beginning(context)?;
            self.committed = committed;
            self.begin(context, log, at)?;
            if let Some(wanted) = wanted {
                self.note_skipped(wanted, skipped);
            }
        }
        Ok(())
    }

    /// Reports the gap from `from` to the position.
    fn note_skipped(&self, from: Offset, skipped: &mut Vec<Skipped>) {
        let to = self.source.as_ref().map(|source| source.reader.position());
        if let Some(to) = to.filter(|to| *to > from) {
            skipped.push(Skipped {
                partition: self.partition.public(),
                from,
                to,
            });
        }
    }

    fn beginning(&self, context: &Context<'_>) -> Result<Beginning> {
        let log = context.group.shared.topics.log(&self.partition)?;
        let committed = self.read_commit(context, &log)?;
        let place = self.read_place(context)?;
        let at = match (place, context.start) {
            (Some(offset), _) | (None, Some(Start::Offset(offset))) => {
                self.near(context, &log, offset)?
            }
            (None, Some(start)) => start,
            (None, None) => return Err(self.no_offset()),
        };
        Ok(Beginning {
            log,
            at,
            wanted: place,
            committed,
        })
    }

    /// Where to begin for a wanted offset. If the records there are gone, `context.start` says
    /// where; an offset past the end was read before the log was cut off, so reading continues at
    /// the end.
    fn near(&self, context: &Context<'_>, log: &Log, wanted: Offset) -> Result<Start> {
        let (first, end) = (log.start_offset(), log.end_offset());
        match context.start {
            _ if (first..=end).contains(&wanted) => Ok(Start::Offset(wanted)),
            None => Err(self.no_offset()),
            Some(_) if wanted > end => Ok(Start::Latest),
            Some(Start::Offset(_) | Start::InEpoch { .. }) => Ok(Start::Earliest),
            Some(start) => Ok(start),
        }
    }

    fn begin(&mut self, context: &Context<'_>, log: Log, at: Start) -> Result<()> {
        let reader = log.reader_with(at, context.isolation)?;
        self.clean = Some(reader.position());
        self.source = Some(Source {
            log,
            reader,
            watch: None,
            failed: false,
        });
        Ok(())
    }

    /// Called before each read of the log: a change that the read does not see raises the signal.
    fn watch(&mut self, context: &Context<'_>) {
        let (Some(source), Some(signal)) = (&mut self.source, context.waiting) else {
            return;
        };
        match &source.watch {
            Some(watch) => watch.renew(),
            None => source.watch = Some(LogWatch::new(&source.log, signal)),
        }
    }

    /// A commit, or the note of where the group began.
    fn read_place(&self, context: &Context<'_>) -> Result<Option<Offset>> {
        let PartitionKey { topic, partition } = &self.partition;
        let store = &context.group.shared.store;
        store.place(context.group.id.as_str(), &topic.name, *partition)
    }

    fn read_commit(&self, context: &Context<'_>, log: &Log) -> Result<Option<(Offset, Epoch)>> {
        let PartitionKey { topic, partition } = &self.partition;
        let store = &context.group.shared.store;
        // The epoch first: a truncation in between makes what is read count as unknown.
        let epoch = log.epoch();
        let committed = store.committed(context.group.id.as_str(), &topic.name, *partition)?;
        Ok(committed.map(|offset| (offset, epoch)))
    }

    fn no_offset(&self) -> Error {
        Error::NoOffset {
            topic: self.partition.topic.name.as_ref().to_owned(),
            partition: self.partition.partition,
        }
    }
}

pub(super) fn not_assigned(topic: &str, partition: PartitionId) -> Error {
    Error::UnknownPartition {
        not_assigned: true,
        topic: topic.to_owned(),
        partition,
    }
}
