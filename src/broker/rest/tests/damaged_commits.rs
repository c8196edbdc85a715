//! A byte of a partition of `__consumer_offsets` is damaged: its groups say so, all others go on,
//! and no broker starts before a repair.

use std::time::Duration;

use crate::broker::repair::repair_on;
use crate::error::Error;
use crate::format::group_record::group_partition;
use crate::group::ConsumerGroup;
use crate::recovery::OpenEvent;
use crate::types::OFFSETS_TOPIC;

use super::*;

/// A topic that is deleted while commits are damaged.
const GOING: &str = "going";
/// How many segments the damaged partition has at least.
const SEGMENTS: usize = 3;

/// Three groups: two of one partition, and one of another.
fn ids() -> [String; 3] {
    let first = "g".to_owned();
    let home = group_partition(&first, 50);
    let mut others = (0..).map(|number| format!("other-{number}"));
    let near = others
        .clone()
        .find(|id| group_partition(id, 50) == home)
        .unwrap();
    let far = others.find(|id| group_partition(id, 50) != home).unwrap();
    [first, near, far]
}

fn dir_of(group: &str) -> PathBuf {
    path(&file_name::partition_dir(
        OFFSETS_TOPIC,
        group_partition(group, 50),
    ))
}

/// The files of the partition of a group, of one kind, by name.
fn files(sim: &Sim, group: &str, kind: &str) -> Vec<PathBuf> {
    let dir = dir_of(group);
    let of_kind = |path: &Path| {
        path.parent() == Some(&dir) && path.extension().is_some_and(|found| found == kind)
    };
    let files = sim.files().into_iter().map(|(path, _)| path);
    files.filter(|path| of_kind(path)).collect()
}

fn commit(broker: &Broker, group: &str, topic: &str) {
    let mut member = broker.group(group).unwrap().join([topic]).unwrap();
    drop(member.poll(Duration::ZERO).unwrap());
    member.commit().unwrap();
    member.leave().unwrap();
}

/// A broker whose groups have committed on two topics, in several segments of commits.
fn fill() -> (Sim, Broker) {
    let sim = Sim::new();
    let broker = open(&sim).unwrap();
    Rest::fill(&broker);
    let offsets = broker.core.root.directory.find(OFFSETS_TOPIC).unwrap();
    let config = offsets.config().segment_bytes(1024);
    offsets.shared().reconfigure(config).unwrap();
    let config = TopicConfig::default().partitions(1);
    let going = broker.create_topic(GOING, config).unwrap();
    going.append("x").unwrap();
    for _ in 0..12 {
        for group in ids() {
            let group = broker.group(&group).unwrap();
            group.reset(TOPIC, Start::Latest).unwrap();
            group.reset(GOING, Start::Latest).unwrap();
        }
    }
    assert!(files(&sim, "g", "log").len() >= SEGMENTS);
    (sim, broker)
}

fn check_refused(group: &ConsumerGroup) {
    let answers = [
        group.join([TOPIC]).map(drop),
        group.committed(TOPIC, 0).map(drop),
        group.describe().map(drop),
        group.reset(TOPIC, Start::Earliest),
    ];
    for answer in answers {
        let error = answer.unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
    }
}

fn unusable(broker: &Broker) -> Vec<PathBuf> {
    let events = broker.open_report().events.iter();
    let paths = events.filter_map(|event| match event {
        OpenEvent::LogUnusable { path, .. } => Some(path.clone()),
        _ => None,
    });
    let mut paths: Vec<_> = paths.collect();
    paths.sort();
    paths
}

fn meta(sim: &Sim) -> String {
    String::from_utf8(sim.read(path(file_name::META_PROPERTIES)).unwrap()).unwrap()
}

/// What a broker with damaged groups does for all others.
fn check_the_others_go_on(broker: &Broker, damaged: &[&str]) {
    let mut sound: Vec<_> = ids()
        .into_iter()
        .filter(|id| {
            let home = group_partition(id, 50);
            damaged.iter().all(|id| group_partition(id, 50) != home)
        })
        .collect();
    sound.sort();
    for group in ids().iter().filter(|id| !sound.contains(id)) {
        check_refused(&broker.group(group).unwrap());
        let deleted = broker.delete_group(group);
        assert!(matches!(deleted, Err(Error::Corrupt { .. })), "{deleted:?}");
    }
    let listed: Vec<_> = broker.groups().unwrap().into_iter().map(|g| g.id).collect();
    assert_eq!(listed, sound);
    let reported = broker.damaged_commits().unwrap();
    let homes: std::collections::BTreeSet<_> =
        damaged.iter().map(|id| group_partition(id, 50)).collect();
    let partitions: Vec<_> = reported.iter().map(|damage| damage.partition).collect();
    assert_eq!(partitions, homes.into_iter().collect::<Vec<_>>());
    for group in &sound {
        commit(broker, group, TOPIC);
        let committed = broker.group(group).unwrap().committed(TOPIC, 1).unwrap();
        assert_eq!(committed, Some(RECORDS));
    }
    for _ in 0..2 {
        broker.delete_topic(GOING).unwrap();
        let config = TopicConfig::default().partitions(1);
        broker
            .create_topic(GOING, config)
            .unwrap()
            .append("y")
            .unwrap();
        for group in &sound {
            let committed = broker.group(group).unwrap().committed(GOING, 0).unwrap();
            assert_eq!(committed, None, "{group}");
        }
    }
}

/// The close of such a broker, the openings after it, and the repair.
fn check_rest_and_repair(sim: &Sim, broker: &Broker, damaged: &[&str]) {
    broker.close().unwrap();
    assert!(meta(sim).contains("run repair first"), "{}", meta(sim));
    for open in [open_read_only, open] {
        let broker = open(sim).unwrap();
        let report = broker.open_report();
        assert!(report.clean, "{report:?}");
        let mut dirs: Vec<_> = damaged.iter().map(|group| dir_of(group)).collect();
        dirs.sort();
        assert_eq!(unusable(&broker), dirs);
        assert_eq!(
            broker.group("g").unwrap().committed(TOPIC, 0).is_ok(),
            !damaged.contains(&"g")
        );
        broker.close().unwrap();
        drop(broker);
        assert!(meta(sim).contains("run repair first"), "{}", meta(sim));
    }
    let report = repair_on(&sim.disk(), &Clock::System, Path::new(ROOT)).unwrap();
    assert!(report.is_sound(), "{report}");
    assert!(meta(sim).contains("cluster.id"), "{}", meta(sim));
    let broker = open(sim).unwrap();
    assert_eq!(unusable(&broker), Vec::<PathBuf>::new());
    assert!(broker.damaged_commits().unwrap().is_empty());
    for group in ids() {
        // The topic was deleted and made again: what was committed before is not about this one.
        let group = broker.group(&group).unwrap();
        assert_eq!(group.committed(GOING, 0).unwrap(), None);
        drop(group.join([TOPIC]).unwrap());
    }
    broker.close().unwrap();
    assert!(meta(sim).contains("cluster.id"), "{}", meta(sim));
}

/// Bytes of a batch: of its offset, its length, its version, its checksum, its counts, its record.
const PLACES: [u64; 6] = [7, 11, 16, 18, 60, 70];

#[test]
fn a_damaged_byte_of_commits_concerns_the_groups_of_its_partition_alone() {
    for segment in [0, 1, usize::MAX] {
        for place in PLACES {
            let (sim, broker) = fill();
            broker.close().unwrap();
            let logs = files(&sim, "g", "log");
            let path = &logs[segment.min(logs.len() - 1)];
            // The last segment may hold one batch only: every place is in its first.
            sim.flip(path, place * 8).unwrap();
            let broker = open(&sim).unwrap();
            assert!(broker.open_report().clean, "{segment} {place}");
            check_the_others_go_on(&broker, &["g"]);
            check_rest_and_repair(&sim, &broker, &["g"]);
        }
    }
}

#[test]
fn damage_in_an_index_of_commits_keeps_no_one_from_anything() {
    for kind in ["index", "timeindex"] {
        let (sim, broker) = fill();
        broker.close().unwrap();
        for path in files(&sim, "g", kind) {
            if sim.read(&path).unwrap().len() > 8 {
                sim.flip(&path, 5 * 8).unwrap();
            }
        }
        let broker = open(&sim).unwrap();
        check_the_others_go_on(&broker, &[]);
        broker.close().unwrap();
        assert!(meta(&sim).contains("cluster.id"));
    }
}

#[test]
fn two_damaged_partitions_concern_their_groups_alone() {
    let (sim, broker) = fill();
    broker.close().unwrap();
    let [_, _, far] = ids();
    for group in ["g", far.as_str()] {
        sim.flip(&files(&sim, group, "log")[0], 70 * 8).unwrap();
    }
    let broker = open(&sim).unwrap();
    check_the_others_go_on(&broker, &["g", &far]);
    check_rest_and_repair(&sim, &broker, &["g", &far]);
}

#[test]
fn after_a_crash_the_commits_of_the_other_partitions_are_set_back() {
    let (sim, broker) = fill();
    broker.flush().unwrap();
    let [_, _, far] = ids();
    let topic = broker.topic(TOPIC).unwrap();
    topic.append_to(0, Record::new("lost")).unwrap();
    broker
        .group(&far)
        .unwrap()
        .reset(TOPIC, Start::Latest)
        .unwrap();
    // The commit reaches the disk and its record does not.
    let offsets = broker.core.root.directory.find(OFFSETS_TOPIC).unwrap();
    let log = offsets.partition(group_partition(&far, 50)).unwrap();
    log.flush().unwrap();
    let sim = sim.crash(crate::disk::sim::Choice::None);
    drop(broker);
    sim.flip(&files(&sim, "g", "log")[0], 70 * 8).unwrap();
    let broker = open(&sim).unwrap();
    let events = &broker.open_report().events;
    let back = events
        .iter()
        .filter(|event| matches!(event, OpenEvent::CommitSetBack { group, .. } if *group == far));
    assert_eq!(back.count(), 1, "{events:?}");
    assert_eq!(unusable(&broker), [dir_of("g")]);
    check_the_others_go_on(&broker, &["g"]);
    check_rest_and_repair(&sim, &broker, &["g"]);
}

#[test]
fn a_partition_that_is_put_back_whole_lets_brokers_start_again() {
    let (sim, broker) = fill();
    broker.close().unwrap();
    let log = files(&sim, "g", "log").remove(0);
    sim.flip(&log, 70 * 8).unwrap();
    let broker = open(&sim).unwrap();
    check_refused(&broker.group("g").unwrap());
    broker.close().unwrap();
    sim.flip(&log, 70 * 8).unwrap();
    let report = repair_on(&sim.disk(), &Clock::System, Path::new(ROOT)).unwrap();
    assert!(report.is_sound(), "{report}");
    assert!(meta(&sim).contains("cluster.id"), "{}", meta(&sim));
}

#[test]
fn damage_that_upkeep_finds_after_the_groups_were_read_keeps_brokers_away() {
    let (sim, broker) = fill();
    sim.flip(&files(&sim, "g", "log")[0], 70 * 8).unwrap();
    let report = broker.upkeep().unwrap();
    let home = group_partition("g", 50);
    let found = |problem: &crate::broker::UpkeepProblem| {
        problem.topic == OFFSETS_TOPIC && problem.partition == home
    };
    assert!(report.problems.iter().any(found), "{report:?}");
    let damaged = broker.damaged_commits().unwrap();
    assert_eq!(damaged.len(), 1, "{damaged:?}");
    // The groups were read before that, and continue.
    commit(&broker, "g", TOPIC);
    broker.delete_topic(GOING).unwrap();
    let config = TopicConfig::default().partitions(1);
    broker.create_topic(GOING, config).unwrap();
    check_rest_and_repair(&sim, &broker, &["g"]);
}
