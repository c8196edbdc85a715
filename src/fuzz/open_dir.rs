//! Any bytes as the directory of a log: names and contents of its files.
//!
//! Knows nothing about how a log recovers; it only asks it to, and checks what must hold whatever
//! was found.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::clock::Clock;
use crate::disk::sim::Sim;
use crate::error::Result;
use crate::format::{BatchHeader, crc32c};
use crate::log::{Log, open_alone_on};
use crate::recovery::OpenMode;
use crate::types::LogConfig;
use crate::types::{Record, Start, Timestamp};

/// Files of one directory.
const FILES_MAX: usize = 16;
/// Where the checksum stands in a batch, and where what it covers begins.
const CRC: std::ops::Range<usize> = 17..21;

/// The names that a log knows; any other number is followed by a name of its own.
const NAMES: [&str; 14] = [
    "00000000000000000000.log",
    "00000000000000000000.index",
    "00000000000000000000.timeindex",
    "00000000000000000003.log",
    "00000000000000000003.index",
    "00000000000000000003.timeindex",
    "00000000000000000100.log",
    "00000000000000000000.log.deleted",
    "00000000000000000000.log.swap",
    "00000000000000000000.log.cleaned",
    "leader-epoch-checkpoint",
    "ottla.marks",
    "ottla.truncate",
    "ottla.next",
];

/// Reads the bytes as a directory, opens the log in it, and uses it.
pub fn open_dir(data: &[u8]) {
    let Some(sim) = directory(data) else {
        return;
    };
    look(&sim);
    let Some(end) = write(&sim) else {
        return;
    };
    again(&sim, end);
}

fn dir() -> &'static Path {
    Path::new("/log")
}

fn open(sim: &Sim, mode: OpenMode) -> Result<Log> {
    let config = LogConfig::default().segment_bytes(4_096);
    open_alone_on(&sim.disk(), &Clock::System, dir(), config, mode, true)
}

/// The directory that the bytes describe: for each file a byte that chooses its name, its length
/// in two bytes, and its content. A name byte with the high bit set has the checksums of the
/// batches in the content put right, because no mutation would get past them otherwise.
fn directory(data: &[u8]) -> Option<Sim> {
    let sim = Sim::new();
    sim.disk().create_dir(dir()).ok()?;
    sim.disk().sync_dir(Path::new("/")).ok()?;
    let mut rest = data;
    for _ in 0..FILES_MAX {
        let Some((choice, after)) = rest.split_first() else {
            break;
        };
        let (name, after) = name(choice & 0x7f, after)?;
        let (length, after) = after.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_le_bytes(*length)).min(after.len());
        let (content, after) = after.split_at_checked(length)?;
        let mut content = content.to_vec();
        if choice & 0x80 != 0 {
            put_checksums_right(&mut content);
        }
        sim.write_raw(dir().join(name), &content).ok()?;
        rest = after;
    }
    Some(sim)
}

fn name(choice: u8, rest: &[u8]) -> Option<(String, &[u8])> {
    if let Some(known) = NAMES.get(usize::from(choice)) {
        return Some(((*known).to_owned(), rest));
    }
    let (length, rest) = rest.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length).min(rest.len()))?;
    let name = String::from_utf8_lossy(name).replace(['/', '\0'], "_");
    let is_file = !matches!(name.as_str(), "" | "." | ".." | ".lock");
    is_file.then_some((name, rest))
}

fn put_checksums_right(content: &mut [u8]) {
    let mut rest = content;
    while let Ok(header) = BatchHeader::parse(rest) {
        let Some((batch, after)) = rest.split_at_mut_checked(header.size) else {
            return;
        };
        let crc = crc32c(batch.get(CRC.end..).unwrap_or_default());
        if let Some(place) = batch.get_mut(CRC) {
            place.copy_from_slice(&crc.to_be_bytes());
        }
        rest = after;
    }
}

fn contents(sim: &Sim) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = sim.files().into_iter();
    files
        .map(|(path, _)| {
            let content = sim.read(&path).unwrap_or_default();
            (path, content)
        })
        .collect()
}

/// A read-only opening changes nothing.
fn look(sim: &Sim) {
    let before = contents(sim);
    if let Ok(log) = open(sim, OpenMode::Read) {
        read_all(&log);
        drop(log.append("refused"));
    }
    assert!(before == contents(sim), "reading has changed a file");
}

/// Reads everything; damage of a sealed segment may end it, a panic may not.
fn read_all(log: &Log) {
    let Ok(reader) = log.reader(Start::Earliest) else {
        return;
    };
    let mut next = log.start_offset();
    for record in reader.map_while(Result::ok) {
        assert!(record.offset >= next, "offsets rise");
        next = record.offset.saturating_add(1);
    }
    assert!(next <= log.end_offset(), "no record lies past the end");
    for at in [Timestamp::NONE, Timestamp::from_millis(1_000)] {
        drop(log.offset_for_time(at));
    }
    drop(log.read(log.start_offset()));
}

/// Opens, reads, appends, closes: gives the end, when the log could be opened and appended to.
fn write(sim: &Sim) -> Option<u64> {
    let before = contents(sim);
    let log = match open(sim, OpenMode::Write) {
        Ok(log) => log,
        Err(refused) => {
            let after = contents(sim);
            for (path, content) in &before {
                let ours = path.ends_with("ottla.marks") || path.ends_with("ottla.next");
                let kept = after.values().any(|other| other.starts_with(content));
                assert!(ours || kept, "{} is lost: {refused}", path.display());
            }
            return None;
        }
    };
    read_all(&log);
    let end = log.end_offset();
    let appended = log.append(Record::keyed("key", "appended")).ok()?;
    assert_eq!(appended, end);
    check_appended(&log, appended);
    let closed = log.close();
    assert!(closed.is_ok(), "{closed:?}");
    Some(end)
}

fn check_appended(log: &Log, offset: u64) {
    let record = log.read(offset);
    let Ok(Some(record)) = record else {
        panic!("what was appended cannot be read: {record:?}");
    };
    assert_eq!(record.value(), Some(&b"appended"[..]));
}

/// Opening again finds what was there, and truncating at both ends works.
fn again(sim: &Sim, appended: u64) {
    let log = match open(sim, OpenMode::Write) {
        Ok(log) => log,
        Err(refused) => panic!("what was closed does not open: {refused}"),
    };
    assert_eq!(log.end_offset(), appended.saturating_add(1));
    assert_eq!(log.open_report().quarantined_bytes, 0, "a second time");
    check_appended(&log, appended);
    read_all(&log);
    let start = log.start_offset();
    let middle = start.midpoint(appended);
    if log.truncate_prefix(middle).is_ok() {
        assert_eq!(log.start_offset(), middle);
    }
    if log.truncate(appended).is_ok() {
        assert_eq!(log.end_offset(), appended);
    }
    read_all(&log);
    drop(log);
    let log = open(sim, OpenMode::Read);
    assert!(log.is_ok(), "{log:?}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{BatchOptions, encode_one};

    fn batch() -> Vec<u8> {
        let mut bytes = Vec::new();
        encode_one(&mut bytes, &Record::new("kept"), &BatchOptions::default()).unwrap();
        bytes
    }

    /// The first segment with this content, as the corpus has files.
    fn segment(flag: u8, content: &[u8]) -> Sim {
        let length = u16::try_from(content.len()).unwrap().to_le_bytes();
        directory(&[&[flag][..], &length, content].concat()).unwrap()
    }

    #[test]
    fn the_bytes_really_become_a_log_that_is_used() {
        let sim = segment(0, &batch());
        look(&sim);
        assert_eq!(write(&sim), Some(1));
        again(&sim, 1);
    }

    #[test]
    fn checksums_are_put_right_where_the_input_says_so() {
        let mut batch = batch();
        batch[CRC.start] ^= 1;
        assert_eq!(write(&segment(0, &batch)), Some(0));
        assert_eq!(write(&segment(0x80, &batch)), Some(1));
    }
}
