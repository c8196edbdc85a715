//! What a power cut may leave: for every unsynced change, whether it arrived.
//!
//! Knows nothing about who looks at the result. Changes are numbered in the order in which they
//! were made, over the whole disk, data and names together; a [`Choice`] is a value, so a failing
//! state is told and found again by its operation and its choice.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Sim;
use super::node::{Change, DirNode, FileNode, Image, Node, NodeId};
use super::state::State;
use crate::disk::advance;
use crate::types::to_usize;

/// Which of the pending changes a power cut leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Nothing that was not synced.
    None,
    /// Everything.
    All,
    /// The first so many changes.
    Prefix(usize),
    /// Everything but this change (and, when it is a name, the later ones of its directory).
    AllBut(usize),
    /// Of the data this change alone, and every name; when it is a name, no data, and of its
    /// directory the names up to it.
    Only(usize),
    /// This change in this way, everything before it, and what came `after` it or not.
    One {
        index: usize,
        fate: Fate,
        after: bool,
    },
    /// All data and no name.
    DataAlone,
    /// All names and no data.
    NamesAlone,
    /// Everything but the names from this change on, in its directory.
    NamesBefore(usize),
    /// The changes whose bit is set; a name, if its directory's earlier ones are set too.
    Subset(u64),
    /// Whatever this seed says: sectors kept, lost, torn, zero or garbage, and of each directory
    /// some first names.
    Random(u64),
}

/// What becomes of one change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It arrives.
    Kept,
    /// It does not.
    Lost,
    /// Where the file grew, zeros arrive in its place.
    Zero,
    /// Where the file grew, garbage arrives in its place.
    Garbage,
    /// Its first so many bytes arrive.
    Head(usize),
    /// All but its first so many bytes arrive.
    Tail(usize),
}

impl Choice {
    /// What becomes of the change `index`.
    fn fate(self, index: usize, what: What, dice: &mut Dice) -> Fate {
        let is_name = matches!(what, What::Name);
        let kept = match self {
            Self::None => false,
            Self::All => true,
            Self::Prefix(count) => index < count,
            Self::AllBut(lost) | Self::NamesBefore(lost) => index != lost,
            Self::Only(kept) => index == kept || is_name,
            Self::DataAlone => !is_name,
            Self::NamesAlone => is_name,
            Self::Subset(bits) => bits >> index.min(63) & 1 == 1,
            Self::One {
                index: one, fate, ..
            } if one == index => return fate,
            Self::One {
                index: one, after, ..
            } => index < one || after,
            Self::Random(_) => return dice.fate(what),
        };
        if kept { Fate::Kept } else { Fate::Lost }
    }
}

/// What a pending change is about.
#[derive(Clone, Copy, Debug)]
enum What {
    /// So many bytes of data; `grew` when they reach past the durable end of the file.
    Data { len: usize, grew: bool },
    /// A length.
    Length,
    /// A name.
    Name,
}

/// The moment before a power cut: the disk as it is and its pending changes in order.
#[derive(Clone, Debug)]
pub(super) struct Cut {
    state: State,
    /// Which node each change belongs to, and what it is, in order.
    changes: Vec<(NodeId, What)>,
}

impl Cut {
    pub(super) fn of(state: &State) -> Self {
        let mut changes: Vec<(u64, NodeId, What)> = Vec::new();
        for id in &state.unsettled {
            match state.nodes.get(*id).and_then(Option::as_deref) {
                Some(Node::File(file)) => {
                    let durable_len = file.durable.len();
                    changes.extend(file.pending.iter().map(|piece| {
                        let what = What::of(&piece.change, durable_len);
                        (piece.sequence, *id, what)
                    }));
                }
                Some(Node::Dir(dir)) => {
                    let pending = dir.pending.iter();
                    changes.extend(pending.map(|name| (name.sequence, *id, What::Name)));
                }
                None => {}
            }
        }
        changes.sort_unstable_by_key(|(sequence, ..)| *sequence);
        Self {
            state: state.clone(),
            changes: changes
                .into_iter()
                .map(|(_, node, what)| (node, what))
                .collect(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.changes.len()
    }

    /// The disk as it is found when the power comes back.
    pub(super) fn after(&self, choice: Choice) -> Sim {
        let mut dice = Dice::new(match choice {
            Choice::Random(seed) => seed,
            _ => 0,
        });
        let mut fates: BTreeMap<NodeId, Vec<Fate>> = BTreeMap::new();
        for (index, (node, what)) in self.changes.iter().enumerate() {
            let fate = choice.fate(index, *what, &mut dice);
            fates.entry(*node).or_default().push(fate);
        }
        let nothing = Vec::new();
        let mut nodes = self.state.nodes.clone();
        for id in &self.state.unsettled {
            let fates = fates.get(id).unwrap_or(&nothing);
            if let Some(Some(node)) = nodes.get_mut(*id) {
                *node = Arc::new(match &**node {
                    Node::File(file) => Node::File(file_after(file, fates)),
                    Node::Dir(dir) => Node::Dir(dir_after(dir, fates)),
                });
            }
        }
        Sim::born(self.state.restarted(nodes), Some(choice))
    }

    /// The choices of level A: every pending change missing, alone, torn, zero and garbage, and
    /// every first part of the whole and of each directory's names.
    pub(super) fn canonical(&self) -> Vec<Choice> {
        let count = self.len();
        let mut choices = vec![Choice::None];
        if count == 0 {
            return choices;
        }
        choices.push(Choice::All);
        let is_name = |what| matches!(what, What::Name);
        let names = self.changes.iter().filter(|(_, what)| is_name(*what));
        if (1..count).contains(&names.count()) {
            choices.extend([Choice::DataAlone, Choice::NamesAlone]);
        }
        choices.extend((1..count).map(Choice::Prefix));
        for (index, (_, what)) in self.changes.iter().enumerate() {
            match what {
                What::Name => choices.push(Choice::NamesBefore(index)),
                What::Length => choices.extend([Choice::AllBut(index), Choice::Only(index)]),
                What::Data { len, grew } => {
                    choices.extend([Choice::AllBut(index), Choice::Only(index)]);
                    let one = |fate, after| Choice::One { index, fate, after };
                    let half = len / 2;
                    choices.extend([
                        one(Fate::Head(half), true),
                        one(Fate::Head(half), false),
                        one(Fate::Tail(half), true),
                    ]);
                    if *grew {
                        choices.extend([one(Fate::Zero, true), one(Fate::Garbage, true)]);
                    }
                }
            }
        }
        choices
    }
}

impl What {
    fn of(change: &Change, durable_len: u64) -> Self {
        match change {
            Change::Store { at, bytes } => Self::Data {
                len: bytes.len(),
                grew: advance(*at, bytes.len()) > durable_len,
            },
            Change::SetLen(_) | Change::Grow(_) => Self::Length,
        }
    }
}

fn file_after(file: &FileNode, fates: &[Fate]) -> FileNode {
    let mut image = file.durable.clone();
    // Bytes below the end that was durable are never anything but old or new (F2).
    let mut old_end = image.len();
    for (piece, fate) in file.pending.iter().zip(fates) {
        match (&piece.change, *fate) {
            (_, Fate::Lost) => {}
            (change, Fate::Kept) => {
                change.apply(&mut image);
                old_end = old_end.min(image.len());
            }
            (Change::Store { at, bytes }, fate) => {
                store_in_part(&mut image, (*at, bytes), fate, old_end);
            }
            // A length has no parts.
            (change, _) => change.apply(&mut image),
        }
    }
    FileNode::settled(image, file.modified)
}

fn store_in_part(image: &mut Image, (at, bytes): (u64, &[u8]), fate: Fate, old_end: u64) {
    match fate {
        Fate::Head(len) => image.write(at, bytes.split_at(len.min(bytes.len())).0),
        Fate::Tail(len) => {
            let len = len.min(bytes.len());
            image.write(advance(at, len), bytes.split_at(len).1);
        }
        Fate::Zero | Fate::Garbage => {
            let from = at.max(old_end);
            let new_len = to_usize(advance(at, bytes.len()).saturating_sub(from));
            let mut random = Random(from);
            let mut other = || match fate {
                Fate::Zero => 0,
                _ => random.byte(),
            };
            let found: Vec<u8> = (0..new_len).map(|_| other()).collect();
            image.write(from, &found);
        }
        Fate::Kept | Fate::Lost => {}
    }
}

/// Names arrive in order: the first that is lost takes the later ones with it (F4).
fn dir_after(dir: &DirNode, fates: &[Fate]) -> DirNode {
    let kept = fates.iter().take_while(|fate| **fate == Fate::Kept).count();
    DirNode::settled(dir.after(kept))
}

/// A small generator, the same for ever (`SplitMix64`).
#[derive(Clone, Copy, Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}

/// How a random state is thrown. Each state draws its own odds first, so that some lose nearly
/// everything and some next to nothing.
#[derive(Debug)]
struct Dice {
    random: Random,
    keep_of_8: u64,
    odd_of_8: u64,
}

impl Dice {
    fn new(seed: u64) -> Self {
        let mut dice = Self {
            random: Random(seed),
            keep_of_8: 0,
            odd_of_8: 0,
        };
        dice.keep_of_8 = dice.below(8) + 1;
        dice.odd_of_8 = dice.below(9);
        dice
    }

    fn below(&mut self, end: u64) -> u64 {
        self.random.next() % end.max(1)
    }

    fn fate(&mut self, what: What) -> Fate {
        let (kept, odd) = (
            self.below(8) < self.keep_of_8,
            self.below(8) < self.odd_of_8,
        );
        match what {
            What::Data { len, grew } if odd && !kept => {
                let place = to_usize(self.below(advance(1, len)));
                match self.below(if grew { 4 } else { 2 }) {
                    0 => Fate::Head(place),
                    1 => Fate::Tail(place),
                    2 => Fate::Zero,
                    _ => Fate::Garbage,
                }
            }
            _ if kept => Fate::Kept,
            _ => Fate::Lost,
        }
    }
}

/// The seed of the `index`-th state of a series.
pub(super) fn seed_at(seed: u64, index: u64) -> u64 {
    Random(seed ^ index.rotate_left(32)).next()
}
