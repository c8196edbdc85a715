//! Copies one log: its segments up to what readers see, and the small files beside them.
//!
//! Knows nothing about where the copy goes.
//!
//! 1. Usually nothing is locked: if something is removed, replaced or cut meanwhile, the copy
//!    begins again with what differs. After a few tries it makes retention, truncation and the swap
//!    of compaction wait.
//! 2. Every copied batch was checked in the source. So the copy's mark is at its end: a crash
//!    before it is opened cuts nothing.
//! 3. A segment with a batch of a transaction is read each time, to know which transactions are
//!    open in the copy, where no producer could end them.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::dir::{remove_if_present, replace_if_other};
use crate::disk::{EntryKind, FileId};
use crate::error::{Error, IoContext, Result};
use crate::format::txn::ProducerState;
use crate::format::{FileKind, FileName, Mark, MarkKey, Stage, checkpoint, file_name};
use crate::log::{Log, Shared, View, pause};
use crate::segment::{Segment, SparseIndex, Transactions};
use crate::types::{Offset, Position};

use super::Backup;

/// After this many tries the copy makes others wait.
const TRIES: u32 = 3;

/// How often it begins again where it cannot make another process wait, each time after a pause;
/// copied segments stay copied.
const TRIES_OUTSIDE: u32 = 200;

/// How far a log was copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CopiedLog {
    start: Offset,
    end: Offset,
    segment_base: Offset,
    /// The end of the segment's last batch.
    position: Position,
    cleaned: Offset,
    /// The producers of its open transactions (I3).
    pub(crate) open: Vec<ProducerState>,
}

impl CopiedLog {
    pub(crate) fn mark(&self, key: MarkKey) -> Mark {
        Mark {
            key,
            flushed_offset: self.end,
            position: self.position,
            segment_base: self.segment_base,
            log_start_offset: self.start,
            cleaned_offset: self.cleaned,
            ..Mark::default()
        }
    }

    /// [`Error::Io`] with the directory if something wrote to the copy meanwhile.
    pub(crate) fn check(&self, copy: &Log) -> Result<()> {
        let found = (copy.start_offset(), copy.end_offset());
        if found == (self.start, self.end) {
            return Ok(());
        }
        let what = format!(
            "it has offsets {} to {}, and {} to {} were copied",
            found.0, found.1, self.start, self.end,
        );
        let other = std::io::Error::other(what);
        Err(Error::io(
            &copy.shared.dir,
            "read what was copied to",
            other,
        ))
    }
}

/// What another process would change.
#[derive(PartialEq, Eq)]
struct Signs {
    epochs: Option<Vec<u8>>,
    files: Vec<Option<FileId>>,
}

impl Log {
    pub(crate) fn back_up(&self, to: &Path, backup: &mut Backup) -> Result<CopiedLog> {
        self.here()?.back_up(to, backup)
    }
}

impl Shared {
    /// Copies what readers see; all of it is durable, except names (I1).
    pub(super) fn back_up(&self, to: &Path, backup: &mut Backup) -> Result<CopiedLog> {
        let disk = &self.host.disk;
        disk.create_dir(to).at(to, "create the directory")?;
        for tried in 0.. {
            if tried > 0 && self.life.is_read_only() {
                pause(&self.host.clock, tried);
            }
            // If another process writes the log, the copy has what is there by now.
            self.look_outside()?;
            let _others_wait = (tried >= TRIES).then(|| self.layout.lock());
            self.life.can_read()?;
            let view = self.view();
            // Equal signs before and after the copy mean that no other process replaced a file.
            let signs = self.signs(&view);
            let report = backup.report.clone();
            let copied = self.copy_view(&view, to, backup);
            let changed = self.is_changed_since(&view) || self.signs(&view) != signs;
            match copied {
                Ok(copied) if !changed => return Ok(copied),
                Err(error) if !changed || tried >= TRIES_OUTSIDE => self.doubt(error, false)?,
                Ok(_) if tried >= TRIES_OUTSIDE => break,
                _ => {}
            }
            backup.start_over(&report);
        }
        let busy = std::io::Error::other("another process changed it all the time");
        Err(Error::io(&self.dir, "copy", busy))
    }

    /// What they are now; `None` for a log that is written here.
    fn signs(&self, view: &View) -> Option<Signs> {
        let disk = &self.host.disk;
        self.life.is_read_only().then(|| {
            let path = self.dir.join(file_name::LEADER_EPOCHS);
            let paths = view.segments.iter().map(|segment| segment.log_path());
            Signs {
                epochs: disk.read_small(&path, checkpoint::SIZE_MAX).ok().flatten(),
                files: paths.map(|path| disk.file_id(&path).ok()).collect(),
            }
        })
    }

    fn copy_view(&self, view: &View, to: &Path, backup: &mut Backup) -> Result<CopiedLog> {
        // In this order, as the start never passes what readers see.
        let start = self.start_offset();
        let limit = self.high_watermark();
        let first = view
            .segments
            .first()
            .map_or(start, |segment| segment.base_offset());
        let mut copied = CopiedLog {
            start,
            end: first,
            segment_base: first,
            position: Position::ZERO,
            cleaned: 0,
            open: Vec::new(),
        };
        let mut transactions = Transactions::default();
        let mut bases = BTreeSet::new();
        for (at, segment) in view.segments.iter().enumerate() {
            let base = segment.base_offset();
            if base > limit {
                break;
            }
            bases.insert(base);
            let is_last = at.saturating_add(1) == view.segments.len();
            let done = !is_last && segment.next_offset() <= limit;
            (copied.position, copied.end) =
                self.copy_segment(segment, limit, to, (done, &mut transactions, backup))?;
            copied.segment_base = base;
            backup.report.segments += 1;
            backup.report.bytes += copied.position.0;
        }
        // Above every batch, the copy is empty, and begins at the start.
        copied.end = copied.end.max(start);
        copied.open = transactions.open_transactions();
        let cleaned = if self.life.is_read_only() {
            let mark = self.host.marks.find(self.mark_key());
            mark.map_or(0, |mark| mark.cleaned_offset)
        } else {
            self.turn.lock().mark.cleaned_offset
        };
        copied.cleaned = cleaned.min(copied.end);
        // After the segments, because it removes what belongs to none of them.
        self.copy_rest(copied.end, &bases, to, backup)?;
        backup.report.partitions += 1;
        Ok(copied)
    }

    /// Copies the batches below `limit`. `done`: sealed, and visible to readers; then the indexes
    /// are copied, too. Notes the batches of transactions. Returns where the batches end.
    fn copy_segment(
        &self,
        segment: &Arc<Segment>,
        limit: Offset,
        to: &Path,
        (done, transactions, backup): (bool, &mut Transactions, &mut Backup),
    ) -> Result<(Position, Offset)> {
        let (disk, files) = (&self.host.disk, &self.host.files);
        let base = segment.base_offset();
        let (from, into) = (segment.log_path(), to.join(file_name::log(base)));
        let whole = (segment.end(), segment.next_offset());
        if done && let Some(known) = backup.is_there(&from, whole.0.0, &into)? {
            let name = backup.name_of(&into);
            backup.note.files.insert(name, known);
            return Ok(whole);
        }
        let mut end = (Position::ZERO, base);
        // Every batch is checked before the copy: a backup must not spread damage (I2).
        let mut is_plain = true;
        self.find_below(segment, base..limit, |shared, raw| {
            end = (raw.end(), raw.header.next_offset());
            if raw.header.is_transactional() || raw.header.is_control() {
                is_plain = false;
                shared.note(raw, segment, transactions)?;
            }
            Ok(None::<()>)
        })?;
        if done {
            // Compaction may have dropped records after the last batch.
            end.1 = whole.1;
        }
        // No lock is held here, and the file may be one too many.
        files.make_room();
        let file = segment.file(disk, files)?;
        backup.copy_segment((&from, &file), end.0.0, &into, done)?;
        if !is_plain {
            let name = backup.name_of(&into);
            backup.note.files.remove(&name);
        }
        // Those of an earlier copy may describe other bytes.
        for name in file_name::of_segment(base).into_iter().skip(1) {
            remove_if_present(disk, &to.join(name))?;
        }
        if done {
            let (offsets, times) = segment.with_index(disk, files, SparseIndex::encode)?;
            replace_if_other(disk, &to.join(file_name::index(base)), &offsets)?;
            replace_if_other(disk, &to.join(file_name::time_index(base)), &times)?;
        }
        Ok(end)
    }

    /// Copies the epochs and a broker's files, and removes what belongs to no segment of the copy.
    fn copy_rest(
        &self,
        end: Offset,
        bases: &BTreeSet<Offset>,
        to: &Path,
        backup: &Backup,
    ) -> Result<()> {
        let disk = &self.host.disk;
        let epochs = self.epochs.read().text_below(end);
        replace_if_other(disk, &to.join(file_name::LEADER_EPOCHS), epochs.as_bytes())?;
        if self.managed {
            let name = file_name::PARTITION_METADATA;
            backup.copy_small(&self.dir.join(name), &to.join(name))?;
        }
        let of_producers = |name: &str| match FileName::parse(name) {
            FileName::Segment {
                base,
                kind,
                stage: Stage::Live,
            } => match kind {
                FileKind::TxnIndex => bases.contains(&base),
                FileKind::Snapshot => base <= end,
                _ => false,
            },
            _ => false,
        };
        let mut kept = BTreeSet::new();
        for entry in disk.list(&self.dir).at(&self.dir, "list")? {
            if entry.kind == EntryKind::File && of_producers(&entry.name) {
                backup.copy_small(&self.dir.join(&entry.name), &to.join(&entry.name))?;
                kept.insert(entry.name);
            }
        }
        // After the copies are complete: what they replace of an earlier backup stays until
        // then.
        for entry in disk.list(to).at(to, "list")? {
            let stays = match FileName::parse(&entry.name) {
                FileName::Segment { base, kind, stage } => match kind {
                    _ if stage != Stage::Live => false,
                    FileKind::TxnIndex | FileKind::Snapshot => kept.contains(&entry.name),
                    _ => bases.contains(&base),
                },
                FileName::NextSegment | FileName::Temporary => false,
                _ => entry.name != file_name::TRUNCATE,
            };
            if !stays && entry.kind == EntryKind::File {
                remove_if_present(disk, &to.join(&entry.name))?;
            }
        }
        disk.sync_dir(to).at(to, "sync")
    }
}
