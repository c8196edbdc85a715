//! Tests of the disk floor: the appender against a plain vector on both disks and in every mode,
//! and the calls whose promise the floors above rely on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;

use super::sim::Sim;
use super::{Access, Appender, Disk, Entry, EntryKind, parent};
use crate::types::{Timestamp, WriteMode};

const MODES: [WriteMode; 3] = [WriteMode::Auto, WriteMode::Mapped, WriteMode::Pwrite];

/// A directory on a disk, real or simulated.
struct Place {
    disk: Disk,
    root: PathBuf,
    _dir: Option<tempfile::TempDir>,
}

impl Place {
    fn os() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            disk: Disk::os(),
            root: dir.path().to_path_buf(),
            _dir: Some(dir),
        }
    }

    fn on(sim: &Sim) -> Self {
        Self {
            disk: sim.disk(),
            root: PathBuf::from("/"),
            _dir: None,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        let file = self.disk.open(&self.path(name), Access::Read).unwrap();
        let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap() + 7];
        let read = file.read_at(0, &mut bytes).unwrap();
        bytes.truncate(read);
        bytes
    }
}

fn places() -> [Place; 2] {
    [Place::os(), Place::on(&Sim::new())]
}

#[derive(Clone, Debug)]
enum Step {
    Append(usize),
    Synced,
    Cut(u16),
    Trim,
    Reopen(WriteMode),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let mode = prop_oneof![
        Just(WriteMode::Auto),
        Just(WriteMode::Mapped),
        Just(WriteMode::Pwrite)
    ];
    let step = prop_oneof![
        8 => (0usize..2000).prop_map(Step::Append),
        1 => (0usize..300_000).prop_map(Step::Append),
        1 => Just(Step::Synced),
        1 => any::<u16>().prop_map(Step::Cut),
        1 => Just(Step::Trim),
        1 => mode.prop_map(Step::Reopen),
    ];
    prop::collection::vec(step, 1..60)
}

fn count(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap()
}

/// Whatever is done, the file begins with what was appended and not cut, and has only zeros
/// behind it; after a trim it has nothing behind it.
fn check_appender(place: &Place, mode: WriteMode, limit: u64, steps: &[Step]) {
    let path = place.path("log");
    place.disk.remove_file(&path).ok();
    let mut file = Arc::new(place.disk.create(&path).unwrap());
    let mut appender = Appender::new(Arc::clone(&file), mode, 0, limit);
    let mut model: Vec<u8> = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        match step {
            Step::Append(len) => {
                let bytes: Vec<u8> = (0..*len)
                    .map(|i| u8::try_from((i * 7 + number) % 255 + 1).unwrap())
                    .collect();
                appender.append(&bytes).unwrap();
                model.extend_from_slice(&bytes);
            }
            Step::Synced => appender.synced(),
            Step::Cut(to) => {
                let to = model.len() * usize::from(*to) / usize::from(u16::MAX);
                appender.cut(count(to)).unwrap();
                model.truncate(to);
            }
            Step::Trim => {
                appender.trim().unwrap();
                assert_eq!(file.len().unwrap(), count(model.len()));
            }
            Step::Reopen(mode) => {
                drop(appender);
                file = Arc::new(place.disk.open(&path, Access::Write).unwrap());
                appender = Appender::new(Arc::clone(&file), *mode, count(model.len()), limit);
            }
        }
        assert_eq!(appender.end(), count(model.len()));
        let bytes = place.read("log");
        let (written, behind) = bytes.split_at(model.len());
        assert!(written == model, "after {step:?}, step {number}");
        assert!(behind.iter().all(|byte| *byte == 0), "after {step:?}");
        assert!(
            count(bytes.len()) <= limit.max(count(model.len())),
            "past the limit"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn an_appender_is_a_vector(
        steps in steps(),
        limit in prop_oneof![Just(1 << 20), 1u64..200_000],
    ) {
        for place in places() {
            for mode in MODES {
                check_appender(&place, mode, limit, &steps);
            }
        }
    }
}

#[test]
fn every_call_does_the_same_on_both_disks() {
    for place in places() {
        let disk = &place.disk;
        let dir = place.path("a");
        disk.create_dir(&dir).unwrap();
        disk.create_dir(&dir).unwrap();
        assert!(disk.create_dir(&place.path("missing/b")).is_err());
        let file = disk.create(&dir.join("f")).unwrap();
        assert!(disk.create(&dir.join("f")).is_err());
        assert!(disk.create_dir(&dir.join("f")).is_err());
        assert!(disk.open(&dir, Access::Read).is_err());
        file.write_at(3, b"abc").unwrap();
        assert_eq!(file.len().unwrap(), 6);
        assert_eq!(disk.file_len(&dir.join("f")).unwrap(), 6);
        let mut buf = [9; 8];
        assert_eq!(file.read_at(2, &mut buf).unwrap(), 4);
        assert_eq!(buf, [0, b'a', b'b', b'c', 9, 9, 9, 9]);
        assert_eq!(file.read_at(7, &mut buf).unwrap(), 0);
        file.set_len(4).unwrap();
        file.set_len(6).unwrap();
        assert_eq!(place.read("a/f"), [0, 0, 0, b'a', 0, 0]);
        file.sync_data().unwrap();
        file.reserve(4, 100).unwrap();
        assert_eq!(file.len().unwrap(), 104);
        assert!(disk.exists(&dir.join("f")).unwrap());
        assert!(!disk.exists(&dir.join("g")).unwrap());

        let time = Timestamp::from_millis(1_370_044_800_123);
        disk.set_modified(&dir.join("f"), time).unwrap();
        assert_eq!(disk.modified(&dir.join("f")).unwrap(), time);

        disk.rename(&dir.join("f"), &dir.join("g")).unwrap();
        assert!(disk.rename(&dir.join("g"), &place.path("g")).is_err());
        let entry = |name: &str, kind| Entry {
            name: name.to_string(),
            kind,
        };
        assert_eq!(disk.list(&dir).unwrap(), [entry("g", EntryKind::File)]);
        assert_eq!(
            disk.list(&place.root).unwrap(),
            [entry("a", EntryKind::Dir)]
        );
        assert!(disk.remove_dir(&dir).is_err());
        disk.remove_file(&dir.join("g")).unwrap();
        assert_eq!(file.read_at(3, &mut buf).unwrap(), 8);
        assert_eq!(buf[0], b'a');
        disk.sync_dir(&dir).unwrap();
        disk.remove_dir(&dir).unwrap();
        assert!(disk.open(&dir.join("g"), Access::Read).is_err());
        let missing = disk.open(&dir.join("g"), Access::Read).unwrap_err();
        assert_eq!(missing.kind(), std::io::ErrorKind::NotFound);
    }
}

#[test]
fn a_small_file_is_replaced_and_read_whole() {
    for place in places() {
        let path = place.path("checkpoint");
        assert_eq!(place.disk.read_small(&path, 10).unwrap(), None);
        place.disk.replace(&path, b"one").unwrap();
        place.disk.create(&place.path("checkpoint.tmp")).unwrap();
        place.disk.replace(&path, b"three").unwrap();
        let bytes = place.disk.read_small(&path, 5).unwrap();
        assert_eq!(bytes.as_deref(), Some(&b"three"[..]));
        let too_long = place.disk.read_small(&path, 4).unwrap_err();
        assert_eq!(too_long.kind(), std::io::ErrorKind::InvalidData);
        assert_eq!(place.disk.list(&place.root).unwrap().len(), 1);
    }
}

#[test]
fn the_parent_of_a_bare_name_is_here() {
    assert_eq!(parent(Path::new("log")), Path::new("."));
    assert_eq!(parent(Path::new("/log")), Path::new("/"));
}

#[test]
fn a_second_lock_is_refused_until_the_first_is_dropped() {
    for place in places() {
        let path = place.path(".lock");
        let held = place.disk.lock(&path).unwrap();
        assert!(held.is_some());
        assert!(place.disk.lock(&path).unwrap().is_none());
        drop(held);
        assert!(place.disk.exists(&path).unwrap());
        assert!(place.disk.lock(&path).unwrap().is_some());
    }
}
