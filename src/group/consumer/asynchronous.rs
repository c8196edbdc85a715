//! Polling and committing as a task.
//!
//! Knows nothing about the runtime of the task. It is the poll of `mod.rs`, on the same signal, and
//! the commit of `commits.rs`, which requests its syncs.
//!
//! 1. The waker is entered before the check that decides to wait.
//! 2. Nothing happens between the check that finds records and their return: a dropped poll loses
//!    none.
//! 3. A dropped poll ends like one that returns: the member is not in a poll, watches nothing and
//!    leaves no waker.
//! 4. The thread that ends lingers wakes a waiting member that must check at a certain time
//!    (another member may be late); without threads the test that moves its clock does, and upkeep,
//!    which removes late members.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use super::super::fetch::Claim;
use super::super::group::Group;
use super::super::records::ConsumerRecords;
use super::Consumer;
use crate::clock::Moved;
use crate::error::Result;
use crate::host::Chore;
use crate::sync::{Mutex, Signal, WakerKey};

/// Wakes a waiting member at a certain time (I4).
#[derive(Debug)]
pub(super) struct Alarm {
    signal: Arc<Signal>,
    /// The time that was scheduled.
    asked: Mutex<Option<Instant>>,
}

impl Chore for Alarm {
    fn run(&self) {
        *self.asked.lock() = None;
        self.signal.raise();
    }
}

impl Moved for Alarm {
    fn moved(&self) {
        self.signal.raise();
    }
}

struct Polling<'a> {
    consumer: &'a mut Consumer,
    records: ConsumerRecords,
    key: WakerKey,
    began: Option<Instant>,
    done: bool,
}

impl Consumer {
    /// Returns the records that are there, as [`poll`](Self::poll) does, and waits for the first
    /// one as a task: without a thread or a timeout. The runtime's timeout may drop the future.
    ///
    /// A poll that is dropped loses no record, and the next one reports what it gained, lost or
    /// skipped. The member is then not in a poll, and must poll again within
    /// [`max_poll_interval`](crate::ConsumerConfig::max_poll_interval). A
    /// [`WakeupHandle`](crate::WakeupHandle) ends it as it ends a poll.
    ///
    /// It reads inline, and all else that a poll does is inline, too: commits of
    /// [`auto_commit`](crate::ConsumerConfig::auto_commit), the durable note of where the group
    /// begins a partition, a listener.
    ///
    /// # Errors
    ///
    /// As [`poll`](Self::poll). [`Error::Closed`] if the broker is closed while it waits.
    ///
    /// [`Error::Closed`]: crate::Error::Closed
    ///
    /// # Examples
    ///
    /// ```
    /// use ottla::{Broker, Consumer, TopicConfig};
    ///
    /// async fn run(mut consumer: Consumer) -> ottla::Result<usize> {
    ///     let records = consumer.poll_async().await?;
    ///     consumer.commit_async().await?;
    ///     Ok(records.len())
    /// }
    ///
    /// # let scratch = tempfile::tempdir()?;
    /// let broker = Broker::open(scratch.path().join("data"))?;
    /// let topic = broker.create_topic("flights", TopicConfig::default())?;
    /// let consumer = broker.group("departure-board")?.join(["flights"])?;
    /// topic.append("departed EWR")?;
    /// # let done = pollster::block_on(run(consumer))?;
    /// # assert_eq!(done, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn poll_async(&mut self) -> Result<ConsumerRecords> {
        self.group.shared.check_owner()?;
        let polling = Polling {
            consumer: &mut *self,
            records: ConsumerRecords::default(),
            key: WakerKey::default(),
            began: None,
            done: false,
        };
        let polled = polling.await;
        self.group.shared.host.events.pass_on();
        polled
    }

    /// As [`commit`](Self::commit), but waits as a task for the syncs: those of the records are
    /// requested together, and the commits of all tasks share one.
    ///
    /// Dropped before it is done, it may have committed or not; the next commit does it in any
    /// case.
    ///
    /// # Errors
    ///
    /// As [`commit`](Self::commit).
    ///
    /// # Examples
    ///
    /// See [`poll_async`](Self::poll_async).
    pub async fn commit_async(&mut self) -> Result<()> {
        self.group.shared.check_owner()?;
        let (claims, owned) = self.all_claims();
        let committed = self.commit_claims_async(&claims, owned).await;
        self.end_commit(committed)
    }

    async fn commit_claims_async(&mut self, claims: &[Claim], owned: usize) -> Result<()> {
        if claims.is_empty() {
            return self.group.check_member(&self.seat);
        }
        let group = Arc::clone(&self.group);
        flush_claims(&group, claims).await?;
        let (done, pending) = self.write_claims(claims, owned)?;
        pending.confirm_async().await?;
        self.note_committed(&done);
        Ok(())
    }

    fn wake_at(&mut self, at: Option<Instant>) {
        let Some(at) = at else { return };
        let host = &self.group.shared.host;
        let alarm = self.alarm.get_or_insert_with(|| {
            let alarm = Arc::new(Alarm {
                signal: Arc::clone(&self.signal),
                asked: Mutex::new(None),
            });
            let follower: Weak<Alarm> = Arc::downgrade(&alarm);
            host.clock.follow(follower);
            alarm
        });
        {
            // An earlier time is enough: the member checks, and asks again.
            let mut asked = alarm.asked.lock();
            if asked.is_some_and(|asked| asked <= at) {
                return;
            }
            *asked = Some(at);
        }
        let chore: Weak<Alarm> = Arc::downgrade(alarm);
        if !host.lingers.schedule(at, chore) {
            *alarm.asked.lock() = None;
        }
    }
}

/// Flushes the records below the claims. All syncs are requested before the first one is waited
/// for. Borrows no consumer, which only one thread at a time may use.
async fn flush_claims(group: &Group, claims: &[Claim]) -> Result<()> {
    let shared = &group.shared;
    if !shared.store.outlives_power(group.id.as_str())? {
        return Ok(());
    }
    let unflushed = claims
        .iter()
        .filter(|claim| claim.log.flushed_offset() < claim.offset);
    let asked: Vec<_> = unflushed
        .map(|claim| (claim, claim.log.flushed(claim.offset.saturating_sub(1))))
        .collect();
    for (claim, flushed) in asked {
        let flushed = flushed.await;
        if shared.topics.lives(&claim.partition.topic) {
            flushed?;
        }
    }
    Ok(())
}

impl Polling<'_> {
    /// Begins the poll; true if it has found records.
    fn begin(&mut self) -> Result<bool> {
        let consumer = &mut *self.consumer;
        let began = *self.began.insert(consumer.group.shared.now());
        consumer.begin_poll(began, &mut self.records)?;
        consumer.waits = self.records.is_empty();
        Ok(!consumer.waits)
    }

    fn go_on(&mut self, cx: &Context<'_>) -> Poll<Result<ConsumerRecords>> {
        if self.began.is_some() || !self.begin()? {
            ready!(self.look(cx))?;
        }
        let records = std::mem::take(&mut self.records);
        Poll::Ready(Ok(self.consumer.tell(records)))
    }

    /// Checks once. Everything is watched before the check (I1).
    fn look(&mut self, cx: &Context<'_>) -> Poll<Result<()>> {
        let consumer = &mut *self.consumer;
        let signal = Arc::clone(&consumer.signal);
        signal.enter(&mut self.key, cx.waker());
        let now = consumer.group.shared.now();
        consumer.look(now, &mut self.records)?;
        if !self.records.is_empty() {
            return Poll::Ready(Ok(()));
        }
        // After the check: a poll that has records returns them, and the next one is ended.
        consumer.wakeup.check()?;
        consumer.wake_at(consumer.group.next_look(now));
        Poll::Pending
    }
}

impl Future for Polling<'_> {
    type Output = Result<ConsumerRecords>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let polled = ready!(this.go_on(cx));
        this.done = true;
        let began = this
            .began
            .unwrap_or_else(|| this.consumer.group.shared.now());
        this.consumer.count(began, polled.as_ref().ok());
        Poll::Ready(polled)
    }
}

impl Drop for Polling<'_> {
    fn drop(&mut self) {
        let consumer = &mut *self.consumer;
        let Some(began) = self.began else { return };
        if consumer.group.shared.check_owner().is_err() {
            return;
        }
        if !self.done {
            consumer.count(began, None);
        }
        debug_assert!(
            self.records.is_empty() || std::thread::panicking(),
            "records were found and not returned"
        );
        consumer.news.skipped.append(&mut self.records.skipped);
        consumer.signal.leave(&mut self.key);
        consumer.waits = false;
        consumer.fetcher.stop_watching();
        let held = consumer.fetcher.changed_holds();
        consumer.group.polled(consumer.seat.id, &held);
    }
}
