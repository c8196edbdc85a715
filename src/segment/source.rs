//! What batches are read from: an open file, or a segment whose file is opened when it is asked.
//!
//! Knows nothing about batches.

use std::io;
use std::sync::Arc;

use crate::disk::{Disk, File};

use super::{OpenFiles, Segment};

/// Bytes at a place.
pub(crate) trait ReadAt {
    /// Reads from `position` until `buf` is full or the file ends; gives the number of bytes read.
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

/// The file of a segment for a caller that reads it piece by piece, over however long a time: it is
/// held for the length of one read and opened again when it was closed in between.
///
/// Its caller holds no lock of any log, for another log's file may have to be synced and closed
/// first.
#[derive(Debug)]
pub(crate) struct SegmentFile<'a> {
    pub(crate) segment: &'a Arc<Segment>,
    pub(crate) disk: &'a Disk,
    pub(crate) files: &'a OpenFiles,
}

impl ReadAt for SegmentFile<'_> {
    /// # Errors
    ///
    /// `NotFound` also when its file was closed and the segment is gone, or its name stands for
    /// another file by now: what it held is to be looked for in the segments that are there now.
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
