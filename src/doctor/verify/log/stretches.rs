//! What is reported of the bytes of a segment that are no readable batches.
//!
//! Knows nothing about how they were found (`doctor/scan`).

use std::sync::Arc;

use crate::doctor::scan::{Condition, SegmentScan, Stretch};
use crate::doctor::verify::problem;
use crate::doctor::verify::report::{Problem, ProblemKind, Severity};
use crate::error::Error;
use crate::format::Corruption;
use crate::recovery::refuse_old_format;
use crate::segment::Segment;
use crate::types::Position;

use super::LogCheck;

impl LogCheck<'_> {
    pub(super) fn stretches(&mut self, segment: &Arc<Segment>, scan: &SegmentScan, last: bool) {
        let path = segment.log_path();
        if scan.misplaced {
            let kind = ProblemKind::Misplaced;
            self.report(Problem {
                bytes: segment.end().0,
                ..problem(Severity::Damage, &path, kind)
            });
        }
        for stretch in scan.stretches.iter() {
            let mut severity = self.severity(segment, stretch.bytes.start);
            // Without a mark everything counts as flushed. But at the end of the last segment a
            // crash leaves a torn batch, and opening cuts it off there.
            if self.mark.is_none() && last && stretch.bytes.end == segment.end() {
                severity = Severity::AfterCrash;
            }
            if self.is_of_old_format(segment, stretch) {
                severity = Severity::Damage;
            }
            let kind = match &stretch.condition {
                Condition::Good => continue,
                Condition::Patched(_, reason) => ProblemKind::Prefix {
                    reason: reason.clone(),
                },
                Condition::Damaged(reason) if severity == Severity::AfterCrash => {
                    ProblemKind::Tail {
                        reason: reason.clone(),
                    }
                }
                Condition::Damaged(reason) => ProblemKind::Batch {
                    reason: reason.clone(),
                },
            };
            self.report(Problem {
                position: stretch.bytes.start.0,
                bytes: stretch.len(),
                offsets: stretch.offsets.clone(),
                ..problem(severity, &path, kind)
            });
        }
        for block in &scan.odd_blocks {
            self.report(Problem {
                position: block.start.0,
                bytes: block.end.since(block.start),
                ..problem(Severity::Damage, &path, ProblemKind::Changed)
            });
        }
        if scan.reserved > 0 {
            self.reserved(segment, scan, last);
        }
        if scan.not_unpacked > 0 {
            let batches = scan.not_unpacked;
            let kind = ProblemKind::NotUnpacked { batches };
            self.report(problem(Severity::Note, &path, kind));
        }
    }

    /// Whether a stretch begins with a message from before Kafka 0.11, which opening refuses.
    fn is_of_old_format(&mut self, segment: &Arc<Segment>, stretch: &Stretch) -> bool {
        let Condition::Damaged(reason) = &stretch.condition else {
            return false;
        };
        let file = segment.file(&self.host.disk, &self.host.files);
        let at = stretch.bytes.start;
        let found = file.and_then(|file| refuse_old_format(segment, &file, at, Some(reason)));
        let Err(Error::Unsupported { what }) = found else {
            return false;
        };
        self.findings.old_format.get_or_insert(what);
        true
    }

    /// Zeros at the end are reserved space, or bytes that were written and are lost.
    pub(super) fn reserved(&mut self, segment: &Arc<Segment>, scan: &SegmentScan, last: bool) {
        let at = Position(segment.end().since(Position(scan.reserved)));
        let known = self.mark.is_some() || !last;
        let flushed = known && self.severity(segment, at) == Severity::Damage;
        let (severity, kind) = if flushed {
            let reason = Corruption::malformed("zeros where batches were");
            (Severity::Damage, ProblemKind::Batch { reason })
        } else {
            (Severity::AfterCrash, ProblemKind::Reserved)
        };
        self.report(Problem {
            position: at.0,
            bytes: scan.reserved,
            ..problem(severity, &segment.log_path(), kind)
        });
    }
}
