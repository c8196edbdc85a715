//! Reading all partitions of a topic without a group: one iterator, one wait, a position each.
//!
//! Knows nothing about groups and commits: the program that reads keeps the positions.
//!
//! 1. Each partition is read from one position on, in the order of its offsets; nothing is skipped
//!    silently.
//! 2. Partitions take turns of a bounded number of records.
//! 3. A partition that fails does not stop the others; it reports its error once, and the wait
//!    reports it again if there is nothing else.

#[cfg(feature = "async")]
mod stream;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Waited;
use crate::error::{Error, Result};
use crate::format::LogRecord;
use crate::log::LogWatch;
use crate::reader::Reader;
use crate::sync::Signal;
use crate::types::{Offset, PartitionId, ReadIsolation, Start, to_usize};

use super::{ConsumerRecord, Topic, TopicShared};

#[cfg(feature = "async")]
pub use stream::TopicStream;

/// The most records of one partition in a row.
const TURN_RECORDS: u32 = 32;

const ISOLATION: ReadIsolation = ReadIsolation::ReadCommitted;

/// Reads all partitions of a topic without a group, for a projection that keeps its own offsets.
///
/// The iterator returns the records of each partition in the order of their offsets, and `None`
/// when there are no more; later it continues with what was appended meanwhile. Between partitions
/// there is no order; they take turns, so that a long one does not delay the others.
/// [`wait`](Self::wait) waits for all at once. Added partitions are read from offset 0 on.
///
/// Store [`positions`](Self::positions) with the results of the records and pass them to
/// [`Topic::reader_at`] later: reading continues without a gap and without repeating a record.
///
/// An error of one partition (unread records were deleted or truncated, or it is damaged) is
/// returned once; the others continue, and [`wait`](Self::wait) returns it again if there is
/// nothing else to read, until [`seek`](Self::seek). If the topic is deleted or the broker is
/// closed, the reader returns that error once and then `None`.
///
/// It reads what is [committed](ReadIsolation::ReadCommitted), keeps its broker open, costs next to
/// nothing while idle and up to 256 KiB per partition while it reads.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use ottla::{Broker, Record, Start, TopicConfig};
///
/// # let scratch = tempfile::tempdir()?;
/// let broker = Broker::open(scratch.path().join("data"))?;
/// let topic = broker.create_topic("flights", TopicConfig::default().partitions(4))?;
/// topic.append_batch([Record::keyed("N1", "departed"), Record::keyed("N2", "departed")])?;
///
/// let mut reader = topic.reader(Start::Earliest)?;
/// assert_eq!(reader.by_ref().collect::<Result<Vec<_>, _>>()?.len(), 2);
/// let stored = reader.positions();
///
/// topic.append(Record::keyed("N1", "landed"))?;
/// let mut later = topic.reader_at(&stored)?;
/// assert!(later.wait(Duration::from_secs(1))?);
/// assert_eq!(later.next().expect("a record")?.value(), Some(&b"landed"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TopicReader {
    topic: Topic,
    name: Arc<str>,
    signal: Arc<Signal>,
    lanes: Vec<Lane>,
    turn: Turn,
    ended: Option<Error>,
}

#[derive(Debug)]
struct Turn {
    lane: usize,
    left: u32,
    /// Lanes in a row without a record.
    empty: usize,
}

#[derive(Debug)]
enum Lane {
    Reading(Box<Reader>),
    /// Reading could not begin.
    Failed {
        at: Offset,
        error: Error,
        /// The iterator has returned the error.
        told: bool,
    },
}

impl Topic {
    /// A reader of all partitions that begins at an end or at a time; at an offset only in a single
    /// partition (else [`Topic::reader_at`]).
    ///
    /// # Errors
    ///
    /// - [`Error::InvalidConfig`]: an offset, and the topic has more than one partition.
    /// - [`Error::OffsetOutOfRange`]: the offset is below the start or above the end.
    /// - [`Error::UnknownTopic`]: the topic was deleted. [`Error::Closed`]: its broker was closed.
    /// - The errors of opening and reading the logs.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ottla::{Broker, Start, TopicConfig};
    /// # let scratch = tempfile::tempdir()?;
    /// # let broker = Broker::open(scratch.path().join("data"))?;
    /// let topic = broker.create_topic("t", TopicConfig::default().partitions(4))?;
    /// topic.append("before")?;
    /// let mut reader = topic.reader(Start::Latest)?;
    /// topic.append("after")?;
    /// assert_eq!(reader.next().expect("a record")?.value(), Some(&b"after"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reader(&self, from: impl Into<Start>) -> Result<TopicReader> {
        let from = from.into();
        self.shared.check_alive()?;
        let partitions = self.partition_count();
        let offset = match from {
            Start::Offset(offset) | Start::InEpoch { offset, .. } => Some(offset),
            Start::Earliest | Start::Latest | Start::Time(_) => None,
        };
        if let Some(offset) = offset.filter(|_| partitions > 1) {
            return Err(Error::InvalidConfig {
                name: "start".to_owned(),
                value: format!("offset {offset}"),
                expected: format!(
                    "an end or a time, for {} has {partitions} partitions (an offset for each: \
                     reader_at)",
                    self.name()
                ),
            });
        }
        TopicReader::begin(self, |_| from, partitions)
    }

    /// A reader of all partitions that begins at positions from [`TopicReader::positions`], or at
    /// the start of a partition that is not in the map.
    ///
    /// # Errors
    ///
    /// - [`Error::UnknownPartition`]: the topic has no such partition.
    /// - [`Error::OffsetOutOfRange`]: an offset is below the start of its partition (its records
    ///   were deleted meanwhile) or above the end (they were truncated).
    /// - [`Error::UnknownTopic`]: the topic was deleted. [`Error::Closed`]: its broker was closed.
    /// - The errors of opening and reading the logs.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::collections::BTreeMap;
    /// # use ottla::{Broker, TopicConfig};
    /// # let scratch = tempfile::tempdir()?;
    /// # let broker = Broker::open(scratch.path().join("data"))?;
    /// let topic = broker.create_topic("t", TopicConfig::default().partitions(2))?;
    /// topic.append_to(0, "known already")?;
    /// topic.append_to(1, "new")?;
    /// let reader = topic.reader_at(&BTreeMap::from([(0, 1)]))?;
    /// assert_eq!(reader.count(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reader_at(&self, positions: &BTreeMap<PartitionId, Offset>) -> Result<TopicReader> {
        self.shared.check_alive()?;
        let partitions = self.partition_count();
        if let Some((unknown, _)) = positions.range(partitions..).next() {
            return Err(self.shared.unknown_partition(*unknown));
        }
        let from = |partition| {
            let offset = positions.get(&partition).copied();
            offset.map_or(Start::Earliest, Start::Offset)
        };
        TopicReader::begin(self, from, partitions)
    }

    fn partition_reader(&self, partition: PartitionId, from: Start) -> Result<Reader> {
        let log = self.shared.log(partition)?;
        let reader = log.reader_with(from, ISOLATION);
        reader.map_err(|error| self.shared.explain(error))
    }
}

impl TopicReader {
    fn begin(topic: &Topic, from: impl Fn(PartitionId) -> Start, partitions: u32) -> Result<Self> {
        let begun = (0..partitions).map(|partition| {
            let reader = topic.partition_reader(partition, from(partition))?;
            Ok(Lane::Reading(Box::new(reader)))
        });
        Ok(Self {
            name: Arc::from(topic.name()),
            signal: Arc::default(),
            lanes: begun.collect::<Result<_>>()?,
            turn: Turn {
                lane: 0,
                left: TURN_RECORDS,
                empty: 0,
            },
            ended: None,
            topic: topic.clone(),
        })
    }

    /// For each partition, the offset of the next record to be returned: what [`Topic::reader_at`]
    /// takes.
    #[must_use]
    pub fn positions(&self) -> BTreeMap<PartitionId, Offset> {
        (0..).zip(self.lanes.iter().map(Lane::position)).collect()
    }

    /// Moves to another position in a partition, even in one that has failed.
    ///
    /// # Errors
    ///
    /// - [`Error::UnknownPartition`]: the topic has no such partition.
    /// - [`Error::OffsetOutOfRange`]: there is no such offset; the reader stays where it was.
    /// - [`Error::UnknownTopic`], [`Error::Closed`]: the reader has ended.
    /// - The errors of opening and reading the log.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ottla::{Broker, Start, TopicConfig};
    /// # let scratch = tempfile::tempdir()?;
    /// # let broker = Broker::open(scratch.path().join("data"))?;
    /// let topic = broker.create_topic("t", TopicConfig::default())?;
    /// topic.append_batch(["a", "b", "c"])?;
    /// let mut reader = topic.reader(Start::Earliest)?;
    /// assert_eq!(reader.by_ref().count(), 3);
    /// reader.seek(0, 1)?;
    /// assert_eq!(reader.count(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn seek(&mut self, partition: PartitionId, to: impl Into<Start>) -> Result<()> {
        self.topic.shared.check_alive()?;
        self.add_lanes();
        let unknown = || self.topic.shared.unknown_partition(partition);
        let lane = self.lanes.get_mut(to_usize(u64::from(partition)));
        let to = to.into();
        match lane.ok_or_else(unknown)? {
            Lane::Reading(reader) => reader.seek(to)?,
            failed @ Lane::Failed { .. } => {
                let reader = self.topic.partition_reader(partition, to)?;
                *failed = Lane::Reading(Box::new(reader));
            }
        }
        Ok(())
    }

    /// Waits until the iterator has something to return (true), also in an added partition, or the
    /// time is over (false).
    ///
    /// # Errors
    ///
    /// - [`Error::UnknownTopic`]: the topic was deleted. [`Error::Closed`]: its broker was closed.
    /// - As [`Log::wait_for`](crate::Log::wait_for), of any partition.
    /// - The error of a partition that the iterator has returned, if the others have nothing to
    ///   read, until [`TopicReader::seek`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use ottla::{Broker, Start, TopicConfig};
    /// # let scratch = tempfile::tempdir()?;
    /// # let broker = Broker::open(scratch.path().join("data"))?;
    /// let topic = broker.create_topic("t", TopicConfig::default().partitions(4))?;
    /// let mut reader = topic.reader(Start::Latest)?;
    /// assert!(!reader.wait(Duration::ZERO)?);
    /// let appending = std::thread::spawn(move || topic.append("x").map(|_| ()));
    /// assert!(reader.wait(Duration::from_secs(60))?);
    /// assert_eq!(reader.count(), 1);
    /// # appending.join().unwrap()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait(&mut self, timeout: Duration) -> Result<bool> {
        if self.has_news()? {
            return Ok(true);
        }
        let clock = self.topic.shared.host().clock.clone();
        let until = clock.until(timeout);
        let signal = Arc::clone(&self.signal);
        let mut ticket = signal.ticket();
        let mut waiting = Waiting::new(&self.topic.shared, &signal);
        loop {
            // Everything is watched before it is checked, or a change between would be missed.
            waiting.watch_topic();
            self.add_lanes();
            waiting.watch_lanes(&self.lanes);
            if self.has_news()? {
                return Ok(true);
            }
            if clock.wait(&mut ticket, until, None) == Waited::Over {
                return self.has_news();
            }
        }
    }

    fn has_news(&mut self) -> Result<bool> {
        if let Some(error) = &self.ended {
            return Err(error.clone());
        }
        self.topic.shared.check_alive()?;
        self.add_lanes();
        let mut failed = None;
        for lane in &self.lanes {
            match lane.has_news() {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        match failed {
            Some(error) => Err(self.topic.shared.explain(error)),
            None => Ok(false),
        }
    }

    /// Begins to read added partitions; returns whether there were any.
    fn add_lanes(&mut self) -> bool {
        let known = u32::try_from(self.lanes.len()).unwrap_or(u32::MAX);
        let added = known..self.topic.partition_count();
        let topic = &self.topic;
        // At 0, not at the start: if retention was faster, that is an error to report (I1).
        let begun = added.clone().map(|partition| {
            match topic.partition_reader(partition, Start::Offset(0)) {
                Ok(reader) => Lane::Reading(Box::new(reader)),
                Err(error) => Lane::Failed {
                    at: 0,
                    error,
                    told: false,
                },
            }
        });
        self.lanes.extend(begun);
        !added.is_empty()
    }

    /// The error to return. If the topic has ended, the reader ends with it.
    #[cold]
    fn failed(&mut self, error: Error) -> Error {
        match self.topic.shared.check_alive() {
            Ok(()) => error,
            Err(over) => self.ended.insert(over).clone(),
        }
    }

    /// Begins the turn of the next partition.
    fn pass_on(&mut self) {
        self.turn.left = TURN_RECORDS;
        self.turn.lane = self.turn.lane.saturating_add(1);
        if self.turn.lane >= self.lanes.len() {
            self.turn.lane = 0;
            self.add_lanes();
        }
    }

    fn advance(&mut self) -> Option<Result<ConsumerRecord>> {
        while self.turn.empty < self.lanes.len() {
            let at = self.turn.lane;
            match self.lanes.get_mut(at).and_then(Lane::next) {
                Some(Ok(record)) => {
                    self.turn.empty = 0;
                    self.turn.left = self.turn.left.saturating_sub(1);
                    if self.turn.left == 0 {
                        self.pass_on();
                    }
                    let partition = PartitionId::try_from(at).unwrap_or(PartitionId::MAX);
                    return Some(Ok(ConsumerRecord::new(&self.name, partition, record)));
                }
                Some(Err(error)) => {
                    self.turn.empty = 0;
                    self.pass_on();
                    return Some(Err(self.failed(error)));
                }
                None => {
                    self.turn.empty = self.turn.empty.saturating_add(1);
                    self.pass_on();
                }
            }
        }
        self.turn.empty = 0;
        None
    }
}

impl Iterator for TopicReader {
    type Item = Result<ConsumerRecord>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended.is_some() {
            return None;
        }
        loop {
            if let Some(found) = self.advance() {
                return Some(found);
            }
            if let Err(over) = self.topic.shared.check_alive() {
                return Some(Err(self.ended.insert(over).clone()));
            }
            if !self.add_lanes() {
                return None;
            }
        }
    }
}

impl Lane {
    fn position(&self) -> Offset {
        match self {
            Self::Reading(reader) => Reader::position(reader),
            Self::Failed { at, .. } => *at,
        }
    }

    #[inline]
    fn next(&mut self) -> Option<Result<LogRecord>> {
        match self {
            Self::Reading(reader) => reader.next(),
            Self::Failed { error, told, .. } => {
                (!std::mem::replace(told, true)).then(|| Err(error.clone()))
            }
        }
    }

    fn has_news(&self) -> Result<bool> {
        match self {
            Self::Reading(reader) => reader.has_news(),
            Self::Failed { told: false, .. } => Ok(true),
            Self::Failed { error, .. } => Err(error.clone()),
        }
    }
}

/// What wakes a reader while it waits, and no longer.
#[derive(Debug)]
struct Waiting {
    topic: Arc<TopicShared>,
    signal: Arc<Signal>,
    /// `None` where reading could not begin.
    lanes: Vec<Option<LogWatch>>,
}

impl Waiting {
    fn new(topic: &Arc<TopicShared>, signal: &Arc<Signal>) -> Self {
        Self {
            topic: Arc::clone(topic),
            signal: Arc::clone(signal),
            lanes: Vec::new(),
        }
    }

    fn watch_topic(&self) {
        self.topic.watchers().add(&self.signal);
    }

    fn watch_lanes(&mut self, lanes: &[Lane]) {
        for watch in self.lanes.iter().flatten() {
            watch.renew();
        }
        let added = lanes.get(self.lanes.len()..).unwrap_or_default();
        self.lanes.extend(added.iter().map(|lane| match lane {
            Lane::Reading(reader) => Some(LogWatch::new(reader.log(), &self.signal)),
            Lane::Failed { .. } => None,
        }));
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // No thread waits in a forked process.
        if self.topic.host().check_owner().is_ok() {
            self.topic.watchers().remove(&self.signal);
        }
    }
}
