//! The write side of one growing file: plain writes, or stores into a mapped window over space that
//! was reserved ahead. Only this file chooses.
//!
//! Knows nothing about batches or syncing: the owner of the file syncs it, and `fdatasync` covers
//! stores through a shared map too.
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
//! double with the file, from 64 KiB to 64 MiB: it never reserves more than about as much again as
//! it holds, and nothing past its limit.
//!
//! A store into a page that the system does not hold yet costs a fault of 1 us and more for every 4
//! KiB. Where appends come fast, zeros are therefore written half a MiB ahead: many pages at once
//! cost half (measured on ext4: 500 to 600 ns a page with the store, against 1,000 to 1,100). Where
//! they come slowly that only gives the disk more to write; and on tmpfs, which makes each page
//! alone anyhow, it takes twice as long.

use std::io;
use std::sync::Arc;

use super::map::Map;
use super::{File, LiesOn, advance};
use crate::sync::OnceLock;
use crate::types::{WriteMode, to_u64, to_usize};

const STEP_MIN: u64 = 64 * 1024;
const STEP_MAX: u64 = 64 * 1024 * 1024;

/// Appends of this many bytes that do not fit the window are plain writes where nothing is written
/// ahead: both ways then cost the same (0.2 to 0.4 ns a byte, measured), and no space is reserved.
const LARGE_BYTES: u64 = 64 * 1024;

// Small in the crate's own tests: the proofs' logs are small, and are to meet them.

/// A window ends at a multiple of this where zeros are written ahead: what lies behind it is no
/// longer mapped when it is synced, which spares the system an interrupt of the other processors
/// for every page.
const WINDOW_BYTES: u64 = if cfg!(test) { 8 } else { 4 * 1024 } * 1024;

/// Zeros are written ahead to a multiple of this, once as much was appended since the last sync.
/// Appends of this many bytes are plain writes there, which make many pages at once.
const AHEAD_BYTES: u64 = if cfg!(test) { 1 } else { 512 } * 1024;

static ZEROS: OnceLock<Vec<u8>> = OnceLock::new();

/// Appends to one file. Dropping it leaves the file as it is, reserved space included.
#[derive(Debug)]
pub(crate) struct Appender {
    file: Arc<File>,
    way: Way,
    window: Option<Window>,
    /// Where the next byte goes.
    end: u64,
    /// No space is reserved from here on.
    limit: u64,
    /// Where reserved space ends.
    reserved: u64,
    /// The end at the last sync.
    synced: u64,
    /// The last attempt to make a window failed: plain writes up to here.
    plain_until: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// The first append decides by the file system; with `wanted` for windows wherever possible.
    Unasked { wanted: bool },
    /// By windows. `grow`: where space cannot be reserved, the file grows without it, and a full
    /// disk is a SIGBUS, which the caller accepted. `ahead`: zeros are written ahead of fast
    /// appends.
    Window { grow: bool, ahead: bool },
    /// By plain writes.
    Plain,
}

#[derive(Debug)]
struct Window {
    map: Map,
    /// Where the file ends in the map.
    next: usize,
    /// Where stores end in the map for now.
    room: usize,
}

impl Appender {
    /// The file ends at `end`, or holds only zeros from there on, and is not expected to pass
    /// `limit` bytes. No I/O happens before the first append.
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

    /// Appends bytes. Every reader of the file then sees them and they survive this process; a
    /// power cut, once the file is synced.
    ///
    /// # Errors
    ///
    /// The end has not moved, but there may be bytes past it: call [`cut`](Self::cut) with
    /// [`end`](Self::end) before anything else. A full disk is `StorageFull`, as for a plain write.
    #[inline]
    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.store(bytes) {
            return Ok(());
        }
        self.append_slowly(bytes)
    }

    /// Stores bytes into the window; false if they do not fit its room.
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

    /// Says that the file was synced: zeros are written ahead only after much is appended between
    /// syncs.
    pub(crate) fn synced(&mut self) {
        self.synced = self.end;
    }

    pub(crate) fn file(&self) -> &Arc<File> {
        &self.file
    }

    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Moves the end back to `end`: everything from there on is absent.
    ///
    /// # Errors
    ///
    /// The end has not moved, and what lies past it is unknown. A log that was removing a failed
    /// append then accepts no more appends.
    pub(crate) fn cut(&mut self, end: u64) -> io::Result<()> {
        self.window = None; // (I4)
        self.file.set_len(end)?;
        self.end = end;
        self.reserved = end;
        self.synced = self.synced.min(end);
        self.plain_until = 0;
        Ok(())
    }

    /// Frees reserved space, for a file that is sealed or closed; an append reserves again.
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

    /// Extends the window's room for `needed` bytes; writes zeros there first if appends are fast.
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

    /// Makes a window for `needed` bytes, except where plain writes are better: for these bytes,
    /// for a while, or always.
    fn make_window(&mut self, needed: usize, grow: bool, ahead: bool) {
        self.window = None;
        let needed = advance(self.end, needed);
        if self.end < self.plain_until || needed > self.limit {
            return;
        }
        // A map can be refused too, for their number is limited.
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

    /// Reserves space at least up to `needed`; returns where it ends, or `None` on failure, which
    /// the plain write that follows reports.
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

fn zeros(count: usize) -> &'static [u8] {
    let zeros = ZEROS.get_or_init(|| vec![0; to_usize(AHEAD_BYTES.saturating_mul(2))]);
    zeros.get(..count).unwrap_or(zeros)
}

fn next_multiple(place: u64, step: u64) -> u64 {
    place.div_ceil(step).saturating_mul(step)
}
