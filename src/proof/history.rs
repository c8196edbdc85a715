//! What a log owes: the records that were appended, how far they were promised to survive, and the
//! call that is under way. A log that was opened after a crash is compared with it.
//!
//! Knows nothing about files. The rules, by what their breach is called:
//!
//! 1. *Lost*: a record that was promised to survive this crash is missing.
//! 2. *Invented*: a record is there that was never appended at this offset, or one that a finished
//!    truncation took away is back, or it differs in a byte.
//! 3. *Gap*: offsets do not run from the start to the end, or a batch is there in part.
//! 4. *Start*: the log starts where it was not told to.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::Rng;
use crate::error::Error;
use crate::format::LogRecord;
use crate::log::Log;
use crate::types::{Header, Offset, Record, Start, Timestamp};

/// A record as it was appended. The serial number in its value is never used again, so that a
/// record that comes back from before a truncation is not taken for its successor.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Written {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    time: Timestamp,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.value.as_deref().unwrap_or_default();
        let told = value.split(|byte| *byte == b';').next().unwrap_or_default();
        write!(
            f,
            "{:?} at {}",
            String::from_utf8_lossy(told),
            self.time.as_millis()
        )
    }
}

/// The time of the first record, about.
pub(super) const EPOCH_MS: i64 = 1_700_000_000_000;

impl Written {
    /// The record of this number, of about this many bytes.
    pub(super) fn new(serial: u64, bytes: usize, rng: &mut Rng) -> Self {
        let mut value = format!("record {serial};").into_bytes();
        while value.len() < bytes {
            value.extend_from_slice(&rng.next().to_le_bytes());
        }
        let wander = rng.below(50).cast_signed() - 20;
        let time = match rng.below(40) {
            0 => Timestamp::NONE,
            1 => Timestamp::from_millis(EPOCH_MS + 10 * serial.cast_signed() + 100_000),
            _ => Timestamp::from_millis(EPOCH_MS + 10 * serial.cast_signed() + wander),
        };
        let headers = match rng.below(6) {
            0 => vec![("trace".to_owned(), Some(serial.to_be_bytes().to_vec()))],
            1 => vec![("a".to_owned(), None), ("a".to_owned(), Some(Vec::new()))],
            _ => Vec::new(),
        };
        Self {
            key: (!rng.one_in(3)).then(|| format!("key {}", rng.below(8)).into_bytes()),
            value: Some(value),
            time,
            headers,
        }
    }

    pub(super) fn time(&self) -> Timestamp {
        self.time
    }

    /// Lends the record to be appended.
    pub(super) fn with_record<T>(&self, run: impl FnOnce(Record<'_>) -> T) -> T {
        let headers = self.lent_headers();
        run(self.lend(&headers))
    }

    /// Lends records to be appended as one batch.
    pub(super) fn with_batch<T>(
        records: &[Arc<Self>],
        run: impl FnOnce(Vec<Record<'_>>) -> T,
    ) -> T {
        let headers: Vec<_> = records.iter().map(|record| record.lent_headers()).collect();
        let lent = records.iter().zip(&headers);
        run(lent.map(|(record, headers)| record.lend(headers)).collect())
    }

    fn lent_headers(&self) -> Vec<Header<'_>> {
        let headers = self.headers.iter();
        headers
            .map(|(name, value)| Header {
                name: name.as_bytes(),
                value: value.as_deref(),
            })
            .collect()
    }

    fn lend<'a>(&'a self, headers: &'a [Header<'a>]) -> Record<'a> {
        Record::from_parts(self.key.as_deref(), self.value.as_deref())
            .with_timestamp(self.time)
            .with_headers(headers)
    }

    /// Whether a record that was read is this one, byte for byte.
    pub(super) fn is(&self, read: &LogRecord) -> bool {
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_deref()));
        read.timestamp == self.time
            && read.key() == self.key.as_deref()
            && read.value() == self.value.as_deref()
            && read
                .headers()
                .map(|header| (header.name, header.value))
                .eq(headers)
    }
}

/// The call that is under way, or whose end nobody knows.
#[derive(Clone, Debug, Default)]
pub(super) enum Pending {
    #[default]
    Nothing,
    /// A batch, all of it or nothing.
    Append(Vec<Arc<Written>>),
    /// The log may end here already.
    Truncate(Offset),
}

/// How the log came to be opened again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// The power was cut (or the disk lost what a failed sync covered).
    Power,
    /// The process was killed, or nothing at all happened.
    Kill,
}

/// What was done to a log, as its caller knows it.
#[derive(Clone, Debug)]
pub(super) struct History {
    /// Every record from offset 0 on, those below the start too.
    records: Vec<Arc<Written>>,
    /// Where a batch ends: no log may end anywhere else.
    ends: BTreeSet<Offset>,
    start: Offset,
    /// The start may be this already: a call that was to raise it failed.
    start_at_most: Offset,
    promised: Offset,
    pending: Pending,
}

/// A broken promise, told.
#[derive(Debug)]
pub(super) struct Breach {
    told: String,
    /// What the log answered, when it was no answer to what was asked.
    error: Option<Error>,
}

impl Breach {
    pub(super) fn new(told: impl Into<String>) -> Self {
        Self {
            told: told.into(),
            error: None,
        }
    }

    /// The error of a disk that did not answer: no breach where one was told not to.
    pub(super) fn excuse(self) -> Result<Error, Self> {
        match self.error {
            Some(error @ (Error::Io { .. } | Error::NoSpace { .. })) => Ok(error),
            error => Err(Self { error, ..self }),
        }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.told)
    }
}

/// Breaks off with a breach unless something holds.
macro_rules! owe {
    ($holds:expr, $($words:tt)*) => {
        if !$holds {
            return Err(Breach::new(format!($($words)*)));
        }
    };
}

impl History {
    /// Nothing has happened yet.
    pub(super) fn new() -> Self {
        Self {
            records: Vec::new(),
            ends: [0].into(),
            start: 0,
            start_at_most: 0,
            promised: 0,
            pending: Pending::Nothing,
        }
    }

    pub(super) fn end(&self) -> Offset {
        self.records.len() as Offset
    }

    /// The end may be taken back at this moment.
    pub(super) fn is_truncating(&self) -> bool {
        matches!(self.pending, Pending::Truncate(_))
    }

    pub(super) fn record(&self, offset: Offset) -> Option<&Arc<Written>> {
        self.records.get(usize::try_from(offset).ok()?)
    }

    /// A call begins.
    pub(super) fn begin(&mut self, call: Pending) {
        self.pending = call;
    }

    /// The call that is under way did nothing.
    pub(super) fn nothing_happened(&mut self) {
        self.pending = Pending::Nothing;
    }

    /// The call that is under way did all that it was to do.
    pub(super) fn all_happened(&mut self) {
        match std::mem::take(&mut self.pending) {
            Pending::Nothing => {}
            Pending::Append(mut batch) => {
                self.records.append(&mut batch);
                self.ends.insert(self.end());
            }
            Pending::Truncate(end) => self.cut(end),
        }
    }

    fn cut(&mut self, end: Offset) {
        self.records.truncate(usize::try_from(end).unwrap());
        self.ends.retain(|other| *other < end);
        self.ends.insert(end);
        self.promised = self.promised.min(end);
    }

    /// Everything below an offset was promised to survive a power cut.
    pub(super) fn promise(&mut self, below: Offset) {
        self.promised = self.promised.max(below.min(self.end()));
    }

    /// The start may go up from here on, for its call is under way or failed.
    pub(super) fn may_start_at(&mut self, start: Offset) {
        self.start_at_most = self.start_at_most.max(start);
    }

    /// The start went up.
    pub(super) fn starts_at(&mut self, start: Offset) {
        self.start = start;
        self.start_at_most = self.start_at_most.max(start);
    }

    /// Holds a log that was just opened against this history, record by record.
    pub(super) fn check(&self, log: &Log, after: After) -> Result<(), Breach> {
        self.check_ends(log, after)?;
        let (start, end) = (log.start_offset(), log.end_offset());
        let reader = log.reader(Start::Earliest).map_err(unreadable)?;
        let mut next = start;
        for read in reader {
            let read = read.map_err(unreadable)?;
            owe!(
                read.offset == next,
                "gap: offset {} follows {next}",
                read.offset
            );
            self.check_record(&read)?;
            next += 1;
        }
        owe!(
            next == end,
            "gap: the records end at {next}, the log at {end}"
        );
        Ok(())
    }

    fn check_ends(&self, log: &Log, after: After) -> Result<(), Breach> {
        let (start, end) = (log.start_offset(), log.end_offset());
        owe!(
            (self.start..=self.start_at_most).contains(&start),
            "start: {start}, and not {} to {}",
            self.start,
            self.start_at_most
        );
        let least = match after {
            After::Power => self.promised,
            After::Kill => self.end(),
        };
        let cut_short = matches!(self.pending, Pending::Truncate(to) if to == end);
        owe!(
            cut_short || end >= least,
            "lost: the log ends at {end}, promised is {least}"
        );
        let whole = match &self.pending {
            Pending::Append(batch) if end > self.end() => end == self.end() + batch.len() as Offset,
            _ => end <= self.end() && self.ends.contains(&end),
        };
        owe!(
            cut_short || whole,
            "gap: the log ends at {end}, where no batch ends; all of it ends at {}",
            self.end()
        );
        Ok(())
    }

    /// Holds one record against what was appended at its offset.
    pub(super) fn check_record(&self, read: &LogRecord) -> Result<(), Breach> {
        let appended = self.record(read.offset).or_else(|| {
            let Pending::Append(batch) = &self.pending else {
                return None;
            };
            batch.get(usize::try_from(read.offset - self.end()).ok()?)
        });
        owe!(
            appended.is_some_and(|appended| appended.is(read)),
            "invented: at {} there is {read:?}, appended was {appended:?}",
            read.offset
        );
        Ok(())
    }

    /// Asks a log for some records by offset and by time.
    pub(super) fn probe(&self, log: &Log, rng: &mut Rng) -> Result<(), Breach> {
        let (start, end) = (log.start_offset(), log.high_watermark());
        for _ in 0..3 {
            if start == end {
                break;
            }
            let offset = start + rng.below(end - start);
            let read = log.read(offset).map_err(unreadable)?;
            let Some(read) = read else {
                return Err(Breach::new(format!("lost: nothing is read at {offset}")));
            };
            owe!(
                read.offset == offset,
                "gap: {} is read at {offset}",
                read.offset
            );
            self.check_record(&read)?;
        }
        for _ in 0..2 {
            let at = self.some_time(rng);
            let found = log.offset_for_time(at).map_err(unreadable)?;
            let expected = self.first_at(log, at);
            owe!(
                found == expected,
                "by time {at:?} the log finds {found:?}, and there is {expected:?}"
            );
        }
        Ok(())
    }

    fn some_time(&self, rng: &mut Rng) -> Timestamp {
        let offset = rng.below(self.end() + 1);
        let near = self.record(offset).map_or(EPOCH_MS, |r| r.time.as_millis());
        Timestamp::from_millis(near + rng.below(4).cast_signed() - 1)
    }

    /// The first record at or after a time, of those that a log gives.
    pub(super) fn first_at(&self, log: &Log, at: Timestamp) -> Option<Offset> {
        let mut seen = log.start_offset()..log.high_watermark();
        seen.find(|offset| {
            let pending = match &self.pending {
                Pending::Append(batch) if *offset >= self.end() => {
                    batch.get(usize::try_from(offset - self.end()).unwrap())
                }
                _ => None,
            };
            let record = pending.or_else(|| self.record(*offset));
            record.is_some_and(|record| record.time >= at)
        })
    }

    /// What a checked log holds is what there is from now on, and all of it is promised.
    pub(super) fn settle(&mut self, log: &Log) {
        if log.end_offset() > self.end() {
            self.all_happened();
        } else {
            self.pending = Pending::Nothing;
            self.cut(log.end_offset());
        }
        self.start = log.start_offset();
        self.start_at_most = self.start;
        self.promised = self.end();
    }
}

fn unreadable(error: Error) -> Breach {
    let mut told = format!("unreadable: {error}");
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        told = format!("{told}: {cause}");
        source = cause.source();
    }
    Breach {
        told,
        error: Some(error),
    }
}
