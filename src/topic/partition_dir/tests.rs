//! Tests of `partition_dir.rs`.

use super::*;
use crate::disk::sim::Sim;
use std::path::Path;

fn dir(id: u8) -> PartitionDir {
    let name = TopicName::new("flights").unwrap();
    PartitionDir::new(Path::new("/"), &name, TopicId([id; 16]), 3)
}

#[test]
fn a_directory_is_made_once_and_says_whose_it_is() {
    let sim = Sim::new();
    let disk = sim.disk();
    assert!(dir(1).make(&disk).unwrap());
    assert!(!dir(1).make(&disk).unwrap());
    let contents = PartitionDir::inspect(&disk, dir(1).path()).unwrap();
    assert_eq!(
        contents,
        Contents {
            id: Some(TopicId([1; 16])),
            data: false,
            foreign: false
        }
    );
    assert!(matches!(dir(2).make(&disk), Err(Error::Corrupt { .. })));
}

#[test]
fn a_torn_owner_is_written_again() {
    let sim = Sim::new();
    let disk = sim.disk();
    dir(1).make(&disk).unwrap();
    for torn in ["", "version: 0\ntopic_", "\0\0\0\0"] {
        sim.write_raw("/flights-3/partition.metadata", torn.as_bytes())
            .unwrap();
        assert!(dir(1).make(&disk).unwrap());
        assert_eq!(
            owner_of(&disk, dir(1).path()).unwrap(),
            Some(TopicId([1; 16]))
        );
    }
}

#[test]
fn only_our_own_names_are_removed() {
    let sim = Sim::new();
    let disk = sim.disk();
    dir(1).make(&disk).unwrap();
    for ours in [
        "00000000000000000000.log",
        "ottla.next",
        "leader-epoch-checkpoint",
        "ottla.truncate",
    ] {
        sim.write_raw(dir(1).path().join(ours), b"x").unwrap();
    }
    let contents = PartitionDir::inspect(&disk, dir(1).path()).unwrap();
    assert!(contents.data && !contents.foreign);
    for foreign in ["notes.txt", "notes.txt.tmp", "5.log"] {
        sim.write_raw(dir(1).path().join(foreign), b"x").unwrap();
    }
    assert!(!PartitionDir::remove(&disk, dir(1).path()).unwrap());
    let left: Vec<_> = sim.files().into_iter().map(|(path, _)| path).collect();
    assert_eq!(left.len(), 3, "{left:?}");
    for foreign in ["notes.txt", "notes.txt.tmp", "5.log"] {
        disk.remove_file(&dir(1).path().join(foreign)).unwrap();
    }
    assert!(PartitionDir::remove(&disk, dir(1).path()).unwrap());
    assert!(
        PartitionDir::remove(&disk, dir(1).path()).unwrap(),
        "and it stays gone"
    );
}
