//! The live file on the simulated disk: who waits for its word, and who says that he does.
//!
//! Knows nothing about what is published. A disk after a crash has neither: both end with their
//! process.

use std::collections::BTreeMap;
use std::time::Duration;

use super::node::NodeId;
use super::{Sim, SimFile};
use crate::clock::Clock;
use crate::sync::{AtomicBool, Condvar, Mutex, Ordering};

/// For all files of a disk.
#[derive(Debug, Default)]
pub(super) struct Live {
    /// How many hold a shared lock on the byte of a file.
    shares: Mutex<BTreeMap<NodeId, usize>>,
    /// How often those who wait for the word of a file were woken. Held between the look at a word
    /// and the wait for it.
    wakes: Mutex<BTreeMap<NodeId, u64>>,
    woken: Condvar,
}

/// An open file, and whether it holds a shared lock on its byte.
#[derive(Debug)]
pub(crate) struct SimWaits {
    file: SimFile,
    shares: AtomicBool,
}

impl SimWaits {
    pub(in crate::disk) fn of(file: &SimFile) -> Self {
        Self {
            file: file.clone(),
            shares: AtomicBool::new(false),
        }
    }

    fn live(&self) -> &Live {
        let sim: &Sim = self.file.sim();
        &sim.shared.live
    }

    /// Wakes everybody who waits for the word of this file.
    pub(in crate::disk) fn wake(&self) {
        {
            let mut wakes = self.live().wakes.lock();
            let count = wakes.entry(self.file.node()).or_default();
            *count = count.wrapping_add(1);
        }
        self.live().woken.notify_all();
    }

    /// Waits until somebody wakes, or the time is over; not at all if the bytes of the word are not
    /// these.
    pub(in crate::disk) fn wait(&self, at: u64, bytes: [u8; 4], timeout: Duration) {
        let (live, node) = (self.live(), self.file.node());
        let mut wakes = live.wakes.lock();
        let mut now = [0; 4];
        let is_there = matches!(self.file.read_at(at, &mut now), Ok(4));
        if !is_there || now != bytes || timeout.is_zero() {
            return;
        }
        let until = Clock::System.instant().checked_add(timeout);
        let before = wakes.get(&node).copied();
        while wakes.get(&node).copied() == before {
            match until {
                Some(until) if live.woken.wait_until(&mut wakes, until).timed_out() => return,
                Some(_) => {}
                None => live.woken.wait(&mut wakes),
            }
        }
    }

    /// Takes the shared lock, until this is dropped.
    pub(in crate::disk) fn share(&self) {
        if !self.shares.swap(true, Ordering::SeqCst) {
            let mut shares = self.live().shares.lock();
            let count = shares.entry(self.file.node()).or_default();
            *count = count.saturating_add(1);
        }
    }

    /// Whether anybody else holds the lock.
    pub(in crate::disk) fn is_shared(&self) -> bool {
        let own = usize::from(self.shares.load(Ordering::SeqCst));
        let shares = self.live().shares.lock();
        shares.get(&self.file.node()).is_some_and(|all| *all > own)
    }
}

impl Drop for SimWaits {
    fn drop(&mut self) {
        if self.shares.load(Ordering::SeqCst)
            && let Some(count) = self.live().shares.lock().get_mut(&self.file.node())
        {
            *count = count.saturating_sub(1);
        }
    }
}
