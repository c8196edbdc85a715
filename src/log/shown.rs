//! The visible state of a running log: its ends, settings and segments; wakes callers when they
//! change.
//!
//! Knows nothing about appending, reading and the disk.
//!
//! 1. A high watermark never moves back except by a truncation, even when the durability changes.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Waited;
use crate::error::{Error, Result};
use crate::host::Heard;
use crate::recovery::SegmentInfo;
use crate::sync::{Ordering, WakeLater};
use crate::types::{Durability, Epoch, LogConfig, Offset, Sabotage};

use super::isolation::Filter;
use super::shared::{Log, Shared};

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log")
            .field("dir", &self.dir)
            .field("start", &self.start_offset())
            .field("flushed", &self.flushed_offset())
            .field("end", &self.end_offset())
            .finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn start_offset(&self) -> Offset {
        self.start.load(Ordering::Acquire)
    }

    pub(crate) fn flushed_offset(&self) -> Offset {
        self.flushed.load(Ordering::Acquire)
    }

    pub(crate) fn end_offset(&self) -> Offset {
        self.end.load(Ordering::Acquire)
    }

    #[inline]
    pub(crate) fn high_watermark(&self) -> Offset {
        // The end first: read after the durability, it might include what was appended since the
        // log became `Always`, and the high watermark would move back.
        let end = self.end_offset();
        if self.is_always() && !Sabotage::ShownBeforeSync.is_on() {
            self.flushed_offset()
                .max(self.shown.load(Ordering::Acquire))
        } else {
            end
        }
    }

    /// Whether readers see only what is flushed.
    #[inline]
    pub(super) fn is_always(&self) -> bool {
        self.hot.durability() == Durability::Always
    }

    /// Makes the mark say whether the log is `Always`, before any append: readers in other
    /// processes stop by that. If it cannot be written, a later mark says it.
    pub(super) fn note_durability(&self) {
        if self.turn.lock().mark.always.unwrap_or(false) == self.is_always() {
            return;
        }
        let Ok(_turn) = self.take_turn() else {
            return;
        };
        let mut mark = self.turn.lock().mark;
        if mark.sequence == 0 {
            // There is no mark yet.
            return;
        }
        // A log that was closed still counts as closed.
        mark.always = Some(self.is_always());
        mark.sequence = mark.sequence.saturating_add(1);
        if self.host.marks.write(self.mark_place, &mark).is_ok() {
            self.turn.lock().mark = mark;
        }
    }

    pub(crate) fn config(&self) -> Arc<LogConfig> {
        Arc::clone(&self.config.read())
    }

    /// A log that becomes `Always` is flushed first: its high watermark must not move back.
    pub(super) fn reconfigure(&self, config: LogConfig) -> Result<()> {
        if self.life.is_read_only() {
            self.reconfigure_outside(config);
            return Ok(());
        }
        let always = |durability| durability == Durability::Always;
        let _later = WakeLater::begin();
        let becomes_always = always(config.durability) && !always(self.hot.durability());
        let flush = |to| {
            if becomes_always {
                self.flush_to(to).map(drop)
            } else {
                Ok(())
            }
        };
        // Before the switch, so that little is left that readers have seen and that is not flushed.
        let flushed = flush(self.end_offset());
        let shown = {
            // Nothing is appended between reading the end and the switch.
            let state = self.append.lock();
            if becomes_always {
                // Readers have seen what was appended since the flush.
                self.shown.store(state.end, Ordering::Release);
            }
            self.hot.set(&config, self.host.budget.is_limited());
            *self.config.write() = Arc::new(config);
            state.end
        };
        // Readers have seen what was appended before the switch.
        let flushed = flushed.and_then(|()| flush(shown));
        self.recharge();
        self.note_durability();
        // A log that was `Always` shows everything now.
        self.raise();
        flushed
    }

    /// As [`Log::wait_for`], and also returns true if `is_over` says that there is no point in
    /// waiting any more.
    pub(crate) fn wait_for(
        &self,
        offset: Offset,
        timeout: Duration,
        is_over: impl Fn() -> bool,
    ) -> Result<bool> {
        let clock = &self.host.clock;
        let until = clock.until(timeout);
        let is_there = || self.high_watermark() > offset || is_over();
        let mut ticket = self.signal.ticket();
        self.synchronize_thread_with_appends();
        let mut rung = None;
        loop {
            if is_there() {
                return Ok(true);
            }
            // After the end: a record that came before the close is still reported.
            self.life.can_grow()?;
            // Before the look: a change that it does not see changes the bell's word.
            let bell = rung.take().or_else(|| self.bell());
            if self.follow_from(bell.as_ref().and_then(Heard::standing))? {
                if clock.is_over(until) {
                    return Ok(is_there());
                }
                continue;
            }
            let waited;
            (waited, rung) = if let Some(bell) = bell {
                self.wait_for_bell(bell, until, is_there)
            } else {
                self.want_the_ear();
                let waited = clock.wait(&mut ticket, until, self.next_look());
                (waited, None)
            };
            if waited == Waited::Over {
                self.follow()?;
                return Ok(is_there());
            }
        }
    }

    /// Whether a reader at `at` has something to do. An error says why nothing will come.
    pub(crate) fn has_news(&self, at: Offset, epoch: Epoch, filter: &Filter) -> Result<bool> {
        loop {
            let shown = self.high_watermark();
            let is_lost = at < self.start_offset() || self.check_epoch(at, epoch).is_err();
            // A read finds out whether what is above is decided.
            if at < shown.min(filter.end()) || shown > filter.known_to() || is_lost {
                return Ok(true);
            }
            self.life.can_grow()?;
            if !self.follow()? {
                return Ok(false);
            }
        }
    }

    #[inline]
    pub(super) fn raise(&self) {
        self.signal.raise();
        // The fence of the first raise also covers this one.
        self.watchers.raise_after_lock();
        self.tell_followers();
    }

    /// For an append, which has just released its lock: without a fence, because waiters have
    /// [synchronized with it](Self::synchronize_with_appends).
    #[inline]
    pub(super) fn wake_after_append(&self) {
        self.signal.raise_after_lock();
        self.watchers.raise_after_lock();
        self.tell_followers();
    }

    /// To be called before the log's end is read: an append that is not seen there sees that a
    /// caller waits.
    pub(crate) fn synchronize_with_appends(&self) {
        self.synchronize_thread_with_appends();
        self.want_the_ear();
    }

    /// The same, for a thread that waits for the bell itself.
    fn synchronize_thread_with_appends(&self) {
        drop(self.append.lock());
        self.ask_for_looks();
    }

    pub(super) fn segment_infos(&self) -> Vec<SegmentInfo> {
        let segments = self.segments.read();
        let active = segments.active().base_offset();
        let infos = segments.iter().map(|segment| SegmentInfo {
            base_offset: segment.base_offset(),
            next_offset: segment.next_offset(),
            size_bytes: segment.end().0,
            newest: segment.newest_known(),
            active: segment.base_offset() == active,
        });
        infos.collect()
    }
}

impl Log {
    pub(crate) fn for_reading(&self) -> Self {
        Self {
            only_reads: true,
            ..self.clone()
        }
    }

    #[inline]
    pub(crate) fn may_change(&self) -> Result<()> {
        if self.only_reads {
            return Err(self.internal());
        }
        Ok(())
    }

    #[cold]
    fn internal(&self) -> Error {
        let topic = self
            .shared
            .topic_partition()
            .map(|place| place.topic.to_string());
        Error::InternalTopic {
            topic: topic.unwrap_or_default(),
        }
    }
}
