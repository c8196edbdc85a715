//! What the simulated disk keeps of one file or directory: what is durable, what everybody sees,
//! and the changes in between, in the order in which they were made.
//!
//! Knows nothing about paths, faults or power cuts.
//!
//! - (N1) What is seen is what is durable with every pending change applied in order, but after a
//!   failed sync whose model says that the cache keeps what the disk lost.
//! - (N2) Everything is shared until it is written, so a copy of a whole disk costs next to
//!   nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::disk::advance;
use crate::types::{Timestamp, to_usize};

/// The unit that a disk writes, in bytes. It may tear even inside one.
pub(super) const SECTOR: u64 = 512;

/// The number of a file or directory, for as long as the simulation lives.
pub(super) type NodeId = usize;

/// A file or a directory.
#[derive(Clone, Debug)]
pub(super) enum Node {
    File(FileNode),
    Dir(DirNode),
}

/// The content of a file. Zeros at its end are only counted, so reserving costs no memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Image {
    bytes: Arc<Vec<u8>>,
    len: u64,
}

impl Image {
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        Self {
            len: advance(0, bytes.len()),
            bytes: Arc::new(bytes.to_vec()),
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Fills `buf` from `position`, as far as the file goes.
    pub(super) fn read(&self, position: u64, buf: &mut [u8]) -> usize {
        let there = to_usize(self.len.saturating_sub(position)).min(buf.len());
        let (buf, _) = buf.split_at_mut(there);
        let kept = self.bytes.get(to_usize(position)..).unwrap_or_default();
        let copied = kept.len().min(there);
        let (from_bytes, zeros) = buf.split_at_mut(copied);
        from_bytes.copy_from_slice(kept.get(..copied).unwrap_or_default());
        zeros.fill(0);
        there
    }

    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; to_usize(self.len)];
        self.read(0, &mut bytes);
        bytes
    }

    /// Writes, lengthening the file when the bytes reach past its end.
    pub(super) fn write(&mut self, position: u64, new: &[u8]) {
        let end = advance(position, new.len());
        self.len = self.len.max(end);
        let bytes = Arc::make_mut(&mut self.bytes);
        if bytes.len() < to_usize(end) {
            bytes.resize(to_usize(end), 0);
        }
        if let Some(place) = bytes.get_mut(to_usize(position)..to_usize(end)) {
            place.copy_from_slice(new);
        }
    }

    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.len && self.bytes.len() > to_usize(len) {
            Arc::make_mut(&mut self.bytes).truncate(to_usize(len));
        }
        self.len = len;
    }

    pub(super) fn grow(&mut self, len: u64) {
        self.len = self.len.max(len);
    }

    pub(super) fn flip(&mut self, bit: u64) {
        let at = bit / 8;
        let mut byte = [0];
        if self.read(at, &mut byte) == 1 {
            self.write(at, &[byte[0] ^ (1 << (bit % 8))]);
        }
    }
}

/// One change of a file that is not durable.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    /// Its place among all changes of the disk.
    pub(super) sequence: u64,
    pub(super) change: Change,
}

/// What a piece does.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// Bytes within one sector.
    Store { at: u64, bytes: Arc<[u8]> },
    /// The length becomes this.
    SetLen(u64),
    /// The length becomes at least this.
    Grow(u64),
}

impl Change {
    pub(super) fn apply(&self, image: &mut Image) {
        match self {
            Self::Store { at, bytes } => image.write(*at, bytes),
            Self::SetLen(len) => image.set_len(*len),
            Self::Grow(len) => image.grow(*len),
        }
    }
}

/// A file.
#[derive(Clone, Debug, Default)]
pub(super) struct FileNode {
    pub(super) durable: Image,
    pub(super) cached: Image,
    pub(super) pending: Vec<Piece>,
    /// Up to where space is allocated.
    pub(super) allocated: u64,
    /// A store hit a failing disk: the next sync tells.
    pub(super) failed_store: bool,
    pub(super) modified: Timestamp,
}

impl FileNode {
    /// A file with this content, all of it durable.
    pub(super) fn settled(image: Image, modified: Timestamp) -> Self {
        Self {
            allocated: image.len(),
            durable: image.clone(),
            cached: image,
            pending: Vec::new(),
            failed_store: false,
            modified,
        }
    }

    /// Writes, cutting the change into sectors.
    pub(super) fn write(&mut self, position: u64, bytes: &[u8], sequence: &mut u64) {
        self.cached.write(position, bytes);
        let (mut at, mut rest) = (position, bytes);
        while !rest.is_empty() {
            let in_sector = to_usize(SECTOR - at % SECTOR).min(rest.len());
            let (piece, after) = rest.split_at(in_sector);
            self.push(
                Change::Store {
                    at,
                    bytes: Arc::from(piece),
                },
                sequence,
            );
            (at, rest) = (advance(at, in_sector), after);
        }
    }

    /// Makes a change of the length.
    pub(super) fn resize(&mut self, change: Change, sequence: &mut u64) {
        change.apply(&mut self.cached);
        self.push(change, sequence);
    }

    fn push(&mut self, change: Change, sequence: &mut u64) {
        *sequence += 1;
        self.pending.push(Piece {
            sequence: *sequence,
            change,
        });
    }

    /// Makes every pending change durable.
    pub(super) fn settle(&mut self) {
        for piece in std::mem::take(&mut self.pending) {
            piece.change.apply(&mut self.durable);
        }
    }

    /// What the disk will have once the pending changes are written.
    pub(super) fn written_back(&self) -> Image {
        let mut image = self.durable.clone();
        for piece in &self.pending {
            piece.change.apply(&mut image);
        }
        image
    }

    /// Whether a power cut could change what is seen.
    pub(super) fn is_settled(&self) -> bool {
        self.pending.is_empty() && self.durable == self.cached
    }
}

/// The names in a directory.
pub(super) type Names = BTreeMap<Arc<str>, NodeId>;

/// One change of a directory that is not durable.
#[derive(Clone, Debug)]
pub(super) struct PendingName {
    /// Its place among all changes of the disk.
    pub(super) sequence: u64,
    pub(super) change: NameChange,
}

/// What happened to a name.
#[derive(Clone, Debug)]
pub(super) enum NameChange {
    Link {
        name: Arc<str>,
        node: NodeId,
    },
    Unlink {
        name: Arc<str>,
    },
    Rename {
        from: Arc<str>,
        to: Arc<str>,
        node: NodeId,
    },
}

impl NameChange {
    fn apply(&self, names: &mut Names) {
        match self {
            Self::Link { name, node } => {
                names.insert(Arc::clone(name), *node);
            }
            Self::Unlink { name } => {
                names.remove(name);
            }
            Self::Rename { from, to, node } => {
                names.remove(from);
                names.insert(Arc::clone(to), *node);
            }
        }
    }
}

/// A directory.
#[derive(Clone, Debug, Default)]
pub(super) struct DirNode {
    pub(super) durable: Arc<Names>,
    pub(super) cached: Arc<Names>,
    pub(super) pending: Vec<PendingName>,
}

impl DirNode {
    /// A directory with these names, all of them durable.
    pub(super) fn settled(names: Arc<Names>) -> Self {
        Self {
            durable: Arc::clone(&names),
            cached: names,
            pending: Vec::new(),
        }
    }

    /// Makes a change that everybody sees and no power cut is survived by.
    pub(super) fn change(&mut self, change: NameChange, sequence: &mut u64) {
        change.apply(Arc::make_mut(&mut self.cached));
        *sequence += 1;
        self.pending.push(PendingName {
            sequence: *sequence,
            change,
        });
    }

    /// Makes every pending change durable.
    pub(super) fn settle(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        let names = Arc::make_mut(&mut self.durable);
        for pending in pending {
            pending.change.apply(names);
        }
    }

    /// The names after the first `kept` of the pending changes.
    pub(super) fn after(&self, kept: usize) -> Arc<Names> {
        let mut names = Arc::clone(&self.durable);
        for pending in self.pending.iter().take(kept) {
            pending.change.apply(Arc::make_mut(&mut names));
        }
        names
    }

    /// Whether a power cut could change what is seen.
    pub(super) fn is_settled(&self) -> bool {
        self.pending.is_empty() && self.durable == self.cached
    }
}

/// What syncs of one file promise, where the caller says when they begin.
#[derive(Clone, Debug, Default)]
pub(super) struct Promise {
    /// The content when the sync began that is under way.
    pub(super) begun: Option<Image>,
    /// What those that ended promise, slot by slot.
    pub(super) kept: Image,
}
