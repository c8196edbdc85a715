//! Floor 8: backups. The directory of a copy, and what it says about itself.
//!
//! Knows nothing about topics; `copy.rs` copies one log.
//!
//! 1. Before any change in the directory, `ottla.backup` says, durably, that the backup is not
//!    whole; at the end, when everything is durable, that it is. Only a whole backup is opened.
//! 2. The copy is what a crash would have left, except for its marks, which are written for it.
//!    Opened and closed once, it is like a closed directory.
//! 3. The directory is locked from the first change until the copy is closed.

mod copy;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::clock::Clock;
use crate::dir::{
    Marks, is_root, make_dir, read_note, remove_if_present, replace_if_other, run_id, take_lock,
};
use crate::disk::{Disk, File, Lock, SMALL_FILE_BYTES_MAX};
use crate::error::{Error, IoContext, Result};
use crate::format::{BackupNote, CopiedFile, MarkKey, file_name, uuid};
use crate::log::{Ending, Log, open_locked};
use crate::types::Timestamp;

pub(crate) use copy::CopiedLog;

/// A file written so shortly before its copy may be rewritten without a change of its modification
/// time.
const RACY: Duration = Duration::from_secs(2);

/// What an empty directory may hold: the root of a file system has `lost+found`, and a run
/// interrupted at its start leaves the others.
const NOTHING: [&str; 3] = ["lost+found", file_name::LOCK, "ottla.backup.tmp"];

/// The options of a backup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackupOptions {
    /// See the method of this name.
    pub hard_links: bool,
}

impl BackupOptions {
    /// Segments that are no longer appended to become second names (hard links) of the same files,
    /// which takes no space and no time. Ottla copies such a file before it cuts or writes it.
    /// Other programs do not: do not start a Kafka broker on either directory while both exist.
    /// Damage to one file is damage to both. Without hard links, or between two file systems, files
    /// are copied.
    #[must_use]
    pub fn hard_links(mut self, yes: bool) -> Self {
        self.hard_links = yes;
        self
    }
}

/// What a backup did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct BackupReport {
    /// Partitions in the backup.
    pub partitions: u64,
    /// Segments in the backup.
    pub segments: u64,
    /// Bytes of batches in the backup.
    pub bytes: u64,
    /// Segments of which something was copied.
    pub segments_copied: u64,
    /// Bytes of batches copied.
    pub bytes_copied: u64,
    /// Segments that became hard links.
    pub segments_linked: u64,
    /// How long it took.
    pub elapsed: Duration,
}

pub(crate) struct Backup {
    pub(crate) disk: Disk,
    clock: Clock,
    pub(crate) dest: PathBuf,
    options: BackupOptions,
    note: BackupNote,
    /// What the previous run copied.
    known: BTreeMap<String, CopiedFile>,
    pub(crate) report: BackupReport,
    began: Instant,
    began_at: Timestamp,
    lock: Option<Lock>,
}

pub(crate) struct Source<'a> {
    pub(crate) disk: &'a Disk,
    pub(crate) clock: &'a Clock,
    pub(crate) dir: &'a Path,
    /// Names the source; no other has this name.
    pub(crate) name: String,
    /// No other run has it.
    pub(crate) run: uuid::Uuid,
}

impl Backup {
    /// Checks, creates and locks the directory, and records that the backup is not whole.
    pub(crate) fn begin(source: Source<'_>, dest: &Path, options: BackupOptions) -> Result<Self> {
        let (disk, clock) = (source.disk.clone(), source.clock.clone());
        let dest = disk.absolute(dest).at(dest, "resolve the path of")?;
        // Before the directory is created: a refused backup leaves nothing behind.
        check_outside(&disk, source.dir, &dest)?;
        read_dest(&disk, &dest, &source.name)?;
        make_dir(&disk, &dest)?;
        let lock = Some(take_lock(&disk, &dest, Duration::ZERO)?);
        // Again under the lock: another run may have finished or begun in between.
        let known = read_dest(&disk, &dest, &source.name)?.unwrap_or_default();
        let note = BackupNote {
            whole: false,
            id: source.run,
            source: source.name,
            files: known.files.clone(),
        };
        let mut backup = Self {
            began: clock.instant(),
            began_at: clock.now(),
            known: known.files,
            report: BackupReport::default(),
            disk,
            clock,
            dest,
            options,
            note,
            lock,
        };
        // Before the first change: no process opens what a crash in the middle leaves (I1).
        backup.write_note()?;
        // A file is listed again once its copy of this run is complete.
        backup.note.files.clear();
        Ok(backup)
    }

    fn write_note(&self) -> Result<()> {
        let path = self.dest.join(file_name::BACKUP);
        let text = self.note.encode();
        self.disk.replace(&path, text.as_bytes()).at(&path, "write")
    }

    /// Before another try: of what was copied since `before`, only the amounts written still count.
    pub(crate) fn start_over(&mut self, before: &BackupReport) {
        self.report = BackupReport {
            segments_copied: self.report.segments_copied,
            bytes_copied: self.report.bytes_copied,
            segments_linked: self.report.segments_linked,
            ..before.clone()
        };
    }

    /// Copies a small file durably; removes the copy if the source has none.
    pub(crate) fn copy_small(&self, from: &Path, to: &Path) -> Result<()> {
        let bytes = self
            .disk
            .read_small(from, SMALL_FILE_BYTES_MAX)
            .at(from, "read")?;
        match bytes {
            Some(bytes) => replace_if_other(&self.disk, to, &bytes),
            None => remove_if_present(&self.disk, to).map(drop),
        }
    }

    pub(crate) fn new_marks(&self) -> Result<Marks> {
        let path = self.dest.join(file_name::MARKS);
        remove_if_present(&self.disk, &path)?;
        Marks::open(&self.disk, &path)
    }

    /// Returns the lock once, for opening the copy.
    pub(crate) fn take_lock(&mut self) -> Result<Lock> {
        debug_assert!(self.lock.is_some(), "the copy is opened twice");
        match self.lock.take() {
            Some(lock) => Ok(lock),
            None => take_lock(&self.disk, &self.dest, Duration::ZERO),
        }
    }

    /// Records, durably, that the copy is whole.
    pub(crate) fn finish(mut self) -> Result<BackupReport> {
        // The close released the lock: another run may have begun since.
        let _lock = take_lock(&self.disk, &self.dest, Duration::ZERO)?;
        if read_note(&self.disk, &self.dest)?.map(|note| note.id) != Some(self.note.id) {
            return Err(Error::Unsupported {
                what: format!(
                    "another backup into {} began meanwhile",
                    self.dest.display()
                ),
            });
        }
        self.note.whole = true;
        self.write_note()?;
        let report = &mut self.report;
        // What changed meanwhile and was copied twice counts once.
        report.segments_copied = report.segments_copied.min(report.segments);
        report.segments_linked = report.segments_linked.min(report.segments);
        report.bytes_copied = report.bytes_copied.min(report.bytes);
        let now = self.clock.instant();
        self.report.elapsed = now.saturating_duration_since(self.began);
        Ok(self.report)
    }

    fn name_of(&self, path: &Path) -> String {
        let inside = path.strip_prefix(&self.dest).unwrap_or(path);
        let parts: Vec<_> = inside.iter().map(|part| part.to_string_lossy()).collect();
        parts.join("/")
    }

    /// Whether a segment was copied before: by the note, the file's identity, its time and the
    /// lengths.
    fn is_there(&self, from: &Path, len: u64, to: &Path) -> Result<Option<CopiedFile>> {
        let name = self.name_of(to);
        // Also what an earlier try of this copy has decided.
        let known = self.note.files.get(&name).or_else(|| self.known.get(&name));
        let Some(known) = known.filter(|it| it.len == len) else {
            return Ok(None);
        };
        let same_source = self.disk.file_id(from).at(from, "access")?.parts() == known.source
            && self.disk.modified(from).at(from, "access")?.as_millis() == known.modified;
        let copy = || -> std::io::Result<bool> {
            let modified = self.disk.modified(to)?.as_millis();
            Ok(modified == known.modified && self.disk.file_len(to)? == len)
        };
        Ok(Some(*known).filter(|_| same_source && copy().unwrap_or(false)))
    }

    /// Copies or links a segment. Unless it is `done` it may have no file name: before the first
    /// append its file is a stand-in.
    fn copy_segment(
        &mut self,
        from: (&Path, &File),
        len: u64,
        to: &Path,
        done: bool,
    ) -> Result<()> {
        let (path, file) = from;
        if !done {
            return self.copy_front(file, len, to);
        }
        // Before the bytes are read: a later write changes it.
        let modified = self.disk.modified(path).at(path, "access")?;
        let id = file.id().at(path, "access")?;
        // Reserved space after a sealed segment will be cut, or, after a crash, the file replaced
        // by a cut copy: the other name would keep the zeros.
        let as_sealed = || file.len().is_ok_and(|there| there == len);
        if self.options.hard_links && as_sealed() && self.link(from, id.parts(), to)? {
            self.report.segments_linked += 1;
        } else {
            self.copy_front(file, len, to)?;
            // Retention falls back on this time, and the next run compares it.
            self.disk
                .set_modified(to, modified)
                .at(to, "set the time of")?;
        }
        // A later write within the clock's resolution would not change the time, so the next run
        // copies the file again.
        let is_old = modified.plus(RACY) <= self.began_at;
        if is_old {
            let source = id.parts();
            let modified = modified.as_millis();
            let copied = CopiedFile {
                len,
                source,
                modified,
            };
            self.note.files.insert(self.name_of(to), copied);
        }
        Ok(())
    }

    fn copy_front(&mut self, file: &File, len: u64, to: &Path) -> Result<()> {
        let copied = self.disk.copy_front(file, len, to);
        let copied = copied.at(to, "copy a segment to")?;
        self.report.segments_copied += u64::from(copied > 0);
        self.report.bytes_copied += copied;
        Ok(())
    }

    /// Links the copy, and makes the source durable; false if no link is possible.
    fn link(&self, from: (&Path, &File), source: (u64, u64, i64), to: &Path) -> Result<bool> {
        let (path, file) = from;
        match self.disk.file_id(to) {
            Ok(there) if there.parts() == source => {}
            Ok(_) => {
                self.disk.remove_file(to).at(to, "remove")?;
                self.disk.hard_link(path, to).ok();
            }
            Err(_) => drop(self.disk.hard_link(path, to)),
        }
        if !self.disk.file_id(to).is_ok_and(|new| new.parts() == source) {
            return Ok(false);
        }
        // The source syncs sealed segments later; the copy is durable when the backup returns.
        file.sync_data().at(path, "sync")?;
        Ok(true)
    }
}

/// Refuses a copy inside a root: a broker and retention would treat it as part of the root.
fn check_outside(disk: &Disk, source: &Path, dest: &Path) -> Result<()> {
    let real = |path: &Path| disk.real_path(path).at(path, "resolve the path of");
    // Real paths, because a link may lead inside.
    let (source, dest) = (real(source)?, real(dest)?);
    let refused = |root: &Path| Error::Unsupported {
        what: format!(
            "a backup into {}, which is inside of {}: choose a directory outside of it",
            dest.display(),
            root.display(),
        ),
    };
    if dest.starts_with(&source) {
        return Err(refused(&source));
    }
    for above in dest.ancestors().skip(1) {
        if is_root(disk, above)? {
            return Err(refused(above));
        }
    }
    Ok(())
}

/// The note of an earlier backup; `None` if there is nothing yet; [`Error::Unsupported`] if
/// something else is there.
fn read_dest(disk: &Disk, dest: &Path, source: &str) -> Result<Option<BackupNote>> {
    if !disk.exists(dest).at(dest, "access")? {
        return Ok(None);
    }
    // Before the note: a directory that cannot be listed is not taken for an empty one.
    let there = disk.list(dest).at(dest, "list")?;
    match read_note(disk, dest)? {
        Some(note) if note.source == source => Ok(Some(note)),
        Some(note) => Err(Error::Unsupported {
            what: format!(
                "{} holds a backup of another directory ({}): choose a directory for each",
                dest.display(),
                note.source,
            ),
        }),
        None => {
            let other = there
                .iter()
                .find(|entry| !NOTHING.contains(&entry.name.as_str()));
            other.map_or(Ok(None), |other| {
                Err(Error::Unsupported {
                    what: format!(
                        "a backup into {}, which is not empty (it holds {}) and no backup: choose \
                         an empty directory, or one that is not there",
                        dest.display(),
                        other.name,
                    ),
                })
            })
        }
    }
}

impl Log {
    /// Copies the log, as readers see it at one moment, into a directory that is then a closed log
    /// of its own: [`Log::open`] opens it. Appends and reads continue meanwhile.
    ///
    /// The directory must be missing, empty, or an earlier backup of the log in the same place.
    /// Then only what is new is copied, and what was deleted or compacted since leaves the copy as
    /// well. An interrupted backup cannot be opened; a new one into the same place finishes it.
    /// Damaged bytes are an error. [`Broker::backup`](crate::Broker::backup) copies all topics and
    /// groups.
    ///
    /// An open transaction of a Kafka producer is aborted in the copy, by a marker after what was
    /// copied: no producer could end it there.
    ///
    /// # Errors
    ///
    /// - [`Error::Unsupported`]: the directory holds something else, or is inside the log's.
    /// - [`Error::Locked`]: another handle has the directory open.
    /// - [`Error::NoSpace`], [`Error::Io`]: the backup is not finished.
    /// - [`Error::Corrupt`], [`Error::Closed`].
    ///
    /// # Examples
    ///
    /// ```
    /// use ottla::{Log, LogConfig};
    ///
    /// # let scratch = tempfile::tempdir()?;
    /// let log = Log::open(scratch.path().join("events"), LogConfig::default())?;
    /// log.append("before")?;
    /// let report = log.backup(scratch.path().join("backup"))?;
    /// assert_eq!(report.segments, 1);
    ///
    /// log.append("after")?;
    /// let copy = Log::open(scratch.path().join("backup"), LogConfig::default())?;
    /// assert_eq!(copy.end_offset(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn backup(&self, dest: impl AsRef<Path>) -> Result<BackupReport> {
        self.backup_with(dest, BackupOptions::default())
    }

    /// [`Log::backup`] with options.
    ///
    /// # Errors
    ///
    /// As [`Log::backup`].
    pub fn backup_with(
        &self,
        dest: impl AsRef<Path>,
        options: BackupOptions,
    ) -> Result<BackupReport> {
        let shared = self.here()?;
        let host = &shared.host;
        let source = Source {
            disk: &host.disk,
            clock: &host.clock,
            dir: &shared.dir,
            name: format!("log {}", shared.dir.display()).replace('\n', " "),
            run: run_id(),
        };
        let mut backup = Backup::begin(source, dest.as_ref(), options)?;
        let dest = backup.dest.clone();
        // The note says by now that the backup is not whole (I1).
        let copied = shared.back_up(&dest, &mut backup)?;
        backup
            // After the files that it describes: the opening below believes them, and cuts
            // nothing.
            .new_marks()?
            .write_both(copied.mark(MarkKey::default()), host.clock.instant())?;
        backup.disk.sync_dir(&dest).at(&dest, "sync")?;
        let lock = backup.take_lock()?;
        let config = shared.config().as_ref().clone();
        // Checks the copy, and leaves it as a closed directory (I2).
        let copy = open_locked(&backup.disk, &host.clock, &dest, config, lock)?;
        copied.check(&copy)?;
        for open in &copied.open {
            copy.end_transaction(Ending::abort(open))?;
        }
        copy.close()?;
        // Everything is durable: only now may the note say that the backup is whole (I1).
        backup.finish()
    }
}
