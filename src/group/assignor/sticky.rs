//! The sticky rule: as balanced as it can be, and then as few moves as possible.
//!
//! Knows nothing about names.
//!
//! 1. Where all members subscribed to the same topics, two members differ by one partition at most,
//!    and no assignment of that balance moves fewer partitions.
//! 2. Elsewhere no single move from a fuller member to an emptier one that may have the partition
//!    makes the balance better, and every move that was made did.
//! 3. What it gave, given back as what members had, is given again.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::{Candidate, Deal, Slot, Table, TopicShape, give};

/// What every member may keep of what it had: partitions that are still there, that it still wants,
/// and that nobody else claims.
pub(super) fn kept(members: &[Candidate<'_>], topics: &[TopicShape]) -> Deal {
    let place_of: BTreeMap<_, _> = topics
        .iter()
        .enumerate()
        .map(|(place, shape)| (&shape.key, (place, shape.partitions)))
        .collect();
    let mut claims: BTreeMap<Slot, Option<usize>> = BTreeMap::new();
    for (place, member) in members.iter().enumerate() {
        for had in member.previous {
            let Some((topic, partitions)) = place_of.get(&had.topic) else {
                continue;
            };
            if had.partition < *partitions && member.topics.contains(&had.topic.name) {
                let slot = Slot {
                    topic: *topic,
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

pub(super) fn sticky(table: &Table, kept: &Deal, deal: &mut Deal) {
    let wanted = || table.eligible.iter().filter(|members| !members.is_empty());
    if wanted().all(|members| members.len() == kept.len()) {
        among_equals(table, kept, deal);
    } else {
        among_different(table, kept, deal);
    }
}

/// The order in which a member gives up what is too much: the last partitions first, so that what
/// it keeps is spread over its topics.
fn by_number(slot: &Slot) -> (u32, usize) {
    (slot.partition, slot.topic)
}

/// Everybody may have everything (I1): all have `n / m` partitions, and the `n % m` who had the
/// most (so that they keep one more) one more.
fn among_equals(table: &Table, kept: &Deal, deal: &mut Deal) {
    let count = table.slots().count();
    let members = kept.len().max(1);
    let (each, extra) = (count / members, count % members);
    let mut fullest: Vec<_> = (0..kept.len()).collect();
    fullest.sort_by_key(|member| Reverse(kept.get(*member).map_or(0, BTreeSet::len)));
    let mut room = vec![each; kept.len()];
    for member in fullest.iter().take(extra) {
        // Only who keeps one more this way; the rest is dealt below to whoever comes first.
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

/// Members want different topics (I2): everybody keeps what they had, the rest goes to the emptiest
/// who may have it, the partitions that few may have first; then the fullest give to the emptiest
/// for as long as that helps. Each such move makes the sum of squared loads smaller, so it ends.
fn among_different(table: &Table, kept: &Deal, deal: &mut Deal) {
    deal.clone_from(kept);
    let taken: BTreeSet<_> = kept.iter().flatten().copied().collect();
    let mut pool: Vec<_> = table.slots().filter(|slot| !taken.contains(slot)).collect();
    pool.sort_by_key(|slot| (table.eligible(slot.topic).len(), *slot));
    for slot in pool {
        if let Some((_, member)) = emptiest(table, deal, slot.topic) {
            give(deal, member, slot);
        }
    }
    while let Some((from, to, slot)) = helpful_move(table, deal) {
        if let Some(slots) = deal.get_mut(from) {
            slots.remove(&slot);
        }
        give(deal, to, slot);
    }
}

/// The emptiest member that may have a topic, the first of equals, with its load.
fn emptiest(table: &Table, deal: &Deal, topic: usize) -> Option<(usize, usize)> {
    let loads = table.eligible(topic).iter();
    loads
        .filter_map(|member| Some((deal.get(*member)?.len(), *member)))
        .min()
}

/// A move from the fullest member that has one to make, if it makes the balance better.
fn helpful_move(table: &Table, deal: &Deal) -> Option<(usize, usize, Slot)> {
    let mut fullest: Vec<_> = deal.iter().map(BTreeSet::len).enumerate().collect();
    fullest.sort_by_key(|(place, load)| (Reverse(*load), *place));
    fullest.into_iter().find_map(|(from, load)| {
        let slots = deal.get(from)?;
        let mut last_of_topic: BTreeMap<usize, Slot> = BTreeMap::new();
        for slot in slots {
            last_of_topic.insert(slot.topic, *slot);
        }
        let moves = last_of_topic.into_values().filter_map(|slot| {
            let (least, to) = emptiest(table, deal, slot.topic)?;
            (load >= least + 2).then_some((from, to, slot))
        });
        moves.max_by_key(|(_, _, slot)| by_number(slot))
    })
}
