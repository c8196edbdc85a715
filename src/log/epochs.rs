//! The epochs of a running log: what readers compare their offsets with.
//!
//! Knows nothing about the list itself (`recovery/epochs.rs`), or why the end of a log moved back.

use crate::error::{Error, IoContext, Result};
use crate::format::file_name;
use crate::types::{Epoch, Offset};

use super::shared::{Log, Shared};
use super::turn::Turn;

impl Log {
    /// The epoch of the log. It rises when the end moves back: by [`truncate`](Self::truncate), and
    /// when the log is opened after anything but a clean close. It never decreases.
    ///
    /// To keep an offset together with its epoch, take both from one reader:
    /// [`Reader::position`](crate::Reader::position) and [`Reader::epoch`](crate::Reader::epoch).
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

    /// Where `epoch` ends in this log; the start of the log if it has not had that epoch.
    pub(crate) fn shared_end(&self, epoch: Epoch) -> Offset {
        let epochs = self.shared.epochs.read();
        let end = epochs.end_of(epoch, self.end_offset());
        end.unwrap_or_else(|| self.start_offset())
    }

    pub(crate) fn check_epoch(&self, offset: Offset, epoch: Epoch) -> Result<()> {
        self.shared.check_epoch(offset, epoch).map(drop)
    }
}

impl Shared {
    /// Fails if `offset` of `epoch` was cut off; returns the newest epoch.
    pub(crate) fn check_epoch(&self, offset: Offset, epoch: Epoch) -> Result<Epoch> {
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

    /// Makes the epochs durable if they are not. Needs the turn, so that the epochs do not change
    /// meanwhile (`recovery/epochs.rs`, 2).
    pub(super) fn save_epochs(&self, _turn: &Turn<'_>) -> Result<()> {
        let to_save = self.epochs.read().to_save();
        if let Some(text) = to_save {
            let path = self.dir.join(file_name::LEADER_EPOCHS);
            let replaced = self.host.disk.replace(&path, text.as_bytes());
            replaced.at(&path, "write")?;
            // Only after the file is durable, or the next save would be skipped.
            self.epochs.write().note_saved();
        }
        Ok(())
    }
}
