//! Roots that a broker left, and that something is wrong with: each is refused with an error that
//! names the file and what to do, or is handled and reported. No byte of a partition is touched.

use crate::error::Error;
use crate::format::metadata::{PartitionChange, TOPIC_RESOURCE};
use crate::format::{file_name, old_message};
use crate::recovery::OpenEvent;
use crate::types::TopicId;

use super::*;

const LOG: &str = "__cluster_metadata-0/00000000000000000000.log";

/// What is to come of it.
enum Then {
    /// [`Error::Unsupported`] whose text holds all of these.
    Unsupported(&'static [&'static str]),
    /// [`Error::Corrupt`] at a path that ends so.
    Corrupt(&'static str),
}

fn check(what: &str, rest: &Rest, then: &Then) {
    let before = rest.partition_files();
    let error = open(&rest.sim).map(drop).expect_err(what);
    match then {
        Then::Unsupported(words) => {
            assert!(
                matches!(error, Error::Unsupported { .. }),
                "{what}: {error:?}"
            );
            for word in *words {
                assert!(
                    error.to_string().contains(word),
                    "{what}: {word} is not in: {error}"
                );
            }
        }
        Then::Corrupt(name) => {
            let Error::Corrupt { path, .. } = &error else {
                panic!("{what}: {error:?}");
            };
            assert!(path.ends_with(name), "{what}: {}", path.display());
        }
    }
    assert_eq!(rest.partition_files(), before, "{what}: nothing is touched");
    // Reading it does not panic, whatever it returns.
    drop(open_read_only(&rest.sim));
    assert_eq!(rest.partition_files(), before, "{what}: nothing is touched");
}

fn meta(cluster: &str, node: u32) -> Vec<u8> {
    format!(
        "version=1\ncluster.id={cluster}\nnode.id={node}\ndirectory.id=rvvf-yNvRcyXKPzGuhhMXA\n"
    )
    .into_bytes()
}

#[test]
fn a_meta_properties_of_another_root_is_refused() {
    let foreign = meta("MkU3OEVBNTcwNTJENDM2Qg", 2);
    for rest in [Rest::new(), Rest::of_a_broker()] {
        rest.write("meta.properties", &foreign);
        let then = Then::Unsupported(&["meta.properties", "node 2", "put the right file back"]);
        check("another node", &rest, &then);
        rest.write("meta.properties", b"version=0\nbroker.id=1\n");
        let then = Then::Unsupported(&["meta.properties", "ZooKeeper"]);
        check("a broker with ZooKeeper", &rest, &then);
        rest.write("meta.properties", &[0xff; 100]);
        check("garbage", &rest, &Then::Corrupt("meta.properties"));
    }
}

/// The first partition of the topic, as a record that makes it, changed.
fn partition_of(rest: &Rest, change: impl FnOnce(&mut PartitionRecord)) -> MetadataRecord {
    let bytes = Bytes::from(rest.sim.read(path(file_name::BOOTSTRAP)).unwrap());
    let records = decode_snapshot(&bytes).unwrap();
    let made = records.iter().find_map(|record| match record {
        MetadataRecord::Topic { name, id } if name == TOPIC => Some(*id),
        _ => None,
    });
    let mut partition = { records.into_iter() }
        .find_map(|record| match record {
            MetadataRecord::Partition(partition) if Some(partition.topic) == made => {
                Some(partition)
            }
            _ => None,
        })
        .unwrap();
    change(&mut partition);
    MetadataRecord::Partition(partition)
}

#[test]
fn a_root_that_is_one_of_several_is_refused() {
    let rest = Rest::of_a_broker();
    rest.say(&[partition_of(&rest, |partition| {
        partition.replicas = vec![1, 2];
    })]);
    let then = Then::Unsupported(&["topic t", "not on this node alone", "__cluster_metadata-0"]);
    check("two replicas", &rest, &then);

    let rest = Rest::of_a_broker();
    let elsewhere = |partition: &mut PartitionRecord| partition.directories = vec![[7; 16]];
    rest.say(&[partition_of(&rest, elsewhere)]);
    let then = Then::Unsupported(&["topic t", "another log directory", "read-only"]);
    check("several log directories", &rest, &then);
    // As the error says, it can be opened for reading.
    check_whole(&open_read_only(&rest.sim).unwrap());
}

/// A change of every partition that a broker's metadata has.
fn change_all(rest: &Rest, change: &PartitionChange) {
    let MetadataRecord::Partition(first) = partition_of(rest, |_| ()) else {
        panic!("not a partition");
    };
    let changes = (0..PARTITIONS).map(|partition| {
        MetadataRecord::PartitionChange(PartitionChange {
            partition,
            topic: first.topic,
            ..change.clone()
        })
    });
    rest.say(&changes.collect::<Vec<_>>());
}

fn moved_to(replicas: &[i32]) -> PartitionChange {
    PartitionChange {
        replicas: Some(replicas.to_vec()),
        in_sync: Some(replicas.to_vec()),
        leader: replicas.first().copied(),
        directories: Some(vec![[0; 16]; replicas.len()]),
        ..PartitionChange::default()
    }
}

/// A root that may only be read: refused for writing, and the report of a read-only opening says
/// why.
fn check_only_to_be_looked_at(what: &str, rest: &Rest, words: &'static [&'static str]) {
    check(what, rest, &Then::Unsupported(words));
    let reading = open_read_only(&rest.sim).unwrap();
    check_whole(&reading);
    let events = &reading.open_report().events;
    let told = events.iter().any(|event| {
        let OpenEvent::LeftAlone { path, reason } = event else {
            return false;
        };
        path.ends_with(file_name::CLUSTER_METADATA)
            && words.iter().all(|word| reason.contains(word))
    });
    assert!(told, "{what}: {events:?}");
}

#[test]
fn a_partition_that_got_a_replica_elsewhere_later_is_refused() {
    for replicas in [&[1, 2][..], &[2, 1], &[2]] {
        let rest = Rest::of_a_broker();
        change_all(&rest, &moved_to(replicas));
        let words = &["topic t", "not on this node alone", "__cluster_metadata-0"];
        check_only_to_be_looked_at("moved", &rest, words);
        // And back again: the newest state counts.
        change_all(&rest, &moved_to(&[1]));
        check_whole(&open(&rest.sim).unwrap());
    }
    let rest = Rest::of_a_broker();
    let growing = PartitionChange {
        replicas: Some(vec![1, 2]),
        adding: Some(vec![2]),
        directories: Some(vec![[0; 16]; 2]),
        ..PartitionChange::default()
    };
    change_all(&rest, &growing);
    check_only_to_be_looked_at("growing", &rest, &["not on this node alone"]);
}

#[test]
fn a_partition_that_is_in_another_log_directory_is_refused() {
    let with = |directory: [u8; 16]| PartitionChange {
        directories: Some(vec![directory]),
        ..PartitionChange::default()
    };
    let rest = Rest::of_a_broker();
    change_all(&rest, &with([7; 16]));
    let words = &["topic t", "another log directory", "read-only"];
    check_only_to_be_looked_at("in the other one", &rest, words);
    // Not assigned yet: it is where its directory is.
    let mut unassigned = [0; 16];
    unassigned[15] = 1;
    change_all(&rest, &with(unassigned));
    check_whole(&open(&rest.sim).unwrap());
    let rest = Rest::of_a_broker();
    change_all(&rest, &with(unassigned));
    rest.move_dir("t-1", "t-1.5f3c2a1b4d6e7f8091a2b3c4d5e6f708-stray");
    let then = Then::Unsupported(&["partition 1 of topic t", "another log directory"]);
    check("not here", &rest, &then);
}

#[test]
fn a_topic_that_was_made_on_another_node_and_moved_here_is_taken_over() {
    let rest = Rest::of_a_broker();
    let id = TopicId([5; 16]);
    let partition = PartitionRecord {
        partition: 0,
        topic: id,
        replicas: vec![2, 3],
        in_sync: vec![2],
        removing: Vec::new(),
        adding: Vec::new(),
        leader: 2,
        leader_epoch: 4,
        partition_epoch: 9,
        directories: vec![[7; 16], [8; 16]],
    };
    let name = "moved".to_owned();
    rest.say(&[
        MetadataRecord::Topic { name, id },
        MetadataRecord::Partition(partition),
    ]);
    let then = Then::Unsupported(&["topic moved", "not on this node alone"]);
    check("elsewhere", &rest, &then);
    rest.say(&[MetadataRecord::PartitionChange(PartitionChange {
        topic: id,
        ..moved_to(&[1])
    })]);
    rest.make_dir("moved-0");
    let broker = open(&rest.sim).unwrap();
    check_whole(&broker);
    assert_eq!(
        broker.topic("moved").unwrap().append("x").unwrap().offset,
        0
    );
}

#[test]
fn a_quorum_of_other_nodes_is_refused_and_one_that_shrank_is_taken_over() {
    for voters in [&[1, 2, 3][..], &[2]] {
        let rest = Rest::of_a_broker();
        rest.vote(voters);
        let words = &[
            "node 1 is not alone",
            "2",
            "vote",
            "controllers",
            "read-only",
        ];
        check_only_to_be_looked_at("voters in the log", &rest, words);
        rest.vote(&[1]);
        check_whole(&open(&rest.sim).unwrap());
    }
    // A quorum that is told its voters by the brokers' properties.
    let rest = Rest::of_a_broker();
    rest.remove(&format!(
        "__cluster_metadata-0/{}",
        file_name::QUORUM_CHECKPOINT
    ));
    let state = "__cluster_metadata-0/quorum-state";
    rest.write(
        state,
        br#"{"leaderId":2,"currentVoters":[{"voterId":1},{"voterId":2}]}"#,
    );
    check_only_to_be_looked_at("quorum-state", &rest, &["not alone", "1, 2"]);
    rest.write(state, br#"{"leaderId":1,"currentVoters":[{"voterId":1}]}"#);
    check_whole(&open(&rest.sim).unwrap());
}

#[test]
fn a_kind_of_record_that_no_one_knows_keeps_a_root_from_being_written() {
    for (api_key, refused) in [(29, true), (6, true), (28, false), (0, false), (27, false)] {
        let rest = Rest::of_a_broker();
        rest.say(&[MetadataRecord::Unknown {
            api_key,
            version: 0,
            raw: vec![0],
        }]);
        if refused {
            let words = &["record of kind", "newer", "__cluster_metadata-0"];
            check_only_to_be_looked_at("unknown", &rest, words);
        } else {
            check_whole(&open(&rest.sim).unwrap());
        }
    }
}

#[test]
fn a_migration_from_zookeeper_must_be_finished_first() {
    for (state, refused) in [(0, false), (1, true), (2, true), (3, false)] {
        let rest = Rest::of_a_broker();
        rest.say(&[MetadataRecord::Unknown {
            api_key: 21,
            version: 0,
            raw: vec![state, 0],
        }]);
        if refused {
            check_only_to_be_looked_at("migrating", &rest, &["ZooKeeper", "migration"]);
        } else {
            check_whole(&open(&rest.sim).unwrap());
        }
    }
}

#[test]
fn metadata_that_contradicts_itself_is_refused() {
    let rest = Rest::of_a_broker();
    let again = MetadataRecord::Topic {
        name: TOPIC.to_owned(),
        id: TopicId([9; 16]),
    };
    rest.say(&[again]);
    check(
        "two ids for one name",
        &rest,
        &Then::Corrupt("__cluster_metadata-0"),
    );

    let rest = Rest::of_a_broker();
    let orphan = partition_of(&rest, |partition| partition.topic = TopicId([9; 16]));
    rest.say(&[orphan]);
    check(
        "a partition of no topic",
        &rest,
        &Then::Corrupt("__cluster_metadata-0"),
    );

    let rest = Rest::of_a_broker();
    let change = PartitionChange {
        topic: TopicId([9; 16]),
        ..moved_to(&[1])
    };
    rest.say(&[MetadataRecord::PartitionChange(change)]);
    check(
        "a change of no partition",
        &rest,
        &Then::Corrupt("__cluster_metadata-0"),
    );
}

#[test]
fn a_record_about_topics_of_a_later_kafka_is_refused() {
    const TOPIC_KEY: u32 = 2;
    const PARTITION_KEY: u32 = 3;
    const CHANGE_KEY: u32 = 5;
    for api_key in [TOPIC_KEY, PARTITION_KEY, CHANGE_KEY] {
        let rest = Rest::of_a_broker();
        rest.say(&[MetadataRecord::Unknown {
            api_key,
            version: 99,
            raw: vec![0],
        }]);
        let then = Then::Unsupported(&["__cluster_metadata-0", "version 99", "newer"]);
        check("a record of a later version", &rest, &then);
    }
}

#[test]
fn metadata_of_garbage_is_refused() {
    let rest = Rest::of_a_broker();
    let good = rest.sim.read(path(LOG)).unwrap();
    rest.write(LOG, &[0x5a; 500]);
    check("garbage", &rest, &Then::Corrupt(LOG));
    // After a clean end nothing may be torn.
    let mut longer = good.clone();
    longer.extend([0x5a; 100]);
    rest.write(LOG, &longer);
    check("garbage at the end", &rest, &Then::Corrupt(LOG));
    for at in [17, 60, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        rest.write(LOG, &bad);
        check("a wrong bit", &rest, &Then::Corrupt(LOG));
    }
    rest.write(LOG, &good);
    rest.write(
        "__cluster_metadata-0/00000000000000000100-0000000001.checkpoint",
        &[0x5a; 500],
    );
    let snapshot = "00000000000000000100-0000000001.checkpoint";
    check("a snapshot of garbage", &rest, &Then::Corrupt(snapshot));
}

#[test]
fn the_torn_end_of_a_killed_brokers_metadata_is_not_missed() {
    let rest = Rest::of_a_broker();
    rest.remove(".kafka_cleanshutdown");
    let mut log = rest.sim.read(path(LOG)).unwrap();
    log.extend([0x5a; 40]);
    rest.write(LOG, &log);
    let broker = open(&rest.sim).unwrap();
    check_whole(&broker);
    broker.close().unwrap();
    check_whole(&open(&rest.sim).unwrap());
}

#[test]
fn a_broker_that_was_killed_at_its_first_start_has_said_nothing() {
    let rest = Rest::of_a_broker();
    rest.remove(".kafka_cleanshutdown");
    rest.write(LOG, b"");
    check_whole(&open(&rest.sim).unwrap());
}

#[test]
fn a_bootstrap_of_garbage_is_rewritten() {
    let rest = Rest::new();
    let good = rest.sim.read(path(file_name::BOOTSTRAP)).unwrap();
    rest.write(file_name::BOOTSTRAP, &[0x5a; 500]);
    let broker = open(&rest.sim).unwrap();
    check_whole(&broker);
    broker.close().unwrap();
    assert_eq!(rest.sim.read(path(file_name::BOOTSTRAP)).unwrap(), good);
}

#[test]
fn a_directory_that_was_only_formatted_is_refused() {
    let rest = Rest { sim: Sim::new() };
    rest.make_dir("");
    rest.write("meta.properties", &meta("MkU3OEVBNTcwNTJENDM2Qg", 1));
    rest.write("bootstrap.checkpoint", &[]);
    let then = Then::Unsupported(&["__cluster_metadata-0", "start the broker once"]);
    check("never started", &rest, &then);
}

#[test]
fn what_a_broker_was_about_to_do_is_reported_and_left_alone() {
    let rest = Rest::of_a_broker();
    let sample = rest.sim.read(path("t-0/00000000000000000000.log")).unwrap();
    let id = "5f3c2a1b4d6e7f8091a2b3c4d5e6f708";
    let names = ["delete", "stray", "future"].map(|what| format!("old-0.{id}-{what}"));
    for name in &names {
        rest.make_dir(name);
        rest.write(&format!("{name}/00000000000000000000.log"), &sample);
    }
    let before = rest.partition_files();
    let broker = open(&rest.sim).unwrap();
    check_whole(&broker);
    let told = |name: &str| {
        let events = &broker.open_report().events;
        events
            .iter()
            .any(|event| matches!(event, OpenEvent::LeftAlone { path, .. } if path.ends_with(name)))
    };
    assert!(
        names.iter().all(|name| told(name)),
        "{:?}",
        broker.open_report()
    );
    broker.close().unwrap();
    let after = rest.partition_files();
    for name in &names {
        let file = path(&format!("{name}/00000000000000000000.log"));
        assert_eq!(after[&file], before[&file]);
    }
}

#[test]
fn a_topic_without_a_directory_is_reported_and_the_others_are_there() {
    for clean in [true, false] {
        let rest = Rest::of_a_broker();
        rest.move_dir("t-1", "elsewhere");
        if !clean {
            rest.remove(".kafka_cleanshutdown");
        }
        let broker = open(&rest.sim).unwrap();
        assert_eq!(values(&broker, 0), expected(0));
        let missing = |event: &OpenEvent| {
            let (OpenEvent::LogUnusable { path, .. } | OpenEvent::LeftAlone { path, .. }) = event
            else {
                return false;
            };
            path.ends_with("t-1")
        };
        let report = broker.open_report();
        assert!(report.events.iter().any(missing), "{report:?}");
        let topic = broker.topic(TOPIC).unwrap();
        let error = topic.append_to(1, "x").unwrap_err();
        assert!(error.to_string().contains("t-1"), "{error}");
        broker.close().unwrap();
        // When it is back, so are its records.
        rest.move_dir("elsewhere", "t-1");
        check_whole(&open(&rest.sim).unwrap());
    }
}

#[test]
fn a_directory_without_a_topic_is_reported_and_stays() {
    let rest = Rest::of_a_broker();
    rest.make_dir("orphan-0");
    let sample = rest.sim.read(path("t-0/00000000000000000000.log")).unwrap();
    rest.write("orphan-0/00000000000000000000.log", &sample);
    let broker = open(&rest.sim).unwrap();
    check_whole(&broker);
    let events = &broker.open_report().events;
    let told = events.iter().any(
        |event| matches!(event, OpenEvent::LeftAlone { path, .. } if path.ends_with("orphan-0")),
    );
    assert!(told, "{events:?}");
    broker.close().unwrap();
    let kept = rest.sim.read(path("orphan-0/00000000000000000000.log"));
    assert_eq!(kept.unwrap(), sample);
}

#[test]
fn a_tiered_topic_is_refused_but_can_be_looked_at() {
    let rest = Rest::of_a_broker();
    rest.say(&[MetadataRecord::Config {
        resource_type: TOPIC_RESOURCE,
        resource: TOPIC.to_owned(),
        key: "remote.storage.enable".to_owned(),
        value: Some("true".to_owned()),
    }]);
    let then = Then::Unsupported(&["topic t", "tiered", "remote.storage.enable"]);
    check("tiered", &rest, &then);
    check_whole(&open_read_only(&rest.sim).unwrap());
}

#[test]
fn messages_of_old_formats_are_refused_and_never_set_aside() {
    for magic in [0, 1] {
        let rest = Rest::of_a_broker();
        rest.remove(".kafka_cleanshutdown");
        rest.remove("recovery-point-offset-checkpoint");
        let mut old = Vec::new();
        for offset in 0..5 {
            old.extend(old_message(offset, magic, b"a message of 2015"));
        }
        rest.write("t-0/00000000000000000000.log", &old);
        let before = rest.partition_files();
        let broker = open(&rest.sim).unwrap();
        assert_eq!(values(&broker, 1), expected(1));
        let error = broker.topic(TOPIC).unwrap().append_to(0, "x").unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
        assert!(error.to_string().contains("before 0.11"), "{error}");
        broker.close().unwrap();
        let after = rest.partition_files();
        let of_it = |files: &BTreeMap<PathBuf, Vec<u8>>| {
            let mut files = files.clone();
            files.retain(|path, _| path.starts_with(super::path("t-0")));
            files
        };
        // What is known of the logs apart from their bytes goes when a broker has run.
        let mut before = of_it(&before);
        before.retain(|path, _| path.extension().is_none_or(|kind| kind != "digest"));
        assert_eq!(of_it(&after), before);
    }
}
