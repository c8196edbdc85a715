//! A member of a group that reads: `poll`, and its turn in the group.
//!
//! Knows nothing about how members share partitions (`membership`), nor about how a partition is
//! read (`fetch.rs`).
//!
//! 1. What a poll has returned can be committed until the next poll gives its partition up, and
//!    once more after that, unless the new owner has already committed a later offset.
//! 2. Nothing is committed for a member that was removed, nor for a partition that was taken.
//! 3. A poll waits on one signal. Appends to its partitions, changes of members or topics, a wakeup
//!    handle and the closing of the broker raise it.
//! 4. User code (a listener, a pattern) runs with no lock held.

#[cfg(feature = "async")]
mod asynchronous;
mod commits;
mod listener;
mod places;
mod subscription;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clock::Waited;
use crate::error::{Error, Result};
use crate::sync::{AtomicBool, Ordering, Signal};
use crate::topic::BrokerHandle;
use crate::types::{Start, TopicPartition, to_u64, to_usize};

use super::ConsumerConfig;
use super::fetch::{Claim, Context, Fetcher, Limits};
use super::group::{Group, Seat};
use super::membership::{Joining, Willing};
use super::partition::PartitionKey;
use super::records::{ConsumerRecords, Skipped};

use listener::Listener;
pub use listener::RebalanceListener;
use subscription::Pattern;

/// A member of a [`ConsumerGroup`](crate::ConsumerGroup): reads the partitions that the group
/// assigns to it.
///
/// Delivery is at least once: records that were not committed when a member left or died are
/// delivered again to another. Dropping a consumer, also by a panic, leaves the group without
/// committing. A [static member](ConsumerConfig::static_member_id) that is dropped keeps its
/// partitions for its [`session_timeout`](ConsumerConfig::session_timeout).
///
/// A member has no partitions before its first poll. It gives up those with polled and uncommitted
/// records only in its own next `poll`, so that it can always commit them; the others pass to a new
/// member at once. Only a member that was removed (it did not poll within
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
    /// Only while a poll waits do appends raise the signal.
    waits: bool,
    wakeup: Arc<Wakeup>,
    #[cfg(feature = "async")]
    alarm: Option<Arc<asynchronous::Alarm>>,
    pattern: Option<Pattern>,
    listener: Option<Listener>,
    fetcher: Fetcher,
    /// What was polled from partitions that were given up, and is not committed yet (I1).
    let_go: Vec<Claim>,
    /// Those from before the first poll.
    seeks: BTreeMap<TopicPartition, Start>,
    /// What no poll has reported yet.
    news: News,
    /// The error of a poll that had records to return; the next poll returns it.
    failed: Option<Failed>,
    /// When everything was last committed.
    committed_at: Instant,
    has_polled: bool,
    /// When the last poll ended.
    polled_at: Option<Instant>,
    left: bool,
    _broker: Option<Arc<dyn BrokerHandle>>,
}

#[derive(Debug, Default)]
struct News {
    gained: Vec<PartitionKey>,
    lost: Vec<PartitionKey>,
    /// Gaps that dropped polls have found.
    skipped: Vec<Skipped>,
}

#[derive(Debug)]
struct Failed {
    partition: PartitionKey,
    error: Error,
}

/// Ends a waiting [`Consumer::poll`] from another thread: see [`Consumer::wakeup_handle`].
///
/// Keeps neither the consumer nor its broker alive.
#[derive(Clone, Debug)]
pub struct WakeupHandle {
    wakeup: Arc<Wakeup>,
}

#[derive(Debug)]
struct Wakeup {
    requested: AtomicBool,
    signal: Arc<Signal>,
}

impl WakeupHandle {
    /// Ends the poll that waits now, or else the next one, with [`Error::WokenUp`]. Any number of
    /// calls before that poll end one poll.
    pub fn wake(&self) {
        // Stored before the signal is raised, or the woken poll would not see it.
        self.wakeup.requested.store(true, Ordering::Release);
        self.wakeup.signal.raise();
    }
}

impl Wakeup {
    fn check(&self) -> Result<()> {
        if self.requested.swap(false, Ordering::AcqRel) {
            Err(Error::WokenUp)
        } else {
            Ok(())
        }
    }
}

impl Consumer {
    pub(super) fn join(
        group: &Arc<Group>,
        joining: Joining,
        config: ConsumerConfig,
        listener: Option<Box<dyn RebalanceListener>>,
        broker: Option<Arc<dyn BrokerHandle>>,
    ) -> Result<Self> {
        let signal = Arc::new(Signal::default());
        let seat = group.join(&joining, &signal)?;
        group.shared.topics.watch(&signal);
        let wakeup = Arc::new(Wakeup {
            requested: AtomicBool::new(false),
            signal: Arc::clone(&signal),
        });
        Ok(Self {
            committed_at: group.shared.now(),
            group: Arc::clone(group),
            config,
            joining,
            seat,
            signal,
            waits: false,
            wakeup,
            #[cfg(feature = "async")]
            alarm: None,
            pattern: None,
            listener: listener.map(Listener),
            fetcher: Fetcher::default(),
            let_go: Vec::new(),
            seeks: BTreeMap::new(),
            news: News::default(),
            failed: None,
            has_polled: false,
            polled_at: None,
            left: false,
            _broker: broker,
        })
    }

    /// Returns the records that are there, at most
    /// [`max_poll_records`](ConsumerConfig::max_poll_records) and at most
    /// [`fetch_max_bytes`](ConsumerConfig::fetch_max_bytes), waiting up to `timeout` for the first
    /// one. With a timeout of zero it returns what is there.
    ///
    /// Before it reads, the member gives up the partitions that others should have and takes over
    /// what is free for it: see [`ConsumerRecords::lost`] and [`ConsumerRecords::gained`]. A member
    /// that was removed joins again. Within a poll the member is never too late.
    ///
    /// Where the group first begins a partition, that place is noted durably, so that
    /// [`Start::Latest`] loses nothing that comes later, whichever member reads it. Partitions and
    /// topics that are added while the group lives are read from their start, and so is a topic
    /// that is made again after the group had begun it.
    ///
    /// Partitions take turns in being first. An error of one partition is returned when no other
    /// has records, else by the next poll; it costs no record, and the next poll tries again.
    ///
    /// # Errors
    ///
    /// - [`Error::NoOffset`]: a partition has no committed offset, or its records are gone, and
    ///   [`start`](ConsumerConfig::start) is `None`. Seek it.
    /// - [`Error::Fenced`]: another member has taken the static id. Drop this consumer.
    /// - [`Error::WokenUp`]: a [`WakeupHandle`] ended it. No record is lost.
    /// - [`Error::Corrupt`], [`Error::Unsupported`], [`Error::Io`]: a partition cannot be read.
    /// - [`Error::Closed`]: the broker was closed.
    /// - With [`auto_commit`](ConsumerConfig::auto_commit), the errors of [`commit`](Self::commit),
    ///   except `Fenced`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use ottla::{Broker, Record, TopicConfig};
    /// # let scratch = tempfile::tempdir()?;
    /// # let dir = scratch.path().join("data");
    /// # let broker = Broker::open(&dir)?;
    /// # let topic = broker.create_topic("flights", TopicConfig::default().partitions(4))?;
    /// # topic.append(Record::keyed("N14228", "departed EWR"))?;
    /// # let group = broker.group("board")?;
    /// # let mut consumer = group.join(["flights"])?;
    /// let records = consumer.poll(Duration::from_secs(1))?;
    /// for record in &records {
    ///     assert_eq!(record.value(), Some(&b"departed EWR"[..]));
    /// }
    /// consumer.commit()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn poll(&mut self, timeout: Duration) -> Result<ConsumerRecords> {
        self.group.shared.check_owner()?;
        let began = self.group.shared.now();
        let polled = self.poll_and_wait(began, timeout);
        let held = self.fetcher.changed_holds();
        self.group.polled(self.seat.id, &held);
        self.count(began, polled.as_ref().ok());
        self.group.shared.host.events.pass_on();
        polled
    }

    fn count(&mut self, began: Instant, polled: Option<&ConsumerRecords>) {
        let last = self.polled_at.replace(self.group.shared.now());
        let lag = last.map(|last| began.saturating_duration_since(last));
        let (records, unread) = polled.map_or((0, 0), |polled| {
            let gone = polled.skipped().iter();
            let gone = gone.map(|gap| gap.to.saturating_sub(gap.from));
            (to_u64(polled.len()), gone.fold(0, u64::saturating_add))
        });
        self.group.shared.tally.polled(lag, records, unread);
    }

    fn poll_and_wait(&mut self, began: Instant, timeout: Duration) -> Result<ConsumerRecords> {
        let mut records = ConsumerRecords::default();
        self.begin_poll(began, &mut records)?;
        if !records.is_empty() || timeout.is_zero() {
            return Ok(self.tell(records));
        }
        self.waits = true;
        let polled = self.wait_and_look(began, timeout, records);
        self.waits = false;
        self.fetcher.stop_watching();
        polled
    }

    fn begin_poll(&mut self, began: Instant, records: &mut ConsumerRecords) -> Result<()> {
        self.group.shared.check_open()?;
        self.wakeup.check()?;
        self.take_failure()?;
        if self.config.auto_commit && self.auto_commit_is_due(began) {
            self.commit_unless_fenced()?;
        }
        self.look(began, records)
    }

    fn wait_and_look(
        &mut self,
        began: Instant,
        timeout: Duration,
        mut records: ConsumerRecords,
    ) -> Result<ConsumerRecords> {
        let clock = self.group.shared.host.clock.clone();
        let until = clock.until(timeout);
        let signal = Arc::clone(&self.signal);
        let mut ticket = signal.ticket();
        let mut now = began;
        loop {
            self.look(now, &mut records)?;
            if !records.is_empty() {
                return Ok(self.tell(records));
            }
            // After the check: a poll that has records returns them, and the next one is ended.
            self.wakeup.check()?;
            match clock.wait(&mut ticket, until, self.group.next_look(now)) {
                Waited::Raised => now = self.group.shared.now(),
                Waited::Due(late) => now = self.group.shared.now().max(late),
                Waited::Over => return Ok(self.tell(records)),
            }
        }
    }

    /// A handle with which another thread ends a waiting poll.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use ottla::{Broker, Error, TopicConfig};
    ///
    /// # let scratch = tempfile::tempdir()?;
    /// # let broker = Broker::open(scratch.path().join("data"))?;
    /// broker.create_topic("flights", TopicConfig::default())?;
    /// let mut consumer = broker.group("departure-board")?.join(["flights"])?;
    /// let handle = consumer.wakeup_handle();
    /// let waiting = std::thread::spawn(move || consumer.poll(Duration::MAX).map(|_| ()));
    /// handle.wake();
    /// assert!(matches!(waiting.join().unwrap(), Err(Error::WokenUp)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn wakeup_handle(&self) -> WakeupHandle {
        WakeupHandle {
            wakeup: Arc::clone(&self.wakeup),
        }
    }

    /// Returns the error that the last poll left, unless its partition is gone.
    fn take_failure(&mut self) -> Result<()> {
        match self.failed.take() {
            Some(Failed { partition, error }) if self.fetcher.has(&partition) => Err(error),
            _ => Ok(()),
        }
    }

    /// Takes the member's turn in the group, and reads once.
    fn look(&mut self, now: Instant, records: &mut ConsumerRecords) -> Result<()> {
        self.group.shared.check_open()?;
        self.match_pattern();
        self.take_turn(now)?;
        self.has_polled = true;
        self.note_beginnings()?;
        self.apply_seeks()?;
        let limits = Limits {
            records: to_usize(u64::from(self.config.max_poll_records)),
            bytes: self.config.fetch_max_bytes,
            partition_bytes: self.config.max_partition_fetch_bytes,
        };
        let (context, fetcher) = self.reading();
        match fetcher.fetch(&context, limits, records) {
            Err((_, error)) if records.is_empty() => return Err(error),
            Err((partition, error)) => self.failed = Some(Failed { partition, error }),
            Ok(()) => {}
        }
        Ok(())
    }

    /// Gives up and takes over partitions. A member that was removed joins again.
    fn take_turn(&mut self, now: Instant) -> Result<()> {
        let asked = self.before_giving_up(now)?;
        let willing = asked.as_deref().map_or(Willing::Everything, Willing::Only);
        let mut turn = self.group.turn(self.seat.id, now, willing);
        if turn.is_none() {
            self.join_again()?;
            turn = self.group.turn(self.seat.id, now, Willing::Everything);
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
        if turn.gained.is_empty() {
            return Ok(());
        }
        let gained = named(&turn.gained);
        for partition in turn.gained {
            // It begins where the group has got to; older claims on it are void.
            self.let_go.retain(|claim| claim.partition != partition);
            self.fetcher.add(partition.clone());
            self.news.gained(partition);
        }
        self.call_listener(|listener, consumer| listener.on_assign(consumer, &gained));
        Ok(())
    }

    /// Commits and calls the listener while the partitions are still this member's. Returns what
    /// the listener was called for; `None` if it need not be called.
    fn before_giving_up(&mut self, now: Instant) -> Result<Option<Vec<PartitionKey>>> {
        if self.listener.is_none() && !self.config.auto_commit {
            return Ok(None);
        }
        let leaving = self.group.leaving(self.seat.id, now);
        if !leaving.is_empty() {
            if self.config.auto_commit {
                self.commit_unless_fenced()?;
            }
            let revoked = named(&leaving);
            self.call_listener(|listener, consumer| listener.on_revoke(consumer, &revoked));
        }
        Ok(Some(leaving))
    }

    fn call_listener(&mut self, call: impl FnOnce(&mut dyn RebalanceListener, &mut Self)) {
        if let Some(mut listener) = self.listener.take() {
            call(listener.0.as_mut(), self);
            self.listener = Some(listener);
        }
    }

    /// After the member was removed: everything is lost, and none of it can be committed any more
    /// (I2).
    fn join_again(&mut self) -> Result<()> {
        let lost: Vec<_> = self.fetcher.clear();
        let lost: Vec<_> = lost.into_iter().map(|gone| gone.partition).collect();
        self.let_go.clear();
        self.failed = None;
        let names = named(&lost);
        for gone in lost {
            self.news.lost(gone);
        }
        if !names.is_empty() {
            self.call_listener(|listener, consumer| listener.on_lost(consumer, &names));
        }
        if self.group.is_superseded(&self.seat, &self.joining) {
            return Err(self.group.fenced(&self.seat));
        }
        self.seat = self.group.join(&self.joining, &self.signal)?;
        Ok(())
    }

    /// Adds what no poll has reported yet.
    fn tell(&mut self, mut records: ConsumerRecords) -> ConsumerRecords {
        let News {
            gained,
            lost,
            mut skipped,
        } = std::mem::take(&mut self.news);
        skipped.append(&mut records.skipped);
        records.skipped = skipped;
        records.gained = gained.iter().map(PartitionKey::named).collect();
        records.lost = lost.iter().map(PartitionKey::named).collect();
        records
    }

    /// Leaves the group; others get the partitions at once, including those of a static member.
    /// First a [`RebalanceListener`] is called, and with
    /// [`auto_commit`](ConsumerConfig::auto_commit) what was polled is committed.
    ///
    /// Dropping a consumer leaves too, but does neither.
    ///
    /// # Errors
    ///
    /// With `auto_commit` the errors of [`commit`](Self::commit); the member has left all the same.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use ottla::{Broker, Record, TopicConfig};
    /// # let scratch = tempfile::tempdir()?;
    /// # let dir = scratch.path().join("data");
    /// # let broker = Broker::open(&dir)?;
    /// # let topic = broker.create_topic("flights", TopicConfig::default().partitions(4))?;
    /// # topic.append(Record::keyed("N14228", "departed EWR"))?;
    /// # let group = broker.group("board")?;
    /// # let mut consumer = group.join(["flights"])?;
    /// consumer.poll(Duration::from_secs(1))?;
    /// consumer.commit()?;
    /// consumer.leave()?; // its partitions are free at once
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn leave(mut self) -> Result<()> {
        self.group.shared.check_owner()?;
        let revoked = self.owned_names();
        if !revoked.is_empty() {
            self.call_listener(|listener, consumer| listener.on_revoke(consumer, &revoked));
        }
        let committed = if self.config.auto_commit {
            self.commit()
        } else {
            Ok(())
        };
        self.left = true;
        self.group.leave(self.seat.id);
        self.group.shared.host.events.pass_on();
        committed
    }

    fn context(&self) -> Context<'_> {
        Context {
            group: &self.group,
            waiting: self.waits.then_some(&self.signal),
            start: self.config.start,
            isolation: self.config.isolation_level,
        }
    }

    fn reading(&mut self) -> (Context<'_>, &mut Fetcher) {
        let context = Context {
            group: &self.group,
            waiting: self.waits.then_some(&self.signal),
            start: self.config.start,
            isolation: self.config.isolation_level,
        };
        (context, &mut self.fetcher)
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        // A process that was forked must not make this member leave.
        if !self.left && self.group.shared.check_owner().is_ok() {
            self.group.drop_out(&self.seat, &self.joining);
            self.group.shared.host.events.pass_on();
        }
    }
}

impl News {
    /// What was gained but not reported does not count as lost.
    fn lost(&mut self, partition: PartitionKey) {
        let unreported = self.gained.len();
        self.gained.retain(|gained| *gained != partition);
        if self.gained.len() == unreported {
            self.lost.push(partition);
        }
    }

    fn gained(&mut self, partition: PartitionKey) {
        self.gained.push(partition);
    }
}

fn named(partitions: &[PartitionKey]) -> Vec<TopicPartition> {
    partitions.iter().map(PartitionKey::public).collect()
}
