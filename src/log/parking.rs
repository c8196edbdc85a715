//! Closes the files of a log that stays open: when it is idle, and when other logs need
//! descriptors.
//!
//! Knows nothing about which log must close files: `segment/open_files.rs` decides that, for all
//! logs of a root and of the process.
//!
//! 1. A file with unsynced bytes is synced before its descriptor is closed: the system reports a
//!    failed write to those that have the file open, and possibly to no one once it is closed.
//! 2. A failed sync latches the log, as it does anywhere else.
//! 3. A parked log is trimmed: it has no descriptor, no map, and no space that it does not use. Its
//!    next append opens the file again.
//! 4. The turn is held meanwhile, so that no truncation or close is in progress. It is never waited
//!    for: the thread that needs a descriptor may be what the holder of the turn is waiting for.

use std::sync::Arc;

use crate::error::{IoContext, Result};
use crate::segment::Writes;
use crate::sync::MutexGuard;

use super::Shared;
use super::append::AppendState;
use super::turn::Turn;

impl Shared {
    /// The append lock of a log that accepts appends. If the append must open the file and too many
    /// are open, others are closed first: without the lock, because that may mean a sync.
    #[inline]
    pub(super) fn lock_to_append(&self) -> Result<MutexGuard<'_, AppendState>> {
        let state = self.append.lock();
        // Checked with the lock held: a close that begins after this syncs what is written here.
        self.life.can_append()?;
        if state.writer.is_some() && !state.held_back {
            return Ok(state);
        }
        drop(state);
        self.lock_with_room()
    }

    #[cold]
    fn lock_with_room(&self) -> Result<MutexGuard<'_, AppendState>> {
        self.host.files.make_room();
        loop {
            self.settle_first()?;
            let state = self.append.lock();
            self.life.can_append()?;
            if !state.held_back {
                return Ok(state);
            }
            drop(state);
            // The truncation in progress holds it, or what settles the log.
            drop(self.layout.lock());
        }
    }

    /// Closes the files of a log to which nothing was appended since the last call, and releases
    /// what it had reserved.
    pub(crate) fn park_if_idle(&self) -> Result<()> {
        {
            let mut state = self.append.lock();
            let idle = !std::mem::take(&mut state.in_use) && self.life.can_append().is_ok();
            if !idle || state.writer.is_none() {
                return Ok(());
            }
        }
        let turn = self.take_turn_to_change()?;
        self.sync_all(&turn)?;
        // An append came during the sync: the log is not idle after all.
        if self.append.lock().in_use {
            return Ok(());
        }
        self.park(&turn).map(drop)
    }

    /// Closes what is open for writing; false if something was appended meanwhile.
    fn park(&self, turn: &Turn<'_>) -> Result<bool> {
        let mut state = self.append.lock();
        if !state.sealing.is_empty() {
            drop(state);
            self.sync_all(turn)?;
            state = self.append.lock();
        }
        let path = state.active.log_path();
        let end = state.end;
        let Some(writer) = &mut state.writer else {
            return Ok(state.sealing.is_empty());
        };
        // Before the sync, so that the length is synced too.
        writer.trim().at(&path, "truncate")?;
        let file = Arc::clone(writer.file());
        drop(state);
        if self.flushed_offset() < end {
            // Everything below the flushed end was synced, and the mark, a lower bound, stays where
            // it is.
            let synced = file.sync_data();
            synced.map_err(|cause| self.poisoned(path, cause))?;
        }
        let mut state = self.append.lock();
        // Appends continued during the sync: the file has unsynced bytes again (I1).
        if state.end != end || !state.sealing.is_empty() {
            return Ok(false);
        }
        state.writer = None;
        state.active.close_file();
        Ok(true)
    }

    /// Closes every file of a closed log, whether or not the close succeeded.
    pub(super) fn close_files(&self) {
        let mut state = self.append.lock();
        state.writer = None;
        state.sealing.clear();
        drop(state);
        for segment in self.segments.read().iter() {
            segment.close_file();
        }
    }
}

impl Writes for Shared {
    fn take_used(&self) -> bool {
        std::mem::take(&mut self.append.lock().used)
    }

    fn needs_sync(&self) -> bool {
        self.flushed_offset() < self.end_offset()
    }

    fn close_synced(&self) -> bool {
        let parked = match self.try_turn() {
            Ok(Some(turn)) => self.park(&turn).unwrap_or(false),
            Ok(None) => false,
            // A sync failed, and nothing is confirmed any more: there is no reason to sync.
            Err(_) => {
                self.close_files();
                true
            }
        };
        let mut state = self.append.lock();
        // If it was opened again meanwhile, it stays in the queue.
        let closed = parked && state.writer.is_none() && state.sealing.is_empty();
        if closed {
            state.listed = false;
        }
        closed
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use crate::clock::Clock;
    use crate::dir::Marks;
    use crate::disk::Disk;
    use crate::disk::sim::{At, Failure, Fault, Kind, Operation, Repeat, Sim};
    use crate::error::Error;
    use crate::format::MarkKey;
    use crate::host::Host;
    use crate::log::{Log, open_alone_on};
    use crate::recovery::{LogSource, OpenMode};
    use crate::types::LogConfig;
    use crate::types::{CleanupPolicy, Record, TopicId, to_u64};

    /// Logs of one host that may have only one file open, that of its marks.
    fn crowded_logs(sim: &Sim, count: u32) -> Vec<Log> {
        let disk = sim.disk();
        let marks = Marks::open(&disk, Path::new("/ottla.marks")).unwrap();
        let host = Host::with_open_files(disk, Clock::default(), marks, true, Some(1));
        (0..count).map(|number| open_in(&host, number)).collect()
    }

    fn open_in(host: &Arc<Host>, number: u32) -> Log {
        let dir = Path::new("/").join(number.to_string());
        host.disk.create_dir(&dir).unwrap();
        let mark_key = MarkKey {
            topic: TopicId([1; 16]),
            partition: number,
        };
        let source = LogSource {
            dir,
            mark_key,
            lock: None,
            managed: true,
        };
        Log::open_in(host, source, LogConfig::default(), OpenMode::Write).unwrap()
    }

    #[test]
    fn a_file_with_unsynced_bytes_is_synced_before_it_is_closed() {
        let sim = Sim::new();
        let logs = crowded_logs(&sim, 3);
        sim.record();
        for log in &logs {
            log.append("a record").unwrap();
        }
        let trace = sim.trace();
        for (number, log) in logs.iter().enumerate() {
            let path = log.shared.segments.read().active().log_path();
            let synced = |call: &&Operation| call.kind == Kind::SyncData && call.path == path;
            let syncs = trace.iter().filter(synced).count();
            let open = log.shared.append.lock().writer.is_some();
            // All but the last had to close their files.
            assert_eq!(
                (syncs, open),
                if number < 2 { (1, false) } else { (0, true) }
            );
        }
        for log in &logs {
            log.append("another").unwrap();
            assert_eq!(log.flush().unwrap(), 2);
            assert_eq!(log.reader(0).unwrap().count(), 2);
        }
    }

    #[test]
    fn a_sync_that_fails_before_a_file_is_closed_latches_its_own_log_alone() {
        let sim = Sim::new();
        sim.record();
        let logs = crowded_logs(&sim, 2);
        logs[0].append("a record").unwrap();
        let trace = sim.trace();
        let synced = trace.iter().filter(|call| call.kind == Kind::SyncData);
        sim.fail(Fault {
            at: At::Nth(Kind::SyncData, to_u64(synced.count())),
            error: Failure::Eio,
            repeat: Repeat::Once,
        });
        logs[1].append("a record").unwrap();
        let refused = logs[0].append("another").unwrap_err();
        assert!(matches!(refused, Error::Poisoned { .. }), "{refused:?}");
        logs[1].append("and on").unwrap();
        assert_eq!(logs[1].flush().unwrap(), 2);
        assert_eq!(logs[0].reader(0).unwrap().count(), 1);
    }

    /// Closes the files of a log's segments, as a lack of descriptors would.
    fn close_read_files(log: &Log) {
        for segment in log.shared.segments.read().iter() {
            segment.close_file();
        }
    }

    fn filled(config: LogConfig) -> (tempfile::TempDir, Log) {
        let dir = tempfile::tempdir().unwrap();
        let (disk, clock) = (Disk::os(), Clock::System);
        let config = config.segment_bytes(16 << 10);
        // Without a flusher, which would open files by itself.
        let log = open_alone_on(&disk, &clock, dir.path(), config, OpenMode::Write, true).unwrap();
        for number in 0..300_u32 {
            let key = number.to_string();
            log.append(Record::keyed(&key, &[7; 200])).unwrap();
        }
        (dir, log)
    }

    #[test]
    fn a_reader_whose_segment_was_dropped_finishes_it_or_is_told_that_it_is_behind() {
        for closed in [false, true] {
            let (_dir, log) = filled(LogConfig::default());
            let mut reader = log.reader(0).unwrap();
            assert_eq!(reader.next().unwrap().unwrap().offset, 0);
            let second = log.segments()[1].base_offset;
            if closed {
                close_read_files(&log);
            }
            log.truncate_prefix(250).unwrap();
            let ended = reader.by_ref().find_map(Result::err);
            let last = reader.position();
            match ended {
                Some(Error::OffsetOutOfRange { start: 250, .. }) => {}
                other => panic!("{other:?}"),
            }
            assert_eq!(
                last == second,
                !closed,
                "closed: {closed}, read up to {last}"
            );
        }
    }

    #[test]
    fn a_reader_whose_file_was_closed_and_compacted_away_goes_on() {
        let config = LogConfig::default().cleanup_policy(CleanupPolicy::Compact);
        let (_dir, log) = filled(config);
        let mut reader = log.reader(0).unwrap();
        assert_eq!(reader.next().unwrap().unwrap().offset, 0);
        log.append(Record::keyed("0", "x")).unwrap();
        log.compact().unwrap();
        close_read_files(&log);
        let offsets: Vec<_> = reader.map(|record| record.unwrap().offset).collect();
        assert!(offsets.iter().copied().eq(1..301), "{offsets:?}");
    }
}
