//! The directory of a partition of `__consumer_offsets` is gone: its groups must not begin again in
//! silence, and all others continue.

use crate::broker::repair::repair_on;
use crate::error::Error;
use crate::format::group_record::group_partition;
use crate::group::ConsumerGroup;
use crate::recovery::OpenEvent;

use super::*;

const GROUP: &str = "g";
const KEPT: &str = "kept";

fn dir() -> String {
    format!("__consumer_offsets-{}", group_partition(GROUP, 50))
}

/// A group of another partition.
fn another() -> String {
    let mut ids = (0..).map(|number| format!("other-{number}"));
    let lost = group_partition(GROUP, 50);
    ids.find(|id| group_partition(id, 50) != lost).unwrap()
}

/// A group of the same partition.
fn neighbour() -> String {
    let mut ids = (0..).map(|number| format!("near-{number}"));
    let lost = group_partition(GROUP, 50);
    ids.find(|id| group_partition(id, 50) == lost).unwrap()
}

fn roots() -> [Rest; 2] {
    [Rest::new(), Rest::of_a_broker()]
}

fn check_reported(broker: &Broker) {
    let events = &broker.open_report().events;
    let told = events.iter().filter(
        |event| matches!(event, OpenEvent::LogUnusable { path, .. } if path.ends_with(dir())),
    );
    assert_eq!(told.count(), 1, "{events:?}");
}

fn check_refused(group: &ConsumerGroup) {
    let answers = [
        group.join([TOPIC]).map(drop),
        group.committed(TOPIC, 0).map(drop),
        group.describe().map(drop),
    ];
    for answer in answers {
        let error = answer.unwrap_err();
        let Error::Corrupt { path, .. } = &error else {
            panic!("{error:?}");
        };
        assert!(path.ends_with(dir()), "{error}");
        assert!(error.to_string().contains("repair"), "{error}");
    }
}

#[test]
fn a_missing_directory_of_commits_is_reported_and_its_groups_wait_for_a_word() {
    for rest in roots() {
        rest.move_dir(&dir(), KEPT);
        check_reported(&open_read_only(&rest.sim).unwrap());
        // As often as it is opened, and whatever the others do.
        for _ in 0..2 {
            let broker = open(&rest.sim).unwrap();
            check_reported(&broker);
            check_refused(&broker.group(GROUP).unwrap());
            check_refused(&broker.group(&neighbour()).unwrap());
            assert!(matches!(
                broker.delete_group(GROUP),
                Err(Error::Corrupt { .. })
            ));
            let mut member = broker.group(&another()).unwrap().join([TOPIC]).unwrap();
            drop(member.poll(std::time::Duration::ZERO).unwrap());
            member.commit().unwrap();
            member.leave().unwrap();
            let ids: Vec<_> = broker.groups().unwrap().into_iter().map(|g| g.id).collect();
            assert_eq!(ids, [another()]);
            broker.close().unwrap();
            assert!(!rest.sim.disk().exists(&path(&dir())).unwrap());
        }
        // Put back, it is as it was.
        rest.move_dir(KEPT, &dir());
        let broker = open(&rest.sim).unwrap();
        assert_eq!(broker.open_report().events.len(), 0);
        check_whole(&broker);
    }
}

#[test]
fn repair_makes_an_empty_one_and_says_so() {
    for rest in roots() {
        rest.move_dir(&dir(), KEPT);
        let report = repair_on(&rest.sim.disk(), &Clock::System, Path::new(ROOT)).unwrap();
        assert!(!report.found.is_sound());
        assert!(report.is_sound(), "{report}");
        let broker = open(&rest.sim).unwrap();
        let group = broker.group(GROUP).unwrap();
        assert_eq!(group.committed(TOPIC, 0).unwrap(), None);
        let mut member = group.join([TOPIC]).unwrap();
        assert_eq!(
            member.poll(std::time::Duration::ZERO).unwrap().len(),
            usize::try_from(RECORDS).unwrap() * 2
        );
    }
}

#[test]
fn a_reset_says_where_a_group_goes_on_and_nothing_of_its_neighbours() {
    for rest in roots() {
        rest.move_dir(&dir(), KEPT);
        let broker = open(&rest.sim).unwrap();
        let group = broker.group(GROUP).unwrap();
        group.reset(TOPIC, Start::Offset(7)).unwrap();
        assert_eq!(group.committed(TOPIC, 1).unwrap(), Some(7));
        drop(group.join([TOPIC]).unwrap());
        check_refused(&broker.group(&neighbour()).unwrap());
        broker.close().unwrap();
        let broker = open(&rest.sim).unwrap();
        let group = broker.group(GROUP).unwrap();
        assert_eq!(group.committed(TOPIC, 1).unwrap(), Some(7));
    }
}

#[test]
fn a_partition_in_which_nothing_was_committed_may_be_missing() {
    for rest in roots() {
        let broker = open(&rest.sim).unwrap();
        assert_eq!(broker.open_report().events.len(), 0);
        drop(broker.group(&another()).unwrap().join([TOPIC]).unwrap());
    }
}
