//! One group: its members behind a lock, what they wait on, and the order of commits.
//!
//! Knows nothing about reading.
//!
//! 1. `commits` is taken before `state` and held from the check of the membership until the commit
//!    is in the log: a member that is removed has committed before, or is fenced. The sync comes
//!    after the lock, so that members share one.
//! 2. `state` is held for one read or change; a log is written under it only to change an empty
//!    group as a whole. No user code runs under either lock.
//! 3. Members that may have something to do after a change are woken.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::host::Event;
use crate::host::Host;
use crate::sync::{AtomicBool, Mutex, MutexGuard, Ordering, Signal, WakeLater};
use crate::types::{GroupId, Offset, PartitionId, Timestamp};

use super::membership::{Joining, MemberId, Membership, Turn, Willing};
use super::metrics::Tally;
use super::offset_store::{Commit, OffsetStore, Pending};
use super::partition::{PartitionKey, TopicKey};
use super::topics::{Topics, unknown_partition, unknown_topic};

#[derive(Debug)]
pub(super) struct GroupShared {
    pub(super) host: Arc<Host>,
    pub(super) topics: Topics,
    pub(super) store: OffsetStore,
    pub(super) read_only: bool,
    closed: AtomicBool,
    /// Keeps groups in memory whose static members were dropped, until their sessions are over.
    /// Emptied by [`close`](Self::close).
    resting: Mutex<Vec<(Option<Instant>, Arc<Group>)>>,
    /// When the last member of a group left, since the broker was opened.
    emptied: Mutex<BTreeMap<GroupId, Timestamp>>,
    pub(super) tally: Arc<Tally>,
}

impl GroupShared {
    pub(super) fn new(
        host: Arc<Host>,
        topics: Topics,
        store: OffsetStore,
        read_only: bool,
    ) -> Arc<Self> {
        Arc::new(Self {
            host,
            topics,
            store,
            read_only,
            closed: AtomicBool::new(false),
            resting: Mutex::default(),
            emptied: Mutex::default(),
            tally: Arc::default(),
        })
    }

    pub(super) fn emptied_at(&self, id: &GroupId) -> Option<Timestamp> {
        self.emptied.lock().get(id).copied()
    }

    pub(super) fn forget_emptied(&self, id: &GroupId) {
        self.emptied.lock().remove(id);
    }

    pub(super) fn now(&self) -> Instant {
        self.host.clock.instant()
    }

    /// True the first time.
    pub(super) fn close(&self) -> bool {
        let first = !self.closed.swap(true, Ordering::AcqRel);
        // Dropped without the lock.
        let resting = std::mem::take(&mut *self.resting.lock());
        drop(resting);
        first
    }

    /// Keeps a group in memory until a time, or until the close.
    fn keep_until(&self, until: Option<Instant>, group: &Arc<Group>) {
        let gone = {
            let mut resting = self.resting.lock();
            let now = self.now();
            let over = |kept: &mut (Option<Instant>, Arc<Group>)| {
                kept.0.is_some_and(|until| until <= now) || Arc::ptr_eq(&kept.1, group)
            };
            let gone: Vec<_> = resting.extract_if(.., over).collect();
            if !self.closed.load(Ordering::Acquire) {
                resting.push((until, Arc::clone(group)));
            }
            gone
        };
        drop(gone);
    }

    pub(super) fn check_open(&self) -> Result<()> {
        self.check_owner()?;
        if self.closed.load(Ordering::Acquire) {
            Err(Error::Closed)
        } else {
            Ok(())
        }
    }

    /// Called before positions are read: another process may write the root and its topics.
    pub(super) fn begin_to_look(&self) -> Result<()> {
        self.check_open()?;
        self.host.check_topics();
        Ok(())
    }

    pub(super) fn check_owner(&self) -> Result<()> {
        self.host.check_owner()
    }

    pub(super) fn check_writable(&self) -> Result<()> {
        self.check_open()?;
        if self.read_only {
            Err(Error::ReadOnly)
        } else {
            Ok(())
        }
    }
}

#[derive(Debug)]
pub(super) struct Group {
    pub(super) id: GroupId,
    pub(super) shared: Arc<GroupShared>,
    commits: Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    membership: Membership,
    topics_version: u64,
    signals: BTreeMap<MemberId, Arc<Signal>>,
    /// Topics that were created while the group had members: their partitions are read from the
    /// start.
    born: BTreeSet<TopicKey>,
}

/// A member's place in the group.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) id: MemberId,
    pub(super) name: Box<str>,
    /// The last generation in which it was certainly a member.
    pub(super) generation: u64,
    static_id: Option<Arc<str>>,
    max_poll_interval: Duration,
}

impl Group {
    pub(super) fn new(id: GroupId, shared: Arc<GroupShared>) -> Arc<Self> {
        Arc::new(Self {
            id,
            shared,
            commits: Mutex::default(),
            state: Mutex::default(),
        })
    }

    /// Adds a member. Never waits for others.
    pub(super) fn join(&self, joining: &Joining, signal: &Arc<Signal>) -> Result<Seat> {
        self.shared.check_writable()?;
        self.shared.store.check(self.id.as_str())?;
        let now = self.shared.now();
        let seat = self.change(None, |state| {
            state.expect(&self.shared.topics, &joining.topics);
            let id = state.membership.join(joining.clone(), now);
            state.signals.insert(id, Arc::clone(signal));
            Seat {
                id,
                name: id.to_string().into_boxed_str(),
                generation: state.membership.generation(),
                static_id: joining.static_id.clone(),
                max_poll_interval: joining.max_poll_interval,
            }
        });
        Ok(seat)
    }

    pub(super) fn resubscribe(&self, id: MemberId, topics: &BTreeSet<Arc<str>>) {
        self.change(Some(id), |state| {
            state.expect(&self.shared.topics, topics);
            state.membership.resubscribe(id, topics);
        });
    }

    pub(super) fn leave(&self, id: MemberId) {
        self.change(None, |state| state.membership.leave(id));
    }

    /// See [`Membership::drop_out`].
    pub(super) fn drop_out(self: &Arc<Self>, seat: &Seat, joining: &Joining) {
        let now = self.shared.now();
        if self.change(None, |state| state.membership.drop_out(seat.id, now)) {
            let until = now.checked_add(joining.session_timeout);
            self.shared.keep_until(until, self);
        }
    }

    /// See [`Membership::leaving`]. Nothing is taken from the member until
    /// [`polled`](Self::polled).
    pub(super) fn leaving(&self, id: MemberId, now: Instant) -> Vec<PartitionKey> {
        self.change(Some(id), |state| {
            state.refresh(&self.shared.topics);
            state.membership.begin_poll(id, now);
            state.membership.leaving(id)
        })
    }

    /// See [`Membership::poll`].
    pub(super) fn turn(&self, id: MemberId, now: Instant, willing: Willing<'_>) -> Option<Turn> {
        self.change(Some(id), |state| {
            state.refresh(&self.shared.topics);
            state.membership.poll(id, now, willing)
        })
    }

    /// Ends a poll, and notes partitions that are held from now on, or no longer.
    pub(super) fn polled(&self, id: MemberId, held: &[(PartitionKey, bool)]) {
        let now = self.shared.now();
        self.change(Some(id), |state| {
            for (partition, held) in held {
                state.membership.hold(id, partition, *held);
            }
            state.membership.polled(id, now);
        });
    }

    /// Notes what is held, or no longer, outside the member's polls.
    pub(super) fn hold(&self, id: MemberId, held: &[(PartitionKey, bool)]) {
        if held.is_empty() {
            return;
        }
        self.change(Some(id), |state| {
            for (partition, held) in held {
                state.membership.hold(id, partition, *held);
            }
        });
    }

    pub(super) fn owns(&self, id: MemberId, partition: &PartitionKey) -> bool {
        self.state.lock().membership.owns(id, partition)
    }

    pub(super) fn was_born_here(&self, topic: &TopicKey) -> bool {
        self.state.lock().born.contains(topic)
    }

    /// See [`Membership::next_look`].
    pub(super) fn next_look(&self, now: Instant) -> Option<Instant> {
        self.state.lock().membership.next_look(now)
    }

    pub(super) fn knows(&self, id: MemberId) -> bool {
        let now = self.shared.now();
        self.change(None, |state| state.membership.knows(id, now))
    }

    pub(super) fn is_superseded(&self, seat: &Seat, joining: &Joining) -> bool {
        self.state.lock().membership.is_superseded(seat.id, joining)
    }

    pub(super) fn check_member(&self, seat: &Seat) -> Result<()> {
        self.shared.check_open()?;
        if self.knows(seat.id) {
            Ok(())
        } else {
            Err(self.fenced(seat))
        }
    }

    /// Commits what `choose` returns, which is called when no other member commits.
    /// [`Error::Fenced`] if the member was removed (I1): nothing was committed.
    pub(super) fn commit(
        &self,
        seat: &Seat,
        choose: impl FnOnce(&OffsetStore) -> Result<Vec<Commit>>,
    ) -> Result<()> {
        self.write_commit(seat, choose)?.confirm()
    }

    /// As [`commit`](Self::commit), but the caller confirms the commits.
    pub(super) fn write_commit(
        &self,
        seat: &Seat,
        choose: impl FnOnce(&OffsetStore) -> Result<Vec<Commit>>,
    ) -> Result<Pending> {
        let _later = WakeLater::begin();
        // The log is made before the lock is taken: making it may wait for commits to end.
        self.shared.store.prepare(self.id.as_str())?;
        let turn = self.commits.lock();
        self.check_member(seat)?;
        let commits = choose(&self.shared.store)?;
        let pending = self.shared.store.commit(self.id.as_str(), &commits);
        drop(turn);
        pending
    }

    pub(super) fn committed(&self, topic: &str, partition: PartitionId) -> Result<Option<Offset>> {
        self.shared.begin_to_look()?;
        self.check_partition(topic, partition)?;
        self.shared
            .store
            .committed(self.id.as_str(), topic, partition)
    }

    pub(super) fn check_partition(
        &self,
        topic: &str,
        partition: PartitionId,
    ) -> Result<PartitionKey> {
        let shape = self.shared.topics.shape(topic);
        let shape = shape.ok_or_else(|| unknown_topic(topic))?;
        if partition < shape.partitions {
            Ok(shape.key.partition(partition))
        } else {
            Err(unknown_partition(topic, partition))
        }
    }

    /// Runs `run` while no member joins or commits. [`Error::GroupNotEmpty`] if the group has
    /// members.
    pub(super) fn while_empty<T>(&self, run: impl FnOnce() -> Result<T>) -> Result<T> {
        self.shared.check_writable()?;
        let _turn = self.commits.lock();
        let now = self.shared.now();
        let mut state = self.lock_current(now);
        // Static members that are away do not prevent a decision about the group.
        state.membership.forget_away();
        if !state.membership.is_empty() {
            return Err(Error::GroupNotEmpty {
                group: self.id.to_string(),
            });
        }
        // Still locked: no member polls in an empty group, and a member that joins waits.
        let done = run();
        state.signals.clear();
        done
    }

    /// Runs `run` when the commits that are under way are written.
    pub(super) fn between_commits<T>(&self, run: impl FnOnce() -> T) -> T {
        let _turn = self.commits.lock();
        run()
    }

    /// Reads the membership, without members that are late.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Membership) -> T) -> T {
        let now = self.shared.now();
        self.change(None, |state| {
            state.refresh(&self.shared.topics);
            state.membership.remove_late(now);
            look(&state.membership)
        })
    }

    pub(super) fn wake_all(&self) {
        let _later = WakeLater::begin();
        self.state.lock().wake(None);
    }

    /// The error for a member that was removed, or lost a partition. Counts it.
    pub(super) fn fenced(&self, seat: &Seat) -> Error {
        self.shared.tally.fenced();
        let id = seat.static_id.as_deref();
        let reason = if self.knows(seat.id) {
            "the partition was given to another member meanwhile".to_owned()
        } else if id.is_some_and(|id| self.look(|members| members.has_static_id(id))) {
            "another member took its static id (group.instance.id)".to_owned()
        } else {
            let millis = seat.max_poll_interval.as_millis();
            format!("it did not poll within max.poll.interval.ms ({millis} ms)")
        };
        self.shared.host.events.note(|| Event::Fenced {
            group: self.id.to_string(),
            member: seat.id.to_string(),
            reason: reason.clone(),
        });
        Error::Fenced {
            reason,
            group: self.id.to_string(),
            member: seat.id.to_string(),
            generation: seat.generation,
        }
    }

    fn lock_current(&self, now: Instant) -> MutexGuard<'_, State> {
        let mut state = self.state.lock();
        let turnover = state.membership.turnover();
        state.membership.remove_late(now);
        self.moved(turnover, &state);
        state
    }

    /// Counts what changed since the turnover `before`.
    fn moved(&self, before: (u64, u64), state: &State) {
        let now = state.membership.turnover();
        if now != before {
            self.shared.tally.moved(before, now);
            self.shared.host.events.note(|| Event::Rebalanced {
                group: self.id.to_string(),
                generation: now.0,
                evicted: now.1.saturating_sub(before.1),
            });
        }
    }

    /// Changes the state, and wakes all but `by` if the change may concern others (I3).
    fn change<T>(&self, by: Option<MemberId>, change: impl FnOnce(&mut State) -> T) -> T {
        let _later = WakeLater::begin();
        let mut state = self.state.lock();
        let before = state.membership.moves();
        let turnover = state.membership.turnover();
        let result = change(&mut state);
        self.moved(turnover, &state);
        if state.membership.moves() != before {
            if state.membership.is_empty() {
                let now = self.shared.host.clock.now();
                self.shared.emptied.lock().insert(self.id.clone(), now);
            }
            state.forget_signals();
            state.wake(by);
        }
        result
    }
}

impl State {
    /// Takes over which topics there are, if that has changed.
    fn refresh(&mut self, topics: &Topics) {
        let version = topics.version();
        if self.topics_version != version {
            self.topics_version = version;
            let shapes = topics.shapes(&self.membership.subscriptions());
            let known: BTreeSet<_> = self.membership.topics().collect();
            let born = shapes.iter().filter(|shape| !known.contains(&shape.key));
            let born: Vec<_> = born.map(|shape| shape.key.clone()).collect();
            if !self.membership.is_empty() {
                self.born.extend(born);
            }
            self.born.retain(|key| topics.lives(key));
            self.membership.set_topics(shapes);
        }
    }

    /// Looks up the topics of the members, and of one that is about to subscribe.
    fn expect(&mut self, topics: &Topics, more: &BTreeSet<Arc<str>>) {
        // A topic that was created meanwhile for present members was born here.
        self.refresh(topics);
        let mut names = self.membership.subscriptions();
        names.extend(more.iter().cloned());
        self.membership.expect_topics(topics.shapes(&names));
    }

    fn forget_signals(&mut self) {
        let membership = &self.membership;
        self.signals
            .retain(|id, _| membership.member(*id).is_some());
    }

    fn wake(&self, but: Option<MemberId>) {
        for (id, signal) in &self.signals {
            if Some(*id) != but {
                signal.raise();
            }
        }
    }
}
