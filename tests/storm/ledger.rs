//! What each group has seen of each partition, and what is wrong with it.
//!
//! Knows nothing about members but their numbers.

use std::collections::BTreeMap;

use ottla::{Offset, PartitionId};

use crate::payload::Said;

/// One partition of one life of a topic, as one group sees it.
type Key = (&'static str, String, u64, PartitionId);

/// Faults beyond these are not written down.
const FAULTS_MAX: usize = 20;

/// What all groups have seen.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    partitions: BTreeMap<Key, Seen>,
    faults: Vec<String>,
    /// Stays of members.
    pub(crate) lives: u64,
}

#[derive(Debug, Default)]
struct Seen {
    /// Everything below was delivered.
    to: Offset,
    /// Everything below was committed, by a member that had it.
    committed: Offset,
    /// Who has polled records and not committed them.
    held_by: Option<u64>,
    /// By writer, the newest sequence below `to`.
    newest: BTreeMap<u64, u64>,
}

/// What was committed of partitions, by the life of their topic.
pub(crate) type Floors = BTreeMap<((String, PartitionId), u64), Offset>;

/// Where one member is in a partition.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) life: u64,
    pub(crate) next: Offset,
    /// It has records that it has not committed.
    pub(crate) uncommitted: bool,
}

impl Ledger {
    pub(crate) fn fault(&mut self, what: String) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(what);
        }
    }

    pub(crate) fn has_faults(&self) -> bool {
        !self.faults.is_empty()
    }

    pub(crate) fn faults(&self) -> &[String] {
        &self.faults
    }

    pub(crate) fn seen(
        &self,
        group: &'static str,
        topic: &str,
        life: u64,
        partition: PartitionId,
    ) -> Offset {
        let seen = self
            .partitions
            .get(&(group, topic.to_owned(), life, partition));
        seen.map_or(0, |seen| seen.to)
    }

    fn at(&mut self, group: &'static str, of: &(String, PartitionId), life: u64) -> &mut Seen {
        self.partitions
            .entry((group, of.0.clone(), life, of.1))
            .or_default()
    }

    /// What a group has committed by now.
    pub(crate) fn floors(&self, group: &'static str) -> Floors {
        let partitions = self.partitions.iter().filter(|(key, _)| key.0 == group);
        partitions
            .map(|((_, topic, life, partition), seen)| {
                (((topic.clone(), *partition), *life), seen.committed)
            })
            .collect()
    }

    /// A record was delivered; `place` is where the member was, `None` when it has just gained the
    /// partition, and `floor` what was committed before the poll.
    pub(crate) fn deliver(
        &mut self,
        group: &'static str,
        of: &(String, PartitionId),
        place: Option<&Place>,
        offset: Offset,
        said: Said,
        floor: Offset,
    ) {
        let seen = self.at(group, of, said.life);
        let mut fault = None;
        match place.filter(|place| place.life == said.life) {
            Some(place) if place.next != offset => {
                fault = Some(format!("offset {offset} comes where {} is due", place.next));
            }
            None if offset > seen.to => {
                fault = Some(format!("begins at {offset}, seen to {}", seen.to));
            }
            None if offset < floor => {
                fault = Some(format!("begins at {offset}, committed to {floor}"));
            }
            _ => {}
        }
        if offset == seen.to {
            seen.to += 1;
            let before = seen.newest.insert(said.writer, said.sequence);
            if before.is_some_and(|before| before >= said.sequence) {
                fault = Some(format!("{said:?} comes after {before:?}"));
            }
        }
        if let Some(fault) = fault {
            self.fault(format!("{group} {of:?} life {}: {fault}", said.life));
        }
    }

    /// A member has records that it has neither committed nor given up.
    pub(crate) fn hold(
        &mut self,
        group: &'static str,
        of: &(String, PartitionId),
        life: u64,
        by: u64,
    ) {
        let before = self.at(group, of, life).held_by.replace(by);
        if let Some(other) = before.filter(|other| *other != by) {
            self.fault(format!(
                "{group} {of:?} life {life}: members {other} and {by} both have it"
            ));
        }
    }

    /// The records of a partition go to a member that may be thrown out at any time.
    pub(crate) fn check_free(
        &mut self,
        group: &'static str,
        of: &(String, PartitionId),
        life: u64,
    ) {
        if let Some(other) = self.at(group, of, life).held_by {
            self.fault(format!(
                "{group} {of:?} life {life}: member {other} has it, and another"
            ));
        }
    }

    /// A member may have given up what it had.
    pub(crate) fn release(&mut self, group: &'static str, by: u64) {
        let of_group = |(key, _): &(&Key, &mut Seen)| key.0 == group;
        for (_, seen) in self.partitions.iter_mut().filter(of_group) {
            if seen.held_by == Some(by) {
                seen.held_by = None;
            }
        }
    }

    /// A member has committed what it had polled of a partition that is (still) its own.
    pub(crate) fn commit(
        &mut self,
        group: &'static str,
        of: &(String, PartitionId),
        place: &Place,
    ) {
        let seen = self.at(group, of, place.life);
        seen.committed = seen.committed.max(place.next);
    }
}
