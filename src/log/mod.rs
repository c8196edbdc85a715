//! Floor 6: one partition. A [`Log`] owns rolling segments and their indexes; it appends, flushes,
//! rolls, truncates and deletes, and follows a log that another process writes.
//!
//! Knows nothing about topics, keys' partitions or groups.
//!
//! What guards what:
//!
//! 1. `append` guards the end of the log and the active segment. No user code runs under it, and,
//!    except in a truncation, no sync or encoding.
//! 2. The *turn* (`turn.rs`) guards the flushed end: one thread at a time syncs, truncates, closes.
//!    It is taken before `append`, never while holding it.
//! 3. `segments` is changed with `append` held, and read by any thread for the length of a look-up.
//! 4. `layout` guards which sealed segments exist and what their files are called. It is taken
//!    before the turn.
//! 5. start <= flushed <= end and start <= high watermark <= end, always.

mod alone;
mod append;
#[cfg(feature = "async")]
mod asynchronous;
mod budget;
mod confirm;
mod digest;
mod epochs;
mod flush;
mod follow;
mod isolation;
mod keys;
mod life;
mod live;
mod looks;
mod metrics;
mod noted;
mod open;
mod outside;
mod parking;
mod producers;
mod read;
mod retention;
mod roll;
mod seen;
mod segments;
mod shared;
mod shown;
mod signs;
mod state;
mod time;
mod truncate;
mod turn;
mod usher;
mod view;
mod watch;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

#[cfg(any(all(test, ottla_repository), ottla_sim))]
pub(crate) use alone::open_alone_on;
pub(crate) use alone::open_locked;
#[cfg(test)]
#[cfg(ottla_repository)]
pub(crate) use append::UNSYNCED_BYTES_SOFT;
pub(crate) use append::{check_record, with_scratch};
pub(crate) use confirm::LATER;
pub(crate) use isolation::Filter;
pub(crate) use producers::{Ending, Producers};
pub(crate) use read::fits;
pub use shared::Log;
pub(crate) use shared::Shared;
pub(crate) use signs::{LogSigns, RootSigns, Signs, is_live, look_until_it_counts, pause};
pub(crate) use state::has_rules;
pub(crate) use view::View;
pub(crate) use watch::LogWatch;

use crate::dir::parent_of;
use crate::error::{Error, Result};
use crate::host::{Host, Span};
use crate::recovery::{LogSource, OpenMode, OpenReport, SegmentInfo};
use crate::types::{LogConfig, Offset, Record, Settings as _, Timestamp};

use append::How;
use outside::open_outside;

impl Log {
    /// Opens the log in a directory, which is created with its parents if it does not exist, and
    /// recovers after a crash.
    ///
    /// An invalid tail that a crash left is moved to a quarantine file and reported by
    /// [`Log::open_report`]; nothing is deleted. After a clean close, the time that opening takes
    /// depends on the number of segments, not on their size.
    ///
    /// # Errors
    ///
    /// - [`Error::Locked`]: another handle, in this or another process, has it open, or a broker
    ///   has the root that it is a partition of.
    /// - [`Error::InvalidConfig`]: a setting is out of its bounds.
    /// - [`Error::Corrupt`]: bytes that were safely written are damaged; nothing was changed.
    /// - [`Error::Io`], [`Error::NoSpace`]: the directory cannot be read or created.
    pub fn open(dir: impl AsRef<Path>, config: LogConfig) -> Result<Self> {
        config.check()?;
        alone::open_alone(dir.as_ref(), config, OpenMode::Write)
    }

    /// Opens the log in a directory for reading: takes no lock, changes no byte, and needs only
    /// permission to read the files and to search the directory. It follows a writer, in this or
    /// another process, including a Kafka broker: the ends move, readers continue with what is
    /// appended, and the writer or the next poll wakes waiting calls. It sees no record that the
    /// writer's own readers may not see.
    ///
    /// Records that the writer deletes or compacts meanwhile are read as by its own readers; a
    /// reader behind a truncation gets [`Error::Truncated`]. The handle outlives the writer, and
    /// follows the next one. If the directory is removed, or becomes another log's, calls return
    /// [`Error::Closed`].
    ///
    /// Beside a writer, damage is reported after about a second, when it cannot be an unfinished
    /// step of the writer. [`Log::is_live`] says whether there is a writer.
    ///
    /// # Errors
    ///
    /// As [`Log::open`], except [`Error::Locked`]. Every method that writes returns
    /// [`Error::ReadOnly`].
    pub fn open_read_only(dir: impl AsRef<Path>) -> Result<Self> {
        alone::open_alone(dir.as_ref(), LogConfig::default(), OpenMode::Read)
    }

    pub(crate) fn open_in(
        host: &Arc<Host>,
        source: LogSource,
        config: LogConfig,
        mode: OpenMode,
    ) -> Result<Self> {
        let shared = match (mode, parent_of(&source.dir).map(Path::to_path_buf)) {
            (OpenMode::Read, Some(root)) => open_outside(host, &root, &source, &config)?,
            _ => open::open(host, source, config, mode)?,
        };
        shared.join_bell();
        shared.recharge();
        shared.note_opening();
        Ok(Self::not_closing(shared))
    }

    /// Appends a record and returns its offset.
    ///
    /// When this returns, readers see the record, and it survives what the log's
    /// [`Durability`](crate::Durability) says. Concurrent appends get distinct offsets in some
    /// order. Allocates nothing in steady state.
    ///
    /// # Errors
    ///
    /// After [`Error::Poisoned`] (a sync failed, now or earlier) the next opening may or may not
    /// find the record. After the others nothing of it is left:
    ///
    /// - [`Error::RecordTooLarge`], [`Error::InvalidRecord`]: the record breaks a rule of the log.
    /// - [`Error::NoSpace`]: the disk is full; try again when there is space.
    /// - [`Error::Io`]: the write failed; the log stays usable.
    /// - [`Error::ReadOnly`], [`Error::Closed`].
    pub fn append<'a>(&self, record: impl Into<Record<'a>>) -> Result<Offset> {
        self.may_change()?;
        self.shared
            .append_one(&record.into(), How::default())
            .map(|offsets| offsets.start)
    }

    /// Appends records as one batch: all of them or none, for readers and after any crash. Returns
    /// their offsets; an empty batch appends nothing and returns the empty range at the end.
    ///
    /// The records are encoded, and compressed as the log's setting says, before any lock is taken.
    ///
    /// # Errors
    ///
    /// As [`Log::append`]; the batch as a whole must fit `max_message_bytes`.
    pub fn append_batch<'a, R: Into<Record<'a>>>(
        &self,
        records: impl IntoIterator<Item = R>,
    ) -> Result<Range<Offset>> {
        self.may_change()?;
        let records = records.into_iter().map(Into::into);
        self.shared.append_many(records, How::default())
    }

    /// Appends a record as [`Log::append`] does if the log ends at `expected_end`, and returns that
    /// offset: the basis of optimistic concurrency control.
    ///
    /// The comparison costs nothing: it is made under the lock that every append takes, and under
    /// [`Durability::Always`](crate::Durability::Always) threads still share their syncs. It uses
    /// [`Log::end_offset`], not what readers see: after [`Error::EndMoved`], wait for the record
    /// before `end` with [`Log::wait_for`], read the new records, decide, and try again.
    ///
    /// # Errors
    ///
    /// As [`Log::append`], and [`Error::EndMoved`]: another append came first. Nothing was written
    /// or waited for.
    ///
    /// # Examples
    ///
    /// ```
    /// use ottla::{Error, Log, LogConfig};
    ///
    /// # let scratch = tempfile::tempdir()?;
    /// let log = Log::open(scratch.path().join("seats"), LogConfig::default())?;
    /// let seen = log.end_offset();
    /// assert_eq!(log.append_at(seen, "12A is taken")?, seen);
    ///
    /// let late = log.append_at(seen, "12A is taken, too");
    /// assert!(matches!(late, Err(Error::EndMoved { expected: 0, end: 1, .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn append_at<'a>(
        &self,
        expected_end: Offset,
        record: impl Into<Record<'a>>,
    ) -> Result<Offset> {
        let record = record.into();
        self.may_change()?;
        self.shared.check_end_early(expected_end)?;
        self.shared
            .append_one(&record, How::at(expected_end))
            .map(|offsets| offsets.start)
    }

    /// [`Log::append_at`] for a batch. For an empty one the end is compared as well, and the result
    /// is the empty range there.
    ///
    /// # Errors
    ///
    /// As [`Log::append_at`] and [`Log::append_batch`].
    ///
    /// # Examples
    ///
    /// ```
    /// use ottla::{Log, LogConfig};
    ///
    /// # let scratch = tempfile::tempdir()?;
    /// let log = Log::open(scratch.path().join("seats"), LogConfig::default())?;
    /// assert_eq!(log.append_batch_at(0, ["12A is taken", "12B is taken"])?, 0..2);
    /// assert!(log.append_batch_at(0, ["12C is taken"]).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn append_batch_at<'a, R: Into<Record<'a>>>(
        &self,
        expected_end: Offset,
        records: impl IntoIterator<Item = R>,
    ) -> Result<Range<Offset>> {
        self.may_change()?;
        self.shared.check_end_early(expected_end)?;
        let records = records.into_iter().map(Into::into);
        self.shared.append_many(records, How::at(expected_end))
    }

    /// The first record whose timestamp is at or after a time; `None` if no record is that late
    /// (yet). Costs one index look-up and a read of the bytes between two index entries.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`], [`Error::Io`], [`Error::Corrupt`], [`Error::Unsupported`].
    pub fn offset_for_time(&self, at: Timestamp) -> Result<Option<Offset>> {
        self.here_now()?.offset_for_time(at)
    }

    /// Makes everything that was appended before the call survive power loss, and returns the new
    /// [`Log::flushed_offset`].
    ///
    /// # Errors
    ///
    /// - [`Error::Poisoned`]: a sync failed, now or earlier: nothing more is confirmed until the
    ///   log is opened again.
    /// - [`Error::ReadOnly`], [`Error::Closed`].
    pub fn flush(&self) -> Result<Offset> {
        self.show_events_of(self.here()?.flush())
    }

    /// The first offset that can be read. Retention and [`Log::truncate_prefix`] raise it.
    #[must_use]
    pub fn start_offset(&self) -> Offset {
        self.current().start_offset()
    }

    /// Every record below this offset survives power loss. Kafka's recovery point.
    #[must_use]
    #[doc(alias = "recovery_point")]
    pub fn flushed_offset(&self) -> Offset {
        self.current().flushed_offset()
    }

    /// The offset that the next record will get.
    #[must_use]
    #[doc(alias = "LEO")]
    pub fn end_offset(&self) -> Offset {
        self.current().end_offset()
    }

    /// Readers see the records below this offset: all of them, or under
    /// [`Durability::Always`](crate::Durability::Always) the flushed ones, so that no reader acts
    /// on a record that a power cut could still take.
    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        self.current().high_watermark()
    }

    /// Waits until readers see the record at an offset (true) or the time is over (false). Wakes as
    /// soon as the record is there.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`], [`Error::Poisoned`]: it will not come. A log that was opened for reading
    /// waits for what its writer appends, even while there is no writer.
    pub fn wait_for(&self, offset: Offset, timeout: Duration) -> Result<bool> {
        // A record that is there is reported without a lock, which a consumer that lags behind
        // would take for every batch.
        let shared = self.here()?;
        if self.high_watermark() > offset {
            return Ok(true);
        }
        shared.wait_for(offset, timeout, || false)
    }

    pub(crate) fn park_if_idle(&self) -> Result<()> {
        self.shared.digest_in_line();
        self.shared.park_if_idle()
    }

    /// The segments, oldest first; none in a forked process.
    #[must_use]
    pub fn segments(&self) -> Vec<SegmentInfo> {
        self.here_now()
            .map_or_else(|_| Vec::new(), Shared::segment_infos)
    }

    /// What opening the log found and did.
    #[must_use]
    pub fn open_report(&self) -> &OpenReport {
        &self.shared.report
    }

    /// The present settings; the defaults in a forked process.
    #[must_use]
    pub fn config(&self) -> LogConfig {
        if self.shared.outside.get().is_some() {
            self.shared.host.check_topics();
        }
        let config = self.here().map(Shared::config);
        config.map_or_else(|_| LogConfig::default(), |config| config.as_ref().clone())
    }

    /// Syncs everything, trims every file to its last entry, and releases the lock. From then on
    /// other handles return [`Error::Closed`]. Closing a closed log is `Ok`. A log of a broker is
    /// only flushed: the broker closes it.
    ///
    /// # Errors
    ///
    /// [`Error::Poisoned`], [`Error::Io`], [`Error::NoSpace`]: the lock is released all the same,
    /// and the next opening recovers.
    pub fn close(&self) -> Result<()> {
        if self.here()?.managed {
            return self.shared.flush().map(drop);
        }
        let _span = Span::close(&self.shared.dir);
        let closed = self.shared.close();
        self.shared.host.stop_threads();
        self.show_events_of(closed)
    }

    /// Makes long operations in a broker's log give up.
    pub(crate) fn begin_closing(&self) {
        self.shared.begin_closing();
    }

    pub(crate) fn close_managed(&self) -> Result<()> {
        self.shared.close()
    }

    pub(crate) fn out_of_range(&self, requested: Offset) -> Error {
        self.shared.out_of_range(requested)
    }

    #[cfg(test)]
    pub(crate) fn abandon(self) {
        self.shared.life.end();
    }

    pub(crate) fn reconfigure(&self, config: LogConfig) -> Result<()> {
        config.check()?;
        self.shared.reconfigure(config)
    }
}
