//! `verify` and `repair` by what they say: nothing that opening refuses is called sound.

use std::fs::{self, OpenOptions};
use std::path::Path;

use ottla::{Broker, Error, Log, LogConfig, TopicConfig};

use crate::helpers::scratch;

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
