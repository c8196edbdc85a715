//! The epochs of a log. They tell a reader, or a program that keeps an offset elsewhere, that the
//! records below it were cut off.
//!
//! Knows nothing about why the end of a log moved back. These are Kafka's leader epochs: every
//! batch carries the newest one, and `leader-epoch-checkpoint` lists where each begins.
//!
//! 1. The newest epoch never decreases. It rises when a truncation moves the end back, and at an
//!    opening after anything but a clean close, because nothing says what a power cut took.
//! 2. An epoch is durable before anything is appended in it, or the next power cut could have it
//!    assigned to other records with the same offsets.
//! 3. The list changes only while the count of truncations is odd (`log/view.rs`), so an unchanged
//!    even count means an unchanged list.
//! 4. A log that only ever had epoch 0 has no file.

use std::path::Path;
use std::sync::Arc;

use crate::disk::Disk;
use crate::error::{IoContext, Result};
use crate::format::{LeaderEpoch, checkpoint, file_name};
use crate::segment::{BatchCursor, OpenFiles, Segment};
use crate::types::{Epoch, Offset, Position};

#[derive(Debug, Default)]
pub(crate) struct Epochs {
    entries: Vec<LeaderEpoch>,
    unsaved: bool,
}

impl Epochs {
    pub(crate) fn read(disk: &Disk, dir: &Path) -> Result<Option<Self>> {
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

    /// Reads each batch, except in segments that have only one epoch by their digest.
    pub(crate) fn of_batches(
        disk: &Disk,
        files: &Arc<OpenFiles>,
        segments: &[Arc<Segment>],
    ) -> Result<Self> {
        let mut epochs = Self {
            entries: Vec::new(),
            unsaved: true,
        };
        for segment in segments {
            let digest = segment.digest_summary(disk);
            if let Some((lowest, highest)) = digest.map(|digest| digest.epochs)
                && lowest >= highest
            {
                epochs.note(highest, segment.base_offset());
                continue;
            }
            let file = segment.file(disk, files)?;
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

    pub(crate) fn newest(&self) -> Epoch {
        self.entries.last().map_or(0, |newest| newest.epoch)
    }

    /// Where an epoch ends: at the first offset of a later one. `None` for one that the log has not
    /// had.
    pub(crate) fn end_of(&self, epoch: Epoch, log_end: Offset) -> Option<Offset> {
        if epoch > self.newest() {
            return None;
        }
        let later = self.entries.iter().find(|entry| entry.epoch > epoch);
        Some(later.map_or(log_end, |later| later.start_offset))
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.entries == other.entries
    }

    /// Begins the next epoch at the end of a log that starts at `start` (I1).
    pub(crate) fn raise(&mut self, end: Offset, start: Offset) {
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

    pub(crate) fn text_below(&self, end: Offset) -> String {
        let below = self.entries.iter().filter(|entry| entry.start_offset < end);
        let below: Vec<_> = below.copied().collect();
        checkpoint::encode_epochs(&below)
    }

    /// The text of the file; `None` if it has these contents.
    pub(crate) fn to_save(&self) -> Option<String> {
        let encode = || checkpoint::encode_epochs(&self.entries);
        self.unsaved.then(encode)
    }

    pub(crate) fn are_saved(&self) -> bool {
        !self.unsaved
    }

    pub(crate) fn note_saved(&mut self) {
        self.unsaved = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(epochs: &Epochs) -> Vec<(Epoch, Offset)> {
        let entries = epochs.entries.iter();
        entries.map(|it| (it.epoch, it.start_offset)).collect()
    }

    #[test]
    fn an_epoch_ends_where_the_next_one_begins() {
        let mut epochs = Epochs::default();
        assert_eq!((epochs.newest(), epochs.end_of(0, 10)), (0, Some(10)));
        assert_eq!(epochs.end_of(1, 10), None);
        epochs.raise(3, 0);
        epochs.raise(7, 0);
        assert_eq!(entries(&epochs), [(0, 0), (1, 3), (2, 7)]);
        let ends = [0, 1, 2, 3].map(|epoch| epochs.end_of(epoch, 20));
        assert_eq!(ends, [Some(3), Some(7), Some(20), None]);
    }

    #[test]
    fn an_epoch_that_begins_at_or_above_a_cut_goes_and_its_number_is_not_used_again() {
        let mut epochs = Epochs::default();
        for end in [5, 8, 5, 2] {
            epochs.raise(end, 0);
        }
        assert_eq!(entries(&epochs), [(0, 0), (4, 2)]);
        assert_eq!(epochs.end_of(3, 9), Some(2));
        epochs.raise(0, 0);
        assert_eq!(entries(&epochs), [(5, 0)]);
        assert_eq!(epochs.end_of(0, 9), Some(0));
    }
}
