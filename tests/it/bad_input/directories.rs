//! Directories that cannot be opened, and files in them that are not ours.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use ottla::{Broker, Error, Log, LogConfig, TopicConfig};

use crate::helpers::{closed_log, numbers, scratch, values};

fn open_log(dir: &Path) -> ottla::Result<()> {
    Log::open(dir, LogConfig::default()).map(drop)
}

fn open_broker(dir: &Path) -> ottla::Result<()> {
    Broker::open(dir).map(drop)
}

const OPENERS: [fn(&Path) -> ottla::Result<()>; 2] = [open_log, open_broker];

fn check_io(result: ottla::Result<()>, named: &Path) -> io::ErrorKind {
    match result {
        Err(Error::Io { path, source, .. }) => {
            assert!(
                path.starts_with(named) || named.starts_with(&path),
                "{} for {}",
                path.display(),
                named.display()
            );
            source.kind()
        }
        other => panic!("{}: {other:?}", named.display()),
    }
}

#[test]
fn a_directory_that_is_a_file_is_an_error_and_the_file_stays() {
    let scratch = scratch();
    let file = scratch.path().join("file");
    fs::write(&file, "precious").unwrap();
    for open in OPENERS {
        check_io(open(&file), &file);
        assert_eq!(fs::read(&file).unwrap(), b"precious");
    }
}

#[test]
fn parents_that_are_missing_are_made_and_none_below_a_file() {
    let scratch = scratch();
    for (at, open) in OPENERS.into_iter().enumerate() {
        let dir = scratch.path().join(format!("{at}/missing/parents"));
        open(&dir).unwrap();
        assert!(dir.is_dir());
        let file = scratch.path().join(format!("{at}/file"));
        fs::write(&file, "precious").unwrap();
        let below = file.join("a/b");
        assert_eq!(check_io(open(&below), &file), io::ErrorKind::NotADirectory);
        assert_eq!(fs::read(&file).unwrap(), b"precious");
    }
}

#[test]
fn a_directory_that_is_not_writable_is_an_error_and_its_records_stay() {
    let scratch = scratch();
    let dir = scratch.path().join("log");
    closed_log(&dir, &LogConfig::default(), 3);
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o555)).unwrap();
    if fs::write(dir.join("probe"), "").is_ok() {
        // The superuser writes everywhere but where the system itself says no.
        fs::remove_file(dir.join("probe")).unwrap();
        let refused = Path::new("/proc/self/ottla");
        for open in OPENERS {
            check_io(open(refused), refused);
        }
    } else {
        fs::remove_file(dir.join(".lock")).ok();
        check_io(open_log(&dir), &dir);
    }
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    let log = Log::open(&dir, LogConfig::default()).unwrap();
    assert_eq!(values(&log), numbers(3));
}

#[test]
fn a_second_opener_is_refused_and_the_first_goes_on() {
    let scratch = scratch();
    let log = Log::open(scratch.path(), LogConfig::default()).unwrap();
    log.append("0").unwrap();
    let error = open_log(scratch.path()).unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{error:?}");
    log.append("1").unwrap();
    assert_eq!(values(&log), ["0", "1"]);
    log.close().unwrap();
    // The lock is given up by `close`, not by the last handle alone.
    let again = Log::open(scratch.path(), LogConfig::default()).unwrap();
    assert_eq!(values(&again), ["0", "1"]);
    let closed = log.append("2").unwrap_err();
    assert!(matches!(closed, Error::Closed), "{closed:?}");
}

#[test]
fn a_second_opener_of_a_root_or_of_its_partition_is_refused() {
    let scratch = scratch();
    let broker = Broker::open(scratch.path()).unwrap();
    let topic = broker.create_topic("t", TopicConfig::default()).unwrap();
    topic.append_to(0, "0").unwrap();
    for result in [
        open_broker(scratch.path()),
        open_log(&scratch.path().join("t-0")),
    ] {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Locked { .. }), "{error:?}");
    }
    topic.append_to(0, "1").unwrap();
    assert_eq!(values(&topic.partition(0).unwrap()), ["0", "1"]);
    broker.close().unwrap();

    // And the other way round: a partition that is open alone keeps a broker out.
    let log = Log::open(scratch.path().join("t-0"), LogConfig::default()).unwrap();
    assert_eq!(values(&log), ["0", "1"]);
    let error = open_broker(scratch.path()).unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{error:?}");
}

#[test]
fn files_that_are_not_ours_are_left_alone() {
    const FOREIGN: [&str; 6] = [
        "notes.txt",
        "x.log",
        "00000000000000000000.bak",
        "0.log",
        "000000000000000000000.log",
        "-1.index",
    ];
    let scratch = scratch();
    let root = scratch.path().join("root");
    let broker = Broker::open(&root).unwrap();
    broker.create_topic("t", TopicConfig::default()).unwrap();
    broker.close().unwrap();
    drop(broker);
    let partition = root.join("t-0");
    for dir in [&root, &partition] {
        for name in FOREIGN {
            fs::write(dir.join(name), format!("{name} is not ours")).unwrap();
        }
    }
    for round in 0..2 {
        let broker = Broker::open(&root).unwrap();
        let topic = broker.topic("t").unwrap();
        topic.append_to(0, "v").unwrap();
        assert_eq!(values(&topic.partition(0).unwrap()).len(), round + 1);
        broker.close().unwrap();
    }
    for dir in [&root, &partition] {
        for name in FOREIGN {
            let there = fs::read_to_string(dir.join(name)).unwrap();
            assert_eq!(there, format!("{name} is not ours"));
        }
    }
}
