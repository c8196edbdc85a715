//! Watches the order of calls, and tells what is wrong without any power cut: a mistake of this
//! kind loses something in some state, and here it has a name and a place.
//!
//! Knows nothing about records. What only the code under test knows (is this append acknowledged?)
//! a test asks of [`Sim::durable`](super::Sim::durable).
//!
//! The flushed marks are always watched, in every test on this disk: two threads that sync them
//! side by side go wrong once in hundreds of times, and only a power cut at that moment shows it.

use std::path::Path;

use crate::format::{Mark, SLOT_LEN, file_name};

use super::fault::Violation;
use super::node::{Change, NodeId};
use super::state::State;

impl State {
    /// Looks at a rename that is about to happen.
    pub(super) fn watch_rename(&mut self, id: NodeId, path: &Path) {
        if self.violations.is_some() && !self.is_dir(id) && !self.file(id).is_settled() {
            self.tell(Violation::RenamedUnsynced(path.to_path_buf()));
        }
    }

    /// Looks at a write to `position` that is about to happen.
    pub(super) fn watch_write(&mut self, id: NodeId, position: u64, path: &Path) {
        if self.violations.is_none() {
            return;
        }
        let file = self.file(id);
        let mut len = file.durable.len();
        let mut cut = None;
        for piece in &file.pending {
            match &piece.change {
                Change::SetLen(to) if *to < len => {
                    cut = Some(*to);
                    len = *to;
                }
                Change::SetLen(to) => len = *to,
                Change::Grow(to) => len = len.max(*to),
                Change::Store { at, bytes } => len = len.max(super::advance(*at, bytes.len())),
            }
        }
        if cut.is_some_and(|cut| position >= cut) {
            self.tell(Violation::WrittenBehindCut(path.to_path_buf()));
        }
    }

    /// A sync of a file begins.
    pub(super) fn begin_promise(&mut self, id: NodeId) {
        let now = self.file(id).cached.clone();
        self.promises.entry(id).or_default().begun = Some(now);
    }

    /// A sync of a file has ended. What was written again meanwhile counts on the next one.
    pub(super) fn end_promise(&mut self, id: NodeId) {
        let now = self.file(id).cached.clone();
        let promise = self.promises.entry(id).or_default();
        let Some(begun) = promise.begun.take() else {
            return;
        };
        for at in (0..begun.len()).step_by(SLOT_LEN) {
            let (mut before, mut after) = ([0; SLOT_LEN], [0; SLOT_LEN]);
            begun.read(at, &mut before);
            now.read(at, &mut after);
            if before == after {
                promise.kept.write(at, &after);
            }
        }
    }

    /// Looks at a write to the flushed marks that is about to happen. Panics when it would change
    /// the newest slot of a pair that a sync has promised: a power cut that tears the write leaves
    /// an older mark or none, and undoes what somebody was told.
    pub(super) fn watch_marks(&mut self, id: NodeId, position: u64, bytes: &[u8], path: &Path) {
        if path.file_name().is_none_or(|name| name != file_name::MARKS) {
            return;
        }
        let mut there = vec![0; bytes.len()];
        self.file(id).cached.read(position, &mut there);
        let Some(promise) = self.promises.get_mut(&id) else {
            return;
        };
        let slots = (bytes.chunks(SLOT_LEN)).zip((position..).step_by(SLOT_LEN));
        for (_, at) in slots.filter(|(new, _)| new.iter().all(|byte| *byte == 0)) {
            // The log is forgotten: nobody needs the promise any more.
            promise.kept.write(at, &[0; SLOT_LEN]);
        }
        let mark_at = |at: u64| {
            let mut slot = [0; SLOT_LEN];
            promise.kept.read(at, &mut slot);
            Mark::decode(&slot)
        };
        let slots = bytes.chunks(SLOT_LEN).zip((position..).step_by(SLOT_LEN));
        for ((new, at), there) in slots.zip(there.chunks(SLOT_LEN)) {
            let Some(old) = mark_at(at) else { continue };
            // Bytes that are there already harm nothing, and a mark that repeats a broker's
            // checkpoint is made again by the next opening, until the catalog is taken over too.
            let harmless = Mark::decode(new) == Some(old) || new == there || old.by_broker;
            let twin = mark_at(at ^ super::advance(0, SLOT_LEN));
            let twin_holds = twin.is_some_and(|twin| twin.sequence >= old.sequence);
            // Once is enough: a log that is dropped while a test fails writes its mark again.
            assert!(
                harmless || twin_holds || std::thread::panicking(),
                "the durable slot at {at} of {} is overwritten while its twin is not durable: \
                 {old:?}, twin {twin:?}",
                path.display(),
            );
        }
    }

    fn tell(&mut self, violation: Violation) {
        if let Some(violations) = &mut self.violations {
            violations.push(violation);
        }
    }
}
