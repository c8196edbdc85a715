//! Which sealed segments have a file open: a bounded number, the longest unused closed first.
//!
//! Knows nothing about what is read. A reader that holds a file keeps it open by itself; this is
//! only the pool from which the next reader takes it.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use crate::sync::Mutex;

use super::Segment;

/// A bound on the open files (and loaded indexes) of all logs of one root.
#[derive(Debug)]
pub(crate) struct OpenFiles {
    max: usize,
    opened: Mutex<VecDeque<Weak<Segment>>>,
}

impl OpenFiles {
    /// Keeps at most `max` sealed segments open.
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max: max.max(1),
            opened: Mutex::new(VecDeque::new()),
        }
    }

    /// Notes that a segment was opened; closes others when that is one too many.
    ///
    /// A segment that was read since its turn came last gets another turn.
    pub(crate) fn opened(&self, segment: &Arc<Segment>) {
        let mut closing = Vec::new();
        let mut opened = self.opened.lock();
        opened.push_back(Arc::downgrade(segment));
        let mut turns = opened.len();
        while opened.len() > self.max && turns > 0 {
            turns -= 1;
            let Some(oldest) = opened.pop_front() else {
                break;
            };
            let Some(oldest) = oldest.upgrade() else {
                continue;
            };
            if oldest.take_used() && turns > 0 {
                opened.push_back(Arc::downgrade(&oldest));
            } else {
                closing.push(oldest);
            }
        }
        drop(opened);
        for segment in closing {
            segment.close_file();
        }
    }
}
