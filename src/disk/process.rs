//! Which process opened something: after a `fork` two have the same memory, open files and locks.
//!
//! Knows nothing about what was opened.
//!
//! 1. The C library runs a handler in the new process before `fork` returns there. It counts forks,
//!    so a check costs one load. A raw `clone` system call runs no handler and is not noticed;
//!    neither is `vfork`, after which only `exec` is allowed.
//! 2. Code that takes a lock checks first: the thread that held it at the fork does not exist in
//!    the new process and cannot release it.

use crate::sync::{OnceLock, Ordering, ProcessAtomicU64};

use super::os;

/// How many forks there were since something was first opened.
static FORKS: ProcessAtomicU64 = ProcessAtomicU64::new(0);

static COUNTED: OnceLock<bool> = OnceLock::new();

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    forks: u64,
}

impl Owner {
    pub(crate) fn here() -> Self {
        COUNTED.get_or_init(|| os::on_fork(forked));
        Self {
            forks: FORKS.load(Ordering::Relaxed),
        }
    }

    #[inline]
    pub(crate) fn is_here(self) -> bool {
        self.forks == FORKS.load(Ordering::Relaxed)
    }
}

/// Runs in the new process, where only what a signal handler may do is allowed: one addition is.
extern "C" fn forked() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}
