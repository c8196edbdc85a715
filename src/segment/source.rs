//! Sources of batches: an open file, or a segment whose file is opened when it is read.
//!
//! Knows nothing about batches.

use std::io;
use std::sync::Arc;

use crate::disk::{Disk, File};

use super::{OpenFiles, Segment};

pub(crate) trait ReadAt {
    /// Reads until `buf` is full or the file ends.
    fn read_at(&self, position: u64, buf: &mut [u8]) -> io::Result<usize>;
}

impl ReadAt for File {
    fn read_at(&self, position: u64, buf: &mut [u8]) -> io::Result<usize> {
        Self::read_at(self, position, buf)
    }
}

impl<R: ReadAt> ReadAt for Arc<R> {
    fn read_at(&self, position: u64, buf: &mut [u8]) -> io::Result<usize> {
        R::read_at(self, position, buf)
    }
}

/// A segment that is read piece by piece over any length of time: its file is held for one read
/// only, and opened again if need be.
///
/// The caller must hold no log's lock: making room may sync and close another log's file.
#[derive(Debug)]
pub(crate) struct SegmentFile<'a> {
    pub(crate) segment: &'a Arc<Segment>,
    pub(crate) disk: &'a Disk,
    pub(crate) files: &'a OpenFiles,
}

impl ReadAt for SegmentFile<'_> {
    /// `NotFound` also means that the segment is gone, or that its name now belongs to another
    /// file: the caller must look its offset up in the current segments.
    fn read_at(&self, position: u64, buf: &mut [u8]) -> io::Result<usize> {
        let file = if let Some(file) = self.segment.open_already() {
            file
        } else {
            self.files.make_room();
            self.segment.open_file(self.disk, self.files)?
        };
        file.read_at(position, buf)
    }
}
