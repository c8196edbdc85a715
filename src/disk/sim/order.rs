//! Watches the order of calls, and tells what is wrong without any power cut: a mistake of this
//! kind loses something in some state, and here it has a name and a place.
//!
//! Knows nothing about records. What only the code under test knows (is this append acknowledged?)
//! a test asks of [`Sim::durable`](super::Sim::durable).

use std::path::{Path, PathBuf};

use super::node::{Change, NodeId};
use super::state::State;

/// A call that came too early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    /// A file was renamed with unsynced bytes: the new name may come to stand for less.
    RenamedUnsynced(PathBuf),
    /// A file was written behind a cut that was not synced: old bytes may come back after the new
    /// ones. Harmless where readers take whatever follows for garbage.
    WrittenBehindCut(PathBuf),
}

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

    fn tell(&mut self, violation: Violation) {
        if let Some(violations) = &mut self.violations {
            violations.push(violation);
        }
    }
}
