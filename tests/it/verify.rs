//! `verify` and `repair` by what they say: nothing that opening refuses is called sound.

use std::fs::{self, OpenOptions};
use std::path::Path;

use ottla::{Broker, Error, Log, LogConfig, TopicConfig};

use crate::helpers::{closed_log, files_with, scratch};

/// A closed log of some segments.
fn segments(dir: &Path) -> Vec<u64> {
    let log = Log::open(dir, LogConfig::default().segment_bytes(1024)).unwrap();
    for number in 0..100 {
        log.append(&format!("record number {number}")).unwrap();
    }
    let bases = log.segments().into_iter();
    let bases: Vec<_> = bases.map(|segment| segment.base_offset).collect();
    assert!(bases.len() > 3);
    log.close().unwrap();
    bases
}

/// A closed root with one topic, `orders`, that has a record in each partition.
fn orders(dir: &Path, partitions: u32) {
    let broker = Broker::open(dir).unwrap();
    let config = TopicConfig::default().partitions(partitions);
    let topic = broker.create_topic("orders", config).unwrap();
    for partition in 0..partitions {
        let record = format!("of partition {partition}");
        topic.append_to(partition, &record).unwrap();
    }
    broker.close().unwrap();
}

fn assert_refused(dir: &Path) {
    let opened = Log::open(dir, LogConfig::default());
    assert!(matches!(opened, Err(Error::Corrupt { .. })), "{opened:?}");
    let report = ottla::verify(dir).unwrap();
    assert!(!report.is_sound(), "{report}");
}

#[test]
fn what_a_compaction_left_hides_no_damage() {
    for left in ["cleaned", "deleted"] {
        let dir = scratch();
        let bases = segments(dir.path());
        let sealed = dir.path().join(format!("{:020}.log", bases[1]));
        // Behind its first batch, so that nothing looks cut.
        let bytes = fs::read(&sealed).unwrap();
        let length = u32::from_be_bytes(*bytes[8..].first_chunk().unwrap());
        let file = OpenOptions::new().write(true).open(sealed).unwrap();
        file.set_len(u64::from(length) + 12).unwrap();
        for kind in ["index", "timeindex"] {
            let path = dir.path().join(format!("{:020}.{kind}", bases[1]));
            fs::remove_file(path).unwrap();
        }
        fs::write(dir.path().join(format!("{:020}.log.{left}", 0)), "").unwrap();
        assert_refused(dir.path());
    }
}

#[test]
fn a_log_all_of_whose_files_are_gone_is_not_sound() {
    let dir = scratch();
    let bases = segments(dir.path());
    let last = *bases.last().unwrap();
    let log = Log::open(dir.path(), LogConfig::default()).unwrap();
    log.truncate(last).unwrap();
    log.close().unwrap();
    for base in bases {
        fs::remove_file(dir.path().join(format!("{base:020}.log"))).unwrap();
    }
    assert_refused(dir.path());
}

#[test]
fn a_copy_whose_name_ends_in_a_date_becomes_no_topic() {
    let dir = scratch();
    orders(dir.path(), 1);
    let copy = dir.path().join("backup-20261122");
    fs::create_dir(&copy).unwrap();
    for file in fs::read_dir(dir.path().join("orders-0")).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), copy.join(file.file_name())).unwrap();
    }
    drop(ottla::repair(dir.path()).unwrap());
    let broker = Broker::open(dir.path()).unwrap();
    let topics = broker.topics();
    assert!(
        topics.len() == 1 && topics[0].name == "orders",
        "{topics:?}"
    );
}

#[test]
fn directories_that_an_earlier_repair_left_half_way_arrive() {
    let dir = scratch();
    orders(dir.path(), 2);
    // The two had changed places. The one that held partition 1 is on its way, the other one not.
    let path = |name: &str| dir.path().join(name);
    fs::rename(path("orders-1"), path("orders-1.moved")).unwrap();
    fs::rename(path("orders-0"), path("orders-1")).unwrap();
    let report = ottla::repair(dir.path()).unwrap();
    assert!(report.is_sound(), "{report}");
    let broker = Broker::open(dir.path()).unwrap();
    let topic = broker.topic("orders").unwrap();
    for partition in 0..2 {
        let record = topic.partition(partition).unwrap().read(0);
        let record = record.unwrap().unwrap();
        assert_eq!(
            record.value().unwrap(),
            format!("of partition {partition}").as_bytes()
        );
    }
    assert!(!path("orders-1.moved").exists());
}

/// Flips a bit of a file.
fn flip(path: &Path, byte: usize, bit: u8) {
    let mut bytes = fs::read(path).unwrap();
    bytes[byte] ^= 1 << bit;
    fs::write(path, bytes).unwrap();
}

/// The topics of a root, and the segment bytes that each was made with.
fn settings(root: &Path) -> Vec<(String, u64)> {
    let broker = Broker::open(root).unwrap();
    let topics = broker.topics().into_iter();
    topics
        .map(|topic| (topic.name, topic.config.segment_bytes))
        .collect()
}

#[test]
fn a_wrong_bit_that_the_checksum_leaves_out_loses_no_topic() {
    // Of the offset and of the leader epoch of the second change; and the second change is whole.
    for (byte, bit) in (0..8).chain(12..16).flat_map(|byte| [(byte, 4), (byte, 7)]) {
        let dir = scratch();
        let broker = Broker::open(dir.path()).unwrap();
        for (number, name) in ["a", "b", "c"].into_iter().enumerate() {
            let bytes = 4096 << number;
            let config = TopicConfig::default().partitions(1).segment_bytes(bytes);
            broker.create_topic(name, config).unwrap();
        }
        broker.close().unwrap();
        let before = settings(dir.path());
        let catalog = dir.path().join("ottla.catalog");
        let bytes = fs::read(&catalog).unwrap();
        let length = u32::from_be_bytes(*bytes[8..].first_chunk().unwrap());
        flip(&catalog, usize::try_from(length).unwrap() + 12 + byte, bit);
        fs::remove_file(dir.path().join("bootstrap.checkpoint")).unwrap();
        let opened = Broker::open(dir.path());
        assert!(matches!(opened, Err(Error::Corrupt { .. })), "{opened:?}");
        let report = ottla::repair(dir.path()).unwrap();
        assert!(report.is_sound(), "{report}");
        assert_eq!(settings(dir.path()), before, "byte {byte}, bit {bit}");
    }
}

#[test]
fn something_else_in_the_place_of_a_directory_is_damage_and_is_set_aside() {
    let file = |path: &Path| fs::write(path, "no directory").unwrap();
    #[cfg(unix)]
    let link = |path: &Path| std::os::unix::fs::symlink("/nowhere", path).unwrap();
    let odd: &[fn(&Path)] = &[
        file,
        #[cfg(unix)]
        link,
    ];
    for put in odd {
        let dir = scratch();
        orders(dir.path(), 2);
        let place = dir.path().join("orders-1");
        fs::rename(&place, scratch().path().join("elsewhere")).unwrap();
        put(&place);
        let report = ottla::verify(dir.path()).unwrap();
        assert!(!report.is_sound(), "{report}");
        let report = ottla::repair(dir.path()).unwrap();
        assert!(report.is_sound(), "{report}");
        let aside = report.set_aside.iter().find(|aside| aside.path == place);
        let aside = &aside.unwrap().quarantine;
        assert!(fs::symlink_metadata(aside).is_ok_and(|found| !found.is_dir()));
        let broker = Broker::open(dir.path()).unwrap();
        let topic = broker.topic("orders").unwrap();
        assert_eq!(topic.append_to(1, "more").unwrap(), 1, "as it had reached");
        assert_eq!(topic.partition(0).unwrap().reader(0).unwrap().count(), 1);
    }
}

#[test]
fn the_offsets_of_a_lost_last_batch_are_named_too() {
    let dir = scratch();
    let bases = segments(dir.path());
    let ends = bases.iter().copied().skip(1).chain([100]);
    let lasts: Vec<_> = ends.map(|end| end - 1..end).collect();
    for segment in files_with(dir.path(), ".log") {
        let length = fs::read(&segment).unwrap().len();
        flip(&segment, length - 1, 1);
    }
    let report = ottla::repair(dir.path()).unwrap();
    assert!(report.is_sound(), "{report}");
    let lost = report.set_aside.iter().map(|aside| aside.offsets.clone());
    assert_eq!(lost.collect::<Vec<_>>(), lasts, "{report}");
}

#[cfg(unix)]
#[test]
fn a_link_that_leads_to_a_directory_is_left_alone() {
    let (dir, elsewhere) = (scratch(), scratch());
    orders(dir.path(), 2);
    let (place, moved) = (dir.path().join("orders-1"), elsewhere.path().join("moved"));
    fs::rename(&place, &moved).unwrap();
    std::os::unix::fs::symlink(&moved, &place).unwrap();
    // Something is damaged behind it, and something else.
    let segment = "00000000000000000000.log";
    let before = fs::read(moved.join(segment)).unwrap();
    flip(&moved.join(segment), 66, 1);
    flip(&dir.path().join("orders-0").join(segment), 66, 1);
    let report = ottla::repair(dir.path()).unwrap();
    assert!(report.is_sound() && report.set_aside.len() == 1, "{report}");
    fs::write(moved.join(segment), before).unwrap();
    assert_eq!(fs::read_link(&place).unwrap(), moved);
    let broker = Broker::open(dir.path()).unwrap();
    let log = broker.topic("orders").unwrap().partition(1).unwrap();
    assert_eq!(log.reader(0).unwrap().count(), 1);
}

#[test]
fn a_repair_reports_the_torn_tails_that_it_set_aside() {
    let dir = scratch();
    closed_log(dir.path(), &LogConfig::default(), 3);
    let segment = files_with(dir.path(), ".log").pop().unwrap();
    assert_reported(dir.path(), &segment);

    let root = scratch();
    orders(root.path(), 1);
    let segment = root.path().join("orders-0/00000000000000000000.log");
    assert_reported(root.path(), &segment);
    assert_reported(root.path(), &root.path().join("ottla.catalog"));
}

/// Has a file end in bytes that do not belong to it, and repairs the directory.
fn assert_reported(dir: &Path, file: &Path) {
    let torn = b"not what follows".repeat(8);
    let before = fs::metadata(file).unwrap().len();
    let mut bytes = fs::read(file).unwrap();
    bytes.extend_from_slice(&torn);
    fs::write(file, bytes).unwrap();
    let report = ottla::repair(dir).unwrap();
    assert!(report.is_sound(), "{report}");
    let [aside] = &*report.set_aside else {
        panic!("{report}");
    };
    assert_eq!((&*aside.path, aside.position), (file, before));
    assert_eq!(fs::read(&aside.quarantine).unwrap(), torn);
    assert!(aside.offsets.is_empty());
    assert_eq!(fs::metadata(file).unwrap().len(), before);
}

#[test]
fn partitions_that_do_not_say_whose_they_are_are_repaired_each_for_itself() {
    let dir = scratch();
    let broker = Broker::open(dir.path()).unwrap();
    for (name, count) in [("a", 30), ("b", 10), ("c", 5)] {
        let config = TopicConfig::default().partitions(1);
        let topic = broker.create_topic(name, config).unwrap();
        for number in 0..count {
            topic.append(&format!("record number {number}")).unwrap();
        }
    }
    broker.close().unwrap();
    // Partitions that somebody put together: topics from before Kafka 2.8 have no id.
    for entry in fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::remove_file(&path).unwrap();
        }
    }
    fs::remove_dir_all(dir.path().join("__cluster_metadata-0")).unwrap();
    for name in ["a-0", "b-0"] {
        fs::remove_file(dir.path().join(name).join("partition.metadata")).unwrap();
        let segment = dir.path().join(name).join("00000000000000000000.log");
        let middle = fs::read(&segment).unwrap().len() / 2;
        flip(&segment, middle, 0);
    }
    let report = ottla::repair(dir.path()).unwrap();
    assert!(report.is_sound(), "{report}");
    assert_eq!(report.set_aside.len(), 2, "{report}");
    let logs = report.remaining.logs.iter();
    let logs: Vec<_> = logs.map(|log| (log.records, log.end_offset)).collect();
    assert_eq!(logs, [(29, 30), (9, 10), (5, 5)], "{report}");
}

/// A closed root with a topic of two partitions, whose segments begin at the same offsets or not.
fn twins(dir: &Path, alike: bool) {
    let broker = Broker::open(dir).unwrap();
    let config = TopicConfig::default().partitions(2).segment_bytes(4096);
    let topic = broker.create_topic("twins", config).unwrap();
    for number in 0..200 {
        for partition in 0..2 {
            let more = if alike || partition == 0 {
                ""
            } else {
                " ......"
            };
            let record = format!("record {number:03} of partition {partition}{more}");
            topic.append_to(partition, &record).unwrap();
        }
    }
    broker.close().unwrap();
}

fn base(segment: &Path) -> u64 {
    segment
        .file_stem()
        .unwrap()
        .to_str()
        .unwrap()
        .parse()
        .unwrap()
}

#[test]
fn a_segment_of_another_log_is_set_aside_and_nothing_else_with_it() {
    for (alike, number) in [true, false]
        .into_iter()
        .flat_map(|alike| [(alike, 1), (alike, 3)])
    {
        let dir = scratch();
        twins(dir.path(), alike);
        let (own, other) = (dir.path().join("twins-0"), dir.path().join("twins-1"));
        let (segments, others) = (files_with(&own, ".log"), files_with(&other, ".log"));
        assert!(segments.len() > 4);
        assert_eq!(base(&segments[number]) == base(&others[number]), alike);
        let stray = &others[number];
        for kind in ["log", "index", "timeindex", "digest"] {
            let file = stray.with_extension(kind);
            fs::copy(&file, own.join(file.file_name().unwrap())).unwrap();
        }
        // Where the log has a segment of that name, it is gone; else nothing is.
        let lost = if alike {
            base(&segments[number])..base(&segments[number + 1])
        } else {
            0..0
        };
        let report = ottla::repair(dir.path()).unwrap();
        assert!(report.is_sound(), "{report}");
        let [aside] = &*report.set_aside else {
            panic!("{report}");
        };
        assert_eq!(aside.path, own.join(stray.file_name().unwrap()));
        assert_eq!(
            fs::read(&aside.quarantine).unwrap(),
            fs::read(stray).unwrap()
        );
        if alike {
            assert_eq!(aside.offsets, lost);
        } else {
            assert!(aside.offsets.is_empty(), "{aside}");
        }
        let broker = Broker::open(dir.path()).unwrap();
        let log = broker.topic("twins").unwrap().partition(0).unwrap();
        let mut expected = (0..200).filter(|offset| !lost.contains(offset));
        for record in log.reader(0).unwrap() {
            let record = record.unwrap();
            assert_eq!(Some(record.offset), expected.next());
            let value = format!("record {:03} of partition 0", record.offset);
            assert_eq!(record.value().unwrap(), value.as_bytes());
        }
        assert_eq!(expected.next(), None);
        assert_eq!(log.append("more").unwrap(), 200);
    }
}
