//! What opening and closing a root does for what groups have committed: nothing that grows with the
//! number of commits, and nothing for groups without news. Counted on the simulated disk.

use crate::disk::sim::{Choice, Kind};
use crate::format::group_record::group_partition;
use crate::types::OFFSETS_TOPIC;

use super::*;

const EPOCHS: &str = file_name::LEADER_EPOCHS;

/// The records of commits that are read for nothing, at most, but for one call of `reset`.
const SLACK: u64 = 8192;

fn name(number: usize) -> String {
    format!("group-{number}")
}

/// A closed root with so many groups, each of which has committed once for each partition.
fn with_groups(count: usize) -> Sim {
    let sim = Sim::new();
    let broker = open(&sim).unwrap();
    Rest::fill(&broker);
    for number in 0..count {
        let group = broker.group(&name(number)).unwrap();
        group.reset(TOPIC, Start::Latest).unwrap();
    }
    broker.close().unwrap();
    sim
}

fn config(manual: bool) -> BrokerConfig {
    BrokerConfig::default().manual_upkeep(manual)
}

fn open_as(sim: &Sim, manual: bool) -> Broker {
    Broker::open_on(sim.disk(), Clock::System, Path::new(ROOT), config(manual)).unwrap()
}

/// The files of commits and their lengths.
fn offsets_files(sim: &Sim) -> Vec<(PathBuf, u64)> {
    let files = sim.files().into_iter();
    files
        .filter(|(path, _)| path.to_string_lossy().contains(OFFSETS_TOPIC))
        .collect()
}

/// What one use of a root did to the files of commits, and how many operations it took.
fn cost_of(sim: &Sim, use_it: impl FnOnce(&Broker)) -> (Vec<Kind>, u64) {
    let before = sim.operations();
    sim.record();
    let broker = open(sim).unwrap();
    use_it(&broker);
    broker.close().unwrap();
    let of_commits = sim.trace().into_iter().filter(|operation| {
        let touches = [Kind::Open, Kind::Create, Kind::Read, Kind::Write, Kind::Map];
        let path = operation.path.to_string_lossy();
        // Which epochs a partition had is told to brokers, for all partitions of all topics.
        let is_of_commits = path.contains(OFFSETS_TOPIC) && !path.ends_with(EPOCHS);
        touches.contains(&operation.kind) && is_of_commits
    });
    let kinds = of_commits.map(|operation| operation.kind).collect();
    (kinds, sim.operations() - before)
}

#[test]
fn opening_and_closing_touch_no_commits_however_many_groups_there_are() {
    let mut costs = Vec::new();
    for count in [300, 900] {
        let sim = with_groups(count);
        // The topic of commits has all its partitions with both counts.
        let files = offsets_files(&sim);
        let is_log = |path: &Path| path.extension().is_some_and(|kind| kind == "log");
        assert_eq!(files.iter().filter(|(path, _)| is_log(path)).count(), 50);
        let (kinds, _) = cost_of(&sim, |_| ());
        assert_eq!(kinds, [], "{count} groups");
        let (kinds, operations) = cost_of(&sim, |broker| {
            broker.topic(TOPIC).unwrap().append("x").unwrap();
        });
        assert_eq!(kinds, [], "{count} groups");
        assert_eq!(offsets_files(&sim), files);
        costs.push(operations);
    }
    assert_eq!(costs[0], costs[1]);
}

#[test]
fn a_close_writes_for_the_groups_with_news_alone() {
    let sim = with_groups(200);
    let home = group_partition(&name(0), 50);
    let dir = path(&file_name::partition_dir(OFFSETS_TOPIC, home));
    let before: BTreeMap<_, _> = offsets_files(&sim).into_iter().collect();
    let broker = open(&sim).unwrap();
    broker
        .group("new")
        .unwrap()
        .reset(TOPIC, Start::Latest)
        .unwrap();
    let group = broker.group(&name(0)).unwrap();
    group.reset(TOPIC, Start::Earliest).unwrap();
    broker.close().unwrap();
    let new_dir = path(&file_name::partition_dir(
        OFFSETS_TOPIC,
        group_partition("new", 50),
    ));
    assert_ne!(dir, new_dir);
    for (file, len) in offsets_files(&sim) {
        let Some(before) = before.get(&file) else {
            continue;
        };
        let grown = len - before;
        let is_log = file.extension().is_some_and(|kind| kind == "log");
        match file.parent() {
            // Two commits, and a record that the new group is empty.
            Some(parent) if parent == new_dir && is_log => assert!((200..600).contains(&grown)),
            // The other one has its record.
            Some(parent) if parent == dir && is_log => assert!((100..300).contains(&grown)),
            Some(parent) if parent == new_dir || parent == dir => assert!(grown < 100),
            _ => assert_eq!(grown, 0, "{}", file.display()),
        }
    }
}

/// Records in the partition of a group.
fn records(broker: &Broker, group: &str) -> u64 {
    let topic = broker.core.root.directory.find(OFFSETS_TOPIC).unwrap();
    let log = topic.partition(group_partition(group, 50)).unwrap();
    u64::try_from(log.reader(0).unwrap().count()).unwrap()
}

#[test]
fn what_an_opening_reads_of_a_group_does_not_grow_with_its_commits() {
    for manual in [true, false] {
        let sim = with_groups(3);
        let broker = open_as(&sim, manual);
        let group = broker.group(&name(0)).unwrap();
        let resets = 3 * SLACK / u64::from(PARTITIONS) + 1;
        for number in 0..resets {
            let from = [Start::Earliest, Start::Latest][usize::from(number % 2 == 0)];
            group.reset(TOPIC, from).unwrap();
        }
        broker.close().unwrap();
        drop(broker);
        let broker = open_as(&sim, manual);
        let left = records(&broker, &name(0));
        assert!(left <= SLACK + 20, "{left} records, manual: {manual}");
        for partition in 0..PARTITIONS {
            let committed = broker.group(&name(0)).unwrap().committed(TOPIC, partition);
            assert_eq!(committed.unwrap(), Some(RECORDS));
        }
        broker.close().unwrap();
    }
}

#[test]
fn a_root_that_was_left_with_superseded_commits_is_tidied_by_the_next_close() {
    let sim = with_groups(3);
    let broker = open(&sim).unwrap();
    let group = broker.group(&name(0)).unwrap();
    group.reset(TOPIC, Start::Latest).unwrap();
    // As an earlier version left it.
    let topic = broker.core.root.directory.find(OFFSETS_TOPIC).unwrap();
    let log = topic.partition(group_partition(&name(0), 50)).unwrap();
    let reader = log.reader(0).unwrap().map(Result::unwrap);
    let commits: Vec<_> = reader
        .filter(|record| record.key().unwrap()[1] == 1)
        .collect();
    let commit = commits.last().unwrap();
    for _ in 0..SLACK + 50 {
        let again = Record::keyed(commit.key().unwrap(), commit.value().unwrap());
        log.append(again).unwrap();
    }
    let sim = sim.crash(Choice::All);
    drop(broker);
    let broker = open(&sim).unwrap();
    assert!(!broker.open_report().clean);
    assert!(records(&broker, &name(0)) > SLACK);
    broker.close().unwrap();
    let broker = open(&sim).unwrap();
    assert!(records(&broker, &name(0)) < 20);
    let group = broker.group(&name(0)).unwrap();
    assert_eq!(group.committed(TOPIC, 0).unwrap(), Some(RECORDS));
    assert_eq!(group.committed(TOPIC, 1).unwrap(), Some(RECORDS));
}
