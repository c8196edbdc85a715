//! A partition of a running broker, followed while the broker writes it. A broker writes no live
//! file, so a waiting follower polls.
//!
//! Knows nothing about the files: what counts is what the broker has acknowledged.

use std::path::Path;
use std::time::Duration;

use ottla::{Broker, LogRecord, Reader, Start};

use crate::broker::{KafkaBroker, Plan};
use crate::driver::Driver;
use crate::jars::{tell, with_newest_kafka};
use crate::model::{Contents, assert_same, produced, seen, write_records};
use crate::random::{Made, Random};

const TOPIC: &str = "followed";

/// Nobody waits longer than this for something that must come.
const PATIENCE: Duration = Duration::from_secs(600);

#[test]
fn a_partition_of_a_running_broker_is_followed_while_it_grows() {
    let test = "a_partition_of_a_running_broker_is_followed_while_it_grows";
    with_newest_kafka(test, |kafka| {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().join("data");
        Broker::open(&root).unwrap().close().unwrap();
        // A live file that a killed writer left disturbs neither the broker nor its followers.
        std::fs::write(root.join("ottla.live"), [0xA5; 4096]).unwrap();
        let mut driver = Driver::start(kafka);
        let broker = KafkaBroker::start(kafka, &root, &Plan::default());
        // It rolls meanwhile.
        let settings = "retention.ms=-1;segment.bytes=1048576";
        driver.ask(&["create", &broker.address, TOPIC, "1", settings]);
        let (mut expected, mut found) = (Contents::new(), Contents::new());
        let mut random = Random::new(41);
        // The broker makes the directory a little after it has answered.
        let first = produce(&mut driver, &broker.address, scratch.path(), &mut random);
        expected.extend(first);
        let follower = Broker::open_read_only(&root).unwrap();
        assert!(follower.is_live());
        let log = follower.topic(TOPIC).unwrap().partition(0).unwrap();
        let mut reader = log.reader(Start::Earliest).unwrap();
        for round in 0..10 {
            let records = produce(&mut driver, &broker.address, scratch.path(), &mut random);
            let before = expected.len();
            expected.extend(records);
            while found.len() < expected.len() {
                assert!(reader.wait(PATIENCE).unwrap(), "{} came", found.len());
                found.extend(rest(&mut reader));
            }
            assert!(expected.len() > before);
            assert_same(&found, &expected, &format!("round {round}"));
        }
        let segments = log.segments().len();
        assert!(segments > 1, "it did not roll");
        broker.stop();
        tell(&format!(
            "kafka {}: {} records were followed over {segments} segments",
            kafka.version,
            found.len(),
        ));
    });
}

/// Has the broker take some records, and says where it has put them.
fn produce(driver: &mut Driver, address: &str, dir: &Path, random: &mut Random) -> Contents {
    let made = (0..100).map(|_| (None, Made::of_now(random, 4_000)));
    let records: Vec<_> = made.collect();
    let file = dir.join("records");
    write_records(&file, &records);
    let request = [
        "produce",
        address,
        TOPIC,
        "linger.ms=5",
        file.to_str().unwrap(),
    ];
    produced(&driver.ask(&request), &records)
}

fn rest(reader: &mut Reader) -> Contents {
    let place = |record: LogRecord| ((0, record.offset), seen(0, &record));
    reader.map(|record| place(record.unwrap())).collect()
}
