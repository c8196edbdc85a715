//! A member of the group: polls, counts, commits.
//!
//! Knows nothing about the other member. Which partitions it reads is the group's business.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ottla::{ConsumerGroup, ConsumerRecord, PartitionId, Timestamp};

use crate::TOPIC;
use crate::flight::departure_delay;
use crate::ingest::{CARRIER, header, line_number};
use crate::progress::Progress;

/// How long a poll waits before the member looks whether everything is done.
const PATIENCE: Duration = Duration::from_millis(50);

/// What one member has seen.
#[derive(Debug)]
pub(crate) struct Board {
    pub(crate) member: &'static str,
    pub(crate) carriers: BTreeMap<String, Tally>,
    pub(crate) partitions: BTreeMap<PartitionId, Seen>,
    /// The oldest scheduled departure among what was read.
    pub(crate) oldest: Option<Timestamp>,
    /// When the first record came and when the last one was counted.
    pub(crate) busy: Option<(Instant, Instant)>,
}

/// The flights of one carrier.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) flights: u32,
    pub(crate) departed: u32,
    /// The sum of the departure delays, in minutes.
    pub(crate) delay_minutes: i32,
}

/// The events of one partition.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) events: u32,
    pub(crate) last_line: u64,
    /// Events whose line did not come after the one before.
    pub(crate) out_of_order: u32,
}

impl Board {
    /// Joins the group and counts until `over`.
    pub(crate) fn watch(
        member: &'static str,
        group: &ConsumerGroup,
        progress: &Progress,
        over: impl Fn() -> ottla::Result<bool>,
    ) -> ottla::Result<Self> {
        let mut board = Self {
            member,
            carriers: BTreeMap::new(),
            partitions: BTreeMap::new(),
            oldest: None,
            busy: None,
        };
        let mut consumer = group.join([TOPIC])?;
        loop {
            let records = consumer.poll(PATIENCE)?;
            if records.is_empty() {
                if over()? {
                    break;
                }
                continue;
            }
            let came = Instant::now();
            let count = records.len();
            for record in records {
                board.note(&record);
            }
            // At least once: what is counted is committed, and a crash in between counts again.
            consumer.commit()?;
            let (first, _) = board.busy.unwrap_or((came, came));
            board.busy = Some((first, Instant::now()));
            progress.add(count);
        }
        consumer.leave()?;
        Ok(board)
    }

    fn note(&mut self, record: &ConsumerRecord) {
        let carrier = header(record, CARRIER).unwrap_or("??");
        let tally = match self.carriers.get_mut(carrier) {
            Some(tally) => tally,
            None => self.carriers.entry(carrier.to_owned()).or_default(),
        };
        tally.flights += 1;
        if let Some(minutes) = record.value().and_then(departure_delay) {
            tally.departed += 1;
            tally.delay_minutes += minutes;
        }
        let seen = self.partitions.entry(record.partition).or_default();
        let line = line_number(record).unwrap_or_default();
        seen.events += 1;
        seen.out_of_order += u32::from(line <= seen.last_line);
        seen.last_line = line;
        let time = record.timestamp;
        self.oldest = Some(self.oldest.map_or(time, |oldest| oldest.min(time)));
    }
}
