//! The epochs of a log. They tell a reader, or a program that keeps an offset elsewhere, that the
//! records below the offset were cut off.
//!
//! Knows nothing about why the end of a log moved back. These are Kafka's leader epochs: every
//! batch carries the newest one, and `leader-epoch-checkpoint` lists where each begins.
//!
//! 1. The newest epoch never decreases. It rises when a truncation moves the end back, and at an
//!    opening after anything but a clean close, because nothing says what a power cut took.
//! 2. An epoch is durable before anything is appended in it. Otherwise the same epoch could be
//!    assigned to other records with the same offsets after the next power cut.
//! 3. The list changes only while the count of truncations is odd (`view.rs`), so an unchanged even
//!    count means an unchanged list.
//! 4. A log that only ever had epoch 0 has no file.

use std::path::Path;
use std::sync::Arc;

use crate::disk::Disk;
use crate::error::{Error, IoContext, Result};
use crate::format::{LeaderEpoch, checkpoint, file_name};
use crate::segment::{BatchCursor, Segment};
use crate::types::{Epoch, Offset, Position};

use super::turn::Turn;
use super::{Host, Log, Reader, Shared};

/// The epochs of a log, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Epochs {
    entries: Vec<LeaderEpoch>,
    /// The file has other contents.
    unsaved: bool,
}

impl Epochs {
    /// Reads the file of a log; `None` if there is no valid file.
    pub(super) fn read(disk: &Disk, dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(file_name::LEADER_EPOCHS);
        let text = match disk.read_small(&path, checkpoint::SIZE_MAX) {
            // Too long to be valid.
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => None,
            read => read.at(&path, "read")?,
        };
        let entries = text.and_then(|text| checkpoint::decode_epochs(&text).ok());
        Ok(entries.map(|entries| Self {
            entries,
            unsaved: false,
        }))
    }

    /// What the batches of a log say: each is read, except in segments whose digest says that they
    /// have only one epoch.
    pub(super) fn of_batches(host: &Host, segments: &[Arc<Segment>]) -> Result<Self> {
        let mut epochs = Self {
            entries: Vec::new(),
            unsaved: true,
        };
        for segment in segments {
            let digest = segment.digest_summary(&host.disk);
            if let Some((lowest, highest)) = digest.map(|digest| digest.epochs)
                && lowest >= highest
            {
                epochs.note(highest, segment.base_offset());
                continue;
            }
            let file = segment.file(&host.disk, &host.files)?;
            let mut cursor = BatchCursor::new(Position::ZERO, segment.base_offset()).sequential();
            // Damage is reported when the batches are read.
            while let Ok(Some(raw)) = cursor.next(&file, segment.end()) {
                epochs.note(raw.header.leader_epoch, raw.header.base_offset);
            }
        }
        Ok(epochs)
    }

    fn note(&mut self, epoch: Epoch, start_offset: Offset) {
        if epoch >= 0 && self.entries.last().is_none_or(|last| last.epoch < epoch) {
            self.entries.push(LeaderEpoch {
                epoch,
                start_offset,
            });
        }
    }

    /// The epoch that the next batch gets.
    pub(super) fn newest(&self) -> Epoch {
        self.entries.last().map_or(0, |newest| newest.epoch)
    }

    /// Where an epoch ends: at the first offset of a later one. `None` for an epoch that the log
    /// has not had.
    pub(super) fn end_of(&self, epoch: Epoch, log_end: Offset) -> Option<Offset> {
        if epoch > self.newest() {
            return None;
        }
        let later = self.entries.iter().find(|entry| entry.epoch > epoch);
        Some(later.map_or(log_end, |later| later.start_offset))
    }

    /// Whether another list is the same.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.entries == other.entries
    }

    /// Begins the next epoch at the end of a log that starts at `start` (I1).
    pub(super) fn raise(&mut self, end: Offset, start: Offset) {
        // Before entries are dropped below: the newest epoch never decreases (I1).
        let newest = self.newest();
        if self.entries.is_empty() {
            self.note(0, start);
        }
        // Epochs that would begin at or above the new end have no records any more.
        self.entries.retain(|entry| entry.start_offset < end);
        self.note(newest.saturating_add(1), end);
        self.unsaved = true;
    }

    /// The text for the file of a copy that ends at an offset.
    pub(crate) fn text_below(&self, end: Offset) -> String {
        let below = self.entries.iter().filter(|entry| entry.start_offset < end);
        let below: Vec<_> = below.copied().collect();
        checkpoint::encode_epochs(&below)
    }

    /// The text for the file, if its contents must change.
    fn to_save(&self) -> Option<String> {
        let encode = || checkpoint::encode_epochs(&self.entries);
        self.unsaved.then(encode)
    }
}

impl Log {
    /// The epoch of the log. It rises when the end moves back: by [`truncate`](Self::truncate), and
    /// when the log is opened after anything but a clean close. It never decreases.
    ///
    /// To keep an offset together with its epoch, take both from one reader:
    /// [`Reader::position`] and [`Reader::epoch`].
    ///
    /// # Examples
    ///
    /// ```
    /// use ottla::{Log, LogConfig};
    ///
    /// # let scratch = tempfile::tempdir()?;
    /// let log = Log::open(scratch.path().join("events"), LogConfig::default())?;
    /// log.append_batch(["a", "b", "c"])?;
    /// let before = log.epoch();
    /// log.truncate(1)?;
    /// assert!(log.epoch() > before);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    #[doc(alias = "leader_epoch")]
    pub fn epoch(&self) -> Epoch {
        self.current().epochs.read().newest()
    }

    /// A reader that begins at an offset that was learned in an epoch: stored with a snapshot, for
    /// example, or by a projection. It fails if the records below the offset are no longer those
    /// that were read then.
    ///
    /// The same as [`reader`](Self::reader) from
    /// [`Start::InEpoch`](crate::Start::InEpoch).
    ///
    /// # Errors
    ///
    /// - [`Error::Truncated`]: the log was truncated below the offset since, or lost records there,
    ///   or never had that epoch. Its `end` says up to where a snapshot is still valid.
    /// - As [`reader`](Self::reader).
    ///
    /// # Examples
    ///
    /// ```
    /// use ottla::{Error, Log, LogConfig};
    ///
    /// # let scratch = tempfile::tempdir()?;
    /// let log = Log::open(scratch.path().join("events"), LogConfig::default())?;
    /// log.append_batch(["a", "b", "c"])?;
    /// let mut reader = log.reader(0)?;
    /// reader.by_ref().collect::<Result<Vec<_>, _>>()?;
    /// let kept = (reader.position(), reader.epoch());
    ///
    /// log.truncate(1)?;
    /// log.append_batch(["x", "y", "z"])?;
    /// let refused = log.reader_from(kept.0, kept.1);
    /// assert!(matches!(refused, Err(Error::Truncated { requested: 3, end: 1, .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reader_from(&self, from: Offset, epoch: Epoch) -> Result<Reader> {
        self.reader((from, epoch))
    }

    /// The end of what is known about an epoch.
    pub(crate) fn shared_end(&self, epoch: Epoch) -> Offset {
        let epochs = self.shared.epochs.read();
        let end = epochs.end_of(epoch, self.end_offset());
        end.unwrap_or_else(|| self.start_offset())
    }

    /// Fails if an offset of an epoch was cut off.
    pub(crate) fn check_epoch(&self, offset: Offset, epoch: Epoch) -> Result<()> {
        self.shared.check_epoch(offset, epoch).map(drop)
    }
}

impl Shared {
    /// Fails if an offset of an epoch was cut off; returns the newest epoch otherwise.
    pub(super) fn check_epoch(&self, offset: Offset, epoch: Epoch) -> Result<Epoch> {
        let epochs = self.epochs.read();
        let end = epochs.end_of(epoch, self.end_offset());
        if epoch < 0 || end.is_some_and(|end| offset <= end) {
            return Ok(epochs.newest());
        }
        Err(Error::Truncated {
            partition: self.topic_partition(),
            requested: offset,
            epoch,
            end: end.unwrap_or_else(|| self.start_offset()),
        })
    }

    /// Makes the epochs durable if they are not (I2): with the turn held, so that they do not
    /// change meanwhile.
    pub(super) fn save_epochs(&self, _turn: &Turn<'_>) -> Result<()> {
        let to_save = self.epochs.read().to_save();
        if let Some(text) = to_save {
            let path = self.dir.join(file_name::LEADER_EPOCHS);
            let replaced = self.host.disk.replace(&path, text.as_bytes());
            replaced.at(&path, "write")?;
            // Only after the file is replaced, durably: otherwise the next save would be skipped.
            self.epochs.write().unsaved = false;
        }
        Ok(())
    }
}

/// Code that keeps offsets of logs elsewhere, and sets them back when the end of a log moves back.
pub(crate) trait Followers: Send + Sync {
    /// Whether [`set_back`](Self::set_back) would find all of them.
    ///
    /// # Errors
    ///
    /// The errors of reading them.
    fn check(&self) -> Result<()>;

    /// Sets back, durably, every offset above the end of a log that was cut. Nothing is appended to
    /// the log meanwhile.
    ///
    /// # Errors
    ///
    /// The errors of writing them.
    fn set_back(&self, log: &Log) -> Result<()>;

    /// Deletes what is too old, and returns how many entries that was.
    ///
    /// # Errors
    ///
    /// The errors of reading and writing them.
    fn upkeep(&self) -> Result<u64>;
}

#[cfg(test)]
mod tests;
