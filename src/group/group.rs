//! One group: its members behind a lock, what they wait on, and the order of commits.
//!
//! Knows nothing about reading.
//!
//! 1. `commits` is taken before `state` and held from the look at the membership until the commit
//!    stands in the log: so a member that is thrown out has committed before, or is fenced.
//! 2. `state` is held for as long as a look or a change takes; only what is done to an empty group
//!    as a whole writes a log under it. No user code runs under either lock.
//! 3. Who may have something to do after a change is woken.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use crate::error::{Error, Result};
use crate::log::Host;
use crate::sync::{AtomicBool, Mutex, MutexGuard, Ordering, Signal};
use crate::types::GroupId;

use super::membership::{Joining, MemberId, Membership, Turn};
use super::offset_store::{Commit, OffsetStore};
use super::topics::{Topics, unknown_topic};

/// What the groups of a root share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) host: Arc<Host>,
    pub(super) topics: Topics,
    pub(super) store: OffsetStore,
    pub(super) read_only: bool,
    closed: AtomicBool,
}

impl Shared {
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
        })
    }

    pub(super) fn now(&self) -> Instant {
        self.host.clock.instant()
    }

    /// Says that it is over; true when it was not before.
    pub(super) fn close(&self) -> bool {
        !self.closed.swap(true, Ordering::AcqRel)
    }

    pub(super) fn check_open(&self) -> Result<()> {
        self.check_owner()?;
        if self.closed.load(Ordering::Acquire) {
            Err(Error::Closed)
        } else {
            Ok(())
        }
    }

    /// An error in a process that was forked from the one that opened the broker.
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

/// One group.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) id: GroupId,
    pub(super) shared: Arc<Shared>,
    commits: Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    membership: Membership,
    /// The version of the topics that the membership knows.
    topics_version: u64,
    signals: BTreeMap<MemberId, Arc<Signal>>,
}

/// A member's place in its group.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) id: MemberId,
    /// The generation in which it last was a member for sure.
    pub(super) generation: u64,
}

impl Group {
    pub(super) fn new(id: GroupId, shared: Arc<Shared>) -> Arc<Self> {
        Arc::new(Self {
            id,
            shared,
            commits: Mutex::default(),
            state: Mutex::default(),
        })
    }

    /// Takes a member in; it never waits for others.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownTopic`] for the first topic that is not there, when `strict`.
    pub(super) fn join(
        &self,
        joining: &Joining,
        signal: &Arc<Signal>,
        strict: bool,
    ) -> Result<Seat> {
        self.shared.check_writable()?;
        self.shared.store.check(self.id.as_str())?;
        if strict {
            let missing = joining
                .topics
                .iter()
                .find(|name| self.shared.topics.shape(name).is_none());
            if let Some(name) = missing {
                return Err(unknown_topic(name));
            }
        }
        let now = self.shared.now();
        let seat = self.change(None, |state| {
            state.expect(&self.shared.topics, joining);
            let id = state.membership.join(joining.clone(), now);
            state.signals.insert(id, Arc::clone(signal));
            Seat {
                id,
                generation: state.membership.generation(),
            }
        });
        Ok(seat)
    }

    /// Lets a member go; what it had is free at once.
    pub(super) fn leave(&self, id: MemberId) {
        self.change(None, |state| state.membership.leave(id));
    }

    /// A member's poll: see [`Membership::poll`].
    pub(super) fn turn(&self, id: MemberId, now: Instant) -> Option<Turn> {
        self.change(Some(id), |state| {
            state.refresh(&self.shared.topics);
            state.membership.poll(id, now)
        })
    }

    /// A member's poll is over.
    pub(super) fn polled(&self, id: MemberId) {
        let now = self.shared.now();
        self.state.lock().membership.polled(id, now);
    }

    /// When the next member will be too late to poll.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.state.lock().membership.next_deadline()
    }

    /// Whether a member is one (still).
    pub(super) fn knows(&self, id: MemberId) -> bool {
        let now = self.shared.now();
        self.change(None, |state| state.membership.knows(id, now))
    }

    /// Whether a static id is taken by a member.
    pub(super) fn has_static_id(&self, static_id: &str) -> bool {
        self.state.lock().membership.has_static_id(static_id)
    }

    /// An error for a member that was thrown out.
    ///
    /// # Errors
    ///
    /// [`Error::Fenced`], [`Error::Closed`].
    pub(super) fn check_member(&self, seat: &Seat) -> Result<()> {
        self.shared.check_open()?;
        if self.knows(seat.id) {
            Ok(())
        } else {
            Err(self.fenced(seat))
        }
    }

    /// Commits for a member, unless it was thrown out (I1). `choose` sees what may be committed
    /// when nobody else commits any more; what it gives is committed.
    ///
    /// # Errors
    ///
    /// [`Error::Fenced`]: nothing was committed.
    pub(super) fn commit(
        &self,
        seat: &Seat,
        choose: impl FnOnce(&OffsetStore) -> Result<Vec<Commit>>,
    ) -> Result<()> {
        // Made before the lock is taken: whoever makes it may wait for commits to end.
        self.shared.store.prepare(self.id.as_str())?;
        let _turn = self.commits.lock();
        self.check_member(seat)?;
        let commits = choose(&self.shared.store)?;
        self.shared.store.commit(self.id.as_str(), &commits)
    }

    /// Does something that a group with members must not have done to it; nobody joins or commits
    /// meanwhile.
    ///
    /// # Errors
    ///
    /// [`Error::GroupNotEmpty`].
    pub(super) fn while_empty<T>(&self, run: impl FnOnce() -> Result<T>) -> Result<T> {
        self.shared.check_writable()?;
        let _turn = self.commits.lock();
        let now = self.shared.now();
        let mut state = self.lock_current(now);
        if !state.membership.is_empty() {
            return Err(Error::GroupNotEmpty {
                group: self.id.to_string(),
            });
        }
        // Held on: nobody polls in an empty group, and who joins waits.
        let done = run();
        state.signals.clear();
        done
    }

    /// Waits until whoever commits now is done.
    pub(super) fn between_commits<T>(&self, run: impl FnOnce() -> T) -> T {
        let _turn = self.commits.lock();
        run()
    }

    /// Looks at the members, as of now.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Membership) -> T) -> T {
        let now = self.shared.now();
        self.change(None, |state| {
            state.refresh(&self.shared.topics);
            state.membership.throw_out_late(now);
            look(&state.membership)
        })
    }

    /// Wakes every member that waits in a poll.
    pub(super) fn wake_all(&self) {
        self.state.lock().wake(None);
    }

    pub(super) fn fenced(&self, seat: &Seat) -> Error {
        Error::Fenced {
            group: self.id.to_string(),
            member: seat.id.to_string(),
            generation: seat.generation,
        }
    }

    fn lock_current(&self, now: Instant) -> MutexGuard<'_, State> {
        let mut state = self.state.lock();
        state.membership.throw_out_late(now);
        state
    }

    /// Changes the state, and wakes everybody but `by` when that may concern others (I3).
    fn change<T>(&self, by: Option<MemberId>, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock();
        let before = state.membership.moves();
        let result = change(&mut state);
        if state.membership.moves() != before {
            state.forget_signals();
            state.wake(by);
        }
        result
    }
}

impl State {
    /// Looks at the topics again when something about them changed.
    fn refresh(&mut self, topics: &Topics) {
        let version = topics.version();
        if self.topics_version != version {
            self.topics_version = version;
            let shapes = topics.shapes(&self.membership.subscriptions());
            self.membership.set_topics(shapes);
        }
    }

    /// Looks at the topics of the members, and of one who is about to join.
    fn expect(&mut self, topics: &Topics, joining: &Joining) {
        self.topics_version = topics.version();
        let mut names = self.membership.subscriptions();
        names.extend(joining.topics.iter().cloned());
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
