//! Examines one log: its segments, flushed mark, indexes and digests.
//!
//! Knows nothing about roots. The rules are those of opening (`recovery/rules.rs`), but the check
//! continues after the first violation.

mod stretches;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::error::Result;
use crate::format::{
    Corruption, Digest, FileKind, FileName, LeaderEpoch, Mark, MarkKey, Stage, file_name,
};
use crate::host::Host;
use crate::recovery::at_mark as rules_at_mark;
use crate::recovery::{
    DirListing, Landed, OpenMode, Opening, SegmentFacts, Violation, applicable, has_own,
    is_flushed, lost_between, violations,
};
use crate::segment::{RawBatch, Segment};
use crate::types::{Offset, Position};

use super::report::{LogCondition, Problem, ProblemKind, Severity};
use super::{files, problem};
use crate::doctor::scan::{IndexCheck, SegmentScan, Stretch, Subject, Verdict};

#[derive(Debug)]
pub(in crate::doctor) struct LogFindings {
    pub(in crate::doctor) condition: LogCondition,
    pub(in crate::doctor) problems: Vec<Problem>,
    pub(in crate::doctor) mark: Option<Mark>,
    pub(in crate::doctor) segments: Vec<SegmentFindings>,
    /// Segments of another log, and which offsets are missing in place of each.
    pub(in crate::doctor) foreign: Vec<(Arc<Segment>, Range<Offset>)>,
    /// Where each epoch in the batches begins.
    pub(in crate::doctor) epochs: Vec<LeaderEpoch>,
    /// Messages from before Kafka 0.11: why the log can be neither opened nor repaired.
    pub(in crate::doctor) old_format: Option<String>,
}

#[derive(Debug)]
pub(in crate::doctor) struct SegmentFindings {
    pub(in crate::doctor) segment: Arc<Segment>,
    /// `None` if its bytes could not be read.
    pub(in crate::doctor) scan: Option<SegmentScan>,
    pub(in crate::doctor) index: Verdict,
    pub(in crate::doctor) digest_fits: bool,
}

pub(in crate::doctor) fn check_log(host: &Host, dir: &Path, key: MarkKey) -> Result<LogFindings> {
    let opening = Opening::begin(host.tools(), dir, key, OpenMode::Read)?;
    let found = opening.look()?;
    let segments = opening.list_segments(&found.bases)?;
    // Half-way through a truncation or a swap, the mark may refer to segments that are gone or not
    // yet in place. Opening finishes those first.
    let uninterrupted = !found.is_interrupted();
    let facts = opening.facts(&segments);
    let mut check = LogCheck {
        host,
        dir,
        key,
        mark: applicable(opening.mark, segments.len()).filter(|_| uninterrupted),
        has_own: has_own(key, &facts),
        facts,
        uninterrupted,
        findings: LogFindings {
            condition: LogCondition {
                dir: dir.to_path_buf(),
                indexes_agree: true,
                ..LogCondition::default()
            },
            problems: Vec::new(),
            mark: applicable(opening.mark, segments.len()),
            segments: Vec::new(),
            foreign: Vec::new(),
            epochs: Vec::new(),
            old_format: None,
        },
        covered: 0,
    };
    check.names(&found);
    let own = check.own(&segments);
    check.listed(&segments);
    let (mut rest, mut floor) = (own.iter().peekable(), 0);
    for segment in &segments {
        let is_own = rest.next_if(|own| Arc::ptr_eq(own, segment)).is_some();
        let next = rest.peek().copied();
        if is_own {
            floor = check.segment(segment, next, floor);
        } else {
            check.foreign(segment, next, floor);
        }
    }
    check.sum_up(&own, floor);
    Ok(check.findings)
}

struct LogCheck<'a> {
    host: &'a Host,
    dir: &'a Path,
    key: MarkKey,
    mark: Option<Mark>,
    facts: Vec<SegmentFacts>,
    has_own: bool,
    /// No interrupted operation changes which segments there are.
    uninterrupted: bool,
    findings: LogFindings,
    /// The number of offsets that valid batches cover.
    covered: u64,
}

impl LogCheck<'_> {
    fn report(&mut self, problem: Problem) {
        self.findings.problems.push(problem);
    }

    /// Whether only the indexes know where sealed segments ended: digests exist only with marks of
    /// our own.
    fn knows_no_digests(&self) -> bool {
        self.mark.is_none_or(|mark| mark.by_broker)
    }

    fn names(&mut self, found: &DirListing) {
        for (name, parsed) in &found.odd {
            let error = "not a file".to_owned();
            let quarantine = matches!(parsed, FileName::Quarantine { .. });
            let severity = if quarantine {
                Severity::Note
            } else {
                Severity::Damage
            };
            let kind = ProblemKind::Unreadable { error };
            let path = self.dir.join(name);
            self.report(problem(severity, &path, kind));
        }
        for (name, parsed) in &found.others {
            let path = self.dir.join(name);
            let orphan = matches!(
                parsed,
                FileName::Segment { base, kind, stage: Stage::Live }
                    if *kind != FileKind::Snapshot && !found.bases.contains(base)
            );
            let lost = orphan && self.knows_no_digests() && self.uninterrupted;
            if lost
                && let FileName::Segment {
                    base,
                    kind: FileKind::Index,
                    ..
                } = parsed
                && let Some(missing) = lost_between(*base, &found.bases)
            {
                self.violation(&missing);
            } else if orphan || name == file_name::TRUNCATE {
                let kind = ProblemKind::Unfinished;
                self.report(problem(Severity::AfterCrash, &path, kind));
            } else if let Some(bad) = files::check_partition_file(&self.host.disk, &path, parsed) {
                self.report(bad);
            }
        }
    }

    /// Reports what the listing contradicts. While an operation is half-way, the rules do not
    /// apply: opening finishes it first.
    fn listed(&mut self, segments: &[Arc<Segment>]) {
        if !self.uninterrupted {
            return;
        }
        let bytes: u64 = segments.iter().map(|segment| segment.end().0).sum();
        if self.mark.is_none() && bytes > 0 {
            self.report(problem(Severity::Note, self.dir, ProblemKind::Unmarked));
        }
        for violation in violations(self.key, self.mark.as_ref(), &self.facts) {
            self.violation(&violation);
        }
    }

    fn violation(&mut self, violation: &Violation) {
        let path = self.dir.join(file_name::log(violation.file()));
        let of_file = self
            .facts
            .iter()
            .find(|facts| facts.base == violation.file());
        let length = of_file.map_or(Position::ZERO, |facts| facts.length);
        let mut bytes = 0;
        let kind = match *violation {
            Violation::StartsLate { .. } | Violation::Missing { .. } | Violation::Gap { .. } => {
                ProblemKind::Missing
            }
            // Reported by `foreign`, with the offsets that are missing in its place.
            Violation::OtherLog { .. } if of_file.is_some_and(|facts| self.is_left_out(facts)) => {
                return;
            }
            Violation::OtherLog { .. } => {
                bytes = length.0;
                ProblemKind::OtherLog
            }
            Violation::Shorter { end, expected, .. } if length < expected => {
                bytes = expected.since(end);
                let expected_bytes = expected.0;
                ProblemKind::Short { expected_bytes }
            }
            Violation::Shorter { .. }
            | Violation::InsideBatch { .. }
            | Violation::WrongOffset { .. } => {
                let reason = violation.reason();
                ProblemKind::FlushedEnd { reason }
            }
        };
        self.report(Problem {
            position: violation.position().0,
            bytes,
            offsets: violation.offsets(self.mark.as_ref()),
            ..problem(Severity::Damage, &path, kind)
        });
    }

    /// `floor` is where the segment before it ends. Returns where this one ends.
    fn segment(
        &mut self,
        segment: &Arc<Segment>,
        next: Option<&Arc<Segment>>,
        floor: Offset,
    ) -> Offset {
        let base = segment.base_offset();
        let digest = self.digest(segment, next);
        let path = segment.log_path();
        let file = match segment.file(&self.host.disk, &self.host.files) {
            Ok(file) => file,
            Err(error) => return self.unreadable(segment, &error.to_string()),
        };
        if base < floor {
            let reason = Corruption::offset(floor, base);
            let severity = self.severity(segment, Position::ZERO);
            self.report(Problem {
                bytes: segment.end().0,
                offsets: base..floor,
                ..problem(severity, &path, ProblemKind::Batch { reason })
            });
        }
        let ceiling = next.map_or(i64::MAX.cast_unsigned(), |next| next.base_offset());
        let subject = Subject {
            segment,
            file: &file,
            end: segment.end(),
            ceiling,
            reached: self.reached(segment, next),
            dense: self.is_dense(segment, digest.as_ref()),
            other_length: self.has_other_length(segment, next.is_some()),
            digest: digest.as_ref(),
        };
        let (scan, index) = match self.scan(&subject) {
            Ok(found) => found,
            Err(error) => return self.unreadable(segment, &error.to_string()),
        };
        self.stretches(segment, &scan, next.is_none());
        let end = scan.next_offset;
        let whole = digest.is_some_and(|digest| digest.summary.length == segment.end());
        let intact = scan.stretches.all_good() && scan.odd_blocks.is_empty();
        self.findings.condition.digests += u64::from(whole && intact);
        self.add_up(&scan);
        self.findings.segments.push(SegmentFindings {
            segment: Arc::clone(segment),
            digest_fits: whole && intact && !scan.misplaced,
            scan: Some(scan),
            index,
        });
        end.max(base)
    }

    /// One past the offsets that were flushed to a segment, where known.
    fn reached(&self, segment: &Segment, next: Option<&Arc<Segment>>) -> Option<Offset> {
        let holds = |mark: &Mark| mark.segment_base == segment.base_offset();
        let of_mark = self.mark.filter(holds).map(|mark| mark.flushed_offset);
        of_mark.or(next.map(|next| next.base_offset()))
    }

    /// Reports a digest that cannot be compared with the segment, and returns `None`.
    fn digest(&mut self, segment: &Arc<Segment>, next: Option<&Arc<Segment>>) -> Option<Digest> {
        if self.host.marks.are_distrusted() {
            return None;
        }
        let path = segment.digest_path();
        let Some(digest) = segment.digest(&self.host.disk) else {
            if self.host.disk.exists(&path).unwrap_or(false) {
                self.report(problem(Severity::Rebuildable, &path, ProblemKind::Digest));
            }
            return None;
        };
        let summary = digest.summary;
        let of_other = self.mark.is_some() && summary.is_from_other_log(self.key);
        // Both are reported with the listing.
        if of_other || summary.length > segment.end() {
            return None;
        }
        // For the last segment that is normal while the log is open.
        if summary.length < segment.end() && next.is_some() {
            self.report(problem(Severity::Rebuildable, &path, ProblemKind::Digest));
        }
        Some(digest)
    }

    fn own(&self, segments: &[Arc<Segment>]) -> Vec<Arc<Segment>> {
        let known = segments.iter().zip(&self.facts);
        let own = known.filter(|(_, facts)| !self.is_left_out(facts));
        own.map(|(segment, _)| Arc::clone(segment)).collect()
    }

    fn is_left_out(&self, facts: &SegmentFacts) -> bool {
        facts.is_left_out(self.key, self.mark.as_ref(), self.has_own)
    }

    /// Reports a segment of another log, without examining it.
    fn foreign(&mut self, segment: &Arc<Segment>, next: Option<&Arc<Segment>>, floor: Offset) {
        let mark = self.mark.unwrap_or_default();
        let from = floor.max(mark.log_start_offset);
        let to = next.map_or(mark.flushed_offset, |next| next.base_offset());
        let missing = from..to.max(from);
        self.report(Problem {
            bytes: segment.end().0,
            offsets: missing.clone(),
            ..problem(Severity::Damage, &segment.log_path(), ProblemKind::OtherLog)
        });
        self.findings.condition.segments += 1;
        self.findings.foreign.push((Arc::clone(segment), missing));
    }

    /// Whether a segment does not have the length that it was sealed with. The last one may have
    /// grown since.
    fn has_other_length(&self, segment: &Segment, sealed: bool) -> bool {
        let summary = segment.digest_summary(&self.host.disk);
        let summary = summary.filter(|_| !self.host.marks.are_distrusted());
        summary.is_some_and(|summary| {
            summary.length > segment.end() || sealed && summary.length < segment.end()
        })
    }

    fn unreadable(&mut self, segment: &Arc<Segment>, error: &str) -> Offset {
        let kind = ProblemKind::Unreadable {
            error: error.to_owned(),
        };
        self.report(problem(Severity::Damage, &segment.log_path(), kind));
        self.findings.condition.segments += 1;
        self.findings.segments.push(SegmentFindings {
            segment: Arc::clone(segment),
            scan: None,
            index: Verdict::Missing,
            digest_fits: false,
        });
        segment.base_offset()
    }

    /// Whether the segment is known to have no gaps. A digest of exactly this state is more
    /// reliable than a mark, which may be a copy from before a compaction.
    fn is_dense(&self, segment: &Segment, digest: Option<&Digest>) -> bool {
        let exact = digest.filter(|digest| digest.summary.length == segment.end());
        if let Some(digest) = exact {
            return digest.summary.dense;
        }
        let base = segment.base_offset();
        self.mark
            .is_some_and(|mark| base > mark.segment_base || base == mark.segment_base && mark.dense)
    }

    /// Scans the batches, and compares the indexes and the mark with them.
    fn scan(&mut self, subject: &Subject<'_>) -> Result<(SegmentScan, Verdict)> {
        let segment = subject.segment;
        let index = segment.read_index_files(&self.host.disk)?;
        let mut check = index
            .as_ref()
            .map(|index| IndexCheck::new(segment.base_offset(), index));
        let mark = self
            .mark
            .filter(|mark| mark.segment_base == segment.base_offset());
        let mut at_mark = None;
        let (mut covered, mut epochs) = (0_u64, std::mem::take(&mut self.findings.epochs));
        let mut scan = subject.scan(|raw| {
            if let Some(check) = &mut check {
                check.batch(raw);
            }
            if mark.is_some_and(|mark| mark.position == raw.end()) {
                at_mark = Some(raw.header.next_offset());
            }
            let header = &raw.header;
            covered = covered.saturating_add(header.next_offset() - header.base_offset);
            note_epoch(&mut epochs, raw);
        })?;
        self.findings.epochs = epochs;
        self.covered = self.covered.saturating_add(covered);
        if let Some(mark) = mark {
            self.flushed_end(segment, &scan, &mark, at_mark);
        }
        let cut = subject.digest.is_none() && subject.other_length;
        if cut && !scan.misplaced && check.as_ref().is_some_and(IndexCheck::contradicts) {
            // A file that was merely cut would still match its index: this is another file.
            let what = "neither its length nor its index matches the file";
            scan.stretches.refuse_all(&Corruption::malformed(what));
        }
        if let Some(check) = check
            .as_ref()
            .filter(|_| self.knows_no_digests() && self.uninterrupted)
        {
            self.cut_off(subject, &scan, check);
        }
        let verdict = check.map_or(Verdict::Missing, IndexCheck::verdict);
        // Every entry that is there is right. Whether some are missing, only the checksums in the
        // digest say.
        let held = index.filter(|_| verdict == Verdict::Agrees && scan.stretches.all_good());
        let vouched =
            held.is_none_or(|index| segment.vouches_for(&index, &self.host.disk).unwrap_or(true));
        let verdict = if vouched { verdict } else { Verdict::Disagrees };
        if verdict != Verdict::Agrees && subject.end > Position::ZERO {
            self.findings.condition.indexes_agree = false;
            let path = segment.index_path();
            self.report(problem(Severity::Rebuildable, &path, ProblemKind::Index));
        }
        Ok((scan, verdict))
    }

    /// Reports a missing end of a sealed segment, which without a mark only its indexes may show.
    fn cut_off(&mut self, subject: &Subject<'_>, scan: &SegmentScan, check: &IndexCheck) {
        let sealed = subject.ceiling < i64::MAX.cast_unsigned();
        let whole = scan.stretches.all_good() && scan.reserved == 0;
        let (end, next) = (subject.end, scan.next_offset);
        if sealed && whole && next < subject.ceiling && check.reaches_beyond(end, next) {
            let reason = Corruption::malformed("the index refers to more batches than are here");
            self.report(Problem {
                position: end.0,
                offsets: next..subject.ceiling,
                ..problem(
                    Severity::Damage,
                    &subject.segment.log_path(),
                    ProblemKind::Batch { reason },
                )
            });
        }
    }

    fn flushed_end(
        &mut self,
        segment: &Arc<Segment>,
        scan: &SegmentScan,
        mark: &Mark,
        at_mark: Option<Offset>,
    ) {
        let below = |stretch: &&Stretch| stretch.bytes.start < mark.position && !stretch.is_good();
        // Bytes below the mark that are damaged or missing are already reported as such.
        if segment.end() < mark.position || scan.stretches.iter().any(|all| below(&all)) {
            return;
        }
        let landed = Landed {
            end: Position(segment.end().since(Position(scan.reserved))),
            at_mark: if mark.position == Position::ZERO {
                Some(segment.base_offset())
            } else {
                at_mark
            },
        };
        if let Some(violation) = rules_at_mark(mark, landed) {
            self.violation(&violation);
        }
    }

    fn severity(&self, segment: &Segment, at: Position) -> Severity {
        if is_flushed(self.mark.as_ref(), segment.base_offset(), at) {
            Severity::Damage
        } else {
            Severity::AfterCrash
        }
    }

    fn add_up(&mut self, scan: &SegmentScan) {
        let condition = &mut self.findings.condition;
        condition.segments += 1;
        condition.batches = condition.batches.saturating_add(scan.batches);
        condition.records = condition.records.saturating_add(scan.records);
        let kept: u64 = scan.stretches.kept().map(Stretch::len).sum();
        condition.bytes = condition.bytes.saturating_add(kept);
        let patched = scan.stretches.kept().filter(|stretch| !stretch.is_good());
        let patched: u64 = patched
            .map(|stretch| stretch.offsets.end.saturating_sub(stretch.offsets.start))
            .sum();
        self.covered = self.covered.saturating_add(patched);
    }

    fn sum_up(&mut self, segments: &[Arc<Segment>], end: Offset) {
        let first = segments.first().map_or(0, |first| first.base_offset());
        let start = self.mark.map_or(0, |mark| mark.log_start_offset);
        let condition = &mut self.findings.condition;
        condition.start_offset = start.max(first).min(end);
        condition.end_offset = end;
        condition.missing_offsets = end.saturating_sub(first).saturating_sub(self.covered);
    }
}

fn note_epoch(epochs: &mut Vec<LeaderEpoch>, raw: &RawBatch) {
    let epoch = raw.header.leader_epoch;
    if epoch >= 0 && epochs.last().is_none_or(|last| last.epoch < epoch) {
        epochs.push(LeaderEpoch {
            epoch,
            start_offset: raw.header.base_offset,
        });
    }
}
