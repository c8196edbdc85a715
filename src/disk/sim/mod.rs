//! A disk in memory that can lose power, tear a write, fill up, and fail any call by number.
//!
//! Knows nothing about what it keeps. It is stricter than any file system: whatever was not synced
//! may be lost, in any combination of sectors, and a name lives as long as its directory's sync
//! says, not its file's. Everything is deterministic.
//!
//! What is assumed of a disk, and so never happens here (the fault model of the crate):
//!
//! - (F1) What a successful sync covered stays.
//! - (F2) Of what was not synced, any subset of sectors may be there, a sector in part too; bytes
//!   that did not arrive are the old ones, or, where the file grew, zeros or garbage.
//! - (F3) A write that is cut harms no byte outside the range that it writes.
//! - (F4) Names change in order within one directory, and a rename is whole or not at all.
//!
//! The count of operations is the time axis. [`Sim::on_change`] calls a test before every change,
//! which may then look at every state that a power cut at this moment leaves: so one run of a
//! workload meets every cut.

#![cfg_attr(
    not(test),
    expect(
        dead_code,
        reason = "the fuzz crate uses a part of it, the proof suites the rest"
    )
)]

mod calls;
mod crash;
mod fault;
#[cfg(test)]
mod hold;
mod live;
mod node;
mod order;
mod state;
#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::open_count::OpenCount;
use super::{Disk, advance};
use crate::sync::{Mutex, MutexGuard};
use crate::types::{Timestamp, to_usize};

pub(crate) use calls::{SimDir, SimFile, SimLock, SimMap};
pub(crate) use crash::Choice;
#[cfg(test)]
pub(crate) use crash::Fate;
#[cfg(test)]
pub(crate) use fault::{At, Failure, Repeat};
pub(crate) use fault::{Fault, Kind, Operation, SyncFailure, Violation};
#[cfg(test)]
pub(crate) use hold::Hold;
pub(crate) use live::SimWaits;

use crash::{Cut, seed_at};
use node::{FileNode, Image, Node};
use state::State;

/// A simulated disk; a copy is another handle of the same one.
#[derive(Clone)]
pub(crate) struct Sim {
    shared: Arc<Shared>,
}

type Watcher = Box<dyn FnMut(&Sim) + Send>;

struct Shared {
    state: Mutex<State>,
    watcher: Mutex<Option<Watcher>>,
    #[cfg(test)]
    hold: Mutex<Option<Arc<Hold>>>,
    open: OpenCount,
    live: live::Live,
    /// What the power cut left that this disk was found after.
    born_of: Option<Choice>,
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Sim")
            .field("operations", &state.operations)
            .field("born_of", &self.shared.born_of)
            .finish_non_exhaustive()
    }
}

impl Sim {
    /// An empty disk: its root directory is there, and durable.
    pub(crate) fn new() -> Self {
        Self::born(State::new(), None)
    }

    fn born(state: State, born_of: Option<Choice>) -> Self {
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                watcher: Mutex::new(None),
                #[cfg(test)]
                hold: Mutex::new(None),
                open: OpenCount::alone(),
                live: live::Live::default(),
                born_of,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock()
    }

    pub(in crate::disk) fn open_count(&self) -> &OpenCount {
        &self.shared.open
    }

    /// The disk as the code under test sees it.
    pub(crate) fn disk(&self) -> Disk {
        Disk::Sim(self.clone())
    }

    /// How many operations were made: the number of the next one.
    pub(crate) fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Begins to write down every operation.
    pub(crate) fn record(&self) {
        self.state().trace = Some(Vec::new());
    }

    /// What was written down since [`record`](Self::record).
    pub(crate) fn trace(&self) -> Vec<Operation> {
        self.state().trace.clone().unwrap_or_default()
    }

    /// Begins to look for calls in a wrong order.
    pub(crate) fn watch_order(&self) {
        self.state().violations = Some(Vec::new());
    }

    /// What was found since [`watch_order`](Self::watch_order).
    pub(crate) fn violations(&self) -> Vec<Violation> {
        self.state().violations.clone().unwrap_or_default()
    }

    /// Calls `watcher` before every operation that changes what a power cut leaves. Operations
    /// made meanwhile are not watched.
    pub(crate) fn on_change(&self, watcher: impl FnMut(&Self) + Send + 'static) {
        *self.shared.watcher.lock() = Some(Box::new(watcher));
    }

    /// Ends what [`on_change`](Self::on_change) began.
    pub(crate) fn stop_watching(&self) {
        *self.shared.watcher.lock() = None;
    }

    fn watch(&self, kind: Kind) {
        if !kind.changes() {
            return;
        }
        // Taken out for the call, so that the lock is free while the test looks around.
        let watcher = self.shared.watcher.lock().take();
        if let Some(mut watcher) = watcher {
            watcher(self);
            self.shared.watcher.lock().get_or_insert(watcher);
        }
    }

    /// Adds a failure to come.
    pub(crate) fn fail(&self, fault: Fault) {
        self.state().faults.push(fault);
    }

    /// What a sync that fails does to what it covered.
    pub(crate) fn set_sync_failure(&self, model: SyncFailure) {
        self.state().sync_failure = model;
    }

    /// Takes back every fault, and switches the power on again.
    pub(crate) fn heal(&self) {
        let mut state = self.state();
        state.faults.clear();
        state.power_off_at = None;
    }

    /// Limits the space of all files together, in bytes.
    pub(crate) fn set_capacity(&self, capacity: Option<u64>) {
        self.state().capacity = capacity;
    }

    /// How many bytes the files take, reserved space included.
    pub(crate) fn used(&self) -> u64 {
        self.state().used
    }

    /// Makes this a file system where a window is not known to be safe, or is.
    pub(crate) fn set_window_safe(&self, safe: bool) {
        self.state().window_safe = safe;
    }

    /// Makes this a file system of another machine.
    #[cfg(test)]
    pub(crate) fn set_network(&self, name: &'static str) {
        self.state().network = Some(name);
    }

    /// Makes this a file system that never overwrites in place, or one that does.
    pub(crate) fn set_copies_on_write(&self, copies: bool) {
        self.state().copies_on_write = copies;
    }

    /// Makes this a file system that cannot reserve space, or can.
    pub(crate) fn set_can_reserve(&self, can: bool) {
        self.state().can_reserve = can;
    }

    /// The time that writes leave on files from now on.
    pub(crate) fn set_now(&self, now: Timestamp) {
        self.state().now = now;
    }

    /// Cuts the power before the operation of this number: it and all later ones change nothing
    /// and fail, as [`is_power_cut`] tells.
    pub(crate) fn cut_power_at(&self, operation: u64) {
        self.state().power_off_at = Some(operation);
    }

    /// Whether the power is off: what was acknowledged from now on never was.
    pub(crate) fn is_off(&self) -> bool {
        let state = self.state();
        state.power_off_at.is_some_and(|at| state.operations >= at)
    }

    /// The disk after the process was killed: every written byte is there, synced or not, and no
    /// lock is held. This disk stays as it is.
    pub(crate) fn process_crash(&self) -> Self {
        let state = self.state();
        let mut next = state.clone();
        next.locks.clear();
        next.faults.clear();
        next.power_off_at = None;
        next.trace = None;
        Self::born(next, None)
    }

    /// How many changes are not durable: data by the sector, lengths and names, all together.
    pub(crate) fn pending(&self) -> usize {
        Cut::of(&self.state()).len()
    }

    /// The disk as it is found after a power cut now that left what `choice` says. This disk stays
    /// as it is.
    pub(crate) fn crash(&self, choice: Choice) -> Self {
        Cut::of(&self.state()).after(choice)
    }

    /// What the power cut left that this disk was found after: with the operation, all it takes to
    /// meet this state again.
    pub(crate) fn born_of(&self) -> Option<Choice> {
        self.shared.born_of
    }

    /// The states of a power cut now, one for each pending change missing, alone, torn, zero or
    /// garbage, and for each first part of the whole and of each directory's names.
    pub(crate) fn crash_states_canonical(&self) -> impl Iterator<Item = Self> + use<> {
        let cut = Cut::of(&self.state());
        let choices = cut.canonical();
        choices.into_iter().map(move |choice| cut.after(choice))
    }

    /// `count` random states of a power cut now.
    pub(crate) fn crash_states_random(
        &self,
        seed: u64,
        count: u64,
    ) -> impl Iterator<Item = Self> + use<> {
        let cut = Cut::of(&self.state());
        (0..count).map(move |index| cut.after(Choice::Random(seed_at(seed, index))))
    }

    /// Every subset of the pending changes, when there are at most `most` of them (63 at the very
    /// most); none otherwise.
    pub(crate) fn crash_states_exhaustive(
        &self,
        most: usize,
    ) -> impl Iterator<Item = Self> + use<> {
        let cut = Cut::of(&self.state());
        let count = if cut.len() <= most.min(63) {
            1u64 << cut.len()
        } else {
            0
        };
        (0..count).map(move |bits| cut.after(Choice::Subset(bits)))
    }

    /// What of a file survives any power cut: its synced content, if its name and the names on the
    /// way to it are synced too.
    pub(crate) fn durable(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let state = self.state();
        let node = state.lookup_durable(path.as_ref())?;
        (!state.is_dir(node)).then(|| state.file(node).durable.to_vec())
    }

    /// A file's content as every reader sees it.
    pub(crate) fn read(&self, path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
        let state = self.state();
        let node = state.lookup(path.as_ref())?;
        if state.is_dir(node) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(state.file(node).cached.to_vec())
    }

    /// Puts a file with this content in place, durably and uncounted. Its directory must be there.
    pub(crate) fn write_raw(&self, path: impl AsRef<Path>, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        let file = Node::File(FileNode::settled(Image::from_bytes(bytes), state.now));
        if let Ok(found) = state.lookup(path.as_ref()) {
            state.release(found, 0);
            if let Some(node) = state.nodes.get_mut(found) {
                *node = Some(Arc::new(file));
            }
            state.unsettled.remove(&found);
            // What a sync promised is no longer there.
            state.promises.remove(&found);
        } else {
            state.link(path.as_ref(), file)?;
            let (dir, _) = state.place(path.as_ref())?;
            state.settle(dir);
        }
        state.used = state.used.saturating_add(advance(0, bytes.len()));
        Ok(())
    }

    /// Flips one bit of a file at rest, under everybody's feet. Bits count from the lowest of the
    /// first byte.
    pub(crate) fn flip(&self, path: impl AsRef<Path>, bit: u64) -> io::Result<()> {
        let mut state = self.state();
        let node = state.lookup(path.as_ref())?;
        let file = state.file_mut(node);
        file.durable.flip(bit);
        file.cached.flip(bit);
        Ok(())
    }

    /// Every file with its length, by path.
    pub(crate) fn files(&self) -> Vec<(PathBuf, u64)> {
        self.state().files()
    }
}

/// Whether a call failed because the power was cut.
pub(crate) fn is_power_cut(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotConnected
}
