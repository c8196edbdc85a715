//! Groups of Kafka's newer protocols: in which order their records may be deleted.
//!
//! Knows nothing about what the records hold: their keys say enough. A key is an i16 kind, the
//! group (i16 length, bytes), and for some kinds a member.
//!
//! A coordinator checks each tombstone against the state that the records before it left, and one
//! that comes too early fails the load of the whole partition, with every group in it, for good:
//!
//! 1. What a member has goes before the member, and members go before their group.
//! 2. The epoch of the assignment goes before the group, and must be *seen* to go: a tombstone of
//!    it is written even where no record of it is left. The same holds for what a member has.
//!    Tombstones of what is not there are ignored.

use std::collections::BTreeSet;

struct Protocol {
    /// The kinds of records about one member.
    of_members: &'static [i16],
    order: &'static [Step],
}

/// The tombstones of one kind.
enum Step {
    /// One for every member that any record names (I2).
    EachMember(i16),
    /// One for the group (I2).
    Group(i16),
    /// One for every record of the kind.
    Listed(i16),
}

use Step::{EachMember, Group, Listed};

const CONSUMER: Protocol = Protocol {
    of_members: &[5, 7, 8],
    order: &[
        EachMember(8), // what each member has
        EachMember(7), // what each member is to have
        Group(6),      // the epoch of that
        Listed(5),     // members
        Listed(16),    // regular expressions of subscriptions
        Listed(4),     // partitions of topics
        Listed(3),     // the group
    ],
};

const SHARE: Protocol = Protocol {
    of_members: &[10, 13, 14],
    order: &[
        EachMember(14),
        EachMember(13),
        Group(12),
        Listed(10),
        Listed(9),
        Listed(15),
        Listed(11),
    ],
};

const STREAMS: Protocol = Protocol {
    of_members: &[19, 21, 22],
    order: &[
        EachMember(22),
        EachMember(21),
        Group(20),
        Listed(19),
        Listed(18),
        Listed(17),
        Listed(23),
    ],
};

/// A group itself, in the old protocol.
const GROUP: i16 = 2;

const ALL: [Protocol; 3] = [CONSUMER, SHARE, STREAMS];

impl Step {
    const fn kind(&self) -> i16 {
        match self {
            EachMember(kind) | Group(kind) | Listed(kind) => *kind,
        }
    }
}

impl Protocol {
    fn has(&self, kind: i16) -> bool {
        self.order.iter().any(|step| step.kind() == kind)
    }

    /// Adds the keys of the tombstones for a group's records of this protocol, in order.
    fn bury(&self, keys: &BTreeSet<Vec<u8>>, out: &mut Vec<Vec<u8>>) {
        let own = || keys.iter().filter(|key| self.has(kind_of(key)));
        let Some(group) = own().next().and_then(|key| group_of(key)) else {
            return;
        };
        let named = own().filter(|key| self.of_members.contains(&kind_of(key)));
        let members: BTreeSet<&[u8]> = named.filter_map(|key| key.get(2..)).collect();
        for step in self.order {
            let kind = step.kind();
            match step {
                EachMember(_) => out.extend(members.iter().map(|member| key_of(kind, member))),
                Group(_) => out.push(key_of(kind, group)),
                Listed(_) => out.extend(own().filter(|key| kind_of(key) == kind).cloned()),
            }
        }
    }
}

/// The keys of the tombstones that delete a group with records of these keys, in order.
pub(super) fn burial(keys: &BTreeSet<Vec<u8>>) -> Vec<Vec<u8>> {
    // Commits and the group itself, in a shape that this build does not know.
    let known = |key: &[u8]| knows(kind_of(key));
    let (unknown, last): (Vec<_>, Vec<_>) = keys
        .iter()
        .filter(|key| !known(key))
        .cloned()
        .partition(|key| kind_of(key) != GROUP);
    let mut out = unknown;
    for protocol in ALL {
        protocol.bury(keys, &mut out);
    }
    out.extend(last);
    out
}

/// Whether a newer protocol has this kind of key.
pub(super) fn knows(kind: i16) -> bool {
    ALL.iter().any(|protocol| protocol.has(kind))
}

/// Whether all keys are of the consumer protocol, whose empty groups can become groups of the old
/// protocol.
pub(super) fn is_consumer(keys: &BTreeSet<Vec<u8>>) -> bool {
    keys.iter().all(|key| CONSUMER.has(kind_of(key)))
}

fn kind_of(key: &[u8]) -> i16 {
    key.first_chunk()
        .map_or(-1, |kind| i16::from_be_bytes(*kind))
}

/// The group, with its length before it.
fn group_of(key: &[u8]) -> Option<&[u8]> {
    let raw = key.get(2..)?;
    let length = usize::from(u16::from_be_bytes(*raw.first_chunk()?));
    raw.get(..length.checked_add(2)?)
}

fn key_of(kind: i16, rest: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], rest].concat()
}
