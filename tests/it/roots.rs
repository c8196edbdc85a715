//! A broker's directory, damaged from outside in every way that somebody thought of: files that are
//! flipped, cut, emptied, grown, swapped, out of date, gone, or replaced by something that is no
//! file; directories that are gone or changed places.
//!
//! Of each: `verify` changes nothing and does not fail; what a broker gives out is what was
//! appended there, and who loses something is told; no partition suffers for another; after
//! `repair` the broker opens with all its topics, nothing is lost but in the partition that was
//! hit, and repairing again finds nothing to do.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ottla::{Broker, BrokerConfig, CleanupPolicy, Error, Record, TopicConfig};

type Place = (String, u32);
type Records = BTreeMap<u64, (Vec<u8>, Vec<u8>)>;
type Everything = BTreeMap<Place, Records>;

/// A directory, what it was at an earlier time, and what was ever appended to it.
struct Subject {
    name: &'static str,
    dir: PathBuf,
    earlier: PathBuf,
    ever: Everything,
    /// What a reader finds, and must find again.
    now: Everything,
}

#[derive(Clone, Debug)]
enum Wound {
    /// So many sixteenths into the file.
    Flip(u64),
    Zero,
    Cut(u64),
    Grow,
    Delete,
    Stale,
    Swap(PathBuf),
    BecomesDirectory,
    BecomesLink,
    BecomesDanglingLink,
}

fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        tempfile::tempdir_in(memory).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    }
}

fn open(dir: &Path) -> ottla::Result<Broker> {
    Broker::open_with(dir, BrokerConfig::default().manual_upkeep(true))
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Every file under a directory, and every directory; by path relative to it.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![PathBuf::new()];
    while let Some(at) = left.pop() {
        for entry in fs::read_dir(dir.join(&at)).unwrap() {
            let entry = entry.unwrap();
            let path = at.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                left.push(path);
            } else if entry.file_name() != ".lock" {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// What is there, file by file; of what is no file or very large, only that it is there.
fn fingerprint(dir: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let content = |path: &PathBuf| {
        let whole = dir.join(path);
        let found = fs::symlink_metadata(&whole).unwrap();
        (found.is_file() && found.len() < 1 << 24).then(|| fs::read(whole).unwrap())
    };
    let paths = files(dir).into_iter();
    paths.map(|path| (path.clone(), content(&path))).collect()
}

fn append(broker: &Broker, rounds: u64, ever: &mut Everything) {
    for topic in ["a", "b"] {
        let handle = broker.topic(topic).unwrap();
        for partition in 0..2 {
            for round in 0..rounds {
                let key = format!("{topic} {}", round % 5);
                let value = format!("{topic}-{partition}: {round} {}", "x".repeat(60));
                let record = Record::keyed(&key, &value);
                let offset = handle.append_to(partition, record).unwrap();
                let place = (topic.to_owned(), partition);
                let records = ever.entry(place).or_default();
                records.insert(offset, (key.into_bytes(), value.into_bytes()));
            }
        }
    }
}

fn commit(broker: &Broker) {
    let mut consumer = broker.group("readers").unwrap().join(["a", "b"]).unwrap();
    while !consumer.poll(Duration::ZERO).unwrap().is_empty() {}
    consumer.commit().unwrap();
}

/// Everything that a partition gives, and the first error.
fn read(broker: &Broker, (topic, partition): &Place) -> (Records, Result<(), Error>) {
    let mut found = Records::new();
    let reader = broker
        .topic(topic)
        .and_then(|topic| topic.partition(*partition))
        .and_then(|log| log.reader(ottla::Start::Earliest));
    let reader = match reader {
        Ok(reader) => reader,
        Err(error) => return (found, Err(error)),
    };
    for record in reader {
        match record {
            Ok(record) => {
                let key = record.key().unwrap_or_default().to_vec();
                let value = record.value().unwrap_or_default().to_vec();
                found.insert(record.offset, (key, value));
            }
            Err(error) => return (found, Err(error)),
        }
    }
    (found, Ok(()))
}

fn places() -> Vec<Place> {
    let topics = ["a", "b"].into_iter();
    topics
        .flat_map(|topic| (0..2).map(move |partition| (topic.to_owned(), partition)))
        .collect()
}

fn build(root: &Path, name: &'static str, closed: bool) -> Subject {
    let (dir, earlier) = (root.join(name), root.join(format!("{name}-earlier")));
    let live = root.join(format!("{name}-live"));
    let mut ever = Everything::new();
    let broker = open(&live).unwrap();
    let small = TopicConfig::default().partitions(2).segment_bytes(1024);
    broker.create_topic("a", small.clone()).unwrap();
    let compacted = small.cleanup_policy(CleanupPolicy::Compact);
    broker.create_topic("b", compacted).unwrap();
    append(&broker, 12, &mut ever);
    commit(&broker);
    broker.close().unwrap();
    copy(&live, &earlier);
    let broker = open(&live).unwrap();
    broker
        .topic("b")
        .unwrap()
        .partition(0)
        .unwrap()
        .compact()
        .unwrap();
    append(&broker, 9, &mut ever);
    commit(&broker);
    broker.flush().unwrap();
    if closed {
        broker.close().unwrap();
        copy(&live, &dir);
    } else {
        // What a kill leaves: the files as they stand.
        copy(&live, &dir);
        broker.close().unwrap();
    }
    let mut subject = Subject {
        name,
        dir,
        earlier,
        ever,
        now: Everything::new(),
    };
    let look = root.join(format!("{name}-look"));
    copy(&subject.dir, &look);
    let broker = open(&look).unwrap();
    for place in places() {
        let (records, outcome) = read(&broker, &place);
        outcome.unwrap();
        subject.now.insert(place, records);
    }
    subject
}

fn wounds(subject: &Subject) -> Vec<(PathBuf, Wound)> {
    let mut wounds = Vec::new();
    let all = files(&subject.dir);
    for path in &all {
        let mut add = |wound| wounds.push((path.clone(), wound));
        for place in [0, 3, 7, 11, 15] {
            add(Wound::Flip(place));
        }
        add(Wound::Zero);
        for sixteenths in [0, 8, 15] {
            add(Wound::Cut(sixteenths));
        }
        add(Wound::Grow);
        add(Wound::Delete);
        add(Wound::Stale);
        add(Wound::BecomesDirectory);
        add(Wound::BecomesLink);
        add(Wound::BecomesDanglingLink);
        let twin = |other: &&PathBuf| *other > path && other.file_name() == path.file_name();
        for other in all.iter().filter(twin).take(2) {
            add(Wound::Swap(other.clone()));
        }
    }
    let dirs: BTreeSet<PathBuf> = all
        .iter()
        .filter_map(|path| path.parent())
        .map(Path::to_path_buf)
        .collect();
    let dirs: Vec<_> = dirs
        .into_iter()
        .filter(|dir| *dir != Path::new(""))
        .collect();
    for dir in &dirs {
        wounds.push((dir.clone(), Wound::Delete));
        wounds.push((dir.clone(), Wound::Stale));
        let is_data = |dir: &Path| {
            dir.starts_with("a-0")
                || dir.starts_with("a-1")
                || dir.starts_with("b-0")
                || dir.starts_with("b-1")
        };
        for other in dirs
            .iter()
            .filter(|other| *other > dir && is_data(other) && is_data(dir))
        {
            wounds.push((dir.clone(), Wound::Swap(other.clone())));
        }
    }
    wounds
}

/// Damages a directory; false when that changes nothing.
fn inflict(subject: &Subject, dir: &Path, path: &Path, wound: &Wound, outside: &Path) -> bool {
    let whole = dir.join(path);
    let change = |change: &dyn Fn(&mut Vec<u8>)| {
        let before = fs::read(&whole).unwrap();
        let mut bytes = before.clone();
        change(&mut bytes);
        fs::write(&whole, &bytes).unwrap();
        bytes != before
    };
    match wound {
        Wound::Flip(sixteenths) => change(&|bytes| {
            let at = bytes.len() * usize::try_from(*sixteenths).unwrap() / 16;
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << (sixteenths % 8);
            }
        }),
        Wound::Zero => change(&|bytes| {
            let end = bytes.len().min(512);
            bytes[..end].fill(0);
        }),
        Wound::Cut(sixteenths) => change(&|bytes| {
            let to = bytes.len() * usize::try_from(*sixteenths).unwrap() / 16;
            bytes.truncate(to);
        }),
        Wound::Grow => {
            let file = fs::OpenOptions::new().write(true).open(&whole).unwrap();
            file.set_len(1 << 26).unwrap();
            true
        }
        Wound::Delete if whole.is_dir() => {
            fs::remove_dir_all(&whole).unwrap();
            true
        }
        Wound::Delete => {
            fs::remove_file(&whole).unwrap();
            true
        }
        Wound::Stale => go_back(&whole, &subject.earlier.join(path)),
        Wound::Swap(other) => {
            let (other, aside) = (dir.join(other), outside.join("aside"));
            if whole.is_file() && fs::read(&whole).unwrap() == fs::read(&other).unwrap() {
                return false;
            }
            fs::rename(&whole, &aside).unwrap();
            fs::rename(&other, &whole).unwrap();
            fs::rename(&aside, &other).unwrap();
            true
        }
        Wound::BecomesDirectory => {
            fs::remove_file(&whole).unwrap();
            fs::create_dir(&whole).unwrap();
            true
        }
        Wound::BecomesLink => {
            let elsewhere = outside.join("elsewhere");
            fs::rename(&whole, &elsewhere).unwrap();
            symlink(&elsewhere, &whole).unwrap();
            true
        }
        Wound::BecomesDanglingLink => {
            fs::remove_file(&whole).unwrap();
            symlink(outside.join("nowhere"), &whole).unwrap();
            true
        }
    }
}

/// Puts an earlier copy of a file or a directory in its place.
fn go_back(whole: &Path, old: &Path) -> bool {
    if whole.is_dir() && old.is_dir() {
        fs::remove_dir_all(whole).unwrap();
        copy(old, whole);
        return true;
    }
    let Ok(bytes) = fs::read(old) else {
        return false;
    };
    let changes = fs::read(whole).unwrap() != bytes;
    fs::write(whole, bytes).unwrap();
    changes
}

/// The partitions that may lose something.
fn hit(path: &Path, wound: &Wound) -> BTreeSet<Place> {
    let place = |path: &Path| {
        let name = path.components().next()?.as_os_str().to_str()?;
        let (topic, partition) = name.rsplit_once('-')?;
        Some((topic.to_owned(), partition.parse().ok()?))
    };
    let mut hit: BTreeSet<Place> = place(path).into_iter().collect();
    if let Wound::Swap(other) = wound {
        hit.extend(place(other));
        if path.components().count() == 1 {
            // Directories go back where they belong.
            hit.clear();
        }
    }
    hit
}

#[derive(Debug, Default)]
struct Counts {
    cells: u64,
    refused: u64,
    told: u64,
    whole: u64,
}

fn check(subject: &Subject, path: &Path, wound: &Wound, counts: &mut Counts) {
    let room = scratch();
    let (dir, outside) = (room.path().join("data"), room.path().join("outside"));
    fs::create_dir(&outside).unwrap();
    copy(&subject.dir, &dir);
    if !inflict(subject, &dir, path, wound, &outside) {
        return;
    }
    counts.cells += 1;
    let may_lose = hit(path, wound);
    let before = fingerprint(&dir);
    let report = ottla::verify(&dir).unwrap();
    assert!(fingerprint(&dir) == before, "verify has changed something");
    let mixed = mixes(path, wound);
    look(subject, &dir, (&may_lose, mixed), report.is_sound(), counts);

    let room = scratch();
    let (dir, outside) = (room.path().join("data"), room.path().join("outside"));
    fs::create_dir(&outside).unwrap();
    copy(&subject.dir, &dir);
    inflict(subject, &dir, path, wound, &outside);
    let repaired = ottla::repair(&dir).unwrap();
    assert!(repaired.is_sound(), "repaired, and not sound:\n{repaired}");
    let broker = open(&dir).unwrap();
    let names: Vec<_> = broker
        .topics()
        .into_iter()
        .map(|topic| topic.name)
        .collect();
    assert_eq!(names, ["a", "b"], "{repaired}");
    let config = broker.topic("b").unwrap().config();
    assert_eq!(config.cleanup_policy, CleanupPolicy::Compact, "{repaired}");
    for place in places() {
        let (found, outcome) = read(&broker, &place);
        outcome.unwrap();
        if !mixes(path, wound) {
            nothing_is_invented(subject, &place, &found);
        }
        let whole = is_whole(subject, &place, &found);
        assert!(
            whole || may_lose.contains(&place),
            "{place:?} lost something:\n{repaired}"
        );
        let topic = broker.topic(&place.0).unwrap();
        topic
            .append_to(place.1, Record::keyed("after", "repair"))
            .unwrap();
    }
    broker.close().unwrap();
    let again = ottla::repair(&dir).unwrap();
    assert!(again.set_aside.is_empty() && again.is_sound(), "{again}");
}

/// Whether segments of two logs changed places: batches do not say of which log they are.
fn mixes(path: &Path, wound: &Wound) -> bool {
    let is_log = path.extension().is_some_and(|extension| extension == "log");
    is_log && matches!(wound, Wound::Swap(_))
}

fn nothing_is_invented(subject: &Subject, place: &Place, found: &Records) {
    let ever = &subject.ever[place];
    for (offset, held) in found {
        assert_eq!(ever.get(offset), Some(held), "{place:?} {offset}");
    }
}

fn is_whole(subject: &Subject, place: &Place, found: &Records) -> bool {
    let now = subject.now[place].keys();
    now.into_iter().all(|offset| found.contains_key(offset))
}

fn look(
    subject: &Subject,
    dir: &Path,
    (may_lose, mixed): (&BTreeSet<Place>, bool),
    sound: bool,
    counts: &mut Counts,
) {
    let broker = match open(dir) {
        Ok(broker) => broker,
        Err(error) => {
            assert!(!sound, "refused, and verify found nothing: {error}");
            counts.refused += 1;
            return;
        }
    };
    let reported = !broker.open_report().events.is_empty();
    let mut all = true;
    for place in places() {
        let (found, outcome) = read(&broker, &place);
        // Files of two partitions that changed places are whole batches still: verify tells.
        if sound && !mixed {
            nothing_is_invented(subject, &place, &found);
        }
        let whole = outcome.is_ok() && is_whole(subject, &place, &found);
        all &= whole;
        if !whole {
            let told = outcome.is_err() || reported || !sound;
            assert!(told, "{place:?} lost something, and nobody said so");
            let swapped = may_lose.is_empty();
            assert!(
                swapped || may_lose.contains(&place),
                "{place:?} suffers for another"
            );
        }
        if let Err(error) = outcome {
            assert!(!sound, "{place:?}: {error}, and verify found nothing");
        }
    }
    if all {
        counts.whole += 1;
    } else {
        counts.told += 1;
    }
}

#[test]
fn a_damaged_root_is_reported_and_repaired() {
    let room = scratch();
    // Every cell where the figures are asked for, and one in some otherwise.
    let all = std::env::var("OTTLA_PROOF").is_ok();
    let (one_in, floor) = if all { (1, 300) } else { (15, 40) };
    let mut counts = Counts::default();
    let mut failed = Vec::new();
    for (name, closed) in [("closed", true), ("killed", false)] {
        let subject = build(room.path(), name, closed);
        for (path, wound) in wounds(&subject).into_iter().step_by(one_in) {
            let cell = format!("{}: {} {wound:?}", subject.name, path.display());
            let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                check(&subject, &path, &wound, &mut counts);
            }));
            if tried.is_err() {
                println!("FAILED {cell}");
                failed.push(cell);
            }
        }
    }
    println!("roots: {counts:?}, nothing lost but where it was hit");
    assert!(
        failed.is_empty(),
        "{} cells:\n{}",
        failed.len(),
        failed.join("\n")
    );
    assert!(counts.cells >= floor, "{counts:?}");
}

/// A directory that is no root of ours: its logs are repaired, and nothing else is touched. One of
/// a broker that opening refuses is not touched at all.
#[test]
fn what_another_program_keeps_here_is_left_to_them() {
    let room = scratch();
    let subject = build(room.path(), "closed", true);
    for zookeeper in [false, true] {
        let dir = room.path().join(format!("foreign-{zookeeper}"));
        fs::create_dir(&dir).unwrap();
        copy(&subject.dir.join("a-0"), &dir.join("a-0"));
        copy(&subject.dir.join("b-1"), &dir.join("b-1"));
        for name in files(&dir) {
            if name
                .extension()
                .is_some_and(|extension| extension == "digest")
            {
                fs::remove_file(dir.join(name)).unwrap();
            }
        }
        let meta = dir.join("meta.properties");
        let text = "version=0\nbroker.id=1\ncluster.id=x\n";
        if zookeeper {
            fs::write(&meta, text).unwrap();
        }
        let before = fingerprint(&dir);
        let report = ottla::verify(&dir).unwrap();
        assert!(report.is_sound(), "{report}");
        assert!(fingerprint(&dir) == before, "verify has changed something");

        let segment = dir.join("a-0/00000000000000000000.log");
        let mut bytes = fs::read(&segment).unwrap();
        bytes[70] ^= 1;
        fs::write(&segment, bytes).unwrap();
        if zookeeper {
            let before = fingerprint(&dir);
            let refused = ottla::repair(&dir);
            assert!(
                matches!(refused, Err(Error::Unsupported { .. })),
                "{refused:?}"
            );
            assert!(fingerprint(&dir) == before, "repair has changed something");
            continue;
        }
        let report = ottla::repair(&dir).unwrap();
        assert!(report.is_sound() && report.set_aside.len() == 1, "{report}");
        assert_eq!(report.set_aside[0].offsets, 0..1);
        assert!(!dir.join("ottla.catalog").exists());
        assert!(!meta.exists());
        let log = report
            .remaining
            .logs
            .iter()
            .find(|log| log.dir.ends_with("a-0"));
        let records = u64::try_from(subject.now[&("a".to_owned(), 0)].len()).unwrap();
        assert_eq!(log.unwrap().records, records - 1);
    }
}
