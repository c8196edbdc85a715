//! Which member reads which partition: pure functions, Kafka's rules and Kafka's results.
//!
//! Knows nothing about generations, nor about how partitions move.
//!
//! The members are ordered by static id, then by number:
//!
//! 1. Every partition of a topic that a member subscribed to goes to exactly one member that
//!    subscribed to it.
//! 2. The same input gives the same result.

mod sticky;
#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::types::{PartitionId, SettingValue, choice_words};

use super::partition::{PartitionKey, TopicShape};

/// Kafka's `partition.assignment.strategy`. With each, a member keeps reading the partitions that
/// it keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Assignor {
    /// Topic by topic, a run of neighbouring partitions to each member: partition 3 of two topics
    /// with equally many partitions goes to the same member.
    #[default]
    Range,
    /// All partitions of all topics, dealt to one member after the other.
    RoundRobin,
    /// As balanced as possible, and then with the fewest moves.
    Sticky,
}

impl SettingValue for Assignor {
    fn print(&self) -> String {
        match self {
            Self::Range => "range",
            Self::RoundRobin => "roundrobin",
            Self::Sticky => "sticky",
        }
        .to_owned()
    }
    fn parse(text: &str) -> Option<Self> {
        match text.trim().to_ascii_lowercase().as_str() {
            "range" => Some(Self::Range),
            "roundrobin" => Some(Self::RoundRobin),
            "sticky" | "cooperative-sticky" => Some(Self::Sticky),
            _ => None,
        }
    }
}

choice_words!(Assignor, "range, roundrobin or sticky");

#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'a> {
    pub(super) topics: &'a BTreeSet<Arc<str>>,
    /// The partitions that it has. Where two claim one, neither keeps it.
    pub(super) previous: &'a BTreeSet<PartitionKey>,
    /// Partitions that it was to have and no member has yet: they count as its own.
    pub(super) promised: &'a [&'a PartitionKey],
}

/// A partition by the place of its topic in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Slot {
    topic: usize,
    partition: PartitionId,
}

/// What each member gets.
type Deal = Vec<BTreeSet<Slot>>;

/// The result and `members` have the same order. `topics` is sorted by name.
pub(super) fn assign(
    assignor: Assignor,
    members: &[Candidate<'_>],
    topics: &[TopicShape],
) -> Vec<BTreeSet<PartitionKey>> {
    let table = Table::new(members, topics);
    let mut deal = vec![BTreeSet::new(); members.len()];
    match assignor {
        Assignor::Range => range(&table, &mut deal),
        Assignor::RoundRobin => round_robin(&table, &mut deal),
        Assignor::Sticky => {
            sticky::sticky(&table, &sticky::kept(members, topics), &mut deal);
        }
    }
    let named = |slot: Slot| Some(topics.get(slot.topic)?.key.partition(slot.partition));
    deal.into_iter()
        .map(|slots| slots.into_iter().filter_map(named).collect())
        .collect()
}

struct Table {
    /// The number of partitions of each topic.
    partitions: Vec<u32>,
    /// The members that subscribed to each topic, in order.
    eligible: Vec<Vec<usize>>,
}

impl Table {
    fn new(members: &[Candidate<'_>], topics: &[TopicShape]) -> Self {
        let subscribed = |shape: &TopicShape| {
            let of_topic = members.iter().enumerate();
            of_topic
                .filter(|(_, member)| member.topics.contains(&shape.key.name))
                .map(|(place, _)| place)
                .collect()
        };
        Self {
            partitions: topics.iter().map(|shape| shape.partitions).collect(),
            eligible: topics.iter().map(subscribed).collect(),
        }
    }

    fn eligible(&self, topic: usize) -> &[usize] {
        self.eligible.get(topic).map_or(&[], Vec::as_slice)
    }

    /// All partitions that a member subscribed to.
    fn slots(&self) -> impl Iterator<Item = Slot> {
        let wanted = self.partitions.iter().zip(&self.eligible).enumerate();
        wanted
            .filter(|(_, (_, eligible))| !eligible.is_empty())
            .flat_map(|(topic, (partitions, _))| {
                (0..*partitions).map(move |partition| Slot { topic, partition })
            })
    }
}

fn give(deal: &mut Deal, member: usize, slot: Slot) {
    if let Some(slots) = deal.get_mut(member) {
        slots.insert(slot);
    }
}

/// Each member gets `n / m` neighbouring partitions of each topic, the first `n % m` members one
/// more.
fn range(table: &Table, deal: &mut Deal) {
    for (topic, (partitions, eligible)) in table.partitions.iter().zip(&table.eligible).enumerate()
    {
        let members = u32::try_from(eligible.len()).unwrap_or(u32::MAX).max(1);
        let (each, extra) = (partitions / members, partitions % members);
        let mut next = 0;
        for (nth, member) in (0_u32..).zip(eligible) {
            let end = next + each + u32::from(nth < extra);
            for partition in next..end {
                give(deal, *member, Slot { topic, partition });
            }
            next = end;
        }
    }
}

/// Each partition goes to the next member in the circle that may have it.
fn round_robin(table: &Table, deal: &mut Deal) {
    let mut at = 0;
    for slot in table.slots() {
        let eligible = table.eligible(slot.topic);
        let after = eligible.partition_point(|member| *member < at);
        if let Some(member) = eligible.get(after).or_else(|| eligible.first()) {
            give(deal, *member, slot);
            at = member + 1;
        }
    }
}
