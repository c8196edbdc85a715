//! The write side of one growing file: plain writes, or stores into a mapped window over space
//! that was reserved ahead. The choice is made here and nowhere above.
//!
//! Knows nothing about batches, and nothing about syncing: the owner of the file syncs it, and
//! `fdatasync` covers stores through a shared map as it covers writes.
//!
//! ```text
//!   0             window.from        end        room             reserved          limit
//!   |  written before  |  written  (I1)|  zeros   |  zeros    (I2)    |               |
//!                      |<------------- mapped --------------->|
//! ```
//!
//! - (I1) `window.next` bytes into the window lies `end`: where the next byte goes.
//! - (I2) Whatever the file holds past `end` is zero, but after an append that failed, until `cut`.
//! - (I3) A window lies wholly over reserved space, so no store meets a full disk. Stores go no
//!   further than its room.
//! - (I4) The file is never cut while a window is over it.
//!
//! Reserving costs about 2 ns a byte in small steps and next to nothing in large ones, so steps
//! double with the file, from 64 KiB to 64 MiB: a file never reserves more than about as much again
//! as it holds, and nothing past its limit.
//!
//! A store into a page that the system does not hold yet costs a fault of 1 us and more for every
//! 4 KiB. Where appends come fast, zeros are therefore written ahead, half a MiB at a time: that
//! makes the pages many at once, at half the cost (measured on ext4: 500 to 600 ns a page with the
//! store, against 1,000 to 1,100). Where they do not, it would only give the disk more to write;
//! and on tmpfs, which makes its pages singly anyhow, it takes twice as long.

use std::io;
use std::sync::Arc;

use super::map::Map;
use super::{File, LiesOn, advance};
use crate::sync::OnceLock;
use crate::types::{WriteMode, to_u64, to_usize};

/// The smallest and the largest step in which space is reserved.
const STEP_MIN: u64 = 64 * 1024;
const STEP_MAX: u64 = 64 * 1024 * 1024;

/// Appends of this many bytes that do not fit the window are plain writes where nothing is written
/// ahead: the two ways then cost the same (0.2 to 0.4 ns a byte, measured), and a plain write needs
/// no space reserved.
const LARGE_BYTES: u64 = 64 * 1024;

// In the crate's own tests these two are small: the proofs' logs are small, and are to meet them.

/// A window ends at a multiple of this where zeros are written ahead: what lies behind it is not
/// mapped any more when it is synced, which spares the system an interrupt of the other processors
/// for every page.
const WINDOW_BYTES: u64 = if cfg!(test) { 8 } else { 4 * 1024 } * 1024;

/// Zeros are written ahead up to a multiple of this, once as much was appended since the last sync.
/// Appends of this many bytes are plain writes there: they make many pages at once by themselves.
const AHEAD_BYTES: u64 = if cfg!(test) { 1 } else { 512 } * 1024;

/// What is written ahead: memory that nobody ever writes to, so it takes up next to nothing.
static ZEROS: OnceLock<Vec<u8>> = OnceLock::new();

/// Appends to one file. Dropping it leaves the file as it is, reserved space included.
#[derive(Debug)]
pub(crate) struct Appender {
    file: Arc<File>,
    way: Way,
    window: Option<Window>,
    end: u64,
    limit: u64,
    /// Space is reserved up to here.
    reserved: u64,
    /// Where the end was when the file was synced last.
    synced: u64,
    /// Plain writes up to here: no window could be had when it was last tried.
    plain_until: u64,
}

/// How bytes get into the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Not known yet: what the file lies on is asked at the first append. `wanted` says that the
    /// caller asked for windows wherever it is.
    Unasked { wanted: bool },
    /// Through windows. `grow` says whether a file system that cannot reserve may be given
    /// unreserved space instead: a full disk is then a SIGBUS, which the caller asked for. `ahead`
    /// says whether zeros are written ahead of fast appends.
    Window { grow: bool, ahead: bool },
    /// By plain writes.
    Plain,
}

#[derive(Debug)]
struct Window {
    map: Map,
    /// Where in the map the file's end lies.
    next: usize,
    /// Where in the map stores end for now.
    room: usize,
}

impl Appender {
    /// An appender whose next byte goes to `end`, in a file that is not expected to pass `limit`
    /// bytes. The file ends at `end`, or holds only zeros from there on. No I/O happens before the
    /// first append.
    pub(crate) fn new(file: Arc<File>, mode: WriteMode, end: u64, limit: u64) -> Self {
        let way = match mode {
            WriteMode::Auto => Way::Unasked { wanted: false },
            WriteMode::Mapped => Way::Unasked { wanted: true },
            WriteMode::Pwrite => Way::Plain,
        };
        Self {
            file,
            way,
            window: None,
            end,
            limit,
            reserved: end,
            synced: end,
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
        if self.store(bytes) {
            return Ok(());
        }
        self.append_slowly(bytes)
    }

    /// Stores bytes into the window, if they fit its room.
    #[inline]
    fn store(&mut self, bytes: &[u8]) -> bool {
        let Some(window) = &mut self.window else {
            return false;
        };
        let next = window.next.saturating_add(bytes.len());
        if next > window.room || !window.map.store(window.next, bytes) {
            return false;
        }
        window.next = next;
        self.end = advance(self.end, bytes.len());
        true
    }

    /// Says that the file is being synced: appends that come slowly between syncs are not worth
    /// writing ahead for.
    pub(crate) fn synced(&mut self) {
        self.synced = self.end;
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
        self.reserved = end;
        self.synced = self.synced.min(end);
        self.plain_until = 0;
        Ok(())
    }

    /// Gives back what was reserved: the file is exactly [`end`](Self::end) bytes long. For a file
    /// that is being sealed or closed; an append after it reserves again.
    pub(crate) fn trim(&mut self) -> io::Result<()> {
        self.window = None; // (I4)
        self.reserved = self.end;
        if self.file.len()? != self.end {
            self.file.set_len(self.end)?;
        }
        Ok(())
    }

    #[cold]
    fn append_slowly(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Way::Unasked { wanted } = self.way {
            self.way = Way::on(self.file.lies_on(), wanted);
        }
        if let Way::Window { grow, ahead } = self.way {
            let large = if ahead { AHEAD_BYTES } else { LARGE_BYTES };
            if to_u64(bytes.len()) < large {
                if !self.has_window_for(bytes.len()) {
                    self.make_window(bytes.len(), grow, ahead);
                }
                self.make_room(bytes.len(), ahead);
                if self.store(bytes) {
                    return Ok(());
                }
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

    fn has_window_for(&self, needed: usize) -> bool {
        self.window
            .as_ref()
            .is_some_and(|window| window.next.saturating_add(needed) <= window.map.len())
    }

    /// Gives the window room for `needed` bytes more, if it is long enough for them.
    fn make_room(&mut self, needed: usize, ahead: bool) {
        let end = self.end;
        let fast = ahead && end.saturating_sub(self.synced) >= AHEAD_BYTES;
        let Some(window) = &mut self.window else {
            return;
        };
        let begin = end.saturating_sub(to_u64(window.next));
        let from = advance(begin, window.room.max(window.next));
        let to = next_multiple(advance(end, needed).max(from), AHEAD_BYTES)
            .min(advance(begin, window.map.len()));
        let len = to_usize(to.saturating_sub(from));
        if fast && self.file.write_at(from, zeros(len)).is_err() {
            // No space after all, or worse: the plain write that follows says what.
            self.window = None;
            self.plain_until = end.saturating_add(STEP_MIN);
            return;
        }
        window.room = to_usize(to.saturating_sub(begin));
    }

    /// Makes a window at the end with room for `needed` bytes, or none when plain writes are to be
    /// used instead: for these bytes, for a while, or for good.
    fn make_window(&mut self, needed: usize, grow: bool, ahead: bool) {
        self.window = None;
        let needed = advance(self.end, needed);
        if self.end < self.plain_until || needed > self.limit {
            return;
        }
        // A map can be refused too, for there is a limit on their number.
        self.window = self.reserve(needed, grow).and_then(|reserved| {
            let to = if ahead {
                next_multiple(needed, WINDOW_BYTES).min(reserved)
            } else {
                reserved
            };
            let len = to_usize(to.saturating_sub(self.end));
            let map = self.file.map(self.end, len).ok()?;
            let (next, room) = (0, 0);
            Some(Window { map, next, room })
        });
        if self.window.is_none() {
            self.plain_until = self.end.saturating_add(STEP_MIN);
        }
    }

    /// Reserves space from the end up to `needed` at least; gives where it ends, `None` when there
    /// is not so much left or none can be had here. A plain write then tells why.
    fn reserve(&mut self, needed: u64, grow: bool) -> Option<u64> {
        if needed <= self.reserved {
            return Some(self.reserved);
        }
        let doubled = self.end.clamp(STEP_MIN, STEP_MAX);
        for step in [doubled, STEP_MIN] {
            let to = self.end.saturating_add(step).min(self.limit).max(needed);
            match self.file.reserve(self.end, to.saturating_sub(self.end)) {
                Ok(()) => {
                    self.reserved = to;
                    return Some(to);
                }
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                    if grow && self.file.set_len(to).is_ok() {
                        self.reserved = to;
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

impl Way {
    /// The way on a file system.
    fn on(file_system: LiesOn, wanted: bool) -> Self {
        match file_system {
            LiesOn::Another | LiesOn::CopyOnWrite | LiesOn::Network(_) if !wanted => Self::Plain,
            file_system => Self::Window {
                grow: wanted,
                ahead: file_system != LiesOn::Tmpfs,
            },
        }
    }
}

/// So many zeros, at most as many as are ever written ahead at once.
fn zeros(count: usize) -> &'static [u8] {
    let zeros = ZEROS.get_or_init(|| vec![0; to_usize(AHEAD_BYTES.saturating_mul(2))]);
    zeros.get(..count).unwrap_or(zeros)
}

/// The first multiple of `step` that is not below a place.
fn next_multiple(place: u64, step: u64) -> u64 {
    place.div_ceil(step).saturating_mul(step)
}
