//! Roots as brokers leave them, on the simulated disk.
//!
//! A broker is played by [`Rest::run_a_broker`]: it takes the topics of `bootstrap.checkpoint` into
//! a metadata log of its own, as a real one does when it first starts, and stops cleanly. What real
//! brokers do is tested in `tests/kafka`.

mod bad_input;
mod commit_costs;
mod copied;
mod cut;
mod damaged_commits;
mod lost_commits;
mod power_cuts;
mod producers;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::clock::Clock;
use crate::dir::Marks;
use crate::disk::sim::{Kind, Sim};
use crate::error::Result;
use crate::format::file_name;
use crate::format::metadata::{
    MetadataRecord, PartitionRecord, Voter, decode_snapshot, encode_quorum,
};
use crate::format::{BatchHeader, FileKind, FileName, stamp};
use crate::host::Host;
use crate::topic::TopicConfig;
use crate::types::{Offset, ReadIsolation, Record, Start, Timestamp};

use super::super::{Broker, BrokerConfig};
use super::kafka;

const ROOT: &str = "/data";
const TOPIC: &str = "t";
const PARTITIONS: u32 = 2;
const RECORDS: u64 = 40;

/// A root at rest.
struct Rest {
    sim: Sim,
}

fn open(sim: &Sim) -> Result<Broker> {
    let config = BrokerConfig::default().manual_upkeep(true);
    Broker::open_on(sim.disk(), Clock::System, Path::new(ROOT), config)
}

fn open_read_only(sim: &Sim) -> Result<Broker> {
    let core = super::super::open::open_read_only(&sim.disk(), &Clock::System, Path::new(ROOT))?;
    Ok(Broker { core })
}

fn path(name: &str) -> PathBuf {
    Path::new(ROOT).join(name)
}

/// The base of the last segment in a directory.
fn last_base(rest: &Rest, dir: &Path) -> Offset {
    let bases = rest.sim.files().into_iter().filter_map(|(path, _)| {
        let name = path.strip_prefix(dir).ok()?.to_str()?.to_owned();
        match FileName::parse(&name) {
            FileName::Segment {
                base,
                kind: FileKind::Log,
                ..
            } => Some(base),
            _ => None,
        }
    });
    bases.max().unwrap()
}

/// Every record of a partition, by its offset.
fn values(broker: &Broker, partition: u32) -> Vec<(u64, Vec<u8>)> {
    let log = broker.topic(TOPIC).unwrap().partition(partition).unwrap();
    let mut reader = log
        .reader_with(Start::Earliest, ReadIsolation::ReadUncommitted)
        .unwrap();
    std::iter::from_fn(|| reader.next())
        .map(|record| {
            let record = record.unwrap();
            (record.offset, record.value().unwrap_or_default().to_vec())
        })
        .collect()
}

/// What a sound root holds.
fn expected(partition: u32) -> Vec<(u64, Vec<u8>)> {
    (0..RECORDS)
        .map(|offset| (offset, format!("{partition}@{offset}").into_bytes()))
        .collect()
}

impl Rest {
    /// A root that was closed: one topic in several segments, a group with a commit.
    fn new() -> Self {
        let sim = Sim::new();
        let broker = open(&sim).unwrap();
        Self::fill(&broker);
        broker.close().unwrap();
        Self { sim }
    }

    fn fill(broker: &Broker) {
        let config = TopicConfig::default()
            .partitions(PARTITIONS)
            .segment_bytes(1024);
        let topic = broker.create_topic(TOPIC, config).unwrap();
        for partition in 0..PARTITIONS {
            for offset in 0..RECORDS {
                let value = format!("{partition}@{offset}");
                topic.append_to(partition, Record::new(&value)).unwrap();
            }
        }
        let group = broker.group("g").unwrap();
        let mut consumer = group.join([TOPIC]).unwrap();
        let got = consumer.poll(std::time::Duration::ZERO).unwrap();
        assert_eq!(got.len(), usize::try_from(RECORDS).unwrap() * 2);
        consumer.commit().unwrap();
    }

    /// The same after a broker has run on it.
    fn of_a_broker() -> Self {
        let rest = Self::new();
        rest.run_a_broker();
        rest
    }

    fn host(&self) -> Arc<Host> {
        let disk = self.sim.disk();
        let marks = Marks::open(&disk, Path::new("/marks")).unwrap();
        Host::new(disk, Clock::System, marks, true)
    }

    fn run_a_broker(&self) {
        let bytes = Bytes::from(self.sim.read(path(file_name::BOOTSTRAP)).unwrap());
        self.say(&decode_snapshot(&bytes).unwrap());
    }

    /// Appends to Kafka's metadata, as a running broker does.
    fn say(&self, records: &[MetadataRecord]) {
        kafka::append(&self.host(), Path::new(ROOT), records).unwrap();
        self.sync_all();
    }

    /// Every record of Kafka's metadata log.
    fn metadata(&self) -> Vec<MetadataRecord> {
        let log = self
            .sim
            .read(path("__cluster_metadata-0/00000000000000000000.log"));
        decode_snapshot(&Bytes::from(log.unwrap())).unwrap()
    }

    /// Appends to Kafka's metadata log that these nodes vote.
    fn vote(&self, nodes: &[i32]) {
        let voter = |node: &i32| Voter {
            node_id: *node,
            directory_id: [u8::try_from(*node).unwrap(); 16],
            listener: "CONTROLLER".to_owned(),
            host: "localhost".to_owned(),
            port: 9093,
        };
        let voters: Vec<_> = nodes.iter().map(voter).collect();
        let batches = encode_quorum(&voters, Timestamp::from_millis(0)).unwrap();
        let name = "__cluster_metadata-0/00000000000000000000.log";
        let mut log = self.sim.read(path(name)).unwrap();
        let mut next = 0;
        let mut at = 0;
        while at < log.len() {
            let header = BatchHeader::parse(&log[at..]).unwrap();
            next = header.next_offset();
            at += header.size;
        }
        let mut rest = &batches[..];
        while !rest.is_empty() {
            let header = BatchHeader::parse(rest).unwrap();
            let (batch, behind) = rest.split_at(header.size);
            let mut batch = batch.to_vec();
            stamp(&mut batch, next, 0);
            next += u64::from(header.record_count);
            log.extend(batch);
            rest = behind;
        }
        self.write(name, &log);
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        self.sim.write_raw(path(name), bytes).unwrap();
        self.sync_all();
    }

    /// Everything that was written is durable: a machine that was at rest for long.
    fn sync_all(&self) {
        let disk = self.sim.disk();
        for (path, _) in self.sim.files() {
            let file = disk.open(&path, crate::disk::Access::Write).unwrap();
            file.sync_data().unwrap();
            disk.sync_dir(path.parent().unwrap()).unwrap();
        }
        disk.sync_dir(Path::new("/")).unwrap();
    }

    fn remove(&self, name: &str) {
        self.sim.disk().remove_file(&path(name)).unwrap();
        self.sync_all();
    }

    fn make_dir(&self, name: &str) {
        self.sim.disk().create_dir(&path(name)).unwrap();
        self.sync_all();
    }

    /// Renames a directory with the files in it.
    fn move_dir(&self, from: &str, to: &str) {
        self.sim.disk().rename(&path(from), &path(to)).unwrap();
        self.sync_all();
    }

    /// Every file of every partition, with its bytes.
    fn partition_files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let files = self.sim.files().into_iter();
        let inside = files.filter(|(path, _)| {
            let dir = path.parent().unwrap();
            dir != Path::new(ROOT)
                && dir != Path::new("/")
                && !dir.ends_with(file_name::CLUSTER_METADATA)
        });
        inside
            .map(|(path, _)| {
                let bytes = self.sim.read(&path).unwrap();
                (path, bytes)
            })
            .collect()
    }
}

/// A broker whose records and commits are all there.
fn check_whole(broker: &Broker) {
    let group = broker.group("g").unwrap();
    for partition in 0..PARTITIONS {
        assert_eq!(values(broker, partition), expected(partition));
        assert_eq!(group.committed(TOPIC, partition).unwrap(), Some(RECORDS));
    }
}

#[test]
fn a_root_that_a_broker_has_used_is_taken_over_and_goes_out_again() {
    let rest = Rest::of_a_broker();
    for _ in 0..3 {
        let reading = open_read_only(&rest.sim).unwrap();
        check_whole(&reading);
        drop(reading);
        let broker = open(&rest.sim).unwrap();
        assert!(broker.open_report().clean, "{:?}", broker.open_report());
        check_whole(&broker);
        broker.close().unwrap();
        // The broker runs once more: what counts is that its metadata has changed.
        rest.say(&[unknown()]);
    }
}

#[test]
fn a_partition_goes_out_with_the_newest_epoch_of_its_log() {
    let rest = Rest::new();
    let broker = open(&rest.sim).unwrap();
    let log = broker.topic(TOPIC).unwrap().partition(1).unwrap();
    let end = log.end_offset();
    for cut in [end - 3, end - 5] {
        log.truncate(cut).unwrap();
        broker.topic(TOPIC).unwrap().append_to(1, "later").unwrap();
    }
    assert_eq!(log.epoch(), 2);
    broker.close().unwrap();
    let bytes = Bytes::from(rest.sim.read(path(file_name::BOOTSTRAP)).unwrap());
    let epochs = decode_snapshot(&bytes).unwrap().into_iter();
    let epochs = epochs.filter_map(|record| match record {
        MetadataRecord::Partition(partition) => Some((partition.partition, partition.leader_epoch)),
        _ => None,
    });
    let epochs: Vec<_> = epochs.filter(|(partition, _)| *partition == 1).collect();
    assert!(epochs.contains(&(1, 2)), "{epochs:?}");
    let checkpoint = rest.sim.read(path("t-1/leader-epoch-checkpoint")).unwrap();
    let text = String::from_utf8(checkpoint).unwrap();
    assert_eq!(text, format!("0\n2\n0 0\n2 {}\n", end - 5));
}

#[test]
fn what_a_killed_broker_left_is_read_once_and_written_not_at_all() {
    let rest = Rest::of_a_broker();
    rest.remove(file_name::CLEAN_SHUTDOWN);
    // It flushed nothing, as brokers do before the first roll.
    rest.remove(file_name::RECOVERY_POINTS);
    let last = |path: &Path| {
        let topic = path.to_string_lossy().contains(&format!("/{TOPIC}-"));
        topic && path.extension().is_some_and(|kind| kind == "log")
    };
    rest.sim.record();
    let broker = open(&rest.sim).unwrap();
    assert!(!broker.open_report().clean);
    let opened = rest.sim.trace();
    let writes = opened.iter().filter(|call| call.kind == Kind::Write);
    let written: Vec<_> = writes.filter(|call| last(&call.path)).collect();
    assert!(written.is_empty(), "{written:?}");
    broker.close().unwrap();
    let closing = rest.sim.trace().split_off(opened.len());
    let reads = closing.iter().filter(|call| call.kind == Kind::Read);
    let read: Vec<_> = reads.filter(|call| last(&call.path)).collect();
    assert!(read.is_empty(), "{read:?}");
    let broker = open(&rest.sim).unwrap();
    assert!(broker.open_report().clean, "{:?}", broker.open_report());
    check_whole(&broker);
}

#[test]
fn a_topic_that_is_made_again_does_not_get_the_settings_of_the_old_one() {
    let rest = Rest::of_a_broker();
    let broker = open(&rest.sim).unwrap();
    let old = broker.topics()[0].id.clone();
    broker.delete_topic(TOPIC).unwrap();
    broker.create_topic(TOPIC, TopicConfig::default()).unwrap();
    broker.close().unwrap();
    let records = rest.metadata();
    let removed = records
        .iter()
        .position(|record| matches!(record, MetadataRecord::RemoveTopic { .. }))
        .unwrap();
    let made = |record: &MetadataRecord| {
        matches!(record, MetadataRecord::Topic { name, .. }
            if name == TOPIC)
    };
    let first = records.iter().position(made).unwrap();
    let again = records.iter().rposition(made).unwrap();
    assert!(first < removed && removed < again, "{old}: {records:?}");
    let mut settings = BTreeMap::new();
    for record in &records[first..removed] {
        if let MetadataRecord::Config { key, value, .. } = record {
            settings.insert(key.as_str(), value.as_deref());
        }
    }
    assert_eq!(settings.get("segment.bytes"), Some(&None));
    assert!(settings.values().all(Option::is_none), "{settings:?}");
}

#[test]
fn a_look_at_partitions_that_no_one_has_written_to_finds_nothing_wrong() {
    for by_a_broker in [false, true] {
        let rest = Rest::new();
        let broker = open(&rest.sim).unwrap();
        let config = TopicConfig::default().partitions(3);
        broker.create_topic("fresh", config).unwrap();
        broker.close().unwrap();
        if by_a_broker {
            rest.run_a_broker();
        }
        let reading = open_read_only(&rest.sim).unwrap();
        assert!(reading.open_report().events.is_empty());
        for topic in reading.topics() {
            for partition in &topic.partitions {
                assert_eq!(partition.problem, None, "{} {partition:?}", topic.name);
            }
        }
        let fresh = reading.topic("fresh").unwrap();
        for partition in 0..3 {
            let log = fresh.partition(partition).unwrap();
            assert_eq!((log.start_offset(), log.end_offset()), (0, 0));
            for start in [Start::Earliest, Start::Latest] {
                let mut reader = log.reader(start).unwrap();
                assert!(reader.next().is_none());
            }
            assert_eq!(
                log.offset_for_time(Timestamp::from_millis(0)).unwrap(),
                None
            );
            assert_eq!(log.segments().len(), 1);
        }
        for group in reading.groups().unwrap() {
            for partition in &group.partitions {
                assert_eq!(partition.problem, None, "{partition:?}");
            }
        }
    }
}

/// A record about something that is not a topic, as a broker writes one every half second.
fn unknown() -> MetadataRecord {
    MetadataRecord::Unknown {
        api_key: 20,
        version: 0,
        raw: vec![0],
    }
}
