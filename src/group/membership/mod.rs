//! Who is in a group and who reads what: a state machine without I/O and without a clock of its
//! own.
//!
//! Knows nothing about offsets, logs or threads. Time is passed in; what a call changed for others
//! shows in [`Membership::moves`], and waking them is the caller's job.
//!
//! Rebalancing is always incremental. The assignor says who *is to have* a partition (its target);
//! a partition *is had* by its owner until the owner lets it go:
//!
//! 1. A partition has one owner at most, and only a member is an owner.
//! 2. An owner lets a partition go in a poll of its own, by leaving, or by being thrown out;
//!    nothing that others do takes it away.
//! 3. A member takes what it is to have in a poll of its own, once it has no owner.
//! 4. When nothing changes any more and every member polls twice, everybody has what they are to
//!    have.
//! 5. A member that was thrown out (too late to poll, or its static id was taken) is not known any
//!    more, and its number is never used again: that is the fence.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::assignor::{Assignor, Candidate, assign};
use super::partition::{TopicPartition, TopicShape};

/// One stay of a member in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct MemberId(u64);

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "member-{}", self.0)
    }
}

/// What a member says of itself when it joins.
#[derive(Clone, Debug)]
pub(crate) struct Joining {
    pub(crate) topics: BTreeSet<Arc<str>>,
    pub(crate) static_id: Option<Arc<str>>,
    pub(crate) assignor: Assignor,
    pub(crate) max_poll_interval: Duration,
}

/// A member, as it is.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) joined: Joining,
    /// What it has.
    pub(crate) owned: BTreeSet<TopicPartition>,
    /// What it is to have.
    pub(crate) target: BTreeSet<TopicPartition>,
    /// The two are the same: nothing to do for a poll.
    settled: bool,
    /// When it is thrown out; `None` while it is in a poll.
    deadline: Option<Instant>,
}

/// What a poll changed for the member that polled. Both are sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) lost: Vec<TopicPartition>,
    pub(crate) gained: Vec<TopicPartition>,
    pub(crate) generation: u64,
}

/// Where a group is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GroupState {
    /// There are no members.
    Empty,
    /// Partitions are passing from one member to another; the rest are read as ever.
    Rebalancing,
    /// Every member has what it is to have.
    Stable,
}

/// The members of one group.
#[derive(Debug, Default)]
pub(crate) struct Membership {
    generation: u64,
    joins: u64,
    moves: u64,
    members: BTreeMap<MemberId, Member>,
    topics: Vec<TopicShape>,
    owners: BTreeMap<TopicPartition, MemberId>,
}

impl Membership {
    /// Counts the changes of who is to have what.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
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

    /// The names of all topics that somebody subscribed to.
    pub(crate) fn subscriptions(&self) -> BTreeSet<Arc<str>> {
        let topics = self
            .members
            .values()
            .flat_map(|member| &member.joined.topics);
        topics.cloned().collect()
    }

    /// Every partition that somebody subscribed to, by topic and number.
    pub(crate) fn wanted(&self) -> Vec<TopicPartition> {
        let names = self.subscriptions();
        let shapes = self
            .topics
            .iter()
            .filter(|shape| names.contains(&shape.key.name));
        shapes
            .flat_map(|shape| (0..shape.partitions).map(|number| shape.key.partition(number)))
            .collect()
    }

    /// Whether a member (still) has this static id.
    pub(crate) fn has_static_id(&self, static_id: &str) -> bool {
        let mut ids = self
            .members
            .values()
            .filter_map(|member| member.joined.static_id.as_deref());
        ids.any(|id| id == static_id)
    }

    /// Takes a member in; it has nothing yet. Whoever has its static id is thrown out at once, and
    /// the new one is to have what that one had.
    pub(crate) fn join(&mut self, joined: Joining, now: Instant) -> MemberId {
        self.throw_out_late(now);
        let same = |(_, member): &(&MemberId, &Member)| {
            joined.static_id.is_some() && member.joined.static_id == joined.static_id
        };
        let before = self.members.iter().find(same).map(|(id, _)| *id);
        let before = before.and_then(|id| self.remove(id));
        self.joins = self.joins.saturating_add(1);
        let id = MemberId(self.joins);
        let member = Member {
            deadline: now.checked_add(joined.max_poll_interval),
            owned: BTreeSet::new(),
            settled: false,
            target: before.map(|member| member.target).unwrap_or_default(),
            joined,
        };
        self.members.insert(id, member);
        self.rebalance();
        id
    }

    /// Lets a member go; false when it was not known any more.
    pub(crate) fn leave(&mut self, id: MemberId) -> bool {
        let known = self.remove(id).is_some();
        if known {
            self.rebalance();
        }
        known
    }

    /// Throws out who has not polled in time.
    pub(crate) fn throw_out_late(&mut self, now: Instant) {
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
            for id in late {
                self.remove(id);
            }
            self.rebalance();
        }
    }

    /// When the next member will be too late.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.members
            .values()
            .filter_map(|member| member.deadline)
            .min()
    }

    /// A member, while it is one.
    pub(crate) fn member(&self, id: MemberId) -> Option<&Member> {
        self.members.get(&id)
    }

    /// Says which topics there are, sorted by name, just before a [`join`](Self::join), which
    /// shares them out.
    pub(crate) fn expect_topics(&mut self, topics: Vec<TopicShape>) {
        self.topics = topics;
    }

    /// Says which topics there are, sorted by name.
    pub(crate) fn set_topics(&mut self, topics: Vec<TopicShape>) {
        if self.topics != topics {
            self.topics = topics;
            self.rebalance();
        }
    }

    /// A member begins to poll (or looks again while it does): it lets go what it is not to have
    /// any more (I2), then takes what it is to have and nobody has (I3). `None` when it was thrown
    /// out (I5).
    pub(crate) fn poll(&mut self, id: MemberId, now: Instant) -> Option<Turn> {
        self.throw_out_late(now);
        let member = self.members.get_mut(&id)?;
        member.deadline = None;
        let mut turn = Turn {
            generation: self.generation,
            ..Turn::default()
        };
        if member.settled {
            return Some(turn);
        }
        turn.lost = member.owned.difference(&member.target).cloned().collect();
        for partition in &turn.lost {
            member.owned.remove(partition);
            self.owners.remove(partition);
            self.moves = self.moves.wrapping_add(1);
        }
        for partition in &member.target {
            if !self.owners.contains_key(partition) {
                turn.gained.push(partition.clone());
                self.owners.insert(partition.clone(), id);
                member.owned.insert(partition.clone());
            }
        }
        member.settled = member.owned == member.target;
        Some(turn)
    }

    /// A member has what it polled for: from now on it has its interval to poll again.
    pub(crate) fn polled(&mut self, id: MemberId, now: Instant) {
        if let Some(member) = self.members.get_mut(&id) {
            member.deadline = now.checked_add(member.joined.max_poll_interval);
        }
    }

    /// Whether a member is one (still).
    pub(crate) fn knows(&mut self, id: MemberId, now: Instant) -> bool {
        self.throw_out_late(now);
        self.members.contains_key(&id)
    }

    fn remove(&mut self, id: MemberId) -> Option<Member> {
        let member = self.members.remove(&id)?;
        for partition in &member.owned {
            self.owners.remove(partition);
        }
        Some(member)
    }

    /// Asks the assignor anew. The oldest member's choice of assignor counts.
    fn rebalance(&mut self) {
        self.generation = self.generation.saturating_add(1);
        self.moves = self.moves.wrapping_add(1);
        let Some(oldest) = self.members.values().next() else {
            return;
        };
        let assignor = oldest.joined.assignor;
        // What a member was promised and nobody has counts as its own: it costs no move.
        let promised = |partition: &&TopicPartition| !self.owners.contains_key(*partition);
        let mut ordered: Vec<_> = self
            .members
            .iter()
            .map(|(id, member)| {
                let unclaimed = member.target.iter().filter(promised);
                let previous: BTreeSet<_> = member.owned.iter().chain(unclaimed).cloned().collect();
                (*id, &member.joined, previous)
            })
            .collect();
        ordered.sort_by_key(|(id, joined, _)| {
            (joined.static_id.is_none(), joined.static_id.clone(), *id)
        });
        let candidates: Vec<_> = ordered
            .iter()
            .map(|(_, joined, previous)| Candidate {
                topics: &joined.topics,
                previous,
            })
            .collect();
        let targets = assign(assignor, &candidates, &self.topics);
        let ids: Vec<_> = ordered.iter().map(|(id, _, _)| *id).collect();
        for (id, target) in ids.into_iter().zip(targets) {
            if let Some(member) = self.members.get_mut(&id) {
                member.settled = member.owned == target;
                member.target = target;
            }
        }
    }
}
