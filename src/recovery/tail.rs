//! Bytes that do not continue the log are copied or moved to a quarantine file, and only then cut
//! off.
//!
//! Knows nothing about how they were found (`mod.rs`), nor about damage below the mark
//! (`damage.rs`).

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use crate::dir::{copy_aside, is_zero, move_aside};
use crate::disk::Access;
use crate::error::{IoContext, Result};
use crate::format::Corruption;
use crate::segment::{Segment, TailScan};
use crate::types::{Offset, Position, Sabotage};

use super::truncation::remove_segment_files;
use super::{OpenEvent, Opening};

impl Opening<'_> {
    /// Handles what is behind the last valid batch of the segment `at`, which is kept up to an
    /// offset. Returns whether batches are cut off, so that nothing can follow.
    pub(super) fn trim_tail(
        &mut self,
        segments: &mut Vec<Arc<Segment>>,
        at: usize,
        scanned: &TailScan,
        kept_to: Offset,
    ) -> Result<bool> {
        let (Some(reason), Some(segment)) = (scanned.stopped.clone(), segments.get(at).cloned())
        else {
            return Ok(false);
        };
        let segment = &segment;
        let later = segments.get(at + 1..).unwrap_or_default();
        let path = segment.log_path();
        let file = segment.file(self.disk(), self.tools.files)?;
        let rest = scanned.end..segment.end();
        let reserved = is_zero(&file, &path, rest.clone())?;
        // Counted before anything is cut: a strict log fails here with its files unchanged.
        if !reserved {
            let behind = std::iter::once((segment, scanned.end));
            let behind_them = later.iter().map(|segment| (segment, Position::ZERO));
            self.count_behind(behind.chain(behind_them), scanned.next_offset, &reason)?;
        }
        if reserved && self.mark.is_none() && !later.is_empty() {
            self.report.events.push(OpenEvent::LeftAlone {
                path: path.clone(),
                reason: format!(
                    "zeros stand at byte {}, before the next segment",
                    rest.start.0
                ),
            });
        }
        let is_last = !reserved && !Sabotage::KeptBehindHole.is_on();
        if !self.writes() {
            if is_last {
                segments.truncate(at + 1);
            }
            return Ok(is_last);
        }
        if !reserved {
            // Durable before the cut, which removes the only other copy.
            let bytes = rest.end.since(rest.start);
            let quarantine = copy_aside(
                self.disk(),
                &self.dir,
                segment.base_offset(),
                &file,
                rest.clone(),
            )?;
            self.set_aside(
                segment,
                rest,
                scanned.next_offset,
                quarantine,
                reason.clone(),
            );
            self.report.quarantined_bytes = self.report.quarantined_bytes.saturating_add(bytes);
        }
        // Before the cut: once the tail is gone, nothing says that these do not follow it, and
        // without a mark the next opening would keep them behind a gap.
        if is_last {
            self.set_segments_aside(segments, at + 1, &reason, kept_to)?;
        }
        self.report.clean = false;
        self.cut |= !reserved;
        // Durable before the cut: a file shorter than its digest says counts as damaged.
        if segment.drop_digest_above(self.disk(), scanned.end)? {
            self.disk().sync_dir(&self.dir).at(&self.dir, "sync")?;
        }
        let file = self.disk().open(&path, Access::Write).at(&path, "open")?;
        file.set_len(scanned.end.0).at(&path, "truncate")?;
        // Bytes that a power cut brought back could continue what is appended from now on.
        file.sync_data().at(&path, "sync")?;
        Ok(is_last)
    }

    fn set_aside(
        &mut self,
        segment: &Segment,
        range: Range<Position>,
        kept_to: Offset,
        quarantine: PathBuf,
        reason: Corruption,
    ) {
        self.report.events.push(OpenEvent::TailSetAside {
            path: segment.log_path(),
            position: range.start.0,
            kept_to,
            bytes: range.end.since(range.start),
            quarantine,
            reason,
        });
    }

    /// Quarantines whole segments that do not continue what is kept.
    ///
    /// The last one first: those that a crash leaves still follow each other, and the next opening
    /// meets the same reason.
    pub(super) fn set_segments_aside(
        &mut self,
        segments: &mut Vec<Arc<Segment>>,
        from: usize,
        reason: &Corruption,
        kept_to: Offset,
    ) -> Result<()> {
        let gone: Vec<_> = segments.drain(from..).collect();
        if !self.writes() {
            return Ok(());
        }
        let already = self.report.events.len();
        for segment in gone.into_iter().rev() {
            self.report.clean = false;
            self.cut = true;
            let bytes = segment.end().0;
            segment.close_file();
            // It holds nothing that could be kept.
            if bytes == 0 {
                remove_segment_files(self.disk(), &segment)?;
                continue;
            }
            let path = move_aside(self.disk(), &self.dir, segment.base_offset())?;
            let whole = Position::ZERO..segment.end();
            self.set_aside(&segment, whole, kept_to, path, reason.clone());
            self.report.quarantined_bytes = self.report.quarantined_bytes.saturating_add(bytes);
        }
        // Reported in the order of their offsets.
        self.report
            .events
            .get_mut(already..)
            .unwrap_or_default()
            .reverse();
        Ok(())
    }
}
