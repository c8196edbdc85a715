//! Whole files of metadata: `bootstrap.checkpoint`, and the quorum's in `__cluster_metadata-0`.
//!
//! Knows nothing about their names. Record batches, offsets from 0 without a gap, leader epoch 0,
//! no producer:
//!
//! 1. a control batch, snapshot header (in the quorum's file followed by KRaft version and voters);
//! 2. data batches of metadata records, none in the quorum's file;
//! 3. a control batch, snapshot footer.

use bytes::Bytes;

use crate::types::{Offset, Record, Timestamp};

use super::super::control::ControlKind;
use super::super::{
    BatchBuilder, BatchHeader, BatchKind, BatchOptions, Corruption, DecodeError, EncodeError,
    RecordBatch, check_crc, stamp,
};
use super::MetadataRecord;
use super::quorum::{self, Voter};

/// Data batches end at this size: Kafka reads a batch into memory as a whole.
const BATCH_BYTES: usize = 1 << 20;
/// Brokers do not compress metadata either, so this only bounds what is read.
const UNPACKED_MAX: usize = 64 << 20;

/// Writes a `bootstrap.checkpoint`. The first record must be the feature level of
/// `metadata.version`, or a broker refuses the file. Fails for a record of 2 GiB, in practice
/// never.
pub(crate) fn encode_snapshot(
    records: &[MetadataRecord],
    now: Timestamp,
) -> Result<Vec<u8>, EncodeError> {
    let mut file = SnapshotFile::new(now);
    file.control(&[(ControlKind::SnapshotHeader, quorum::snapshot_header())])?;
    file.data(records)?;
    file.control(&[(ControlKind::SnapshotFooter, quorum::snapshot_footer())])?;
    Ok(file.bytes)
}

pub(crate) fn encode_quorum(voters: &[Voter], now: Timestamp) -> Result<Vec<u8>, EncodeError> {
    let mut file = SnapshotFile::new(now);
    file.control(&[
        (ControlKind::SnapshotHeader, quorum::snapshot_header()),
        (ControlKind::KRaftVersion, quorum::kraft_version()),
        (ControlKind::KRaftVoters, quorum::voters(voters)),
    ])?;
    file.control(&[(ControlKind::SnapshotFooter, quorum::snapshot_footer())])?;
    Ok(file.bytes)
}

struct SnapshotFile {
    bytes: Vec<u8>,
    next_offset: Offset,
    options: BatchOptions,
}

impl SnapshotFile {
    fn new(now: Timestamp) -> Self {
        Self {
            bytes: Vec::new(),
            next_offset: 0,
            options: BatchOptions {
                now,
                ..BatchOptions::default()
            },
        }
    }

    fn control(&mut self, records: &[(ControlKind, Vec<u8>)]) -> Result<(), EncodeError> {
        let options = BatchOptions {
            kind: BatchKind::Control,
            ..self.options
        };
        let start = self.bytes.len();
        let mut batch = BatchBuilder::new(&mut self.bytes, options);
        for (kind, value) in records {
            batch.push(&Record::keyed(&kind.encode(), value))?;
        }
        let summary = batch.finish()?;
        self.place(start, summary.count);
        Ok(())
    }

    fn data(&mut self, records: &[MetadataRecord]) -> Result<(), EncodeError> {
        let mut value = Vec::new();
        let mut rest = records.iter().peekable();
        while rest.peek().is_some() {
            let start = self.bytes.len();
            let mut batch = BatchBuilder::new(&mut self.bytes, self.options);
            while let Some(record) = rest.next_if(|_| batch.size() < BATCH_BYTES) {
                value.clear();
                record.encode(&mut value);
                batch.push(&Record::new(&value))?;
            }
            let summary = batch.finish()?;
            self.place(start, summary.count);
        }
        Ok(())
    }

    /// Stamps the batch at `start` with the next offset.
    fn place(&mut self, start: usize, count: u32) {
        let batch = self.bytes.get_mut(start..).unwrap_or_default();
        stamp(batch, self.next_offset, 0);
        self.next_offset = self.next_offset.saturating_add(u64::from(count));
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) records: Vec<MetadataRecord>,
    /// The nodes that vote, where the file names them.
    pub(crate) voters: Option<Vec<i32>>,
}

impl Snapshot {
    /// Reads a file of metadata, or a segment of Kafka's metadata log. The last control record that
    /// names the voters counts. Fails for the first batch or record that is wrong, or cut short.
    pub(crate) fn decode(file: &Bytes) -> Result<Self, DecodeError> {
        let mut snapshot = Self::default();
        let mut at = 0_usize;
        while at < file.len() {
            let rest = file.slice(at..);
            let header = BatchHeader::parse(&rest)?;
            check_crc(&rest, &header)?;
            at = at.saturating_add(header.size);
            let is_control = header.is_control();
            let batch = RecordBatch::decode(rest, header, UNPACKED_MAX)?;
            if is_control {
                snapshot.voters = voters_in(&batch)?.or(snapshot.voters);
                continue;
            }
            for record in batch.records() {
                let value = record
                    .value()
                    .ok_or(Corruption::malformed("a metadata record has no value"))?;
                snapshot.records.push(MetadataRecord::decode(value)?);
            }
        }
        Ok(snapshot)
    }
}

/// The nodes that a control batch names as voters, if it names any.
pub(crate) fn voters_in(batch: &RecordBatch) -> Result<Option<Vec<i32>>, Corruption> {
    let mut voters = None;
    for record in batch.records() {
        let kind = ControlKind::decode(record.key().unwrap_or_default())?;
        if kind == ControlKind::KRaftVoters {
            let named = quorum::decode_voters(record.value().unwrap_or_default())?;
            voters = Some(named.iter().map(|voter| voter.node_id).collect());
        }
    }
    Ok(voters)
}

pub(crate) fn decode_snapshot(file: &Bytes) -> Result<Vec<MetadataRecord>, DecodeError> {
    Snapshot::decode(file).map(|snapshot| snapshot.records)
}
