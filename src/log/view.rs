//! What a look-up is based on, and whether that still holds: the one place that knows when to look
//! again.
//!
//! Knows nothing about what is looked up.
//!
//! A reader holds no lock: what it read, or an error, counts only if nothing it was based on was
//! removed, replaced or cut meanwhile.
//!
//! 1. `truncations` is odd while a truncation cuts, which it does under the append lock. A look-up
//!    begins at an even count: if it is unchanged, no byte was cut until then.
//! 2. A segment is marked as gone before its files are removed or replaced.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::segment::Segment;
use crate::sync::Ordering;

use super::shared::Shared;

#[derive(Debug)]
pub(crate) struct View {
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) truncations: u64,
}

/// Keeps the count of truncations odd (I1).
pub(super) struct Cutting<'a>(&'a Shared);

impl Drop for Cutting<'_> {
    fn drop(&mut self) {
        self.0.truncations.fetch_add(1, Ordering::AcqRel);
    }
}

impl Shared {
    /// Announces that bytes are about to be cut (I1). The caller holds the append lock.
    pub(super) fn begin_cutting(&self) -> Cutting<'_> {
        let before = self.truncations.fetch_add(1, Ordering::AcqRel);
        debug_assert!(before.is_multiple_of(2), "two truncations at once");
        Cutting(self)
    }

    /// Waits until no truncation cuts. Not to be called with the append lock held.
    pub(crate) fn truncation_count(&self) -> u64 {
        loop {
            let count = self.truncations.load(Ordering::Acquire);
            if count.is_multiple_of(2) {
                return count;
            }
            // The thread that cuts holds it.
            drop(self.append.lock());
        }
    }

    #[inline]
    pub(crate) fn is_truncated_since(&self, truncations: u64) -> bool {
        self.truncations.load(Ordering::Acquire) != truncations
    }

    pub(crate) fn look_outside(&self) -> Result<()> {
        self.follow().map(drop)
    }

    pub(crate) fn view(&self) -> View {
        // The count before the segments: a truncation in between then makes the view count as
        // changed.
        let truncations = self.truncation_count();
        let segments = self.segments.read().iter().cloned().collect();
        View {
            segments,
            truncations,
        }
    }

    pub(crate) fn is_changed_since(&self, view: &View) -> bool {
        self.is_truncated_since(view.truncations) || view.segments.iter().any(|it| it.is_gone())
    }

    /// Repeats a look-up until its view holds.
    pub(crate) fn look<T>(&self, mut look_up: impl FnMut(&View) -> Result<T>) -> Result<T> {
        loop {
            let view = self.view();
            match look_up(&view) {
                Err(error) => self.doubt(error, self.is_changed_since(&view))?,
                // Bytes that were being cut may look valid, so the result does not count either.
                Ok(_) if self.is_truncated_since(view.truncations) => self.life.can_read()?,
                Ok(found) => return Ok(found),
            }
        }
    }

    /// What an error of a look-up means: `Ok` if it must be repeated, because what it was based on
    /// was `replaced`.
    #[cold]
    pub(crate) fn doubt(&self, error: Error, replaced: bool) -> Result<()> {
        match self.outside.get() {
            _ if replaced => self.life.can_read(),
            Some(outside) => self.doubt_outside(outside, error),
            None => Err(error),
        }
    }
}
