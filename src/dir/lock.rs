//! The lock of a root or of a log's own directory.
//!
//! Knows nothing about what the directory holds.

use std::path::Path;
use std::time::Duration;

use crate::clock::Clock;
use crate::disk::{Disk, Lock};
use crate::error::{Error, IoContext, Result};
use crate::format::file_name;
use crate::sync::{Signal, deadline};

const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Takes the lock, and waits up to `patience` for another process: a supervisor may restart one
/// before the system has ended the killed one.
pub(crate) fn take_lock(disk: &Disk, home: &Path, patience: Duration) -> Result<Lock> {
    let path = home.join(file_name::LOCK);
    let pauses = patience.as_millis().div_ceil(LOCK_PAUSE.as_millis());
    let nobody = Signal::default();
    for pause in 0..=pauses {
        if let Some(lock) = disk.lock(&path).at(&path, "lock")? {
            return Ok(lock);
        }
        if pause < pauses {
            // Pauses are counted: under a test's clock, which stands still, this would never end.
            let until = deadline(Clock::System.instant(), LOCK_PAUSE);
            nobody.ticket().wait_until(until);
        }
    }
    let pid = holder_of(disk, &path);
    Err(Error::Locked { path, pid })
}

/// The process that took the lock last; it may have died, and another one may hold the lock.
fn holder_of(disk: &Disk, lock: &Path) -> Option<u32> {
    let mut front = [0; 16];
    let length = disk.read_front(lock, &mut front).ok()?;
    let text = std::str::from_utf8(front.get(..length)?).ok()?;
    text.trim().parse().ok()
}
