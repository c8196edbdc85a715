//! Roots that a broker left, and that something is wrong with: each is refused with an error that
//! names the file and what to do, or is handled and told of. No byte of a partition is touched.

use crate::error::Error;
use crate::format::metadata::{MetadataRecord, PartitionRecord, TOPIC_RESOURCE};
use crate::format::{file_name, old_message};
use crate::log::OpenEvent;
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
    // Looking at it does not panic, whatever it answers.
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

/// The partition that a record speaks of, changed.
fn partition_of(rest: &Rest, change: impl FnOnce(&mut PartitionRecord)) -> MetadataRecord {
    let bytes = Bytes::from(rest.sim.read(path(file_name::BOOTSTRAP)).unwrap());
    let records = decode_snapshot(&bytes).unwrap().into_iter();
    let mut partition = { records }
        .find_map(|record| match record {
            MetadataRecord::Partition(partition) => Some(partition),
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
    // As the error says, it can be looked at.
    check_whole(&open_read_only(&rest.sim).unwrap());
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
}

#[test]
fn a_record_about_topics_of_a_later_kafka_is_refused() {
    const TOPIC_KEY: u32 = 2;
    const PARTITION_KEY: u32 = 3;
    for api_key in [TOPIC_KEY, PARTITION_KEY] {
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
fn a_bootstrap_of_garbage_is_written_anew() {
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
fn what_a_broker_was_about_to_do_is_told_of_and_left_alone() {
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
fn a_topic_without_a_directory_is_told_of_and_the_others_are_there() {
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
fn a_directory_without_a_topic_is_told_of_and_stays() {
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
