//! The last step of an opening after anything but a clean close: brings the files to the state that
//! a close leaves.
//!
//! Knows nothing about how the end of the log was found.

use std::sync::Arc;

use crate::dir::remove_if_present;
use crate::error::{Error, IoContext, Result};
use crate::format::{DigestBuilder, file_name};
use crate::sync::Ordering;
use crate::types::Sabotage;

use super::super::shared::{Log, Shared};
use super::super::turn::Turn;

impl Log {
    /// Notes, before the first append, whether commits of groups may be past the end.
    pub(crate) fn note_commits(&self, may_be_past_the_end: bool) {
        if may_be_past_the_end {
            self.shared.hold_appends_back();
        } else if self.shared.epochs.read().are_saved() {
            self.shared.let_appends_begin();
        }
    }

    /// Writes what the opening has left. On an error this is left to the first append.
    pub(crate) fn finish_opening(&self) -> Result<()> {
        match self.shared.finish_before_append() {
            // It is being deleted.
            Err(Error::Closed) => Ok(()),
            other => other,
        }
    }
}

impl Shared {
    /// After this a close only has to write the mark. Until then the mark does not say that the log
    /// was closed: the next opening must notice if what is appended from now on is lost. `digest`
    /// is that of the last segment, if all of its batches were read.
    ///
    /// The new mark is written into one slot, and a broker's opening syncs the marks of all logs
    /// together. A power cut before that may bring the old mark back, and the next opening repeats
    /// this work. Where the old mark is not true (`untrue`, or above the cut of a finished
    /// truncation), both slots are written and synced here.
    pub(super) fn make_opening_durable(
        &self,
        digest: Option<DigestBuilder>,
        untrue: bool,
    ) -> Result<()> {
        let turn = self.take_turn()?;
        let last = {
            let state = self.append.lock();
            // As in a closed log: the digest covers these index files.
            state.active.add_final_entry(&state.progress);
            Arc::clone(&state.active)
        };
        // Before the sync, so that the mark can say how much of them is there.
        let written = last.save_index_files(&self.host.disk);
        self.append.lock().index_written = written;
        self.sync_all(&turn)?;
        // After the name of its segment is durable: a digest without a segment looks like a loss.
        if let Some(digest) = digest.filter(|digest| digest.position() == last.end()) {
            last.write_scanned_digest(&self.host.disk, digest, self.mark_key());
        }
        let intent = self.dir.join(file_name::TRUNCATE);
        let truncated = self.host.disk.exists(&intent).at(&intent, "look at")?;
        match self.write_opened_mark(&turn, truncated || untrue) {
            // On a full disk the log must still open: freeing space needs it open. The old mark is
            // still true, so the next opening only repeats this work.
            Err(Error::NoSpace { .. }) if !truncated => {
                self.hold_appends_back();
                return Ok(());
            }
            other => other?,
        }
        // After the mark: until then the note explains the missing records. And durably: a
        // truncation that came back would remove what is appended from now on.
        if remove_if_present(&self.host.disk, &intent)? && !Sabotage::IntentComesBack.is_on() {
            self.host.disk.sync_dir(&self.dir).at(&self.dir, "sync")?;
        }
        // Hints: if they cannot be synced, the close writes them again.
        if last.sync_index_files(&self.host.disk).is_ok() {
            self.rest(&turn);
        }
        Ok(())
    }

    /// Appends, but not what frees space, wait until the new epoch, and commits that are set back
    /// to the end, are on the disk.
    pub(super) fn hold_appends_back(&self) {
        self.append.lock().held_back = true;
        self.unfinished.store(true, Ordering::Release);
    }

    /// Lets appends begin. The caller holds the layout, or no other thread has the log yet.
    pub(in crate::log) fn let_appends_begin(&self) {
        self.unfinished.store(false, Ordering::Release);
        self.append.lock().held_back = false;
    }

    /// Writes what the opening has left. On an error this is left to the next append.
    pub(in crate::log) fn finish_before_append(&self) -> Result<()> {
        if !self.unfinished.load(Ordering::Acquire) {
            return Ok(());
        }
        // As for a truncation: nothing is appended while commits are set back, and tasks are woken
        // when no lock of a group is held any more.
        let _layout = self.lock_layout()?;
        if !self.unfinished.load(Ordering::Acquire) {
            // Another thread was faster.
            return Ok(());
        }
        let turn = self.take_turn_to_change()?;
        self.save_epochs(&turn)?;
        // Without the turn: a commit may be waiting for it.
        drop(turn);
        let followers = self.host.followers().filter(|_| self.is_followed());
        if let Some((followers, of)) = followers.zip(self.topic_partition()) {
            followers.set_back(&of, self.end_offset())?;
        }
        self.let_appends_begin();
        Ok(())
    }

    /// Makes the epochs durable, and the mark if that cannot wait.
    fn write_opened_mark(&self, turn: &Turn<'_>, both_slots: bool) -> Result<()> {
        // Before the first append: after a power cut the next opening could otherwise assign the
        // same epoch and offsets to other records.
        self.save_epochs(turn)?;
        if both_slots {
            self.write_both_marks(turn)
        } else if self.managed {
            Ok(())
        } else {
            self.host.marks.sync(self.host.clock.instant())
        }
    }
}
