//! Backups of a root and of a log that are in use, and the places where none may go.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ottla::{
    BackupOptions, Broker, BrokerConfig, CleanupPolicy, Compression, Durability, Error, Log,
    LogConfig, PartitionId, ReadIsolation, Record, TopicConfig, verify,
};

const PARTITIONS: PartitionId = 3;

fn manual() -> BrokerConfig {
    BrokerConfig::default().manual_upkeep(true)
}

/// A root with a topic that forgets, one that is compacted, and one that comes and goes.
fn busy_root(dir: &Path) -> Broker {
    let broker = Broker::open_with(dir, manual()).unwrap();
    let small = TopicConfig::default()
        .partitions(PARTITIONS)
        .segment_bytes(16 << 10);
    let forgets = small.clone().retention_bytes(64 << 10);
    let compacts = small
        .cleanup_policy(CleanupPolicy::Compact)
        .durability(Durability::Always);
    broker.create_topic("forgets", forgets).unwrap();
    broker.create_topic("compacts", compacts).unwrap();
    broker
}

/// Record N of a partition says so: what a copy holds tells whether it is a prefix.
fn work(broker: &Broker, over: &AtomicBool) {
    let forgets = broker.topic("forgets").unwrap();
    let compacts = broker.topic("compacts").unwrap();
    let group = broker.group("readers").unwrap();
    let mut reader = group.join(["forgets", "compacts"]).unwrap();
    let mut round = 0_u64;
    while !over.load(Ordering::Relaxed) {
        for partition in 0..PARTITIONS {
            for _ in 0..20 {
                let offset = forgets.partition(partition).unwrap().end_offset();
                let value = format!("{offset} {}", "x".repeat(200));
                forgets
                    .append_to(partition, Record::new(value.as_bytes()))
                    .unwrap();
            }
            let offset = compacts.partition(partition).unwrap().end_offset();
            let key = format!("{}", round % 7);
            let value = format!("{offset} {}", "y".repeat(900));
            let record = Record::keyed(key.as_bytes(), value.as_bytes());
            compacts.append_to(partition, record).unwrap();
        }
        drop(reader.poll(Duration::ZERO).unwrap());
        reader.commit().unwrap();
        if round.is_multiple_of(5) {
            broker.upkeep().unwrap();
        }
        if round.is_multiple_of(9) {
            let name = format!("passing-{round}");
            broker.create_topic(&name, TopicConfig::default()).unwrap();
            broker.topic(&name).unwrap().append("soon gone").unwrap();
            broker.delete_topic(&name).unwrap();
        }
        round += 1;
    }
}

/// Ends the work when it goes, also when a test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Opens a copy; everything in it is as the public documentation says.
fn check(dir: &Path) {
    let found = verify(dir).unwrap();
    assert!(found.is_sound(), "{found:?}");
    let meta = fs::read_to_string(dir.join("meta.properties")).unwrap();
    assert!(
        meta.contains("version=1"),
        "a Kafka broker is kept away: {meta}"
    );
    assert!(dir.join(".kafka_cleanshutdown").exists());
    let copy = Broker::open_with(dir, manual()).unwrap();
    assert!(copy.open_report().clean, "{:?}", copy.open_report());
    let group = copy.group("readers").unwrap();
    for name in ["forgets", "compacts"] {
        let topic = copy.topic(name).unwrap();
        for partition in 0..PARTITIONS {
            let log = topic.partition(partition).unwrap();
            let (start, end) = (log.start_offset(), log.end_offset());
            let mut next = start;
            for record in topic.reader(ottla::Start::Earliest).unwrap() {
                let record = record.unwrap();
                if record.partition != partition {
                    continue;
                }
                let value = String::from_utf8(record.value().unwrap().to_vec()).unwrap();
                assert!(value.starts_with(&format!("{} ", record.offset)), "{value}");
                assert!(record.offset >= next, "{} before {next}", record.offset);
                if name == "forgets" {
                    assert_eq!(record.offset, next, "a gap");
                }
                next = record.offset + 1;
            }
            assert_eq!(next, end, "{name}-{partition} ends with its newest record");
            if let Some(committed) = group.committed(name, partition).unwrap() {
                assert!(committed <= end, "{name}-{partition}: {committed} of {end}");
            }
        }
    }
}

#[test]
fn backups_beside_a_writer_are_whole_and_none_has_a_position_past_its_records() {
    let count = match std::env::var("OTTLA_PROOF") {
        Ok(_) => 100,
        Err(_) => 6,
    };
    let scratch = tempfile::tempdir().unwrap();
    let broker = busy_root(&scratch.path().join("data"));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _over = Over(&over);
        scope.spawn(|| work(&broker, &over));
        for number in 0..count {
            // Some places are new, and some are used again.
            let dest = scratch.path().join(format!("backup-{}", number % 3));
            let options = BackupOptions::default().hard_links(number % 3 == 2);
            let made = broker.backup_with(&dest, options);
            let report = made.unwrap();
            assert!(report.bytes_copied <= report.bytes, "{report:?}");
            check(&dest);
        }
    });
    broker.close().unwrap();
    assert!(verify(scratch.path().join("data")).unwrap().is_sound());
}

#[test]
fn a_second_backup_into_the_same_place_copies_only_what_is_new() {
    let scratch = tempfile::tempdir().unwrap();
    let broker = Broker::open_with(scratch.path().join("data"), manual()).unwrap();
    let small = TopicConfig::default().segment_bytes(16 << 10);
    let topic = broker.create_topic("t", small).unwrap();
    for number in 0..1000 {
        topic
            .append(format!("{number} {}", "x".repeat(100)).as_bytes())
            .unwrap();
    }
    let dest = scratch.path().join("backup");
    let first = broker.backup(&dest).unwrap();
    assert_eq!(first.bytes_copied, first.bytes);
    assert!(first.segments > 5, "{first:?}");
    let again = broker.backup(&dest).unwrap();
    assert_eq!(
        (again.bytes_copied, again.segments_copied),
        (0, 0),
        "{again:?}"
    );

    topic.append("new").unwrap();
    let third = broker.backup(&dest).unwrap();
    assert!(
        third.bytes_copied > 0 && third.bytes_copied < 200,
        "{third:?}"
    );
    assert_eq!(third.segments_copied, 1);

    // What is forgotten and deleted leaves the copy too.
    topic.partition(0).unwrap().truncate_prefix(900).unwrap();
    broker
        .create_topic("other", TopicConfig::default())
        .unwrap();
    broker.backup(&dest).unwrap();
    broker.delete_topic("other").unwrap();
    let last = broker.backup(&dest).unwrap();
    assert!(last.segments < first.segments, "{last:?}");
    let copy = Broker::open_with(&dest, manual()).unwrap();
    assert_eq!(copy.topic_names(), ["t"]);
    let copied = copy.topic("t").unwrap().partition(0).unwrap();
    assert_eq!((copied.start_offset(), copied.end_offset()), (900, 1001));
    assert!(!dest.join("other-0").exists());
}

#[test]
fn a_log_alone_is_copied_and_a_truncated_one_is_copied_again() {
    let scratch = tempfile::tempdir().unwrap();
    let config = LogConfig::default()
        .segment_bytes(8 << 10)
        .compression_type(Compression::None);
    let log = Log::open(scratch.path().join("log"), config.clone()).unwrap();
    let write = |from: u64, what: &str| {
        for number in from..from + 200 {
            log.append(format!("{number} {what} {}", "z".repeat(50)).as_bytes())
                .unwrap();
        }
    };
    write(0, "old");
    let dest = scratch.path().join("copy");
    log.backup(&dest).unwrap();
    log.truncate(70).unwrap();
    write(70, "new");
    log.truncate_prefix(10).unwrap();
    let report = log.backup(&dest).unwrap();
    assert!(report.bytes_copied < report.bytes, "{report:?}");
    let copy = Log::open(&dest, config).unwrap();
    let values = |log: &Log| -> Vec<_> {
        let records = log.reader(10).unwrap().map(Result::unwrap);
        records
            .map(|record| (record.offset, record.value().unwrap().to_vec()))
            .collect()
    };
    assert_eq!(values(&copy), values(&log));
    assert_eq!((copy.start_offset(), copy.end_offset()), (10, 270));
}

/// A batch of three records in a transaction of producer 4242, as Kafka writes it; at offset 0.
const TRANSACTION: &str = "\
    0000000000000000000000570000000002a61970a500100000000200000000000003e800000000000003ed00000000\
    0000109200030000000a0000000326000000046b310476310404683102780468320110000a02010476320010001304\
    046b330100";

/// What readers of committed records get of a log: offsets, in order.
fn committed(log: &Log) -> Vec<u64> {
    let reader = log.reader_with(0, ReadIsolation::ReadCommitted).unwrap();
    reader.map(|record| record.unwrap().offset).collect()
}

#[test]
fn a_transaction_that_a_broker_left_open_is_aborted_in_the_copy_of_a_log() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("log");
    fs::create_dir(&dir).unwrap();
    let digits = (0..TRANSACTION.len()).step_by(2);
    let bytes = digits.map(|at| u8::from_str_radix(&TRANSACTION[at..at + 2], 16).unwrap());
    fs::write(
        dir.join(format!("{:020}.log", 0)),
        bytes.collect::<Vec<_>>(),
    )
    .unwrap();
    let config = LogConfig::default().segment_bytes(1024);
    let log = Log::open(&dir, config.clone()).unwrap();
    // In a segment that the second backup would not have to read again.
    for number in 0..60 {
        log.append(format!("{number} {}", "z".repeat(50)).as_bytes())
            .unwrap();
    }
    assert_eq!(log.end_offset(), 63);
    let dest = scratch.path().join("copy");
    for more in 0..2 {
        log.backup(&dest).unwrap();
        assert_eq!(committed(&log), [0; 0], "the log itself is as it was");
        let copy = Log::open(&dest, config.clone()).unwrap();
        // The marker is behind what was copied.
        assert_eq!(copy.end_offset(), 64 + more);
        assert!(committed(&copy).into_iter().eq(3..63 + more));
        copy.append("behind it").unwrap();
        assert_eq!(committed(&copy).last(), Some(&(64 + more)));
        copy.close().unwrap();
        assert!(verify(&dest).unwrap().is_sound());
        log.append("new").unwrap();
    }
}

/// Runs a program that copies; false if it is not installed.
#[cfg(unix)]
fn run(program: &str, arguments: &[&Path]) -> bool {
    let run = std::process::Command::new(program).args(arguments).output();
    run.is_ok_and(|output| {
        assert!(output.status.success(), "{program}: {output:?}");
        true
    })
}

#[cfg(unix)]
#[test]
fn a_finished_backup_is_copied_off_site_by_the_programs_that_the_recipe_names() {
    let scratch = tempfile::tempdir().unwrap();
    let broker = Broker::open_with(scratch.path().join("data"), manual()).unwrap();
    let small = TopicConfig::default().segment_bytes(8 << 10);
    let topic = broker.create_topic("t", small).unwrap();
    let log = topic.partition(0).unwrap();
    let backup = scratch.path().join("backup");
    let inside = backup.join("");
    let place = |name: &str| scratch.path().join(name);
    let (copied, archive, unpacked, synced) =
        (place("cp"), place("tar.tar"), place("tar"), place("rsync"));
    let flag = Path::new;
    let mut ends = Vec::new();
    for round in 0..3 {
        for number in 0..200 {
            let value = format!("{round} {number} {}", "x".repeat(100));
            topic.append(value.as_bytes()).unwrap();
        }
        if round == 2 {
            // What is cut off leaves the copies, too.
            log.truncate(50).unwrap();
            log.truncate_prefix(20).unwrap();
        }
        broker.backup(&backup).unwrap();
        ends.push(log.end_offset());
        let mut places = Vec::new();
        fs::remove_dir_all(&copied).ok();
        if run("cp", &[flag("-a"), &backup, &copied]) {
            places.push(&copied);
        }
        fs::remove_dir_all(&unpacked).ok();
        fs::create_dir(&unpacked).unwrap();
        let pack = [flag("-cf"), &archive, flag("-C"), &backup, flag(".")];
        let unpack = [flag("-xf"), &archive, flag("-C"), &unpacked];
        if run("tar", &pack) && run("tar", &unpack) {
            places.push(&unpacked);
        }
        if run("rsync", &[flag("-a"), flag("--delete"), &inside, &synced]) {
            places.push(&synced);
        }
        println!("backup: {} of 3 programs are installed", places.len());
        for dir in places {
            assert!(verify(dir).unwrap().is_spotless(), "{dir:?}");
            let copy = Broker::open_read_only(dir).unwrap();
            let copy = copy.topic("t").unwrap().partition(0).unwrap();
            assert_eq!(copy.end_offset(), log.end_offset(), "{dir:?}");
            assert_eq!(copy.start_offset(), log.start_offset(), "{dir:?}");
        }
    }
    assert_eq!(ends, [200, 400, 50]);
}

#[cfg(unix)]
#[test]
fn a_backup_onto_another_file_system_is_copied_also_with_hard_links() {
    use std::os::unix::fs::MetadataExt as _;

    let here = tempfile::tempdir().unwrap();
    let device = |dir: &Path| fs::metadata(dir).map(|found| found.dev());
    let there = tempfile::tempdir_in("/dev/shm");
    let Some(there) = there
        .ok()
        .filter(|there| device(there.path()).unwrap() != device(here.path()).unwrap())
    else {
        println!("backup: SKIPPED: /dev/shm is no other file system");
        return;
    };
    let broker = busy_root(&here.path().join("data"));
    let topic = broker.topic("forgets").unwrap();
    let group = broker.group("readers").unwrap();
    let mut reader = group.join(["forgets"]).unwrap();
    for links in [false, true, true] {
        let options = BackupOptions::default().hard_links(links);
        for partition in 0..PARTITIONS {
            for _ in 0..200 {
                let end = topic.partition(partition).unwrap().end_offset();
                let value = format!("{end} {}", "x".repeat(200));
                topic
                    .append_to(partition, Record::new(value.as_bytes()))
                    .unwrap();
            }
        }
        drop(reader.poll(Duration::ZERO).unwrap());
        reader.commit().unwrap();
        let dest = there.path().join("backup");
        let report = broker.backup_with(&dest, options).unwrap();
        assert_eq!(report.segments_linked, 0, "{report:?}");
        assert!(report.segments_copied > 3, "{report:?}");
        check(&dest);
    }
}

#[test]
fn a_hard_linked_backup_keeps_what_it_has_when_the_log_is_cut() {
    let scratch = tempfile::tempdir().unwrap();
    let config = LogConfig::default().segment_bytes(8 << 10);
    let log = Log::open(scratch.path().join("log"), config.clone()).unwrap();
    for number in 0..300 {
        log.append(format!("{number} {}", "z".repeat(50)).as_bytes())
            .unwrap();
    }
    // Only what is sealed is linked, and on a busy machine the flusher may not have come to it.
    log.flush().unwrap();
    let dest = scratch.path().join("copy");
    let report = log
        .backup_with(&dest, BackupOptions::default().hard_links(true))
        .unwrap();
    assert!(report.segments_linked > 1, "{report:?}");
    let mut reader = log.reader(0).unwrap();
    assert!(reader.next().unwrap().is_ok());
    log.truncate(20).unwrap();
    for number in 20..300 {
        log.append(format!("{number} other {}", "z".repeat(50)).as_bytes())
            .unwrap();
    }
    assert!(verify(&dest).unwrap().is_sound());
    let copy = Log::open(&dest, config.clone()).unwrap();
    for (offset, record) in (0..).zip(copy.reader(0).unwrap()) {
        let value = record.unwrap().value().unwrap().to_vec();
        assert_eq!(value, format!("{offset} {}", "z".repeat(50)).as_bytes());
    }
    // The other way round, too.
    copy.truncate(5).unwrap();
    copy.append("mine").unwrap();
    copy.close().unwrap();
    let values: Vec<_> = log.reader(0).unwrap().map(Result::unwrap).collect();
    assert_eq!(values.len(), 300);
    log.close().unwrap();
    assert!(verify(scratch.path().join("log")).unwrap().is_sound());
}

#[test]
fn a_segment_that_still_has_room_at_its_end_is_copied_and_not_linked() {
    let scratch = tempfile::tempdir().unwrap();
    let (dir, killed) = (scratch.path().join("log"), scratch.path().join("killed"));
    let config = LogConfig::default().segment_bytes(8 << 10);
    let log = Log::open(&dir, config.clone()).unwrap();
    log.append("0 ").unwrap();
    fs::create_dir(&killed).unwrap();
    fs::copy(dir.join("ottla.marks"), killed.join("ottla.marks")).unwrap();
    for number in 1..100 {
        let value = format!("{number} {}", "x".repeat(300));
        log.append(value.as_bytes()).unwrap();
    }
    log.close().unwrap();
    // As a process leaves it that is killed before it seals anything: each segment still has the
    // space that was reserved for it.
    let mut segments = 0;
    for entry in fs::read_dir(&dir).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if Path::new(&name)
            .extension()
            .is_some_and(|kind| kind == "log")
        {
            fs::copy(dir.join(&name), killed.join(&name)).unwrap();
            let file = fs::OpenOptions::new().write(true).open(killed.join(&name));
            file.unwrap().set_len(8 << 10).unwrap();
            segments += 1;
        }
    }
    assert!(segments > 2, "{segments}");
    let killed = Log::open_read_only(&killed).unwrap();
    let dest = scratch.path().join("copy");
    let options = BackupOptions::default().hard_links(true);
    killed.backup_with(&dest, options).unwrap();
    let found = verify(&dest).unwrap();
    assert!(found.is_sound(), "{found:?}");
    let copy = Log::open(&dest, config).unwrap();
    assert_eq!(copy.reader(0).unwrap().map(Result::unwrap).count(), 100);
}

#[test]
fn a_backup_goes_into_no_place_that_is_something_else() {
    let scratch = tempfile::tempdir().unwrap();
    let data = scratch.path().join("data");
    let broker = Broker::open_with(&data, manual()).unwrap();
    broker.create_topic("t", TopicConfig::default()).unwrap();
    let refused = |dest: &Path| {
        let error = broker.backup(dest).unwrap_err();
        assert!(
            matches!(error, Error::Unsupported { .. }),
            "{dest:?}: {error}"
        );
    };
    refused(&data);
    refused(&data.join("backup"));
    refused(&data.join("t-0"));
    refused(&data.join("../data/backup"));
    refused(scratch.path());
    #[cfg(unix)]
    {
        let link = scratch.path().join("link");
        std::os::unix::fs::symlink(&data, &link).unwrap();
        refused(&link.join("inside"));
    }
    let foreign = scratch.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("thesis.txt"), "years of work").unwrap();
    refused(&foreign);
    let names: Vec<_> = fs::read_dir(&foreign).unwrap().collect();
    assert_eq!(names.len(), 1, "nothing was left there");
    let file = scratch.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(broker.backup(&file).is_err());
    assert!(broker.backup("").is_err());

    let other = Broker::open_with(scratch.path().join("other"), manual()).unwrap();
    let place = scratch.path().join("place");
    other.backup(&place).unwrap();
    refused(&place);
    refused(&place.join("inside"));
    refused(&scratch.path().join("other"));
    let mine = scratch.path().join("mine");
    broker.backup(&mine).unwrap();
    let in_use = Broker::open_with(&mine, manual()).unwrap();
    assert!(matches!(broker.backup(&mine), Err(Error::Locked { .. })));
    in_use.close().unwrap();
    broker.backup(&mine).unwrap();
    broker.close().unwrap();
    assert!(matches!(broker.backup(&mine), Err(Error::Closed)));
}

#[test]
fn a_handle_that_only_reads_backs_up_the_topics_that_there_are_now() {
    let scratch = tempfile::tempdir().unwrap();
    let data = scratch.path().join("data");
    let broker = Broker::open_with(&data, manual()).unwrap();
    for name in ["stays", "goes", "comes-back"] {
        let topic = broker.create_topic(name, TopicConfig::default()).unwrap();
        topic.append("old").unwrap();
    }
    let outside = Broker::open_read_only(&data).unwrap();
    broker.delete_topic("goes").unwrap();
    broker.delete_topic("comes-back").unwrap();
    for name in ["comes-back", "comes"] {
        let topic = broker.create_topic(name, TopicConfig::default()).unwrap();
        topic.append_batch(["new", "new"]).unwrap();
    }
    let dest = scratch.path().join("backup");
    outside.backup(&dest).unwrap();
    assert!(verify(&dest).unwrap().is_sound());
    let copy = Broker::open_with(&dest, manual()).unwrap();
    assert_eq!(copy.topic_names(), ["comes", "comes-back", "stays"]);
    for (name, end) in [("stays", 1), ("comes-back", 2), ("comes", 2)] {
        let log = copy.topic(name).unwrap();
        assert_eq!(log.partition(0).unwrap().end_offset(), end, "{name}");
    }
}

#[test]
fn a_handle_that_only_reads_backs_up_partitions_that_no_one_has_used() {
    let scratch = tempfile::tempdir().unwrap();
    let data = scratch.path().join("data");
    let broker = Broker::open_with(&data, manual()).unwrap();
    let config = TopicConfig::default().partitions(PARTITIONS);
    let topic = broker.create_topic("t", config).unwrap();
    topic.append_to(1, "the only one").unwrap();
    let dest = scratch.path().join("backup");
    for more in 0..2 {
        let outside = Broker::open_read_only(&data).unwrap();
        outside.backup(&dest).unwrap();
        let copy = Broker::open_with(&dest, manual()).unwrap();
        let copied = copy.topic("t").unwrap();
        for (partition, end) in [(0, 0), (1, 1), (PARTITIONS - 1 + more, 0)] {
            let log = copied.partition(partition).unwrap();
            assert_eq!(log.end_offset(), end, "partition {partition}");
        }
        copy.close().unwrap();
        // Also one that comes later.
        let one_more = |config: TopicConfig| config.partitions(PARTITIONS + 1);
        broker.alter_topic("t", one_more).unwrap();
    }
    // A log that stands alone, too.
    let dir = scratch.path().join("alone");
    let _writer = Log::open(&dir, LogConfig::default()).unwrap();
    let outside = Log::open_read_only(&dir).unwrap();
    let dest = scratch.path().join("log");
    outside.backup(&dest).unwrap();
    let copy = Log::open(&dest, LogConfig::default()).unwrap();
    assert_eq!(copy.end_offset(), 0);
}

#[test]
fn a_root_that_another_handle_writes_is_backed_up_by_one_that_only_reads() {
    let scratch = tempfile::tempdir().unwrap();
    let data = scratch.path().join("data");
    let broker = busy_root(&data);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _over = Over(&over);
        scope.spawn(|| work(&broker, &over));
        for _ in 0..3 {
            let dest = scratch.path().join("backup");
            let made = Broker::open_read_only(&data).and_then(|outside| outside.backup(&dest));
            made.unwrap();
            check(&dest);
        }
    });
}
