//! How many files are open, and how many may be.
//!
//! Knows nothing about which files are worth keeping open: the segment floor decides that
//! (`segment/open_files.rs`).
//!
//! 1. A file counts from its opening until its last handle is dropped, and a lock counts for each
//!    descriptor that it holds. Only directories do not, which are open for one call.
//! 2. Every file counts for the [`Disk`](super::Disk) that it was opened through, and a file of
//!    the operating system also for the process: the limit is the process's.

use std::sync::Arc;

use crate::sync::{AtomicUsize, OnceLock, Ordering};

/// The files of the operating system that this process has open through any disk.
static PROCESS: OnceLock<AtomicUsize> = OnceLock::new();

/// Counts the files that are open through one disk.
#[derive(Clone, Debug)]
pub(super) struct OpenCount {
    own: Arc<AtomicUsize>,
    all: Option<&'static AtomicUsize>,
}

/// One open file; dropping it ends that.
#[derive(Debug)]
pub(super) struct Opened(OpenCount);

impl OpenCount {
    /// For a disk of the operating system: its files count for the process too (2).
    pub(super) fn of_process() -> Self {
        Self {
            own: Arc::new(AtomicUsize::new(0)),
            all: Some(PROCESS.get_or_init(|| AtomicUsize::new(0))),
        }
    }

    /// For a disk that takes no descriptors of the process.
    #[cfg(any(all(test, ottla_repository), ottla_sim))]
    pub(super) fn alone() -> Self {
        Self {
            own: Arc::new(AtomicUsize::new(0)),
            all: None,
        }
    }

    /// Counts a file that was just opened.
    pub(super) fn opened(&self) -> Opened {
        for count in self.all.into_iter().chain([&*self.own]) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        Opened(self.clone())
    }

    /// How many files are open through this disk.
    pub(super) fn own(&self) -> usize {
        self.own.load(Ordering::Relaxed)
    }

    /// How many files of the process are open; `None` for a disk that takes no descriptors.
    pub(super) fn of_all(&self) -> Option<usize> {
        self.all.map(|all| all.load(Ordering::Relaxed))
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        let OpenCount { own, all } = &self.0;
        for count in all.iter().copied().chain([&**own]) {
            let before = count.fetch_sub(1, Ordering::Relaxed);
            debug_assert!(before > 0, "a file was closed that was never opened");
        }
    }
}
