//! Repairs a damaged directory: damaged bytes are quarantined, everything else keeps its offset,
//! and the result opens. Nothing is ever deleted.
//!
//! Knows nothing about how damage is found (`verify`).
//!
//! 1. Interrupted operations are finished first, as opening would.
//! 2. A crash in the middle of any change is safe: the next repair continues.
//! 3. The log continues at the offset that it had reached: a flushed offset is never assigned
//!    again, even if its record is lost.

mod plan;
mod report;
mod rewrite;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::dir::{
    Marks, RootFacts, home_of, keep_brokers_away, mark_alone, move_aside, remove_if_present,
    take_lock,
};
use crate::disk::{Access, Disk, EntryKind};
use crate::error::{Error, IoContext, Result};
use crate::format::{Corruption, FileName, IndexWritten, Mark, MarkKey, checkpoint, file_name};
use crate::host::Host;
use crate::log::Log;
use crate::recovery::{LogSource, OpenMode, Opening, rewrite_range};
use crate::segment::Segment;
use crate::types::LogConfig;
use crate::types::{Offset, Position};

use crate::doctor::scan::Verdict;
use crate::doctor::verify::{Beside, LogFindings, ProblemKind, Severity, check_log, verify_alone};

use plan::{ScannedSegment, plan};
pub use report::{RepairReport, SetAside};
pub(crate) use rewrite::{rename_whole, set_odd_aside};

pub(crate) fn repair_alone(disk: &Disk, clock: &Clock, dir: &Path) -> Result<RepairReport> {
    let (home, key) = home_of(disk, dir)?;
    // Listed first, so that no lock file is created in a directory that does not exist.
    disk.list(dir).at(dir, "list")?;
    if home != dir {
        // A root that cannot be opened is left unchanged, including its lock file.
        RootFacts::of(disk, &home)?;
    }
    // Before verifying: what is found must still hold when it is repaired.
    let _lock = take_lock(disk, &home, Duration::ZERO)?;
    let mut report = RepairReport {
        dir: dir.to_path_buf(),
        found: verify_alone(disk, dir, Beside::Nobody)?,
        ..RepairReport::default()
    };
    if report.found.is_spotless() {
        report.remaining = report.found.clone();
        return Ok(report);
    }
    let in_root = home != dir;
    // Read before `keep_brokers_away`, which replaces the file that tells whether a broker has run.
    let newer = in_root && RootFacts::of(disk, &home)?.is_newer();
    if in_root && !newer {
        // Before the first change: a broker started on a half-repaired root would trust its
        // checkpoints.
        keep_brokers_away(disk, &home)?;
    }
    let path = home.join(file_name::MARKS);
    if !in_root {
        report.set_aside.extend(set_odd_aside(disk, &path)?);
    }
    let mut marks = Marks::open(disk, &path)?;
    if newer {
        // A broker has run since: what our marks and digests describe may have changed.
        marks = marks.distrusting();
        for key in marks.keys() {
            marks.forget(key)?;
        }
        if let Some(mark) = mark_alone(disk, &home, dir, key)? {
            marks.assume(&mark);
        }
    }
    let host = Host::new(disk.clone(), clock.clone(), marks, true);
    repair_log(&host, dir, key, &mut report)?;
    // The next opening takes the root over by the broker's checkpoints, as for the other logs,
    // whose marks were forgotten above.
    if newer {
        host.marks.forget(key)?;
    }
    report.remaining = verify_alone(disk, dir, Beside::Nobody)?;
    Ok(report)
}

/// The caller holds the lock.
pub(crate) fn repair_log(
    host: &Arc<Host>,
    dir: &Path,
    key: MarkKey,
    report: &mut RepairReport,
) -> Result<()> {
    let repair = LogRepair {
        host,
        dir: Arc::from(dir),
        key,
    };
    repair.repair(report)
}

struct LogRepair<'a> {
    host: &'a Arc<Host>,
    dir: Arc<Path>,
    key: MarkKey,
}

impl LogRepair<'_> {
    fn repair(&self, report: &mut RepairReport) -> Result<()> {
        // First: the steps below list the directory as opening does, which fails at such a name or
        // takes it for a file.
        self.set_what_is_odd_aside(report)?;
        // Finished before it is examined: half-way through a truncation or a swap, missing segments
        // are not damage, and the old bytes would be quarantined for nothing.
        self.finish_interrupted_durably()?;
        let findings = check_log(self.host, &self.dir, self.key)?;
        if let Some(what) = findings.old_format {
            // Valid messages that cannot be read here: there is nothing to repair.
            return Err(Error::Unsupported { what });
        }
        let worst = findings
            .problems
            .iter()
            .map(|problem| problem.severity)
            .max();
        if worst <= Some(Severity::Note) {
            return Ok(());
        }
        if worst == Some(Severity::Damage) {
            self.set_damage_aside(&findings, report)?;
        }
        // After the damage: some of it is found only by a digest, and a repair that starts again
        // after a crash must still find it.
        self.forget_hints(&findings, report)?;
        // Last: opening checks everything once more, and fails if the repair left damage.
        self.open_and_close(report)
    }

    fn set_what_is_odd_aside(&self, report: &mut RepairReport) -> Result<()> {
        let disk = &self.host.disk;
        for entry in disk.list(&self.dir).at(&self.dir, "list")? {
            let parsed = FileName::parse(&entry.name);
            let ours = !matches!(
                parsed,
                FileName::Foreign | FileName::Misnamed | FileName::Quarantine { .. }
            );
            if file_name::is_beyond_every_offset(&entry.name) {
                let reason = Corruption::malformed("the base offset is above 2^63 - 1");
                let path = self.dir.join(&entry.name);
                report.set_aside.push(rename_whole(disk, &path, reason)?);
                continue;
            }
            if entry.kind != EntryKind::File && (ours || entry.name == file_name::TRUNCATE) {
                let path = self.dir.join(&entry.name);
                report.set_aside.extend(set_odd_aside(disk, &path)?);
            }
        }
        Ok(())
    }

    /// Finishes interrupted operations (I1), durably: a truncation must not take effect twice.
    fn finish_interrupted_durably(&self) -> Result<()> {
        let mut opening = Opening::begin(self.host.tools(), &self.dir, self.key, OpenMode::Write)?;
        let found = opening.look()?;
        let truncates = found.truncates();
        opening.finish_interrupted(found)?;
        // The removals are durable before the mark and the note below: without the note, nothing
        // would finish a truncation that a power cut undid in part.
        let disk = &self.host.disk;
        disk.sync_dir(&self.dir).at(&self.dir, "sync")?;
        if !truncates {
            return Ok(());
        }
        // The mark before the note: without the note, the old mark would report the truncated
        // records as lost.
        if let Some(mark) = opening.mark {
            self.write_mark(mark)?;
        }
        // Last: until the mark is durable, only the note says why records are missing.
        remove_if_present(disk, &self.dir.join(file_name::TRUNCATE))?;
        disk.sync_dir(&self.dir).at(&self.dir, "sync")
    }

    fn write_mark(&self, mark: Mark) -> Result<()> {
        let (key, now) = (self.key, self.host.clock.instant());
        self.host.marks.write_both(Mark { key, ..mark }, now)?;
        Ok(())
    }

    fn set_damage_aside(&self, findings: &LogFindings, report: &mut RepairReport) -> Result<()> {
        let unreadable = findings
            .problems
            .iter()
            .find_map(|problem| match &problem.kind {
                ProblemKind::Unreadable { error } => Some((problem.path.clone(), error.clone())),
                _ => None,
            });
        // What cannot be read cannot be copied either: nothing was changed so far.
        if let Some((path, error)) = unreadable {
            return Err(Error::io(&path, "read", std::io::Error::other(error)));
        }
        // Before the new files: an exchange removes every segment file in the span of its outputs,
        // a foreign one too.
        for (segment, missing) in &findings.foreign {
            report.set_aside.push(self.move_foreign(segment, missing)?);
        }
        let mut found = Vec::new();
        let mut sources = Vec::new();
        for segment in &findings.segments {
            if let Some(scan) = &segment.scan {
                found.push(ScannedSegment {
                    base_offset: segment.segment.base_offset(),
                    scan,
                });
                sources.push(Arc::clone(&segment.segment));
            }
        }
        let plan = plan(&found, findings.mark.as_ref());
        report.set_aside.extend(self.carry_out(&plan, &sources)?);
        // The mark comes after the files it describes: after a crash in between the next repair
        // starts again from the old mark.
        self.go_on_at(findings.mark)
    }

    fn move_foreign(&self, segment: &Arc<Segment>, missing: &Range<Offset>) -> Result<SetAside> {
        segment.close_file();
        Ok(SetAside {
            path: segment.log_path(),
            position: 0,
            bytes: segment.end().0,
            offsets: missing.clone(),
            quarantine: move_aside(&self.host.disk, &self.dir, segment.base_offset())?,
            reason: Corruption::malformed("the segment belongs to another log"),
        })
    }

    /// Makes what is left durable, and has the log continue where it had been (I3).
    fn go_on_at(&self, old: Option<Mark>) -> Result<()> {
        let disk = &self.host.disk;
        let mut opening = Opening::begin(self.host.tools(), &self.dir, self.key, OpenMode::Write)?;
        let found = opening.look()?;
        let bases = opening.finish_interrupted(found)?;
        let segments = opening.list_segments(&bases)?;
        // Without a mark, everything that is there counts as flushed.
        let unflushed_from = old.map_or(Offset::MAX, |old| old.segment_base);
        let old = old.unwrap_or_default();
        for segment in &segments {
            let path = segment.log_path();
            let file = disk.open(&path, Access::Write).at(&path, "open")?;
            let flushed = if segment.base_offset() == old.segment_base {
                old.position.min(segment.end())
            } else {
                Position::ZERO
            };
            // Bytes that were never flushed may exist in the page cache alone, on pages that a
            // failed sync left marked clean. Written again, they are covered by the sync below.
            if segment.base_offset() >= unflushed_from {
                rewrite_range(&file, &path, flushed..segment.end())?;
            }
            file.sync_data().at(&path, "sync")?;
            // A digest with another next segment would call the segment that was lost behind it
            // missing, at every opening.
            segment.remove_digest_unless_next(disk, next_of(&segments, segment))?;
        }
        let last = match segments.last() {
            Some(last) => Some(self.end_of(last)?),
            None => None,
        };
        // The new segment begins above everything that was ever flushed, even if lost: those
        // offsets may have been seen (I3).
        let reached = old.flushed_offset.max(old.log_start_offset);
        let last = match last {
            Some((base, end, next)) if next >= reached => (base, end, next),
            _ => self.begin_segment(reached)?,
        };
        let mut first = segments.first().map_or(last.0, |first| first.base_offset());
        if old.by_broker && first > old.log_start_offset {
            // The broker's checkpoint still says where the log starts.
            self.begin_segment(old.log_start_offset)?;
            first = old.log_start_offset;
        }
        // Everything that the mark below refers to is durable now, names included, or a power cut
        // could leave a mark for a segment that is not there, which is damage.
        disk.sync_dir(&self.dir).at(&self.dir, "sync")?;
        self.write_mark(Mark {
            segment_base: last.0,
            position: last.1,
            flushed_offset: last.2,
            log_start_offset: old.log_start_offset.max(first),
            dense: false,
            by_broker: false,
            index: IndexWritten::default(),
            ..old
        })
    }

    /// The base, the end and the next offset of the last segment. Zeros may follow its batches,
    /// which are all good.
    fn end_of(&self, segment: &Arc<Segment>) -> Result<(Offset, Position, Offset)> {
        let scanned = segment.rebuild_index(&self.host.disk, &self.host.files)?;
        segment.close_file();
        let base = segment.base_offset();
        Ok((base, scanned.end, scanned.next_offset.max(base)))
    }

    fn begin_segment(&self, base: Offset) -> Result<(Offset, Position, Offset)> {
        let path = self.dir.join(file_name::log(base));
        let disk = &self.host.disk;
        if !disk.exists(&path).at(&path, "access")? {
            disk.create(&path).at(&path, "create")?;
        }
        Ok((base, Position::ZERO, base))
    }

    /// Removes or rewrites what is wrong and can be rebuilt.
    fn forget_hints(&self, findings: &LogFindings, report: &mut RepairReport) -> Result<()> {
        let disk = &self.host.disk;
        for segment in &findings.segments {
            if segment.index != Verdict::Agrees {
                segment.segment.close_file();
                for path in [
                    segment.segment.index_path(),
                    segment.segment.time_index_path(),
                ] {
                    if remove_if_present(disk, &path)? {
                        report.rebuilt.push(path);
                    }
                }
            }
            // A digest of wrong indexes would vouch for indexes that no longer exist.
            if !segment.digest_fits || segment.index != Verdict::Agrees {
                segment.segment.remove_digest(disk)?;
            }
        }
        for problem in &findings.problems {
            let name = problem.path.file_name().and_then(|name| name.to_str());
            let malformed = matches!(problem.kind, ProblemKind::Malformed { .. });
            if malformed && name.map(FileName::parse) == Some(FileName::LeaderEpochs) {
                let text = checkpoint::encode_epochs(&findings.epochs);
                let path = &problem.path;
                disk.replace(path, text.as_bytes()).at(path, "replace")?;
                report.rebuilt.push(path.clone());
            }
        }
        Ok(())
    }

    /// Opens the log, builds its indexes and digests, and closes it.
    fn open_and_close(&self, report: &mut RepairReport) -> Result<()> {
        let source = LogSource {
            dir: self.dir.to_path_buf(),
            mark_key: self.key,
            lock: None,
            managed: true,
        };
        let log = Log::open_in(self.host, source, LogConfig::default(), OpenMode::Write)?;
        report.add_tails(log.open_report());
        log.rebuild_hints()?;
        log.close_managed()
    }
}

fn next_of(segments: &[Arc<Segment>], segment: &Arc<Segment>) -> Option<Offset> {
    let after = segments
        .iter()
        .find(|other| other.base_offset() > segment.base_offset());
    after.map(|after| after.base_offset())
}
