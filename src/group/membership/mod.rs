//! Who is in a group and who reads what: a state machine without I/O and without a clock.
//!
//! Knows nothing about offsets, logs or threads. Time is passed in; what a call changed for others
//! shows in [`Membership::moves`], and the caller wakes them.
//!
//! Rebalancing is incremental. The assignor says which partitions a member *should* own (its
//! target); one is *owned* until its owner gives it up:
//!
//! 1. A partition has at most one owner, which is a member.
//! 2. Only its owner gives up a partition that it *holds* (with polled and uncommitted records): in
//!    its own poll, by leaving, or by being removed.
//! 3. A partition that is not held passes to the member that should own it in that member's poll,
//!    unless the owner is in a poll or wants to be asked first.
//! 4. A member takes what it should own in its own poll, and has no share before its first one.
//! 5. Once membership is stable and every member has polled twice, each owns exactly its target.
//! 6. A member that was removed (it polled too late, or its static id was taken) is never known
//!    again, and its number never used again: that is the fence.
//! 7. A static member that was dropped keeps its partitions until its session is over.

#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::types::{ReadIsolation, to_u64};

use super::assignor::{Assignor, Candidate, assign};
use super::partition::{PartitionKey, TopicKey, TopicShape};

/// The number of one stay in the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct MemberId(u64);

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "member-{}", self.0)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Joining {
    pub(crate) topics: BTreeSet<Arc<str>>,
    pub(crate) static_id: Option<Arc<str>>,
    pub(crate) assignor: Assignor,
    pub(crate) max_poll_interval: Duration,
    pub(crate) session_timeout: Duration,
    pub(crate) isolation: ReadIsolation,
    /// The member is asked before a partition goes, also one that it does not hold (I3).
    pub(crate) asked_first: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) joined: Joining,
    pub(crate) owned: BTreeSet<PartitionKey>,
    target: BTreeSet<PartitionKey>,
    /// What it holds (I2).
    held: BTreeSet<PartitionKey>,
    /// What others took since its last poll (I3).
    taken: BTreeSet<PartitionKey>,
    stage: Stage,
    /// `owned` and `target` are the same and nothing was taken: a poll has nothing to do.
    settled: bool,
    /// When it is removed; `None` while it is in a poll.
    deadline: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It has no share yet (I4).
    Joined,
    /// It has a share, its own or that of the static member whose place it took.
    Active,
    Polling,
    /// A static member that was dropped (I7).
    Away,
}

impl Member {
    fn has_share(&self) -> bool {
        self.stage != Stage::Joined
    }

    /// Whether another member may take the partition now (I3).
    fn gives_up(&self, partition: &PartitionKey) -> bool {
        self.stage != Stage::Polling
            && !self.joined.asked_first
            && !self.held.contains(partition)
            && !self.target.contains(partition)
    }

    fn check_settled(&mut self) {
        self.settled = self.has_share() && self.taken.is_empty() && self.owned == self.target;
    }
}

/// What changed for a member in its poll. Both lists are sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Turn {
    /// Given up now, or taken by others since its last poll.
    pub(crate) lost: Vec<PartitionKey>,
    pub(crate) gained: Vec<PartitionKey>,
    pub(crate) generation: u64,
}

/// Which partitions a member gives up in its poll.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Willing<'a> {
    /// All that it should not own.
    Everything,
    /// Only these of them: it has not been asked about the others yet.
    Only(&'a [PartitionKey]),
}

impl Willing<'_> {
    fn includes(self, partition: &PartitionKey) -> bool {
        match self {
            Self::Everything => true,
            Self::Only(these) => these.contains(partition),
        }
    }
}

/// The state of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum GroupState {
    /// There are no members.
    Empty,
    /// A partition passes from one member to another, or a member has not polled yet. All other
    /// partitions are read as before.
    Rebalancing,
    /// Every member owns exactly the partitions that it should.
    Stable,
}

#[derive(Debug, Default)]
pub(crate) struct Membership {
    generation: u64,
    /// The number of the newest member.
    joins: u64,
    moves: u64,
    evicted: u64,
    members: BTreeMap<MemberId, Member>,
    topics: Vec<TopicShape>,
    owners: BTreeMap<PartitionKey, MemberId>,
    /// The newest member of each static id that ever joined.
    static_ids: BTreeMap<Arc<str>, MemberId>,
}

impl Membership {
    pub(crate) fn has_static_id(&self, id: &str) -> bool {
        self.static_ids.contains_key(id)
    }

    /// Counts the changes of the targets.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// The generation, and how many members were removed because they were late.
    pub(crate) fn turnover(&self) -> (u64, u64) {
        (self.generation, self.evicted)
    }

    /// Counts everything that may give another member something to do.
    pub(crate) fn moves(&self) -> u64 {
        self.moves
    }

    pub(crate) fn state(&self) -> GroupState {
        if self.members.is_empty() {
            GroupState::Empty
        } else if self.members.values().all(|member| member.settled) {
            GroupState::Stable
        } else {
            GroupState::Rebalancing
        }
    }

    pub(crate) fn members(&self) -> impl ExactSizeIterator<Item = (MemberId, &Member)> {
        self.members.iter().map(|(id, member)| (*id, member))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(crate) fn subscriptions(&self) -> BTreeSet<Arc<str>> {
        let topics = self
            .members
            .values()
            .flat_map(|member| &member.joined.topics);
        topics.cloned().collect()
    }

    /// All partitions of the topics that members subscribed to.
    pub(crate) fn wanted(&self) -> Vec<PartitionKey> {
        let names = self.subscriptions();
        let shapes = self
            .topics
            .iter()
            .filter(|shape| names.contains(&shape.key.name));
        shapes
            .flat_map(|shape| (0..shape.partitions).map(|number| shape.key.partition(number)))
            .collect()
    }

    /// Whether another member has taken the static id since: this one is fenced for good.
    pub(crate) fn is_superseded(&self, id: MemberId, joined: &Joining) -> bool {
        let newest = joined.static_id.as_ref();
        newest
            .and_then(|name| self.static_ids.get(name))
            .is_some_and(|newest| *newest != id)
    }

    /// Adds a member. One with the same static id is removed at once, and the new one inherits its
    /// share; otherwise a member has no share before its first poll.
    pub(crate) fn join(&mut self, joined: Joining, now: Instant) -> MemberId {
        self.remove_late(now);
        self.joins = self.joins.saturating_add(1);
        let id = MemberId(self.joins);
        let same = joined
            .static_id
            .clone()
            .and_then(|name| self.static_ids.insert(name, id));
        let before = same.and_then(|before| self.remove(before));
        let (target, stage) = match before {
            Some(before) if before.has_share() => (before.target, Stage::Active),
            _ => (BTreeSet::new(), Stage::Joined),
        };
        let member = Member {
            deadline: now.checked_add(joined.max_poll_interval),
            owned: BTreeSet::new(),
            held: BTreeSet::new(),
            taken: BTreeSet::new(),
            settled: false,
            stage,
            target,
            joined,
        };
        self.members.insert(id, member);
        if stage == Stage::Active {
            self.rebalance();
        }
        id
    }

    /// [`expect_topics`](Self::expect_topics) must be called before.
    pub(crate) fn resubscribe(&mut self, id: MemberId, topics: &BTreeSet<Arc<str>>) {
        if let Some(member) = self.members.get_mut(&id) {
            member.joined.topics.clone_from(topics);
            self.rebalance();
        }
    }

    /// False when the member was not known any more.
    pub(crate) fn leave(&mut self, id: MemberId) -> bool {
        let known = self.remove(id).is_some();
        if known {
            self.rebalance();
        }
        known
    }

    /// A dropped static member that has a share keeps it for its session timeout (I7), and true is
    /// returned; any other member leaves.
    pub(crate) fn drop_out(&mut self, id: MemberId, now: Instant) -> bool {
        let Some(member) = self.members.get_mut(&id) else {
            return false;
        };
        if member.joined.static_id.is_none() || !member.has_share() {
            self.leave(id);
            return false;
        }
        // What it polled and did not commit is delivered again, to whichever member is next.
        member.held.clear();
        member.stage = Stage::Away;
        member.deadline = now.checked_add(member.joined.session_timeout);
        self.moves = self.moves.wrapping_add(1);
        true
    }

    /// Removes the static members that were dropped, if there are no other members.
    pub(crate) fn forget_away(&mut self) {
        if self
            .members
            .values()
            .all(|member| member.stage == Stage::Away)
        {
            let away: Vec<_> = self.members.keys().copied().collect();
            for id in away {
                self.leave(id);
            }
        }
    }

    pub(crate) fn remove_late(&mut self, now: Instant) {
        let late = |(_, member): &(&MemberId, &Member)| {
            member.deadline.is_some_and(|deadline| deadline <= now)
        };
        let late: Vec<_> = self
            .members
            .iter()
            .filter(late)
            .map(|(id, _)| *id)
            .collect();
        if !late.is_empty() {
            self.evicted = self.evicted.saturating_add(to_u64(late.len()));
            for id in late {
                self.remove(id);
            }
            self.rebalance();
        }
    }

    /// When a waiting member must check again for late ones: no deadline that is set meanwhile can
    /// be earlier.
    pub(crate) fn next_look(&self, now: Instant) -> Option<Instant> {
        let intervals = self.members.values();
        let shortest = intervals
            .map(|member| member.joined.max_poll_interval)
            .min();
        let unset = shortest.and_then(|interval| now.checked_add(interval));
        self.next_deadline().into_iter().chain(unset).min()
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.members
            .values()
            .filter_map(|member| member.deadline)
            .min()
    }

    pub(crate) fn member(&self, id: MemberId) -> Option<&Member> {
        self.members.get(&id)
    }

    pub(crate) fn topics(&self) -> impl Iterator<Item = &TopicKey> {
        self.topics.iter().map(|shape| &shape.key)
    }

    /// Sets the topics, sorted by name. A [`join`](Self::join) or
    /// [`resubscribe`](Self::resubscribe) follows, which assigns them.
    pub(crate) fn expect_topics(&mut self, topics: Vec<TopicShape>) {
        self.topics = topics;
    }

    /// Sets the topics, sorted by name, and assigns them if they changed.
    pub(crate) fn set_topics(&mut self, topics: Vec<TopicShape>) {
        if self.topics != topics {
            self.topics = topics;
            self.rebalance();
        }
    }

    /// What the member should give up in its next poll.
    pub(crate) fn leaving(&self, id: MemberId) -> Vec<PartitionKey> {
        let Some(member) = self.members.get(&id).filter(|member| !member.settled) else {
            return Vec::new();
        };
        member.owned.difference(&member.target).cloned().collect()
    }

    /// Nothing is taken from the member until [`polled`](Self::polled). False when it is not a
    /// member.
    pub(crate) fn begin_poll(&mut self, id: MemberId, now: Instant) -> bool {
        self.remove_late(now);
        let Some(member) = self.members.get_mut(&id) else {
            return false;
        };
        let before = std::mem::replace(&mut member.stage, Stage::Polling);
        member.deadline = None;
        if before == Stage::Joined {
            self.rebalance();
        }
        true
    }

    /// The member gives up what it should not own and is `willing` to (I2), then takes what it
    /// should own and can have (I3, I4). `None` when it was removed (I6).
    pub(crate) fn poll(
        &mut self,
        id: MemberId,
        now: Instant,
        willing: Willing<'_>,
    ) -> Option<Turn> {
        if !self.begin_poll(id, now) {
            return None;
        }
        let member = self.members.get_mut(&id)?;
        let mut turn = Turn {
            generation: self.generation,
            ..Turn::default()
        };
        if member.settled {
            return Some(turn);
        }
        let given_up = member.owned.difference(&member.target);
        let given_up: Vec<_> = given_up
            .filter(|partition| willing.includes(partition))
            .cloned()
            .collect();
        for partition in &given_up {
            member.owned.remove(partition);
            member.held.remove(partition);
            self.owners.remove(partition);
            self.moves = self.moves.wrapping_add(1);
        }
        turn.lost = std::mem::take(&mut member.taken).into_iter().collect();
        turn.lost.extend(given_up);
        turn.lost.sort();
        turn.gained = self.take(id);
        self.members.get_mut(&id)?.check_settled();
        Some(turn)
    }

    /// Takes what the member should own and no other member keeps (I3).
    fn take(&mut self, id: MemberId) -> Vec<PartitionKey> {
        let Some(member) = self.members.get(&id) else {
            return Vec::new();
        };
        let wanted: Vec<_> = member.target.difference(&member.owned).cloned().collect();
        let mut gained = Vec::new();
        for partition in wanted {
            let owner = self.owners.get(&partition).copied();
            if let Some(owner) = owner.and_then(|owner| self.members.get_mut(&owner)) {
                if !owner.gives_up(&partition) {
                    continue;
                }
                owner.owned.remove(&partition);
                owner.taken.insert(partition.clone());
                owner.settled = false;
            }
            self.owners.insert(partition.clone(), id);
            gained.push(partition);
        }
        if let Some(member) = self.members.get_mut(&id) {
            member.owned.extend(gained.iter().cloned());
        }
        gained
    }

    /// Ends the member's poll.
    pub(crate) fn polled(&mut self, id: MemberId, now: Instant) {
        if let Some(member) = self.members.get_mut(&id) {
            // A poll may end before it has taken its turn: then there is no share yet.
            if member.stage == Stage::Polling {
                member.stage = Stage::Active;
            }
            member.deadline = now.checked_add(member.joined.max_poll_interval);
            self.note_free(id);
        }
    }

    /// Notes whether the member holds the partition (I2).
    pub(crate) fn hold(&mut self, id: MemberId, partition: &PartitionKey, held: bool) {
        if let Some(member) = self.members.get_mut(&id) {
            if held && member.owned.contains(partition) {
                member.held.insert(partition.clone());
            } else if !held {
                member.held.remove(partition);
                self.note_free(id);
            }
        }
    }

    /// Counts a move if others can now take something from the member.
    fn note_free(&mut self, id: MemberId) {
        let free = self.members.get(&id).is_some_and(|member| {
            !member.settled
                && member
                    .owned
                    .iter()
                    .any(|partition| member.gives_up(partition))
        });
        if free {
            self.moves = self.moves.wrapping_add(1);
        }
    }

    pub(crate) fn owns(&self, id: MemberId, partition: &PartitionKey) -> bool {
        self.owners.get(partition) == Some(&id)
    }

    pub(crate) fn knows(&mut self, id: MemberId, now: Instant) -> bool {
        self.remove_late(now);
        self.members.contains_key(&id)
    }

    fn remove(&mut self, id: MemberId) -> Option<Member> {
        let member = self.members.remove(&id)?;
        for partition in &member.owned {
            self.owners.remove(partition);
        }
        Some(member)
    }

    /// Assigns all partitions again. The oldest member's choice of assignor counts.
    fn rebalance(&mut self) {
        self.generation = self.generation.saturating_add(1);
        self.moves = self.moves.wrapping_add(1);
        let Some(oldest) = self.members.values().find(|member| member.has_share()) else {
            return;
        };
        let assignor = oldest.joined.assignor;
        // What a member should own and no member owns counts as its own: it costs no move.
        let promised = |partition: &&PartitionKey| !self.owners.contains_key(*partition);
        let mut ordered: Vec<_> = self
            .members
            .iter()
            .filter(|(_, member)| member.has_share())
            .map(|(id, member)| {
                let unclaimed = member.target.difference(&member.owned).filter(promised);
                (*id, member, unclaimed.collect::<Vec<_>>())
            })
            .collect();
        ordered.sort_by_key(|(id, Member { joined, .. }, _)| {
            (joined.static_id.is_none(), joined.static_id.clone(), *id)
        });
        let candidates: Vec<_> = ordered
            .iter()
            .map(|(_, member, promised)| Candidate {
                topics: &member.joined.topics,
                previous: &member.owned,
                promised,
            })
            .collect();
        let targets = assign(assignor, &candidates, &self.topics);
        let ids: Vec<_> = ordered.iter().map(|(id, _, _)| *id).collect();
        for (id, target) in ids.into_iter().zip(targets) {
            if let Some(member) = self.members.get_mut(&id) {
                member.target = target;
                member.check_settled();
            }
        }
    }
}
