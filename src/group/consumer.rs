//! A member of a group that reads: `poll`, `commit`, `seek`.
//!
//! Knows nothing about how members share partitions out (`membership`), nor about how a partition
//! is read (`fetch.rs`).
//!
//! 1. What a poll has returned can be committed until the next poll lets its partition go, and by
//!    one more commit after that, where the new owner is not further already.
//! 2. Nothing is committed for a member that was thrown out.
//! 3. A waiting poll waits on one signal. Appends to its partitions, changes among the members,
//!    changes of topics and the closing of the broker raise it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::sync::{Signal, deadline};
use crate::topic::Keep;
use crate::types::{Offset, PartitionId, Start, to_usize};

use super::ConsumerConfig;
use super::fetch::{Assigned, Claim, Context, Fetcher, unknown_partition};
use super::group::{Group, Seat};
use super::membership::Joining;
use super::offset_store::Commit;
use super::partition::TopicPartition;
use super::records::ConsumerRecords;

/// A member of a [`ConsumerGroup`](crate::ConsumerGroup): reads the partitions that the group gives
/// it.
///
/// Delivery is at least once: what is not committed when a member is gone, by whatever end, comes
/// again to another. Dropping a consumer leaves the group without committing, also when a panic
/// drops it.
///
/// A member keeps a partition until its own next `poll` lets it go, so what it has polled it can
/// always commit. Only one that was thrown out (it did not poll within
/// [`max_poll_interval`](ConsumerConfig::max_poll_interval), or another took its static id) gets
/// [`Error::Fenced`] from `commit`.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use ottla::{Broker, TopicConfig};
///
/// # let scratch = tempfile::tempdir()?;
/// let broker = Broker::open(scratch.path().join("data"))?;
/// let topic = broker.create_topic("flights", TopicConfig::default())?;
/// topic.append("departed EWR")?;
///
/// let mut consumer = broker.group("departure-board")?.join(["flights"])?;
/// let records = consumer.poll(Duration::from_secs(1))?;
/// assert_eq!(records.len(), 1);
/// consumer.commit()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Consumer {
    group: Arc<Group>,
    config: ConsumerConfig,
    joining: Joining,
    seat: Seat,
    signal: Arc<Signal>,
    fetcher: Fetcher,
    /// What was returned of partitions that were let go, and not committed yet (I1).
    let_go: Vec<Claim>,
    /// What was gained and lost since a poll last told.
    news: News,
    /// An error that a poll met when it had records to return.
    failed: Option<Error>,
    left: bool,
    _keeper: Option<Arc<dyn Keep>>,
}

#[derive(Debug, Default)]
struct News {
    gained: Vec<TopicPartition>,
    lost: Vec<TopicPartition>,
}

/// How a wait ended.
enum Woken {
    /// Something happened.
    Raised,
    /// A member may be too late now.
    At(Instant),
    /// The poll's time is over.
    Over,
}

impl Consumer {
    pub(super) fn join(
        group: &Arc<Group>,
        joining: Joining,
        config: ConsumerConfig,
        keeper: Option<Arc<dyn Keep>>,
    ) -> Result<Self> {
        let signal = Arc::new(Signal::default());
        let seat = group.join(&joining, &signal, true)?;
        group.shared.topics.watch(&signal);
        Ok(Self {
            group: Arc::clone(group),
            config,
            joining,
            seat,
            signal,
            fetcher: Fetcher::default(),
            let_go: Vec::new(),
            news: News::default(),
            failed: None,
            left: false,
            _keeper: keeper,
        })
    }

    /// Gives the records that are there, at most
    /// [`max_poll_records`](ConsumerConfig::max_poll_records), waiting up to `timeout` for the
    /// first one. It wakes as soon as there is one; with a timeout of zero it gives what is there.
    ///
    /// This is also where the member takes its part in the group: before it reads, it lets go the
    /// partitions that others are to have and takes over what is free for it, and
    /// [`ConsumerRecords::lost`] and [`ConsumerRecords::gained`] tell. A member that was thrown out
    /// joins anew here. Within a poll the member is never too late.
    ///
    /// Partitions take turns in being first. An error of one partition is returned when no other
    /// has records, else by the next poll; it costs no record, and the partition is tried again.
    ///
    /// # Errors
    ///
    /// - [`Error::NoOffset`]: a partition has no committed offset, or its records are gone, and
    ///   [`start`](ConsumerConfig::start) is `None`. Seek it.
    /// - [`Error::Fenced`]: another member has taken the static id. Drop this consumer.
    /// - [`Error::Corrupt`], [`Error::Unsupported`], [`Error::Io`]: a partition cannot be read.
    /// - [`Error::Closed`]: the broker was closed.
    /// - With [`auto_commit`](ConsumerConfig::auto_commit), what [`commit`](Self::commit) answers,
    ///   but for `Fenced`.
    pub fn poll(&mut self, timeout: Duration) -> Result<ConsumerRecords> {
        self.group.shared.check_owner()?;
        let polled = self.poll_and_wait(timeout);
        self.group.polled(self.seat.id);
        polled
    }

    fn poll_and_wait(&mut self, timeout: Duration) -> Result<ConsumerRecords> {
        self.group.shared.check_open()?;
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        if self.config.auto_commit {
            self.commit_unless_fenced()?;
        }
        let began = self.group.shared.now();
        let mut records = ConsumerRecords::default();
        self.look(began, &mut records)?;
        if !records.is_empty() || timeout.is_zero() {
            return Ok(self.tell(records));
        }
        let until = deadline(began, timeout);
        let signal = Arc::clone(&self.signal);
        let mut ticket = signal.ticket();
        let mut now = began;
        loop {
            self.look(now, &mut records)?;
            if !records.is_empty() {
                return Ok(self.tell(records));
            }
            match wait(&mut ticket, until, self.group.next_deadline()) {
                Woken::Raised => now = self.group.shared.now(),
                Woken::At(late) => now = self.group.shared.now().max(late),
                Woken::Over => return Ok(self.tell(records)),
            }
        }
    }

    /// One look at the group and at the logs.
    fn look(&mut self, now: Instant, records: &mut ConsumerRecords) -> Result<()> {
        self.group.shared.check_open()?;
        self.take_turn(now)?;
        let limit = to_usize(u64::from(self.config.max_poll_records));
        let (context, fetcher) = self.reading();
        match fetcher.fetch(&context, limit, &mut records.records) {
            Err(error) if records.is_empty() => return Err(error),
            Err(error) => self.failed = Some(error),
            Ok(()) => {}
        }
        Ok(())
    }

    /// Lets go and takes over; joins anew when the member was thrown out.
    fn take_turn(&mut self, now: Instant) -> Result<()> {
        let mut turn = self.group.turn(self.seat.id, now);
        if turn.is_none() {
            self.join_anew()?;
            turn = self.group.turn(self.seat.id, now);
        }
        let Some(turn) = turn else {
            return Err(self.group.fenced(&self.seat));
        };
        self.seat.generation = turn.generation;
        for partition in turn.lost {
            if let Some(assigned) = self.fetcher.remove(&partition) {
                self.let_go.extend(assigned.claim());
            }
            self.news.lost(partition);
        }
        for partition in turn.gained {
            // It begins where the group has got to; older claims on it are void.
            self.let_go.retain(|claim| claim.partition != partition);
            self.fetcher.add(partition.clone());
            self.news.gained(partition);
        }
        Ok(())
    }

    /// Everything is lost, and nothing of it can be committed any more (I2).
    fn join_anew(&mut self) -> Result<()> {
        let taken = self.joining.static_id.as_deref();
        if taken.is_some_and(|id| self.group.has_static_id(id)) {
            return Err(self.group.fenced(&self.seat));
        }
        for assigned in self.fetcher.clear() {
            self.news.lost(assigned.partition);
        }
        self.let_go.clear();
        self.seat = self.group.join(&self.joining, &self.signal, false)?;
        Ok(())
    }

    fn tell(&mut self, mut records: ConsumerRecords) -> ConsumerRecords {
        let News { gained, lost } = std::mem::take(&mut self.news);
        records.gained = gained.iter().map(TopicPartition::named).collect();
        records.lost = lost.iter().map(TopicPartition::named).collect();
        records
    }

    /// Commits everything that polls have returned: after a restart, or when another member takes
    /// over, the group goes on behind it.
    ///
    /// The commits of one call are one batch: all of them or none, after a crash too. It survives
    /// what the `durability` of the broker says; with
    /// [`Durability::Always`](crate::Durability::Always) the records are flushed before it, so that
    /// it never outlives them. Partitions without news cost nothing.
    ///
    /// What was returned of a partition that the last poll let go is committed too, unless its new
    /// owner is further already.
    ///
    /// # Errors
    ///
    /// - [`Error::Fenced`]: the member was thrown out. Nothing was committed, others may have its
    ///   partitions, and the next poll joins anew.
    /// - [`Error::NoSpace`], [`Error::Io`], [`Error::Poisoned`], [`Error::Closed`]: it is not
    ///   certain that anything was committed; the records are not touched.
    pub fn commit(&mut self) -> Result<()> {
        self.group.shared.check_owner()?;
        let mut claims: Vec<_> = self.fetcher.iter().filter_map(Assigned::claim).collect();
        let owned = claims.len();
        claims.append(&mut self.let_go.clone());
        self.commit_claims(&claims, owned)?;
        self.let_go.clear();
        Ok(())
    }

    /// Commits one partition: the offset of the next record to read, so that everything below it is
    /// done.
    ///
    /// It may lie before what is committed. It does not move where this member reads.
    ///
    /// # Errors
    ///
    /// - [`Error::UnknownPartition`]: the member does not have this partition.
    /// - [`Error::OffsetOutOfRange`]: the offset is past the end of the partition.
    /// - As [`commit`](Self::commit).
    pub fn commit_to(&mut self, topic: &str, partition: PartitionId, next: Offset) -> Result<()> {
        self.group.shared.check_owner()?;
        let names =
            |key: &TopicPartition| key.partition == partition && key.topic.name.as_ref() == topic;
        let owned = self
            .fetcher
            .iter()
            .find(|assigned| names(&assigned.partition));
        let claim = match owned {
            Some(assigned) => Claim {
                partition: assigned.partition.clone(),
                offset: next,
                log: self.group.shared.topics.log(&assigned.partition)?,
            },
            None => match self.let_go.iter().find(|claim| names(&claim.partition)) {
                Some(claim) => Claim {
                    offset: next,
                    ..claim.clone()
                },
                None => return Err(unknown_partition(topic, partition)),
            },
        };
        let end = claim.log.end_offset();
        if next > end {
            let start = claim.log.start_offset();
            return Err(Error::OffsetOutOfRange {
                requested: next,
                start,
                end,
            });
        }
        let owned = usize::from(owned.is_some());
        self.commit_claims(&[claim], owned)
    }

    /// Commits claims, of which the first `owned` are on partitions that the member has.
    fn commit_claims(&mut self, claims: &[Claim], owned: usize) -> Result<()> {
        let group = &self.group;
        if claims.is_empty() {
            return group.check_member(&self.seat);
        }
        let topics = &group.shared.topics;
        if group.shared.store.outlives_power(group.id.as_str())? {
            for claim in claims
                .iter()
                .filter(|claim| claim.log.flushed_offset() < claim.offset)
            {
                let flushed = claim.log.flush();
                if topics.lives(&claim.partition.topic) {
                    flushed?;
                }
            }
        }
        group.commit(&self.seat, |store| {
            let mut commits = Vec::with_capacity(claims.len());
            for (
                place,
                Claim {
                    partition, offset, ..
                },
            ) in claims.iter().enumerate()
            {
                let TopicPartition { topic, partition } = partition;
                let further = || store.committed(group.id.as_str(), &topic.name, *partition);
                if topics.lives(topic) && (place < owned || further()? < Some(*offset)) {
                    let topic = Arc::clone(&topic.name);
                    commits.push(Commit {
                        topic,
                        partition: *partition,
                        offset: *offset,
                    });
                }
            }
            Ok(commits)
        })?;
        let done: BTreeMap<_, _> = claims
            .iter()
            .map(|claim| (&claim.partition, claim.offset))
            .collect();
        for assigned in self.fetcher.iter_mut() {
            if let Some(offset) = done.get(&assigned.partition) {
                assigned.committed = Some(*offset);
            }
        }
        Ok(())
    }

    /// A member that was thrown out has nothing to commit.
    fn commit_unless_fenced(&mut self) -> Result<()> {
        match self.commit() {
            Err(Error::Fenced { .. }) => Ok(()),
            other => other,
        }
    }

    /// The partitions that this member has, by topic and number: those of its last poll, or none
    /// when it was thrown out since.
    #[must_use]
    pub fn assignment(&self) -> Vec<(String, PartitionId)> {
        if self.group.shared.check_owner().is_err() || !self.group.knows(self.seat.id) {
            return Vec::new();
        }
        self.fetcher
            .iter()
            .map(|assigned| assigned.partition.named())
            .collect()
    }

    /// The offset of the next record that a poll will return from a partition.
    ///
    /// # Errors
    ///
    /// - [`Error::UnknownPartition`]: the member does not have this partition.
    /// - [`Error::NoOffset`]: as for [`poll`](Self::poll).
    /// - What reading the partition's log, or the group's commits, answers.
    pub fn position(&self, topic: &str, partition: PartitionId) -> Result<Offset> {
        self.group.shared.check_owner()?;
        let mut assigned = self.fetcher.iter();
        assigned
            .find(|assigned| assigned.is(topic, partition))
            .ok_or_else(|| unknown_partition(topic, partition))?
            .position(&self.context())
    }

    /// Moves to another place in a partition, for this member's next poll. Nothing is committed by
    /// it.
    ///
    /// # Errors
    ///
    /// - [`Error::UnknownPartition`]: the member does not have this partition; it has none before
    ///   its first poll.
    /// - [`Error::OffsetOutOfRange`]: there is no such place. The member stays where it was.
    /// - What reading the partition's log answers.
    pub fn seek(
        &mut self,
        topic: &str,
        partition: PartitionId,
        to: impl Into<Start>,
    ) -> Result<()> {
        self.group.shared.check_owner()?;
        let (context, fetcher) = self.reading();
        fetcher.find(topic, partition)?.seek(&context, to.into())
    }

    /// Has polls pass over a partition, until [`resume`](Self::resume) or until it is lost. The
    /// member keeps it, and its place in it.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownPartition`]: the member does not have this partition.
    pub fn pause(&mut self, topic: &str, partition: PartitionId) -> Result<()> {
        self.group.shared.check_owner()?;
        let (context, fetcher) = self.reading();
        fetcher.find(topic, partition)?.pause(&context, true);
        Ok(())
    }

    /// Has polls read a partition again that was [paused](Self::pause).
    ///
    /// # Errors
    ///
    /// [`Error::UnknownPartition`]: the member does not have this partition.
    pub fn resume(&mut self, topic: &str, partition: PartitionId) -> Result<()> {
        self.group.shared.check_owner()?;
        let (context, fetcher) = self.reading();
        fetcher.find(topic, partition)?.pause(&context, false);
        Ok(())
    }

    /// How many records wait in this member's partitions that no poll has returned.
    ///
    /// # Errors
    ///
    /// As [`position`](Self::position).
    pub fn lag(&self) -> Result<u64> {
        self.group.shared.check_owner()?;
        let context = self.context();
        let mut assigned = self.fetcher.iter();
        assigned.try_fold(0_u64, |sum, assigned| {
            Ok(sum.saturating_add(assigned.lag(&context)?))
        })
    }

    /// Leaves the group; others get the partitions at once. With
    /// [`auto_commit`](ConsumerConfig::auto_commit) what was polled is committed before.
    ///
    /// Dropping a consumer leaves too, but commits nothing.
    ///
    /// # Errors
    ///
    /// With `auto_commit` what [`commit`](Self::commit) answers; the member has left all the same.
    pub fn leave(mut self) -> Result<()> {
        self.group.shared.check_owner()?;
        let committed = if self.config.auto_commit {
            self.commit()
        } else {
            Ok(())
        };
        self.go();
        committed
    }

    fn go(&mut self) {
        // Only in its own process is it this member's to leave.
        if self.group.shared.check_owner().is_ok() && !std::mem::replace(&mut self.left, true) {
            self.group.leave(self.seat.id);
        }
    }

    fn context(&self) -> Context<'_> {
        Context {
            group: &self.group,
            signal: &self.signal,
            start: self.config.start,
            isolation: self.config.isolation_level,
        }
    }

    /// What reading needs, and what it changes.
    fn reading(&mut self) -> (Context<'_>, &mut Fetcher) {
        let context = Context {
            group: &self.group,
            signal: &self.signal,
            start: self.config.start,
            isolation: self.config.isolation_level,
        };
        (context, &mut self.fetcher)
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.go();
    }
}

impl News {
    /// What was gained and not told was never had.
    fn lost(&mut self, partition: TopicPartition) {
        let untold = self.gained.len();
        self.gained.retain(|gained| *gained != partition);
        if self.gained.len() == untold {
            self.lost.push(partition);
        }
    }

    fn gained(&mut self, partition: TopicPartition) {
        self.gained.push(partition);
    }
}

/// Waits until something happens, a member may be too late, or the poll is over.
fn wait(
    ticket: &mut crate::sync::Ticket<'_>,
    until: Option<Instant>,
    late: Option<Instant>,
) -> Woken {
    match late.filter(|late| until.is_none_or(|until| *late < until)) {
        Some(late) if !ticket.wait_until(Some(late)) => Woken::At(late),
        None if !ticket.wait_until(until) => Woken::Over,
        _ => Woken::Raised,
    }
}
