//! Random bytes, scratch directories, and the raw file work that the floors are made of.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// Bytes of a value where a row says nothing else.
pub(crate) const VALUE_BYTES: usize = 100;

/// A fresh directory, on the file system of the build or where `OTTLA_BENCH_DIR` says.
pub(crate) fn scratch() -> TempDir {
    let dir = std::env::var_os("OTTLA_BENCH_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    tempfile::tempdir_in(dir).unwrap()
}

/// A row of random numbers that is the same every time.
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}

/// A pool of values, larger than a cache line's neighbourhood and smaller than a cache.
#[derive(Debug)]
pub(crate) struct Values {
    bytes: Vec<u8>,
    length: usize,
    at: usize,
}

impl Values {
    pub(crate) fn new(seed: u64, length: usize) -> Self {
        Self {
            bytes: Random(seed).bytes(length + 4096),
            length,
            at: 0,
        }
    }

    /// The next value: other bytes than the one before.
    pub(crate) fn next(&mut self) -> &[u8] {
        self.at = (self.at + 61) % 4096;
        self.bytes.get(self.at..self.at + self.length).unwrap()
    }

    /// So many values.
    pub(crate) fn many(&mut self, count: usize) -> Vec<Vec<u8>> {
        (0..count).map(|_| self.next().to_vec()).collect()
    }
}

/// Bytes of a batch of records without a key: what a floor has to write.
pub(crate) fn batch_bytes(records: usize, value: usize) -> usize {
    let fields = if value < 64 { 7 } else { 9 };
    let deltas = usize::from(records > 64);
    61 + records * (value + fields + deltas)
}

/// A file that is written through a map over reserved space: the barest append there is, the page
/// costs included.
#[derive(Debug)]
pub(crate) struct MappedFile {
    file: File,
    map: Option<memmap2::MmapMut>,
    from: u64,
    next: usize,
}

impl MappedFile {
    const STEP_BYTES: u64 = 64 << 20;

    pub(crate) fn new(dir: &Path) -> Self {
        let path = dir.join("mapped");
        let mut options = std::fs::OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).open(path);
        Self {
            file: file.unwrap(),
            map: None,
            from: 0,
            next: 0,
        }
    }

    #[expect(unsafe_code, reason = "a map, and fallocate, which std does not have")]
    fn more(&mut self) {
        self.from += width_of(self.next);
        self.next = 0;
        let from = libc::off64_t::try_from(self.from).unwrap();
        let step = libc::off64_t::try_from(Self::STEP_BYTES).unwrap();
        // SAFETY: the descriptor is open, and no memory is passed.
        let reserved = unsafe { libc::fallocate64(self.file.as_raw_fd(), 0, from, step) };
        assert_eq!(reserved, 0, "the floor needs a file system with fallocate");
        let mut options = memmap2::MmapOptions::new();
        options.offset(self.from);
        options.len(usize::try_from(Self::STEP_BYTES).unwrap());
        // SAFETY: nobody else has the file, and it is never cut.
        self.map = Some(unsafe { options.map_mut(&self.file) }.unwrap());
    }

    /// Copies bytes to the end and gives their place, for a checksum.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> &[u8] {
        let end = self.next + bytes.len();
        if self.map.as_ref().is_none_or(|map| map.len() < end) {
            self.more();
        }
        let at = self.next;
        self.next += bytes.len();
        let place = self.map.as_mut().unwrap().get_mut(at..self.next).unwrap();
        place.copy_from_slice(bytes);
        place
    }
}

/// A number of things as the library counts them.
pub(crate) fn width_of(length: usize) -> u64 {
    u64::try_from(length).unwrap()
}
