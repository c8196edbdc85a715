//! Checksums of a sealed segment for what Kafka's own leaves out: the first 17 bytes of every
//! batch, and the file as a whole.
//!
//! Knows nothing about files. Our own, big-endian:
//!
//! | at | bytes | field |
//! | ---: | ---: | --- |
//! | 0 | 4 | CRC-32 of the rest of the summary, which ends at 72 |
//! | 4 | 4 | `OTd1` |
//! | 8 | 8 | base offset of the segment |
//! | 16 | 8 | next offset: where the next segment begins |
//! | 24 | 8 | bytes of the `.log` |
//! | 32 | 8 | newest timestamp, -1 for none |
//! | 40 | 4 | lowest leader epoch of its batches |
//! | 44 | 4 | highest one |
//! | 48 | 4 | bits: 1 no gap from the base on; 2 all records have keys; 4 not all have |
//! | 52 | 4 | CRC-32 of the `.index` |
//! | 56 | 4 | CRC-32 of the `.timeindex` |
//! | 60 | 4 | how many intervals there are |
//! | 64 | 4 | CRC-32 of everything from 72 on |
//! | 68 | 4 | CRC-32 of topic id and partition of the log; 0 when unknown |
//! | 72 | 8 each | intervals: position of the first batch, CRC-32 of its batches' first 17 bytes |
//! | | 4 each | CRC-32 of each 65536 bytes of the `.log`, the last ones fewer |
//!
//! An interval begins with the first batch, and with every batch 4096 bytes or more behind the
//! beginning of the interval before.
//!
//! The summary is valid if and only if its CRC and the four letters fit, and base offset <= next
//! offset. The whole is valid if and only if in addition the body is as long as the counts say,
//! its CRC fits, and intervals begin at 0 and rise.

use crate::types::{
    Compression, Offset, Position, Timestamp, read_varint, read_varlong, to_u64, to_usize,
};

use super::MarkKey;
use super::batch::{BatchHeader, HEADER_LEN};
use super::cursor::{Cursor, PutBytes as _};

pub(crate) const SUMMARY_LEN: usize = 72;
/// Bytes of the `.log` under one checksum.
pub(crate) const BLOCK_BYTES: u64 = 64 << 10;
/// The bytes of a batch outside its own checksum.
pub(crate) const PREFIX_LEN: usize = 17;

const CRC_LEN: usize = 4;
const LETTERS: [u8; 4] = *b"OTd1";
const INTERVAL_BYTES: u64 = 4096;
const INTERVAL_LEN: usize = 8;
const BLOCK_LEN: usize = 4;

const DENSE: u32 = 1;

/// What is known about the keys of a segment. Compaction keeps no record without a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    /// Not known: the digest is older, or some batches are packed.
    Unknown,
    /// Every record has a key.
    Everywhere,
    /// At least one record has no key.
    Missing,
}

impl Keys {
    fn bits(self) -> u32 {
        match self {
            Self::Unknown => 0,
            Self::Everywhere => 2,
            Self::Missing => 4,
        }
    }

    fn of_bits(bits: u32) -> Self {
        match bits & 6 {
            2 => Self::Everywhere,
            4 => Self::Missing,
            _ => Self::Unknown,
        }
    }

    /// What is known once `batch` is added.
    fn and(self, header: &BatchHeader, batch: &[u8]) -> Self {
        if self == Self::Missing || header.is_control() {
            return self;
        }
        let records = batch.get(HEADER_LEN..).unwrap_or_default();
        match header.compression() {
            Compression::None => match lacks_key(records, header.record_count) {
                Some(true) => Self::Missing,
                Some(false) => self,
                None => Self::Unknown,
            },
            _ => Self::Unknown,
        }
    }
}

/// Whether one of the records has no key; `None` if they cannot be read.
fn lacks_key(mut records: &[u8], count: u32) -> Option<bool> {
    for _ in 0..count {
        let (length, rest) = read_varint(records)?;
        let (record, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        records = rest;
        let (_attributes, record) = record.split_first()?;
        let (_timestamp, record) = read_varlong(record)?;
        let (_offset, record) = read_varint(record)?;
        if read_varint(record)?.0 < 0 {
            return Some(true);
        }
    }
    Some(false)
}

/// The front of a digest, about the segment as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DigestSummary {
    pub(crate) base_offset: Offset,
    /// Where the next segment begins.
    pub(crate) next_offset: Offset,
    pub(crate) length: Position,
    pub(crate) newest: Timestamp,
    /// The lowest and the highest leader epoch; 0 and -1 without a batch.
    pub(crate) epochs: (i32, i32),
    /// No gap between the batches, and none before the first.
    pub(crate) dense: bool,
    pub(crate) keys: Keys,
    /// CRC-32 of the `.index` and of the `.timeindex`, as written with the digest.
    pub(crate) index_crcs: (u32, u32),
    intervals: u32,
    body_crc: u32,
    /// [`log_hash`] of the segment's log; 0 when unknown.
    pub(crate) home: u32,
}

/// A hash, never 0, that tells a log from others: directories may be swapped.
pub(crate) fn log_hash(key: MarkKey) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&key.topic.0);
    hasher.update(&key.partition.to_be_bytes());
    hasher.finalize().max(1)
}

/// Batches whose prefixes share a checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interval {
    pub(crate) start: Position,
    /// One past its last byte.
    pub(crate) end: Position,
    /// CRC-32 of the prefixes.
    pub(crate) crc: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Digest {
    pub(crate) summary: DigestSummary,
    /// Position of the first batch, and CRC-32 of the prefixes.
    intervals: Vec<(u32, u32)>,
    blocks: Vec<u32>,
}

impl DigestSummary {
    pub(crate) fn is_from_other_log(&self, key: MarkKey) -> bool {
        self.home != 0 && self.home != log_hash(key)
    }

    /// The length of the whole digest in bytes.
    pub(crate) fn file_len(&self) -> usize {
        let intervals = to_usize(u64::from(self.intervals)).saturating_mul(INTERVAL_LEN);
        let blocks = to_usize(self.length.0.div_ceil(BLOCK_BYTES)).saturating_mul(BLOCK_LEN);
        SUMMARY_LEN.saturating_add(intervals).saturating_add(blocks)
    }

    /// Decodes the front of a digest; `None` when it is torn or damaged.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Cursor::new(bytes.get(..SUMMARY_LEN)?);
        let crc = fields.u32().ok()?;
        if crc != crc32fast::hash(fields.rest()) || fields.array::<4>().ok()? != LETTERS {
            return None;
        }
        let (base_offset, next_offset) = (fields.u64().ok()?, fields.u64().ok()?);
        let length = Position(fields.u64().ok()?);
        let newest = Timestamp::from_millis(fields.i64().ok()?);
        let epochs = (fields.i32().ok()?, fields.i32().ok()?);
        let bits = fields.u32().ok()?;
        let summary = Self {
            base_offset,
            next_offset,
            length,
            newest,
            epochs,
            dense: bits & DENSE != 0,
            keys: Keys::of_bits(bits),
            index_crcs: (fields.u32().ok()?, fields.u32().ok()?),
            intervals: fields.u32().ok()?,
            body_crc: fields.u32().ok()?,
            home: fields.u32().ok()?,
        };
        (summary.base_offset <= summary.next_offset).then_some(summary)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.put_u32(0);
        out.put(&LETTERS);
        out.put_u64(self.base_offset);
        out.put_u64(self.next_offset);
        out.put_u64(self.length.0);
        out.put_i64(self.newest.as_millis());
        out.put_i32(self.epochs.0);
        out.put_i32(self.epochs.1);
        out.put_u32(u32::from(self.dense) | self.keys.bits());
        out.put_u32(self.index_crcs.0);
        out.put_u32(self.index_crcs.1);
        out.put_u32(self.intervals);
        out.put_u32(self.body_crc);
        out.put_u32(self.home);
        let summary = out.get_mut(start..).unwrap_or_default();
        if let Some((crc, rest)) = summary.split_at_mut_checked(CRC_LEN) {
            crc.copy_from_slice(&crc32fast::hash(rest).to_be_bytes());
        }
    }
}

impl Digest {
    /// The maximum length of the digest of a segment of `bytes` bytes.
    pub(crate) fn len_at_most(bytes: u64) -> u64 {
        let whole = |step: u64| bytes.div_ceil(step).saturating_add(1);
        let intervals = whole(INTERVAL_BYTES).saturating_mul(to_u64(INTERVAL_LEN));
        let blocks = whole(BLOCK_BYTES).saturating_mul(to_u64(BLOCK_LEN));
        intervals
            .saturating_add(blocks)
            .saturating_add(to_u64(SUMMARY_LEN))
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.summary.file_len());
        for (position, crc) in &self.intervals {
            body.put_u32(*position);
            body.put_u32(*crc);
        }
        for crc in &self.blocks {
            body.put_u32(*crc);
        }
        let summary = DigestSummary {
            body_crc: crc32fast::hash(&body),
            ..self.summary
        };
        let mut file = Vec::with_capacity(self.summary.file_len());
        summary.encode(&mut file);
        file.append(&mut body);
        file
    }

    /// `None` when the digest is torn or damaged.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let summary = DigestSummary::decode(bytes)?;
        let body = bytes.get(SUMMARY_LEN..)?;
        if bytes.len() != summary.file_len() || crc32fast::hash(body) != summary.body_crc {
            return None;
        }
        let count = to_usize(u64::from(summary.intervals));
        let (intervals, blocks) = body.split_at_checked(count.checked_mul(INTERVAL_LEN)?)?;
        let pairs = intervals.chunks_exact(INTERVAL_LEN).map(|pair| {
            let mut fields = Cursor::new(pair);
            Some((fields.u32().ok()?, fields.u32().ok()?))
        });
        let intervals: Vec<_> = pairs.collect::<Option<_>>()?;
        let blocks = blocks.chunks_exact(BLOCK_LEN);
        let blocks: Vec<_> = blocks
            .map(|crc| Cursor::new(crc).u32().ok())
            .collect::<Option<_>>()?;
        let first = intervals.first().map(|(position, _)| *position);
        let rise = |pair: &[(u32, u32)]| match pair {
            [before, after] => before.0 < after.0,
            _ => true,
        };
        let inside = intervals
            .last()
            .is_none_or(|(position, _)| u64::from(*position) < summary.length.0);
        let whole = first.map_or(summary.length == Position::ZERO, |first| first == 0);
        (whole && inside && intervals.windows(2).all(rise)).then_some(Self {
            summary,
            intervals,
            blocks,
        })
    }

    /// The interval that contains `position`.
    pub(crate) fn interval_at(&self, position: Position) -> Option<Interval> {
        let starts_at_or_below = |start: &(u32, u32)| u64::from(start.0) <= position.0;
        let after = self.intervals.partition_point(starts_at_or_below);
        self.interval(after.checked_sub(1)?)
            .filter(|interval| position < interval.end)
    }

    pub(crate) fn intervals(&self) -> impl Iterator<Item = Interval> + '_ {
        (0..self.intervals.len()).filter_map(|index| self.interval(index))
    }

    fn interval(&self, index: usize) -> Option<Interval> {
        let (start, crc) = *self.intervals.get(index)?;
        let next = self.intervals.get(index.saturating_add(1));
        Some(Interval {
            start: Position(u64::from(start)),
            end: next.map_or(self.summary.length, |next| Position(u64::from(next.0))),
            crc,
        })
    }

    /// CRC-32 of each block of the `.log`.
    pub(crate) fn blocks(&self) -> &[u32] {
        &self.blocks
    }
}

#[derive(Debug)]
pub(crate) struct DigestBuilder {
    summary: DigestSummary,
    intervals: Vec<(u32, u32)>,
    /// Prefixes of the unfinished interval. Hashed together, which is several times as fast as 17
    /// bytes at a time.
    prefixes: Vec<u8>,
    blocks: Vec<u32>,
    block: crc32fast::Hasher,
    /// Blocks are hashed up to here. After [`after`](Self::after) this is ahead of the first
    /// batches, which the known digest has covered.
    hashed: Position,
}

impl DigestBuilder {
    /// Begins a digest: the first batch to push is the first one of the segment.
    pub(crate) fn new(base_offset: Offset) -> Self {
        Self {
            summary: DigestSummary {
                base_offset,
                next_offset: base_offset,
                length: Position::ZERO,
                newest: Timestamp::NONE,
                epochs: (i32::MAX, -1),
                dense: true,
                keys: Keys::Everywhere,
                index_crcs: (0, 0),
                intervals: 0,
                body_crc: 0,
                home: 0,
            },
            intervals: Vec::new(),
            prefixes: Vec::new(),
            blocks: Vec::new(),
            block: crc32fast::Hasher::new(),
            hashed: Position::ZERO,
        }
    }

    /// Continues a digest of the front of the segment. The first batch to push is the one at
    /// [`position`](Self::position), a little before the end of what was known.
    pub(crate) fn after(known: &Digest) -> Self {
        if known.intervals.is_empty() {
            let mut builder = Self::new(known.summary.base_offset);
            builder.summary.next_offset = known.summary.next_offset;
            builder.summary.dense = known.summary.dense;
            builder.summary.keys = known.summary.keys;
            return builder;
        }
        let length = known.summary.length.0;
        let whole_blocks = length.checked_div(BLOCK_BYTES).unwrap_or(0);
        let block_start = whole_blocks.saturating_mul(BLOCK_BYTES);
        let below = |start: &(u32, u32)| u64::from(start.0) <= block_start;
        let kept = known.intervals.partition_point(below).saturating_sub(1);
        let intervals = known.intervals.get(..kept).unwrap_or_default().to_vec();
        let from = known.intervals.get(kept).map_or(0, |start| start.0);
        let blocks = known.blocks.get(..to_usize(whole_blocks));
        Self {
            summary: DigestSummary {
                length: Position(u64::from(from)),
                ..known.summary
            },
            intervals,
            prefixes: Vec::new(),
            blocks: blocks.unwrap_or_default().to_vec(),
            block: crc32fast::Hasher::new(),
            hashed: Position(block_start),
        }
    }

    pub(crate) fn position(&self) -> Position {
        self.summary.length
    }

    pub(crate) fn is_dense(&self) -> bool {
        self.summary.dense
    }

    pub(crate) fn push(&mut self, header: &BatchHeader, batch: &[u8]) {
        let position = self.summary.length;
        let last = self.intervals.last().map(|start| u64::from(start.0));
        let fresh = last.is_none_or(|start| position.0.saturating_sub(start) >= INTERVAL_BYTES);
        // Going on after a known digest always begins an interval.
        if fresh || self.prefixes.is_empty() {
            self.end_interval();
            let position = u32::try_from(position.0).unwrap_or(u32::MAX);
            self.intervals.push((position, 0));
        }
        self.prefixes
            .extend_from_slice(batch.get(..PREFIX_LEN).unwrap_or_default());
        self.hash(batch);
        let summary = &mut self.summary;
        let next_offset = header.next_offset();
        // What is read again was counted already.
        if next_offset > summary.next_offset {
            summary.dense &= header.base_offset == summary.next_offset;
            summary.next_offset = next_offset;
        }
        summary.keys = summary.keys.and(header, batch);
        summary.length = position.plus(batch.len());
        summary.newest = summary.newest.max(header.max_timestamp);
        let (lowest, highest) = summary.epochs;
        summary.epochs = (
            lowest.min(header.leader_epoch),
            highest.max(header.leader_epoch),
        );
    }

    fn end_interval(&mut self) {
        if self.prefixes.is_empty() {
            return;
        }
        if let Some(last) = self.intervals.last_mut() {
            last.1 = crc32fast::hash(&self.prefixes);
        }
        self.prefixes.clear();
    }

    fn hash(&mut self, batch: &[u8]) {
        let known = to_usize(self.hashed.since(self.summary.length));
        let mut rest = batch.get(known..).unwrap_or_default();
        while !rest.is_empty() {
            let done = self.hashed.0 & BLOCK_BYTES.saturating_sub(1);
            let room = to_usize(BLOCK_BYTES.saturating_sub(done));
            let (now, later) = rest.split_at_checked(room).unwrap_or((rest, &[]));
            self.block.update(now);
            self.hashed = self.hashed.plus(now.len());
            if now.len() == room {
                self.end_block();
            }
            rest = later;
        }
    }

    fn end_block(&mut self) {
        let block = std::mem::take(&mut self.block);
        self.blocks.push(block.finalize());
    }

    /// `next_offset` is where the next segment begins, which may be behind the last batch.
    pub(crate) fn finish(mut self, next_offset: Offset, index_crcs: (u32, u32)) -> Digest {
        self.end_interval();
        if self.hashed.0 & BLOCK_BYTES.saturating_sub(1) != 0 {
            self.end_block();
        }
        if self.intervals.is_empty() {
            self.summary.epochs = (0, -1);
        }
        let summary = DigestSummary {
            next_offset: self.summary.next_offset.max(next_offset),
            // A segment that goes on behind a gap is not dense.
            dense: self.summary.dense && next_offset <= self.summary.next_offset,
            index_crcs,
            intervals: u32::try_from(self.intervals.len()).unwrap_or(u32::MAX),
            ..self.summary
        };
        Digest {
            summary,
            intervals: self.intervals,
            blocks: self.blocks,
        }
    }
}

#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;
