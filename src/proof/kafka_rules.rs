//! What Kafka wants of the files of a partition that is closed.
//!
//! Knows nothing about our code that wrote them: batches are walked here once more, and the index
//! entries are compared with them.
//!
//! 1. A `.log` is whole batches and nothing else; offsets are dense from one file to the next.
//! 2. An `.index` entry names the last offset and the position of a batch, and entries rise.
//! 3. A `.timeindex` entry is the largest timestamp up to the last offset of the batch in which it
//!    came first; the last one is the largest of its segment.

use std::path::{Path, PathBuf};

use super::history::Breach;
use super::rig::DIR;
use crate::disk::sim::Sim;
use crate::format::index::{Entry as _, OffsetEntry, TimeEntry};
use crate::format::{BatchHeader, FileKind, FileName, Stage, check_crc, file_name};
use crate::types::{Offset, Timestamp};

/// Checks every segment of a log that was closed.
pub(super) fn check(sim: &Sim) -> Result<(), Breach> {
    check_but_for(sim, false)
}

/// The same where index files could not be written: those of a sealed segment are then removed,
/// and an opening of the segment, also by a broker, rebuilds them.
pub(super) fn check_after_faults(sim: &Sim) -> Result<(), Breach> {
    check_but_for(sim, true)
}

fn check_but_for(sim: &Sim, missing_indexes: bool) -> Result<(), Breach> {
    let mut next = None;
    for base in bases(sim) {
        if next.is_some_and(|next| next != base) {
            return Err(Breach::new(format!(
                "segment {base} does not follow {next:?}"
            )));
        }
        let batches = batches(sim, base)?;
        let there = |name: String| !missing_indexes || sim.read(path(name)).is_ok();
        if there(file_name::index(base)) {
            check_offsets(sim, base, &batches)?;
        }
        if there(file_name::time_index(base)) {
            check_times(sim, base, &batches)?;
        }
        next = Some(batches.last().map_or(base, |(_, last)| last.next_offset()));
    }
    Ok(())
}

fn bases(sim: &Sim) -> Vec<Offset> {
    let names = sim.files().into_iter().filter_map(|(path, _)| {
        let name = path.file_name()?.to_str()?.to_owned();
        match FileName::parse(&name) {
            FileName::Segment {
                base,
                kind: FileKind::Log,
                stage: Stage::Live,
            } => Some(base),
            _ => None,
        }
    });
    names.collect()
}

/// The batches of a segment with their positions.
fn batches(sim: &Sim, base: Offset) -> Result<Vec<(u32, BatchHeader)>, Breach> {
    let path = path(file_name::log(base));
    let bytes = sim.read(&path).unwrap();
    let (mut at, mut next, mut found) = (0, base, Vec::new());
    while at < bytes.len() {
        let told =
            |why: &dyn std::fmt::Debug| Breach::new(format!("{} at {at}: {why:?}", path.display()));
        let header = BatchHeader::parse(&bytes[at..]).map_err(|why| told(&why))?;
        let batch = bytes
            .get(at..at + header.size)
            .ok_or_else(|| told(&"cut"))?;
        check_crc(batch, &header).map_err(|why| told(&why))?;
        if header.base_offset != next {
            return Err(told(&format!(
                "offset {} and not {next}",
                header.base_offset
            )));
        }
        next = header.next_offset();
        found.push((u32::try_from(at).unwrap(), header));
        at += header.size;
    }
    Ok(found)
}

fn check_offsets(sim: &Sim, base: Offset, batches: &[(u32, BatchHeader)]) -> Result<(), Breach> {
    let path = path(file_name::index(base));
    let mut before: Option<OffsetEntry> = None;
    for entry in entries::<OffsetEntry>(sim, &path)? {
        let last = base + u64::from(entry.relative_offset);
        let true_of_one = batches
            .iter()
            .any(|(at, batch)| *at == entry.position && batch.next_offset() == last + 1);
        let rises = before.is_none_or(|before| entry.continues(&before));
        if !true_of_one || !rises {
            return Err(Breach::new(format!(
                "{}: {entry:?} is not true",
                path.display()
            )));
        }
        before = Some(entry);
    }
    Ok(())
}

fn check_times(sim: &Sim, base: Offset, batches: &[(u32, BatchHeader)]) -> Result<(), Breach> {
    let path = path(file_name::time_index(base));
    let entries = entries::<TimeEntry>(sim, &path)?;
    let mut newest = Timestamp::NONE;
    let mut true_ones = Vec::new();
    for (_, batch) in batches {
        if batch.max_timestamp > newest {
            newest = batch.max_timestamp;
            let last = batch.next_offset() - 1;
            true_ones.push(TimeEntry {
                timestamp: newest,
                relative_offset: u32::try_from(last - base).unwrap(),
            });
        }
    }
    let told = |what: &str| {
        let path = path.display();
        Breach::new(format!(
            "{path}: {what} in {entries:?}, true are {true_ones:?}"
        ))
    };
    let in_order = entries.windows(2).all(|pair| pair[1].continues(&pair[0]));
    if !in_order || entries.last() != true_ones.last() {
        return Err(told("no order, or another end"));
    }
    if !entries.iter().all(|entry| true_ones.contains(entry)) {
        return Err(told("an entry that is not true"));
    }
    Ok(())
}

fn entries<E: crate::format::index::Entry>(sim: &Sim, path: &Path) -> Result<Vec<E>, Breach> {
    let bytes = sim
        .read(path)
        .map_err(|error| Breach::new(format!("{}: {error}", path.display())))?;
    let whole = bytes.len() % E::LEN == 0;
    let decoded: Vec<_> = bytes.chunks(E::LEN).filter_map(E::decode).collect();
    if !whole || decoded.len() != bytes.len() / E::LEN {
        return Err(Breach::new(format!(
            "{}: not whole entries",
            path.display()
        )));
    }
    Ok(decoded)
}

fn path(name: String) -> PathBuf {
    Path::new(DIR).join(name)
}
