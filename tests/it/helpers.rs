//! What several modules need: places to work in, and everything that a log holds.

use std::fs;
use std::path::{Path, PathBuf};

use ottla::{Log, LogConfig, Start};
use tempfile::TempDir;

/// A directory that is gone after the test.
pub(crate) fn scratch() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// The values of a log, oldest first.
pub(crate) fn values(log: &Log) -> Vec<String> {
    log.reader(Start::Earliest)
        .unwrap()
        .map(|record| text(record.unwrap().value()))
        .collect()
}

pub(crate) fn text(bytes: Option<&[u8]>) -> String {
    String::from_utf8(bytes.unwrap().to_vec()).unwrap()
}

/// `"0"`, `"1"` and so on.
pub(crate) fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

/// A log that holds the numbers below `count`, one batch each, in a closed directory.
pub(crate) fn closed_log(dir: &Path, config: &LogConfig, count: usize) {
    let log = Log::open(dir, config.clone()).unwrap();
    for number in numbers(count) {
        log.append(&number).unwrap();
    }
    log.close().unwrap();
}

/// The files of a directory whose names end so, by name.
pub(crate) fn files_with(dir: &Path, suffix: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file() && path.to_str().unwrap().ends_with(suffix))
        .collect();
    files.sort();
    files
}

/// How long a test waits for what must happen: never reached unless it does not.
pub(crate) const PATIENCE: std::time::Duration = std::time::Duration::from_secs(600);
