//! What a log owes that forgets and compacts, from what its calls answered.
//!
//! Knows nothing about segments. A view of a log (everything that a reader finds) is compared with
//! everything that was ever appended, by these rules:
//!
//! 1. *Invented*: every record found was appended, at this offset, with these bytes and this time.
//! 2. *Order*: offsets rise strictly, from the start of the log to below its end.
//! 3. *Lost*: from the cleaned point on every offset is there; below it the newest record of every
//!    key is, unless it is a tombstone whose time has come.
//! 4. *Kept*: below the cleaned point no key has two records.
//! 5. *Found*: `read` and `offset_for_time` answer as a walk over the view does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::Rng;
use crate::log::Log;
use crate::types::{Offset, Record, Timestamp};

/// No history appends more records at once.
pub(super) const BATCH_RECORDS_MAX: u64 = 12;

/// A record as it was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: Vec<u8>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) time: Timestamp,
}

impl Entry {
    pub(super) fn record(&self) -> Record<'_> {
        Record::from_parts(Some(&self.key), self.value.as_deref()).with_timestamp(self.time)
    }
}

/// Everything that a reader finds, by offset.
pub(super) type View = BTreeMap<Offset, Entry>;

/// Reads a whole log; the offsets must rise.
pub(super) fn view(log: &Log) -> View {
    let mut found = View::new();
    let mut last = None;
    let start = log.start_offset();
    for record in log.reader(start).expect("a reader at the start") {
        let record = record.expect("a record");
        assert!(last < Some(record.offset), "order: {} again", record.offset);
        assert!(
            (start..log.end_offset()).contains(&record.offset),
            "order: out of the log"
        );
        last = Some(record.offset);
        let entry = Entry {
            key: record.key().expect("a key").to_vec(),
            value: record.value().map(<[u8]>::to_vec),
            time: record.timestamp,
        };
        found.insert(record.offset, entry);
    }
    found
}

/// What was appended, and how far it was compacted.
#[derive(Clone, Debug, Default)]
pub(super) struct Oracle {
    /// By offset: from 0 to the end.
    pub(super) appended: Vec<Entry>,
    /// Compaction has been over everything below it.
    pub(super) cleaned_to: Offset,
    /// Tombstones that a pass has met, and when the first one did: they may go from that time on
    /// that is noted, by the longest clock there was.
    pub(super) may_go: BTreeMap<Offset, Timestamp>,
    /// The same for tombstones above the end of a pass: a horizon is of a whole batch, and the last
    /// one may have reached so far.
    pub(super) perhaps_seen: BTreeMap<Offset, Timestamp>,
}

impl Oracle {
    pub(super) fn end(&self) -> Offset {
        self.appended.len() as Offset
    }

    /// A compaction was over everything below an offset.
    pub(super) fn cleaned(&mut self, to: Offset, now: Timestamp, delete_retention: Duration) {
        // A crash may have forgotten how far an earlier one got.
        self.cleaned_to = self.cleaned_to.max(to);
        let reached = to.saturating_add(BATCH_RECORDS_MAX);
        for (at, entry) in (0..reached).zip(&self.appended) {
            if entry.value.is_none() {
                let noted = if at < to {
                    &mut self.may_go
                } else {
                    &mut self.perhaps_seen
                };
                noted.entry(at).or_insert(now.plus(delete_retention));
            }
        }
    }

    /// The newest records are gone. What they superseded went before them, if a compaction was over
    /// them.
    pub(super) fn truncated(&mut self, end: Offset) {
        let mut superseded = BTreeSet::new();
        for at in (0..self.cleaned_to).rev() {
            let key = &self.appended[crate::types::to_usize(at)].key;
            if at >= end {
                superseded.insert(key);
            } else if superseded.contains(key) {
                self.may_go.insert(at, Timestamp::NONE);
            }
        }
        self.appended.truncate(crate::types::to_usize(end));
        self.cleaned_to = self.cleaned_to.min(end);
        self.may_go.split_off(&end);
        self.perhaps_seen.split_off(&end);
    }

    /// Holds a view against what is owed. `now` is the largest time that the clock ever showed.
    pub(super) fn check(&self, view: &View, start: Offset, now: Timestamp) {
        for (at, found) in view {
            let written = self.appended.get(crate::types::to_usize(*at));
            assert_eq!(Some(found), written, "invented: {at}");
        }
        let mut newest = BTreeMap::new();
        for at in start..self.end() {
            let entry = &self.appended[crate::types::to_usize(at)];
            if at >= self.cleaned_to {
                assert!(view.contains_key(&at), "lost: {at}, not compacted yet");
            } else {
                newest.insert(&entry.key, at);
            }
        }
        for (key, at) in &newest {
            let horizons = [self.may_go.get(at), self.perhaps_seen.get(at)];
            let gone = horizons
                .into_iter()
                .flatten()
                .any(|horizon| *horizon <= now);
            let key = String::from_utf8_lossy(key);
            assert!(
                gone || view.contains_key(at),
                "lost: {at}, the newest of {key}"
            );
        }
    }

    /// Rule 4, which holds from the end of a compaction on.
    pub(super) fn check_compacted(&self, view: &View) {
        let mut seen = BTreeMap::new();
        for (at, entry) in view.range(..self.cleaned_to) {
            let before = seen.insert(&entry.key, at);
            assert_eq!(before, None, "kept: {at} supersedes it");
        }
    }
}

/// Rule 5, for some offsets and times.
pub(super) fn probe(log: &Log, view: &View, rng: &mut Rng, times: &[Timestamp]) {
    let (start, end) = (log.start_offset(), log.end_offset());
    for _ in 0..5.min(end - start) {
        let at = start + rng.below(end - start);
        let found = log.read(at).expect("a read inside of the log");
        let found = found.map(|record| record.timestamp);
        assert_eq!(found, view.get(&at).map(|entry| entry.time), "read({at})");
    }
    let some = view.values().map(|entry| entry.time).nth(3);
    for time in times.iter().copied().chain(some) {
        let wanted = view.iter().find(|(_, entry)| entry.time >= time);
        let found = log.offset_for_time(time).expect("a look-up by time");
        assert_eq!(
            found,
            wanted.map(|(at, _)| *at),
            "offset_for_time({time:?})"
        );
    }
}
