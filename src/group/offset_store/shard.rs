//! One partition of `__consumer_offsets`: its log, and what the records say.
//!
//! Knows nothing about how records are written.
//!
//! 1. Reading a partition costs no more than its keys are worth: when it holds more than twice as
//!    many records as its last compaction left (or as it has keys, if none was seen), and [`SLACK`]
//!    more, the log is compacted with its active segment. So a commit pays for a few records that
//!    are read and written again, whatever was committed before.
//! 2. The flusher compacts; without one, the thread that has written does, once no lock is held. A
//!    close does what is still due.
//! 3. Tombstones count as keys: compaction keeps them for a day, and they must not be read again
//!    for every few commits.

use std::sync::{Arc, Weak};

use crate::error::Result;
use crate::host::{Chore, Host};
use crate::log::Log;
use crate::sync::Mutex;
use crate::types::{Epoch, Offset, Start, to_u64};

use super::memory::{Groups, StoredRecord};

/// This many superseded records are never worth a compaction.
pub(super) const SLACK: u64 = 8192;

#[derive(Debug, Default)]
pub(super) struct Shard {
    pub(super) log: Option<Log>,
    /// `None` until the log was read.
    pub(super) groups: Option<Groups>,
    /// The log's high watermark and epoch when it was read.
    read_to: (Offset, Epoch),
    /// Appends that were not taken into memory yet: while there are any, an older record may come
    /// in after a newer one.
    under_way: u64,
    records: u64,
    /// What the last compaction left, or else the number of keys when they were read.
    kept: u64,
    /// A compaction was requested, and is not done yet.
    asked: bool,
}

impl Shard {
    pub(super) fn load(&mut self, log: Log) -> Result<&Groups> {
        let mut groups = Groups::default();
        let mut records: u64 = 0;
        // Before the reader: what it misses is read again.
        let read_to = reach_of(&log);
        let mut reader = log.reader_of_decided(Start::Earliest)?;
        while let Some(batch) = reader.next_batch()? {
            for record in batch.records() {
                records = records.saturating_add(1);
                if let Some(key) = record.key() {
                    groups.take(&StoredRecord {
                        at: record.offset,
                        key,
                        value: record.value(),
                    });
                }
            }
        }
        groups.drop_gone();
        // Only now: after an error nothing changes.
        self.read_to = read_to;
        self.records = records;
        self.kept = to_u64(groups.key_count());
        self.log = Some(log);
        Ok(self.groups.insert(groups))
    }

    /// The groups; `None` if another process has appended to the log since.
    pub(super) fn current(&self, log: &Log) -> Option<&Groups> {
        let groups = self.groups.as_ref()?;
        (reach_of(log) == self.read_to).then_some(groups)
    }

    /// [`Shard::end_append`] must follow.
    pub(super) fn begin_append(&mut self) {
        self.under_way = self.under_way.saturating_add(1);
    }

    /// Takes in what was appended, unless the log is still to be read.
    pub(super) fn end_append<'a>(&mut self, appended: impl Iterator<Item = StoredRecord<'a>>) {
        self.under_way = self.under_way.saturating_sub(1);
        let is_last = self.under_way == 0;
        let Some(groups) = &mut self.groups else {
            return;
        };
        for found in appended {
            self.records = self.records.saturating_add(1);
            groups.take(&found);
        }
        if is_last {
            groups.drop_gone();
        }
    }

    /// Whether too many records are superseded (I1).
    fn is_untidy(&self) -> bool {
        self.records > self.kept.saturating_mul(2).saturating_add(SLACK)
    }

    /// Whether to request a compaction: true once, until that is done.
    pub(super) fn asks_to_be_tidied(&mut self) -> bool {
        let asks = !self.asked && self.is_untidy();
        self.asked |= asks;
        asks
    }
}

fn reach_of(log: &Log) -> (Offset, Epoch) {
    (log.high_watermark(), log.epoch())
}

pub(super) fn tidy_soon(host: &Host, shard: &Arc<Mutex<Shard>>) {
    let weak = Arc::downgrade(shard);
    let chore: Weak<dyn Chore> = weak;
    if !host.flusher.schedule(host.clock.instant(), chore) {
        tidy(shard);
    }
}

/// Compacts the log if it is due. A failure is tried again when there are twice as many records:
/// nothing depends on it, and the log reports its own state.
pub(super) fn tidy(shard: &Mutex<Shard>) {
    let (log, records) = {
        let shard = shard.lock();
        match &shard.log {
            Some(log) if shard.is_untidy() => (log.clone(), shard.records),
            _ => return,
        }
    };
    let compacted = log.compact();
    let dropped = compacted.map_or(0, |report| report.records_dropped);
    let mut shard = shard.lock();
    shard.asked = false;
    shard.records = shard.records.saturating_sub(dropped);
    // What was appended meanwhile is not compacted yet.
    shard.kept = records.saturating_sub(dropped);
}

impl Chore for Mutex<Shard> {
    fn run(&self) {
        tidy(self);
    }
}
