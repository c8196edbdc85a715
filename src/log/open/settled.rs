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

use super::super::turn::Turn;
use super::super::{Log, Shared};

impl Log {
    /// Notes that no commit of a group is past the end.
    pub(crate) fn note_commits_set_back(&self) {
        if self.shared.epochs.read().are_saved() {
            self.shared.end_settling();
        }
    }

    /// Writes what the opening has left, if nothing was appended since.
    ///
    /// # Errors
    ///
    /// What writing it returns. It is left to the first append then.
    pub(crate) fn finish_opening(&self) -> Result<()> {
        self.shared.settle_first()
    }
}

impl Shared {
    /// After anything but a clean close: brings the files to the state that a close leaves, so that
    /// the close that follows only has to write the mark. Until then the mark does not say that the
    /// log was closed: what is appended from now on may be lost, and the next opening must notice.
    /// `digest` is that of the last segment, if it had none and all of its batches were read
    /// anyway.
    ///
    /// The new mark is written into one slot, and the old one stays in the other. The opening of a
    /// broker syncs the marks of all logs together. Until then a power cut may bring the old mark
    /// back, which is as true as before: the next opening only repeats the work of this one. Where
    /// the old mark is not true (`untrue`, or above the cut of a truncation that was finished),
    /// both slots are written and synced here.
    pub(super) fn settle_opening(&self, digest: Option<DigestBuilder>, untrue: bool) -> Result<()> {
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
        match self.settle_opened_mark(&turn, truncated || untrue) {
            // On a full disk the log must still open: freeing space needs it open. The old mark is
            // still true, so the next opening only repeats the work of this one.
            Err(Error::NoSpace { .. }) if !truncated => {
                self.begin_settling();
                return Ok(());
            }
            settled => settled?,
        }
        // After the mark: the note is what explains the missing records until the mark does. And
        // durably: a truncation that came back would remove what is appended from now on.
        if remove_if_present(&self.host.disk, &intent)? && !Sabotage::IntentComesBack.is_on() {
            self.host.disk.sync_dir(&self.dir).at(&self.dir, "sync")?;
        }
        // Hints: if they cannot be synced, the close writes them again.
        if last.sync_index_files(&self.host.disk).is_ok() {
            self.rest(&turn);
        }
        Ok(())
    }

    /// Notes that something may have to be on the disk before the first append: the new epoch, and
    /// commits of groups that are set back to the end. Until it is, appends are held back. Whatever
    /// frees space is not.
    pub(super) fn begin_settling(&self) {
        self.append.lock().held_back = true;
        self.unsettled.store(true, Ordering::Release);
    }

    /// All of it is on the disk. The caller holds the layout, or nobody else has the log yet.
    pub(in crate::log) fn end_settling(&self) {
        self.unsettled.store(false, Ordering::Release);
        self.append.lock().held_back = false;
    }

    /// Writes what an opening has left, if it has left something.
    ///
    /// # Errors
    ///
    /// What writing it returns. It is left to the next append then.
    pub(in crate::log) fn settle_first(&self) -> Result<()> {
        if !self.unsettled.load(Ordering::Acquire) {
            return Ok(());
        }
        // As for a truncation: nothing is appended while commits are set back, and tasks are woken
        // when no lock of a group is held any more.
        let _layout = self.lock_layout()?;
        if !self.unsettled.load(Ordering::Acquire) {
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
        self.end_settling();
        Ok(())
    }

    /// Makes the epochs durable, and the mark if it cannot wait.
    fn settle_opened_mark(&self, turn: &Turn<'_>, both_slots: bool) -> Result<()> {
        // Durable before the first append: after a power cut the next opening could otherwise
        // assign the same epoch and the same offsets to other records.
        self.save_epochs(turn)?;
        if both_slots {
            self.settle_mark(turn)
        } else if self.managed {
            Ok(())
        } else {
            self.host.marks.sync(self.host.clock.instant())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use crate::clock::Clock;
    use crate::disk::sim::{Choice, Sim};
    use crate::error::Error;
    use crate::format::file_name;
    use crate::log::{Log, open_alone_on};
    use crate::recovery::OpenMode;
    use crate::types::LogConfig;

    const DIR: &str = "/log";
    /// The base of the last segment after [`fill`].
    const LAST_BASE: u64 = 12;

    /// A change made to a log, and its name.
    type Change = (&'static str, fn(&Log));

    fn open(sim: &Sim) -> Log {
        let config = LogConfig::default().segment_bytes(1024);
        let (disk, clock, mode) = (sim.disk(), Clock::default(), OpenMode::Write);
        open_alone_on(&disk, &clock, Path::new(DIR), config, mode, true).unwrap()
    }

    fn fill(log: &Log) {
        for number in 0..20 {
            log.append(&format!("record number {number}")).unwrap();
        }
    }

    /// The files that a close writes or syncs.
    fn changed_by_close(sim: &Sim, log: &Log) -> Vec<PathBuf> {
        sim.record();
        let before = sim.operations();
        log.close().unwrap();
        let trace = sim.trace().into_iter();
        let made = trace.filter(|made| made.number >= before && made.kind.changes());
        made.map(|made| made.path).collect()
    }

    #[test]
    fn a_log_that_was_closed_and_only_opened_is_closed_without_a_change() {
        let sim = Sim::new();
        let log = open(&sim);
        fill(&log);
        log.close().unwrap();
        let files = sim.files();
        let log = open(&sim);
        assert_eq!(changed_by_close(&sim, &log), Vec::<PathBuf>::new());
        assert_eq!(sim.files(), files);
        assert!(open(&sim).open_report().clean);
    }

    #[test]
    fn the_close_after_a_recovery_changes_the_mark_alone() {
        let sim = Sim::new();
        let log = open(&sim);
        fill(&log);
        let sim = sim.crash(Choice::All);
        let log = open(&sim);
        assert!(!log.open_report().clean);
        let marks = Path::new(DIR).join(file_name::MARKS);
        for path in changed_by_close(&sim, &log) {
            assert_eq!(path, marks);
        }
        // Everything that the close left to the opening is durable.
        let sim = sim.crash(Choice::None);
        let log = open(&sim);
        assert!(log.open_report().clean, "{:?}", log.open_report());
        assert_eq!(log.end_offset(), 20);
    }

    /// Opens a log after a power cut on a full disk, rolls it if `rolled`, as retention does that
    /// frees space, and appends.
    fn append_after_an_opening_on_a_full_disk(rolled: bool) {
        let sim = Sim::new();
        let log = open(&sim);
        fill(&log);
        let sim = sim.crash(Choice::None);
        sim.set_capacity(Some(0));
        let log = open(&sim);
        let (end, epoch) = (log.end_offset(), log.epoch());
        assert!(epoch > 0, "it was not closed");
        let refused = log.append("a record");
        let no_space = matches!(refused, Err(Error::NoSpace { .. }));
        assert!(no_space, "{refused:?}");
        sim.set_capacity(None);
        if rolled {
            log.shared.seal_active().unwrap();
        }
        assert_eq!(log.append("a record").unwrap(), end);
        assert!(log.shared.epochs.read().are_saved(), "rolled: {rolled}");
        // Another cut takes the record, and not the epoch that it was appended in.
        let log = open(&sim.crash(Choice::None));
        assert!(log.epoch() > epoch, "{} after {epoch}", log.epoch());
    }

    #[test]
    fn nothing_is_appended_in_an_epoch_that_a_full_disk_did_not_take() {
        append_after_an_opening_on_a_full_disk(false);
        append_after_an_opening_on_a_full_disk(true);
    }

    #[test]
    fn a_log_that_was_changed_after_it_was_opened_is_closed_as_ever() {
        let changes: [Change; 4] = [
            ("append", fill),
            ("append and cut", |log| {
                let end = log.end_offset();
                fill(log);
                log.truncate(end).unwrap();
            }),
            ("forget", |log| log.truncate_prefix(7).unwrap()),
            ("flush", |log| {
                fill(log);
                log.flush().unwrap();
            }),
        ];
        for (name, change) in changes {
            for choice in [Choice::None, Choice::All] {
                let sim = Sim::new();
                let log = open(&sim);
                fill(&log);
                log.close().unwrap();
                let log = open(&sim);
                change(&log);
                let (start, end) = (log.start_offset(), log.end_offset());
                log.close().unwrap();
                let sim = sim.crash(choice);
                let log = open(&sim);
                assert!(log.open_report().clean, "{name}: {:?}", log.open_report());
                assert_eq!(
                    (log.start_offset(), log.end_offset()),
                    (start, end),
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn a_close_writes_index_files_that_were_missing_at_the_opening() {
        let sim = Sim::new();
        let log = open(&sim);
        fill(&log);
        log.close().unwrap();
        let all = sim.files();
        let names = [".index", ".timeindex"].map(|kind| format!("{LAST_BASE:020}{kind}"));
        for name in names {
            let path = &Path::new(DIR).join(name);
            sim.disk().remove_file(path).unwrap();
            open(&sim).close().unwrap();
            assert_eq!(sim.files(), all, "{}", path.display());
        }
    }
}
