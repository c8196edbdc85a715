//! How many files are open.
//!
//! Knows nothing about which files are worth keeping open (`segment/open_files.rs`).
//!
//! 1. A file counts until its last handle is dropped, a lock for each of its descriptors.
//!    Directories do not: they are open for one call.
//! 2. A file counts for its [`Disk`](super::Disk), and one of the operating system also for the
//!    process, which has the limit.

use std::sync::Arc;

use crate::sync::{AtomicUsize, OnceLock, Ordering};

static PROCESS: OnceLock<AtomicUsize> = OnceLock::new();

#[derive(Clone, Debug)]
pub(super) struct OpenCount {
    own: Arc<AtomicUsize>,
    all: Option<&'static AtomicUsize>,
}

/// Counts one file until it is dropped.
#[derive(Debug)]
pub(super) struct Opened(OpenCount);

impl OpenCount {
    /// A count of files that count for the process too (2).
    pub(super) fn of_process() -> Self {
        Self {
            own: Arc::new(AtomicUsize::new(0)),
            all: Some(PROCESS.get_or_init(|| AtomicUsize::new(0))),
        }
    }

    #[cfg(any(all(test, ottla_repository), ottla_sim))]
    pub(super) fn alone() -> Self {
        Self {
            own: Arc::new(AtomicUsize::new(0)),
            all: None,
        }
    }

    pub(super) fn opened(&self) -> Opened {
        for count in self.all.into_iter().chain([&*self.own]) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        Opened(self.clone())
    }

    pub(super) fn own(&self) -> usize {
        self.own.load(Ordering::Relaxed)
    }

    /// The files open in the process; `None` for a disk without descriptors.
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
