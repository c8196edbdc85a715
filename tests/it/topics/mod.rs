//! Topics and brokers through the public API.

mod internal;
mod life;
mod placing;
mod producer;
mod reader;
mod recovery;

use std::fs;
use std::path::{Path, PathBuf};

use ottla::{PartitionId, Topic};
use tempfile::TempDir;

fn scratch() -> (TempDir, PathBuf) {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("data");
    (scratch, dir)
}

fn values(topic: &Topic) -> Vec<(PartitionId, u64, String)> {
    let mut all = Vec::new();
    for partition in 0..topic.partition_count() {
        for record in topic.partition(partition).unwrap().reader(0).unwrap() {
            let record = record.unwrap();
            let value = String::from_utf8(record.value().unwrap().to_vec()).unwrap();
            all.push((partition, record.offset, value));
        }
    }
    all
}

fn names_in(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// As a killed process leaves it: no file is closed, and nobody holds the lock.
fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
