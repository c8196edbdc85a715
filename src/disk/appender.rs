//! The write side of one growing file: plain writes, or stores into a mapped window over space
//! that was reserved ahead. The choice is made here and nowhere above.
//!
//! Knows nothing about batches, and nothing about syncing: whoever shares the file syncs it, and
//! `fdatasync` covers stores through a shared map as it covers writes.
//!
//! ```text
//!   0             window.from        end             reserved          limit
//!   |  written before  |  written  (I1)|  zeros (I2)    |               |
//!                      |<---------- mapped ------------>|
//! ```
//!
//! - (I1) `window.next` bytes into the window lies `end`: where the next byte goes.
//! - (I2) Whatever the file holds past `end` is zero, but after an append that failed, until `cut`.
//! - (I3) A window lies wholly over reserved space, so no store meets a full disk.
//! - (I4) The file is never cut while a window is over it.
//!
//! Reserving costs about 2 ns a byte in small steps and next to nothing in large ones, so steps
//! double with the file, from 64 KiB to 64 MiB: a file never reserves more than about as much again
//! as it holds, and nothing past its limit.

use std::io;
use std::sync::Arc;

use super::map::Map;
use super::{File, advance};
use crate::types::{WriteMode, to_usize};

/// The smallest and the largest step in which space is reserved.
const STEP_MIN: u64 = 64 * 1024;
const STEP_MAX: u64 = 64 * 1024 * 1024;

/// Appends of this many bytes that do not fit the window are plain writes: the two ways then cost
/// the same (0.2 to 0.4 ns a byte, measured), and a plain write needs no space reserved.
const LARGE: usize = 64 * 1024;

/// Appends to one file. Dropping it leaves the file as it is, reserved space included.
#[derive(Debug)]
pub(crate) struct Appender {
    file: Arc<File>,
    way: Way,
    window: Option<Window>,
    end: u64,
    limit: u64,
    /// Plain writes up to here: no window could be had when it was last tried.
    plain_until: u64,
}

/// How bytes get into the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Through windows, if the file system is one that is known to be safe. Asked at the first
    /// append.
    WindowIfSafe,
    /// Through windows. `grow` says whether a file system that cannot reserve may be given
    /// unreserved space instead: a full disk is then a SIGBUS, which the caller asked for.
    Window { grow: bool },
    /// By plain writes.
    Plain,
}

#[derive(Debug)]
struct Window {
    map: Map,
    /// Where in the map the file's end lies.
    next: usize,
}

impl Appender {
    /// An appender whose next byte goes to `end`, in a file that is not expected to pass `limit`
    /// bytes. The file ends at `end`, or holds only zeros from there on. No I/O happens before the
    /// first append.
    pub(crate) fn new(file: Arc<File>, mode: WriteMode, end: u64, limit: u64) -> Self {
        let way = match mode {
            WriteMode::Auto => Way::WindowIfSafe,
            WriteMode::Mapped => Way::Window { grow: true },
            WriteMode::Pwrite => Way::Plain,
        };
        Self {
            file,
            way,
            window: None,
            end,
            limit,
            plain_until: 0,
        }
    }

    /// Appends bytes. When it returns, every reader of the file sees them and they survive this
    /// process; a power cut, once the file is synced.
    ///
    /// # Errors
    ///
    /// The end has not moved, but there may be bytes past it: call [`cut`](Self::cut) with
    /// [`end`](Self::end) before anything else. The system's answer to a plain write, so a full
    /// disk is `StorageFull`.
    #[inline]
    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(window) = &mut self.window
            && window.map.store(window.next, bytes)
        {
            window.next = window.next.saturating_add(bytes.len());
            self.end = advance(self.end, bytes.len());
            return Ok(());
        }
        self.append_slowly(bytes)
    }

    /// The file that is written.
    pub(crate) fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Where the next byte goes: how many bytes were written.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Moves the end back to `end`: everything from there on is absent.
    ///
    /// # Errors
    ///
    /// The end has not moved, and what lies past it is unknown. A log that was cutting back a
    /// failed append takes no more of them then.
    pub(crate) fn cut(&mut self, end: u64) -> io::Result<()> {
        self.window = None; // (I4)
        self.file.set_len(end)?;
        self.end = end;
        self.plain_until = 0;
        Ok(())
    }

    /// Gives back what was reserved: the file is exactly [`end`](Self::end) bytes long. For a file
    /// that is being sealed or closed; an append after it reserves anew.
    pub(crate) fn trim(&mut self) -> io::Result<()> {
        self.window = None; // (I4)
        if self.file.len()? != self.end {
            self.file.set_len(self.end)?;
        }
        Ok(())
    }

    #[cold]
    fn append_slowly(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() < LARGE {
            self.make_window(bytes.len());
            if let Some(window) = &mut self.window
                && window.map.store(window.next, bytes)
            {
                window.next = window.next.saturating_add(bytes.len());
                self.end = advance(self.end, bytes.len());
                return Ok(());
            }
        }
        self.file.write_at(self.end, bytes)?;
        self.end = advance(self.end, bytes.len());
        if let Some(window) = &mut self.window {
            // A write past the window's end leaves `next` past it too, where no store fits.
            window.next = window.next.saturating_add(bytes.len());
        }
        Ok(())
    }

    /// Makes a window at the end with room for `needed` bytes, or none when plain writes are to be
    /// used instead: for these bytes, for a while, or for good.
    fn make_window(&mut self, needed: usize) {
        self.window = None;
        if self.way == Way::WindowIfSafe {
            self.way = if self.file.window_safe() {
                Way::Window { grow: false }
            } else {
                Way::Plain
            };
        }
        let needed = advance(self.end, needed);
        let Way::Window { grow } = self.way else {
            return;
        };
        if self.end < self.plain_until || needed > self.limit {
            return;
        }
        // A map can be refused too, for there is a limit on their number.
        self.window = self.reserve(needed, grow).and_then(|reserved| {
            let len = to_usize(reserved.saturating_sub(self.end));
            let map = self.file.map(self.end, len).ok()?;
            Some(Window { map, next: 0 })
        });
        if self.window.is_none() {
            self.plain_until = self.end.saturating_add(STEP_MIN);
        }
    }

    /// Reserves space from the end up to `needed` at least; gives where it ends, `None` when there
    /// is not so much left or none can be had here. A plain write then tells why.
    fn reserve(&mut self, needed: u64, grow: bool) -> Option<u64> {
        let doubled = self.end.clamp(STEP_MIN, STEP_MAX);
        for step in [doubled, STEP_MIN] {
            let to = self.end.saturating_add(step).min(self.limit).max(needed);
            match self.file.reserve(self.end, to.saturating_sub(self.end)) {
                Ok(()) => return Some(to),
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                    if grow && self.file.set_len(to).is_ok() {
                        return Some(to);
                    }
                    self.way = Way::Plain;
                    return None;
                }
                Err(_) if step <= STEP_MIN => return None,
                Err(_) => {}
            }
        }
        None
    }
}
