//! Tests of what only a real file system has: links and pipes in the place of files, and locks
//! between processes. A test that needs another process starts this test binary again.

#![cfg(unix)]

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::disk::{Access, Disk, EntryKind, LiesOn};
use crate::sync::Barrier;

use super::calls;

/// The test that is started again: in the new process it takes the lock, and nothing else.
const CHILD: &str = "disk::os::tests::another_process_is_refused_and_its_death_gives_the_lock_back";
const PATH: &str = "OTTLA_TEST_LOCK_PATH";
const KIND: &str = "OTTLA_TEST_LOCK_KIND";
const RUNNER: &str = "OTTLA_TEST_RUNNER";

fn open(path: &Path) -> fs::File {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.open(path).unwrap()
}

fn is_free(path: &Path) -> bool {
    Disk::os().lock(path).unwrap().is_some()
}

/// This test binary. `.ci/platforms` names what runs it when it is of another machine, for the
/// system cannot start it then.
fn this_program() -> Command {
    let program = std::env::current_exe().unwrap();
    let runner = std::env::var(RUNNER).unwrap_or_default();
    let mut words = runner.split_whitespace();
    let Some(first) = words.next() else {
        return Command::new(program);
    };
    let mut command = Command::new(first);
    command.args(words).arg(program);
    command
}

/// Starts another process that takes the lock in its way; the process, and whether it has it.
fn child(path: &Path, kind: &str) -> (Child, bool) {
    let mut child = this_program()
        .args([CHILD, "--exact", "--nocapture"])
        .env(PATH, path)
        .env(KIND, kind)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let answers = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    let answer = answers.map(Result::unwrap).find_map(|line| {
        line.split_once("the lock is ")
            .map(|(_, is)| is.to_string())
    });
    (child, answer.unwrap() == "held")
}

/// In a process that [`child`] started: takes the lock by its environment variables, until the
/// parent ends or kills it. False in a test run.
fn took_it_as_a_child() -> bool {
    let (Some(path), Ok(kind)) = (std::env::var_os(PATH), std::env::var(KIND)) else {
        return false;
    };
    let path = Path::new(&path);
    let file = open(path);
    let ours = (kind == "ours").then(|| Disk::os().lock(path).unwrap());
    let held = match &ours {
        Some(lock) => lock.is_some(),
        None => calls::lock_record(&file),
    };
    println!("\nthe lock is {}", if held { "held" } else { "refused" });
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    true
}

#[test]
fn another_process_is_refused_and_its_death_gives_the_lock_back() {
    if took_it_as_a_child() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(".lock");
    let (mut first, held) = child(&path, "ours");
    assert!(held);
    assert!(!is_free(&path));
    let (mut second, held) = child(&path, "ours");
    assert!(!held);
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(is_free(&path));
    second.kill().unwrap();
    second.wait().unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn a_jvm_is_refused_and_refuses_us() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(".lock");
    let (mut jvm, held) = child(&path, "record");
    assert!(held);
    assert!(
        !is_free(&path),
        "a POSIX record lock, as FileChannel.tryLock takes it"
    );
    jvm.kill().unwrap();
    jvm.wait().unwrap();
    let lock = Disk::os().lock(&path).unwrap();
    assert!(lock.is_some());
    let (mut jvm, held) = child(&path, "record");
    assert!(!held);
    jvm.kill().unwrap();
    jvm.wait().unwrap();
}

#[test]
fn every_layer_alone_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(".lock");
    let flock = open(&path);
    flock.try_lock().unwrap();
    assert!(!is_free(&path), "flock on the file");
    drop(flock);
    let directory = OpenOptions::new().read(true).open(dir.path()).unwrap();
    directory.try_lock().unwrap();
    assert!(!is_free(&path), "flock on the directory");
    drop(directory);
    if cfg!(target_os = "linux") {
        let description = open(&path);
        assert!(calls::lock_description(&description).unwrap());
        assert!(!is_free(&path), "open file description lock");
    }
    assert!(is_free(&path));
}

#[test]
fn an_unlinked_or_replaced_lock_file_lets_no_one_in() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(".lock");
    let lock = Disk::os().lock(&path).unwrap();
    assert!(lock.is_some());
    fs::remove_file(&path).unwrap();
    assert!(!is_free(&path), "unlinked");
    drop(open(&path));
    assert!(!is_free(&path), "replaced");
    drop(lock);
    assert!(is_free(&path));
}

/// Found when one test started a process while another released a lock and took it again: for a
/// moment the new process had copies of all descriptors, and no process could take the lock.
#[test]
fn a_lock_is_given_back_although_its_descriptors_live_on_in_copies() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(".lock");
    let lock = super::OsLock::take(&path, &super::OpenCount::of_process())
        .unwrap()
        .unwrap();
    let copies = lock.copies();
    assert_eq!(copies.len(), 2);
    assert!(!is_free(&path));
    drop(lock);
    assert!(is_free(&path));
    drop(copies);
}

#[test]
fn of_eight_contenders_one_wins() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(".lock");
    let (begin, end) = (Barrier::new(8), Barrier::new(8));
    for _ in 0..50 {
        let contend = || {
            begin.wait();
            let lock = Disk::os().lock(&path).unwrap();
            end.wait();
            usize::from(lock.is_some())
        };
        let winners: usize = std::thread::scope(|scope| {
            let contenders = [(); 8].map(|()| scope.spawn(contend));
            contenders.map(|one| one.join().unwrap()).iter().sum()
        });
        assert_eq!(winners, 1);
    }
}

#[test]
fn only_a_regular_file_is_opened() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let disk = Disk::os();
    let target = elsewhere.path().join("target");
    fs::write(&target, b"not ours").unwrap();
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&target, &link).unwrap();
    let pipe = dir.path().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    for path in [&link, &pipe, &dir.path().to_path_buf()] {
        for access in [Access::Read, Access::Write] {
            assert!(disk.open(path, access).is_err(), "{}", path.display());
        }
        assert!(disk.create(path).is_err());
        assert!(disk.read_small(path, 100).is_err());
        assert!(disk.read_front(path, &mut [0; 8]).is_err());
        assert!(disk.lock(path).is_err());
        assert!(disk.exists(path).unwrap());
    }
    let strange = dir.path().join(std::ffi::OsStr::from_bytes(b"\xFF.log"));
    fs::write(strange, b"").unwrap();
    let mut entries = disk.list(dir.path()).unwrap();
    entries.sort();
    let names: Vec<&str> = entries.iter().map(|entry| &*entry.name).collect();
    assert_eq!(names, ["link", "pipe", "\u{FFFD}.log"]);
    assert!(entries.iter().all(|entry| entry.kind == EntryKind::Other));
    assert_eq!(fs::read(&target).unwrap(), b"not ours");
}

#[test]
fn data_ends_where_only_reserved_space_follows() {
    let dir = tempfile::tempdir().unwrap();
    let file = Disk::os().create(&dir.path().join("file")).unwrap();
    assert_eq!(file.data_end(0).unwrap(), 0);
    let reserved = 8 << 20;
    if file.reserve(0, reserved).is_err() {
        return;
    }
    // The system may know data by the page, and make pages by the dozen.
    let about = |end: u64| end..end + (256 << 10);
    let knows = matches!(file.lies_on(), LiesOn::Ext4 | LiesOn::Tmpfs);
    for written in [100_000, 3_000_000] {
        file.write_at(written - 10, b"ten bytes.").unwrap();
        let end = file.data_end(0).unwrap();
        assert!(about(written).contains(&end) || !knows, "{end}");
    }
    assert_eq!(file.data_end(reserved).unwrap(), reserved);
}
