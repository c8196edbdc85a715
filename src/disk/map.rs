//! A window: bytes of a file that are stored by a plain copy instead of a system call.
//!
//! Knows nothing about when a window is worth it; `appender` does. A store can only fail by a
//! signal, so the space under a window is reserved first.

use std::io;

use super::os::OsFile;
#[cfg(any(all(test, ottla_repository), ottla_sim))]
use super::sim::SimMap;

#[derive(Debug)]
pub(super) enum Map {
    Os(OsMap),
    #[cfg(any(all(test, ottla_repository), ottla_sim))]
    Sim(SimMap),
}

impl Map {
    pub(super) fn os(file: &OsFile, from: u64, len: usize) -> io::Result<Self> {
        OsMap::new(file, from, len).map(Self::Os)
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Os(map) => map.len(),
            #[cfg(any(all(test, ottla_repository), ottla_sim))]
            Self::Sim(map) => map.len(),
        }
    }

    /// Copies bytes into the map; false, with nothing done, if they reach past its end.
    #[inline]
    pub(super) fn store(&mut self, at: usize, bytes: &[u8]) -> bool {
        match self {
            Self::Os(map) => map.store(at, bytes),
            #[cfg(any(all(test, ottla_repository), ottla_sim))]
            Self::Sim(map) => map.store(at, bytes),
        }
    }
}

#[cfg(target_os = "linux")]
#[derive(Debug)]
pub(super) struct OsMap(memmap2::MmapMut);

#[cfg(target_os = "linux")]
impl OsMap {
    #[expect(unsafe_code, reason = "there is no safe way to map a file")]
    fn new(file: &OsFile, from: u64, len: usize) -> io::Result<Self> {
        // SAFETY: a map must not change under a reference to it, nor end before its length. Only
        // the one `Appender` that owns this map makes references to it, all of them `&mut` ones for
        // the time of one copy. The directory's lock keeps other writers out. The bytes are there
        // (the caller reserved them), and this crate cuts a file only after its window is gone.
        // Another program that cuts the file meanwhile makes the next store a SIGBUS: that ends the
        // process, it does not break memory.
        let map = unsafe {
            memmap2::MmapOptions::new()
                .offset(from)
                .len(len)
                .map_mut(file.file())?
        };
        // Otherwise a store into a missing page has the system read ahead: it makes all pages
        // around, up to megabytes of them. Where it takes no advice, it does so.
        map.advise(memmap2::Advice::Random).ok();
        Ok(Self(map))
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    #[inline]
    fn store(&mut self, at: usize, bytes: &[u8]) -> bool {
        let room = self
            .0
            .get_mut(at..)
            .and_then(|rest| rest.get_mut(..bytes.len()));
        match room {
            Some(room) => {
                room.copy_from_slice(bytes);
                true
            }
            None => false,
        }
    }
}

/// There are no windows on this system: a write there is not seen by reads at once.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub(super) enum OsMap {}

#[cfg(not(target_os = "linux"))]
impl OsMap {
    fn new(_: &OsFile, _: u64, _: usize) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn len(&self) -> usize {
        match *self {}
    }

    fn store(&mut self, _: usize, _: &[u8]) -> bool {
        match *self {}
    }
}
