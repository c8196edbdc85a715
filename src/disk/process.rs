//! Which process opened something: behind a `fork` there are two with the same memory, the same
//! open files and the same locks.
//!
//! Knows nothing about what was opened.
//!
//! 1. A fork is counted by a handler that the C library runs in the new process before `fork`
//!    returns there, so asking costs one load. A raw `clone` system call runs no handler and is not
//!    noticed; neither is `vfork`, behind which only `exec` is allowed.
//! 2. What takes a lock asks first: a thread that held it at the fork is not there to give it back.

use crate::sync::{OnceLock, Ordering, ProcessAtomicU64};

use super::os;

/// How many forks lie between this process and the one that first opened something.
static FORKS: ProcessAtomicU64 = ProcessAtomicU64::new(0);

/// Whether the handler is in place.
static COUNTED: OnceLock<bool> = OnceLock::new();

/// The process that opened something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    forks: u64,
}

impl Owner {
    /// This process.
    pub(crate) fn here() -> Self {
        COUNTED.get_or_init(|| os::on_fork(forked));
        Self {
            forks: FORKS.load(Ordering::Relaxed),
        }
    }

    /// Whether this is still the process that opened it, and not one that was forked from it.
    #[inline]
    pub(crate) fn is_here(self) -> bool {
        self.forks == FORKS.load(Ordering::Relaxed)
    }
}

/// Runs in the new process, where only what a signal handler may do is allowed: one addition is.
extern "C" fn forked() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}
