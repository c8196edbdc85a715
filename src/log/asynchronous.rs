//! Appending and flushing without a thread that waits: the [`Delivery`] is done when the sync is.
//!
//! Knows nothing about tasks: a delivery wakes its own.
//!
//! 1. What is requested during one sync of a log is done together by the next one: group commit, as
//!    in `host/syncers.rs`.
//! 2. Without a thread to sync, the requesting one does it, and the delivery is done at once.

use std::ops::Range;
use std::sync::Arc;

use crate::delivery::{Delivery, Promise};
use crate::error::{Error, Result};
use crate::host::SyncJob;
use crate::types::{Offset, PartitionId, Record};

use super::confirm::LATER;
use super::shared::Log;

impl Log {
    /// Appends one record and returns before it is safe. The [`Delivery`] is done when the record
    /// survives what the [`durability`](crate::LogConfig::durability) says, and resolves to its
    /// offset.
    ///
    /// The record is appended within this call, in the order of the calls, whether or not the
    /// delivery is awaited or dropped. Under [`Durability::Always`](crate::Durability::Always) a
    /// thread syncs, once for all records that wait by then, and readers see the record after that;
    /// with any other durability the delivery is done at once. If no thread can sync (as with
    /// [`manual_upkeep`](crate::BrokerConfig::manual_upkeep)), this call does.
    ///
    /// The delivery keeps neither the log nor its broker open; closing syncs what waits.
    ///
    /// # Errors
    ///
    /// As [`Log::append`], except those of the sync: the record was not appended. If the sync
    /// fails, the delivery resolves to [`Error::Poisoned`] or [`Error::Io`]; the record may or may
    /// not be there after a crash.
    ///
    /// # Examples
    ///
    /// ```
    /// use ottla::{Durability, Log, LogConfig};
    ///
    /// async fn append_two(log: &Log) -> ottla::Result<()> {
    ///     let first = log.append_async("first")?;
    ///     let second = log.append_async("second")?;
    ///     // One sync is enough for both.
    ///     assert_eq!((first.await?, second.await?), (0, 1));
    ///     assert_eq!(log.flushed_offset(), 2);
    ///     Ok(())
    /// }
    ///
    /// # let scratch = tempfile::tempdir()?;
    /// # let dir = scratch.path().join("events");
    /// let log = Log::open(dir, LogConfig::default().durability(Durability::Always))?;
    /// # pollster::block_on(append_two(&log))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn append_async<'a>(&self, record: impl Into<Record<'a>>) -> Result<Delivery<Offset>> {
        let offsets = self.append_unsynced(&record.into())?;
        Ok(self.confirmed(0, offsets, |_, offset| offset, |error| error))
    }

    /// Requests a sync up to and including the record at an offset, or of everything if that is not
    /// appended yet. The delivery is done when that survives power loss, whatever the durability of
    /// the log, and resolves to the flushed end: everything below it is safe.
    ///
    /// It does not keep the log open, and dropping it changes nothing.
    ///
    /// # Errors
    ///
    /// It resolves to the errors of [`Log::flush`].
    ///
    /// # Examples
    ///
    /// ```
    /// use ottla::{Log, LogConfig};
    ///
    /// # let scratch = tempfile::tempdir()?;
    /// # let dir = scratch.path().join("events");
    /// let log = Log::open(dir, LogConfig::default())?;
    /// let offset = log.append("hello")?;
    /// # pollster::block_on(async {
    /// assert_eq!(log.flushed(offset).await?, 1);
    /// # Ok::<(), ottla::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn flushed(&self, offset: Offset) -> Delivery<Offset> {
        let asked = self.here().and_then(|shared| {
            shared.life.can_confirm()?;
            Ok(offset.saturating_add(1).min(shared.end_offset()))
        });
        let end = match asked {
            Ok(end) => end,
            Err(error) => return self.failed(error),
        };
        let flushed = self.flushed_offset();
        if flushed >= end {
            return Delivery::known(0, flushed, |_, offset| offset);
        }
        let (delivery, promise) = self.promised(0, |_, offset| offset);
        let shared = Arc::downgrade(&self.shared);
        let done = move |synced: Result<()>| {
            // It may be further now, or less far after a truncation.
            let flushed = shared.upgrade().map(|shared| shared.flushed_offset());
            let flushed = flushed.unwrap_or(end);
            promise.keep(synced.map(|()| flushed..flushed));
        };
        self.ask_for_sync(end, true, Box::new(done));
        delivery
    }

    /// Appends a record whose sync the caller requests afterwards.
    pub(crate) fn append_unsynced(&self, record: &Record<'_>) -> Result<Range<Offset>> {
        self.may_change()?;
        self.shared.append_one(record, LATER)
    }

    /// A delivery that is done when the records survive what the durability says.
    pub(crate) fn confirmed<T>(
        &self,
        partition: PartitionId,
        offsets: Range<Offset>,
        make: fn(PartitionId, Offset) -> T,
        explain: impl FnOnce(Error) -> Error + Send + 'static,
    ) -> Delivery<T> {
        // It is already as safe as the durability promises.
        if !self.must_confirm() {
            return Delivery::known(partition, offsets.start, make);
        }
        let (delivery, promise) = self.promised(partition, make);
        let end = offsets.end;
        let done =
            move |synced: Result<()>| promise.keep(synced.map(|()| offsets).map_err(explain));
        self.ask_for_sync(end, false, Box::new(done));
        delivery
    }

    fn promised<T>(
        &self,
        partition: PartitionId,
        make: fn(PartitionId, Offset) -> T,
    ) -> (Delivery<T>, Promise) {
        Delivery::promised(&self.shared.host.clock, partition, make)
    }

    fn failed(&self, error: Error) -> Delivery<Offset> {
        let (delivery, promise) = self.promised(0, |_, offset| offset);
        promise.keep(Err(error));
        delivery
    }

    fn ask_for_sync(
        &self,
        end: Offset,
        in_any_case: bool,
        done: Box<dyn FnOnce(Result<()>) + Send>,
    ) {
        // This handle does not keep the log open: the thread that syncs must not close it.
        let log = Self::not_closing(Arc::clone(&self.shared));
        let job = SyncJob {
            log: Box::new(log),
            end,
            in_any_case,
            done,
        };
        self.shared.host.syncers.run(vec![job], false);
    }
}
