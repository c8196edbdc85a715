//! The sticky rule: balance first, then few moves.
//!
//! Knows nothing about names.
//!
//! 1. Where all members subscribed to the same topics, two members differ by one partition at most,
//!    and no assignment of that balance moves fewer partitions.
//! 2. Elsewhere no single move to an emptier member improves the balance, and every move that was
//!    made did.
//! 3. If what members have is a result of this rule, they keep it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::{Candidate, Deal, Slot, Table, TopicShape, give};
use crate::types::PartitionId;

/// A member may keep the partitions that still exist, that it still wants, and that no other member
/// claims.
pub(super) fn kept(members: &[Candidate<'_>], topics: &[TopicShape]) -> Deal {
    let place_of: BTreeMap<_, _> = topics
        .iter()
        .enumerate()
        .map(|(place, shape)| (&shape.key, (place, shape.partitions)))
        .collect();
    let mut claims: BTreeMap<Slot, Option<usize>> = BTreeMap::new();
    for (place, member) in members.iter().enumerate() {
        // Its partitions are sorted by topic: each topic is looked up once.
        let mut last = None;
        for had in member
            .previous
            .iter()
            .chain(member.promised.iter().copied())
        {
            let (_, found) = match last {
                Some((topic, found)) if topic == &had.topic => (topic, found),
                _ => {
                    let found = place_of.get(&had.topic);
                    let wanted = member.topics.contains(&had.topic.name);
                    *last.insert((&had.topic, found.copied().filter(|_| wanted)))
                }
            };
            if let Some((topic, partitions)) = found
                && had.partition < partitions
            {
                let slot = Slot {
                    topic,
                    partition: had.partition,
                };
                claims
                    .entry(slot)
                    .and_modify(|claim| *claim = None)
                    .or_insert(Some(place));
            }
        }
    }
    let mut kept = vec![BTreeSet::new(); members.len()];
    for (slot, claim) in claims {
        if let Some(member) = claim {
            give(&mut kept, member, slot);
        }
    }
    kept
}

/// Returns how many loads the search for moves has inspected.
pub(super) fn sticky(table: &Table, kept: &Deal, deal: &mut Deal) -> usize {
    let wanted = || table.eligible.iter().filter(|members| !members.is_empty());
    if wanted().all(|members| members.len() == kept.len()) {
        among_equals(table, kept, deal);
        0
    } else {
        among_different(table, kept, deal)
    }
}

/// A member gives up the last partitions first: what it keeps is spread over its topics.
fn by_number(slot: &Slot) -> (u32, usize) {
    (slot.partition, slot.topic)
}

/// All members may have every partition (I1): each gets `n / m`, and the `n % m` that had the most
/// get one more, so that they keep one more.
fn among_equals(table: &Table, kept: &Deal, deal: &mut Deal) {
    let count = table.slots().count();
    let members = kept.len().max(1);
    let (each, extra) = (count / members, count % members);
    let mut fullest: Vec<_> = (0..kept.len()).collect();
    fullest.sort_by_key(|member| Reverse(kept.get(*member).map_or(0, BTreeSet::len)));
    let mut room = vec![each; kept.len()];
    for member in fullest.iter().take(extra) {
        // Only those that keep one more this way; the rest is dealt below to the first members.
        if let (Some(room), Some(had)) = (room.get_mut(*member), kept.get(*member)) {
            *room += usize::from(had.len() > each);
        }
    }
    let mut extra = extra.saturating_sub(room.iter().filter(|room| **room > each).count());
    let mut pool: BTreeSet<_> = table.slots().collect();
    for ((had, deal), room) in kept.iter().zip(&mut *deal).zip(&room) {
        let mut had: Vec<_> = had.iter().copied().collect();
        had.sort_by_key(by_number);
        for slot in had.into_iter().take(*room) {
            pool.remove(&slot);
            deal.insert(slot);
        }
    }
    // One partition to each in turn, to those that are short first, then the extra ones.
    let mut pool = pool.into_iter();
    let mut short = true;
    while short {
        short = false;
        for (deal, room) in deal.iter_mut().zip(&room) {
            if deal.len() < *room
                && let Some(slot) = pool.next()
            {
                deal.insert(slot);
                short = true;
            }
        }
    }
    for (deal, room) in deal.iter_mut().zip(&room) {
        if extra > 0
            && *room == each
            && let Some(slot) = pool.next()
        {
            deal.insert(slot);
            extra -= 1;
        }
    }
}

/// Members want different topics (I2): all keep what they had; each other partition, first those
/// that few may have, goes to the emptiest member that may have it; then the fullest give to the
/// emptiest while that helps. Each such move makes the sum of squared loads smaller, so it ends.
fn among_different(table: &Table, kept: &Deal, deal: &mut Deal) -> usize {
    deal.clone_from(kept);
    let taken: BTreeSet<_> = kept.iter().flatten().copied().collect();
    let mut pool: Vec<_> = table.slots().filter(|slot| !taken.contains(slot)).collect();
    pool.sort_by_key(|slot| (table.eligible(slot.topic).len(), *slot));
    for slot in pool {
        if let Some((_, member)) = emptiest(table, deal, slot.topic) {
            give(deal, member, slot);
        }
    }
    let mut balance = Balance::new(table, deal);
    while let Some((from, to, slot)) = balance.helpful_move() {
        if let Some(slots) = deal.get_mut(from) {
            slots.remove(&slot);
        }
        give(deal, to, slot);
        balance.moved(deal, from, to, slot);
    }
    balance.looks
}

/// The load and number of the emptiest member that may have the topic: the first of equals.
fn emptiest(table: &Table, deal: &Deal, topic: usize) -> Option<(usize, usize)> {
    let loads = table.eligible(topic).iter();
    loads
        .filter_map(|member| Some((deal.get(*member)?.len(), *member)))
        .min()
}

/// Where moves would help: finding the next one costs by the number of topics and members, not of
/// partitions.
struct Balance<'a> {
    table: &'a Table,
    /// Members by load, the fullest first.
    order: BTreeSet<(Reverse<usize>, usize)>,
    /// By member and topic, the last partition that it has.
    last: Vec<BTreeMap<usize, PartitionId>>,
    /// By topic, its [`emptiest`] member.
    least: Vec<Option<(usize, usize)>>,
    /// By member, the topics that it may have.
    may: Vec<Vec<usize>>,
    /// Members without a helpful move, until one that may have what they have gets emptier, or they
    /// get more.
    stuck: Vec<bool>,
    looks: usize,
}

impl<'a> Balance<'a> {
    fn new(table: &'a Table, deal: &Deal) -> Self {
        let mut may = vec![Vec::new(); deal.len()];
        for (topic, eligible) in table.eligible.iter().enumerate() {
            for member in eligible {
                if let Some(topics) = may.get_mut(*member) {
                    topics.push(topic);
                }
            }
        }
        let loads = deal.iter().map(BTreeSet::len).enumerate();
        // In order, so that of each topic the last one stays.
        let last = deal.iter().map(|slots| {
            let named = slots.iter().map(|slot| (slot.topic, slot.partition));
            named.collect::<BTreeMap<_, _>>()
        });
        let mut balance = Self {
            table,
            order: loads.map(|(place, load)| (Reverse(load), place)).collect(),
            last: last.collect(),
            least: vec![None; table.eligible.len()],
            may,
            stuck: vec![false; deal.len()],
            looks: 0,
        };
        for topic in 0..table.eligible.len() {
            balance.look_for_least(deal, topic);
        }
        balance
    }

    fn look_for_least(&mut self, deal: &Deal, topic: usize) {
        self.looks = self.looks.saturating_add(self.table.eligible(topic).len());
        if let Some(least) = self.least.get_mut(topic) {
            *least = emptiest(self.table, deal, topic);
        }
    }

    /// A move that improves the balance, from the fullest member that has one.
    fn helpful_move(&mut self) -> Option<(usize, usize, Slot)> {
        for (Reverse(load), from) in &self.order {
            let (Some(held), Some(stuck)) = (self.last.get(*from), self.stuck.get_mut(*from))
            else {
                continue;
            };
            if *stuck {
                continue;
            }
            self.looks = self.looks.saturating_add(held.len());
            let moves = held.iter().filter_map(|(topic, partition)| {
                let (least, to) = (*self.least.get(*topic)?)?;
                let slot = Slot {
                    topic: *topic,
                    partition: *partition,
                };
                (*load >= least + 2).then_some((*from, to, slot))
            });
            match moves.max_by_key(|(_, _, slot)| by_number(slot)) {
                None => *stuck = true,
                found => return found,
            }
        }
        None
    }

    /// Follows a move that `deal` has already.
    fn moved(&mut self, deal: &Deal, from: usize, to: usize, slot: Slot) {
        let load = |member: usize| deal.get(member).map_or(0, BTreeSet::len);
        let (now, more) = (load(from), load(to));
        self.order.remove(&(Reverse(now + 1), from));
        self.order.remove(&(Reverse(more.saturating_sub(1)), to));
        self.order
            .extend([(Reverse(now), from), (Reverse(more), to)]);
        for member in [from, to] {
            let of_topic = |slots: &BTreeSet<Slot>| {
                let first = Slot {
                    partition: 0,
                    ..slot
                };
                let end = Slot {
                    partition: PartitionId::MAX,
                    ..slot
                };
                slots.range(first..=end).next_back().map(|it| it.partition)
            };
            if let Some(last) = self.last.get_mut(member) {
                if let Some(partition) = deal.get(member).and_then(of_topic) {
                    last.insert(slot.topic, partition);
                } else {
                    last.remove(&slot.topic);
                }
            }
        }
        if let Some(stuck) = self.stuck.get_mut(to) {
            *stuck = false;
        }
        let mut emptier = false;
        for topic in self.may.get(from).into_iter().flatten() {
            self.looks = self.looks.saturating_add(1);
            if let Some(Some(least)) = self.least.get_mut(*topic)
                && (now, from) < *least
            {
                *least = (now, from);
                emptier = true;
            }
        }
        if emptier {
            self.stuck.fill(false);
        }
        let fuller =
            |topic: &usize| matches!(self.least.get(*topic), Some(Some((_, it))) if *it == to);
        let fuller: Vec<_> = self
            .may
            .get(to)
            .into_iter()
            .flatten()
            .copied()
            .filter(fuller)
            .collect();
        for topic in fuller {
            self.look_for_least(deal, topic);
        }
    }
}
