//! (i) A node with two log directories: neither of them is all of it, so neither is opened for
//! writing, whatever the metadata said when the partitions were made.
//!
//! Knows nothing about metadata records.

use std::fs;

use ottla::{Broker, Error, OpenEvent};

use crate::broker::{KafkaBroker, Plan, write_properties};
use crate::driver::Driver;
use crate::jars::{tell, with_newest_kafka};
use crate::model::write_records;
use crate::random::{Made, Random};

const PARTITIONS: u32 = 8;

#[test]
fn one_of_two_log_directories_is_refused() {
    with_newest_kafka("one_of_two_log_directories_is_refused", |kafka| {
        let scratch = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| scratch.path().join(name));
        let plan = Plan {
            more: format!("log.dirs={},{}", one.display(), two.display()),
            ..Plan::default()
        };
        let (properties, _) = write_properties(&one, &plan);
        let mut driver = Driver::start(kafka);
        driver.ask(&[
            "tool",
            "kafka.tools.StorageTool",
            "format",
            "-t",
            "MkU3OEVBNTcwNTJENDM2Qg",
            "-c",
            properties.to_str().unwrap(),
        ]);
        let broker = KafkaBroker::start(kafka, &one, &plan);
        let address = broker.address.clone();
        let count = PARTITIONS.to_string();
        driver.ask(&["create", &address, "flights", &count, "retention.ms=-1"]);
        let mut random = Random::new(3);
        let records: Vec<_> = (0..400)
            .map(|number| {
                let mut made = Made::random(&mut random, 50);
                made.timestamp = Some(1_400_000_000_000 + i64::from(number));
                (Some(number % PARTITIONS), made)
            })
            .collect();
        let file = scratch.path().join("records");
        write_records(&file, &records);
        let file = file.to_str().unwrap();
        driver.ask(&["produce", &address, "flights", "linger.ms=5", file]);
        drop(driver);
        broker.stop();

        let here = |dir: &std::path::Path| {
            let partitions = 0..PARTITIONS;
            let names = partitions.map(|partition| dir.join(format!("flights-{partition}")));
            names.filter(|path| path.is_dir()).count()
        };
        let (in_one, in_two) = (here(&one), here(&two));
        assert!(in_one > 0 && in_two > 0, "{in_one} and {in_two}");
        let before = fs::read(one.join("meta.properties")).unwrap();
        for dir in [&one, &two] {
            let error = Broker::open(dir).unwrap_err();
            assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
        }
        let error = Broker::open(&one).unwrap_err().to_string();
        assert!(error.contains("in another log directory"), "{error}");
        assert_eq!(fs::read(one.join("meta.properties")).unwrap(), before);
        let looking = Broker::open_read_only(&one).unwrap();
        let events = &looking.open_report().events;
        let told = events.iter().any(|event| {
            matches!(event, OpenEvent::LeftAlone { reason, .. }
                if reason.contains("another log directory"))
        });
        assert!(told, "{events:?}");
        let flights = looking.topic("flights").unwrap();
        let readable = (0..PARTITIONS).filter(|partition| flights.partition(*partition).is_ok());
        assert_eq!(readable.count(), in_one);
        tell(&format!(
            "kafka: (i) two log directories {}: {in_one} of {PARTITIONS} partitions in the first; \
             refused, and read-only says why",
            kafka.version,
        ));
    });
}
