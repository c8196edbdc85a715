//! (b), (d), (f), (g): the life of one root. All flights go in through Ottla; three times a broker
//! starts in place, sees every record and goes on where the groups were; in between Ottla does the
//! same. Then Ottla is killed, and the broker keeps away until the root is healed; and Kafka's
//! metadata is lost, and made again.
//!
//! Knows nothing about how a root comes to rest.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ottla::{Broker, BrokerConfig, Durability, ReadIsolation, Record, Topic, TopicConfig};

use crate::broker::{KafkaBroker, Plan, Quorum, write_properties};
use crate::driver::{Driver, Seen};
use crate::jars::{Kafka, tell, with_each_kafka};
use crate::model::{
    Contents, assert_same, at, contents, produced, read_kafkas, read_ours, seen, seen_by_group,
    write_records,
};
use crate::random::{Made, Random};
use crate::victim::{Victim, appended_as_a_victim};

const FLIGHTS: &str = "flights";
const NOTES: &str = "notes";
const GROUP: &str = "departure-board";
const PARTITIONS: u32 = 4;
const ROUNDS: u32 = 3;
const ALL: ReadIsolation = ReadIsolation::ReadUncommitted;

/// What a broker does every second must have been done often enough.
const A_MINUTE: Duration = Duration::from_secs(64);

/// A node number that is not the default.
const NODE: u32 = 7;

#[test]
fn a_root_goes_out_and_comes_back() {
    if appended_as_a_victim() {
        return;
    }
    with_each_kafka("a_root_goes_out_and_comes_back", |kafka| {
        let scratch = tempfile::tempdir().unwrap();
        let mut life = Life {
            kafka,
            root: scratch.path().join("data"),
            driver: Driver::start(kafka),
            random: Random::new(99),
            flights: Contents::new(),
            notes: Contents::new(),
            committed: BTreeMap::new(),
        };
        life.begin();
        for round in 1..=ROUNDS {
            life.under_kafka(round);
            life.under_ottla(round);
        }
        life.survive_a_kill();
        life.lose_the_metadata();
    });
}

/// A root, and what must be in it.
struct Life<'a> {
    kafka: &'a Kafka,
    root: PathBuf,
    driver: Driver,
    random: Random,
    flights: Contents,
    notes: Contents,
    /// How far the group is in each partition.
    committed: BTreeMap<u32, u64>,
}

impl Life<'_> {
    fn open(&self) -> Broker {
        let config = BrokerConfig::default().node_id(NODE);
        Broker::open_with(&self.root, config).unwrap()
    }

    fn start(&self, quorum: Quorum, round: u32) -> KafkaBroker {
        let mut more =
            "log.retention.check.interval.ms=1000\nlog.initial.task.delay.ms=500".to_owned();
        if round == 1 {
            // A directory that has rested for longer than a group is kept.
            more.push_str(
                "\noffsets.retention.minutes=1\noffsets.retention.check.interval.ms=1000",
            );
        }
        let plan = Plan {
            quorum,
            node_id: NODE,
            // What would delete, deletes soon.
            more,
            ..Plan::default()
        };
        KafkaBroker::start(self.kafka, &self.root, &plan)
    }

    /// Flights with default settings but for the segments, whose size no 4.x broker takes; notes
    /// whose settings say everything else.
    fn begin(&mut self) {
        let broker = self.open();
        let small = TopicConfig::default()
            .partitions(PARTITIONS)
            .segment_bytes(4096);
        let flights = broker.create_topic(FLIGHTS, small).unwrap();
        for made in flights_of_2013() {
            let appended = flights.append(made.headed().record()).unwrap();
            let (partition, offset) = (appended.partition, appended.offset);
            self.flights
                .insert((partition, offset), at(&made, partition, offset));
        }
        let config = TopicConfig::default()
            .max_message_bytes(3_000_000)
            .index_interval_bytes(100)
            .durability(Durability::Always);
        let notes = broker.create_topic(NOTES, config).unwrap();
        self.notes = append_notes(&notes, &mut self.random, 200);
        assert_eq!(self.poll(&broker, 3_000), 3_000);
        drop((flights, notes));
        broker.close().unwrap();
    }

    /// The group goes on: what it gets is what stands there and was not got before.
    fn poll(&mut self, broker: &Broker, count: usize) -> usize {
        let group = broker.group(GROUP).unwrap();
        for (partition, offset) in &self.committed {
            let ours = group.committed(FLIGHTS, *partition).unwrap();
            assert_eq!(ours, Some(*offset), "partition {partition}");
        }
        let mut consumer = group.join([FLIGHTS]).unwrap();
        let mut got = Vec::new();
        while got.len() < count {
            let records = consumer.poll(Duration::ZERO).unwrap();
            if records.is_empty() {
                break;
            }
            got.extend(records.into_iter().map(|record| seen_by_group(&record)));
        }
        consumer.commit().unwrap();
        consumer.leave().unwrap();
        let count = got.len();
        self.go_on(got);
        count
    }

    /// Records that the group got must follow on what it had, without a gap.
    fn go_on(&mut self, got: Vec<Seen>) {
        for record in got {
            let next = self.committed.entry(record.partition).or_insert(0);
            assert_eq!(record.offset, *next, "partition {}", record.partition);
            let place = (record.partition, record.offset);
            assert_eq!(self.flights.get(&place), Some(&record));
            *next += 1;
        }
    }

    /// A broker, from start to stop.
    fn under_kafka(&mut self, round: u32) {
        let quorum = if round == 2 {
            Quorum::Dynamic
        } else {
            Quorum::Static
        };
        let began = Instant::now();
        let mut broker = self.start(quorum, round);
        let address = broker.address.clone();
        self.read_all(&address, &format!("round {round}"));
        self.check_committed(&address);
        if round == 1 {
            self.check_settings(&address);
            self.check_console(&address);
            self.driver.ask(&["quota", &address, "erika", "12345"]);
        }
        let quotas = self.driver.ask(&["quotas", &address]);
        assert!(
            quotas.len() == 1 && quotas[0].contains("12345"),
            "{quotas:?}"
        );
        if round == 1 {
            broker.idle_until(began + A_MINUTE);
            self.read_all(&address, "after a minute of retention checks");
            self.check_committed(&address);
            tell(&format!(
                "kafka: (g) retention {}: {} records of 2013 whole after a minute of checks every \
                 second, and a group that is older than groups are kept; segment.bytes of 4096 \
                 starts",
                self.kafka.version,
                self.flights.len(),
            ));
        }
        let lines = self
            .driver
            .ask(&["group", &address, GROUP, FLIGHTS, "1000"]);
        let got = contents(&lines);
        assert!(got.len() >= 1000);
        self.go_on(got.into_values().collect());
        self.produce(&address, round);
        self.read_all(&address, &format!("round {round}, after Kafka's producer"));
        broker.stop();
        tell(&format!(
            "kafka: (b) round {round} {} {quorum:?}: {} flights and {} notes the same for Kafka's \
             consumer, group at {:?}",
            self.kafka.version,
            self.flights.len(),
            self.notes.len(),
            self.committed.values(),
        ));
    }

    fn read_all(&mut self, address: &str, when: &str) {
        for (topic, expected) in [(FLIGHTS, &self.flights), (NOTES, &self.notes)] {
            let found = read_kafkas(&mut self.driver, address, topic, ALL);
            assert_same(&found, expected, &format!("{topic}, {when}"));
        }
    }

    /// What `kafka-consumer-groups --describe` shows, and the admin client.
    fn check_committed(&mut self, address: &str) {
        let lines = self.driver.ask(&[
            "tool",
            "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
            "--bootstrap-server",
            address,
            "--describe",
            "--group",
            GROUP,
        ]);
        let rows = lines.iter().filter_map(|line| {
            let mut words = line.split_whitespace();
            let ours = words.next() == Some(GROUP) && words.next() == Some(FLIGHTS);
            ours.then(|| {
                let mut number = || words.next().unwrap().parse::<u64>().unwrap();
                (u32::try_from(number()).unwrap(), number())
            })
        });
        let described: BTreeMap<_, _> = rows.collect();
        assert_eq!(described, self.committed, "{lines:?}");
    }

    /// The settings that were never told to Kafka before are there, in its bounds.
    fn check_settings(&mut self, address: &str) {
        let topics = self.driver.ask(&["topics", address]);
        let settings = |topic: &str| {
            let line = topics
                .iter()
                .find(|line| line.split('\t').next() == Some(topic));
            line.unwrap().split('\t').nth(3).unwrap().to_owned()
        };
        let flights = settings(FLIGHTS);
        assert!(flights.contains("segment.bytes=1048576"), "{flights}");
        assert!(flights.contains("retention.ms=-1"), "{flights}");
        let notes = settings(NOTES);
        for setting in [
            "max.message.bytes=3000000",
            "index.interval.bytes=100",
            "flush.messages=1",
        ] {
            assert!(notes.contains(setting), "{notes}");
        }
    }

    /// The console consumer prints the notes as they are.
    fn check_console(&mut self, address: &str) {
        let mut arguments = vec![
            "tool".to_owned(),
            "org.apache.kafka.tools.consumer.ConsoleConsumer".to_owned(),
        ];
        let count = self.notes.len().to_string();
        for (name, value) in [
            ("--bootstrap-server", address),
            ("--topic", NOTES),
            ("--partition", "0"),
            ("--offset", "earliest"),
            ("--max-messages", &count),
            ("--timeout-ms", "60000"),
            ("--property", "print.key=true"),
            ("--property", "print.timestamp=true"),
            ("--property", "print.offset=true"),
            ("--property", "print.headers=true"),
        ] {
            arguments.extend([name.to_owned(), value.to_owned()]);
        }
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let printed = self.driver.ask(&arguments);
        for note in self.notes.values() {
            let line = printed_by_console(note);
            assert!(printed.contains(&line), "{line} is not among {printed:?}");
        }
    }

    /// A Kafka producer, idempotent as it is by default, new in each round.
    fn produce(&mut self, address: &str, round: u32) {
        let records: Vec<_> = (0..300)
            .map(|number| {
                let partition = (number % 5 == 0).then_some(number % PARTITIONS);
                let mut made = Made::random(&mut self.random, 100);
                made.timestamp = Some(1_400_000_000_000 + i64::from(number));
                (partition, made)
            })
            .collect();
        let file = self.root.with_extension("records");
        write_records(&file, &records);
        let codec = ["none", "zstd", "lz4", "gzip", "snappy"][round as usize];
        let settings = format!("compression.type={codec};linger.ms=5");
        let places = self.driver.ask(&[
            "produce",
            address,
            FLIGHTS,
            &settings,
            file.to_str().unwrap(),
        ]);
        let new = produced(&places, &records);
        assert_eq!(new.len(), records.len(), "two records at one place");
        self.flights.extend(new);
    }

    /// Ottla, from open to close.
    fn under_ottla(&mut self, round: u32) {
        let broker = self.open();
        assert!(broker.open_report().clean, "{:?}", broker.open_report());
        for (topic, expected) in [(FLIGHTS, &self.flights), (NOTES, &self.notes)] {
            let found = read_ours(&broker, topic, ALL);
            assert_same(&found, expected, &format!("{topic}, round {round}, back"));
        }
        let flights = broker.topic(FLIGHTS).unwrap();
        assert_eq!(
            flights.config().segment_bytes,
            4096,
            "our own, not Kafka's bound"
        );
        if round < ROUNDS {
            let notes = broker.topic(NOTES).unwrap().config();
            assert_eq!(notes.durability, Some(Durability::Always));
        }
        assert_eq!(self.poll(&broker, 500), 500);
        for _ in 0..300 {
            let mut made = Made::random(&mut self.random, 300);
            made.timestamp = Some(1_500_000_000_000);
            let place = flights.append(made.headed().record()).unwrap();
            let (partition, offset) = (place.partition, place.offset);
            self.flights
                .insert((partition, offset), at(&made, partition, offset));
        }
        if round == 2 {
            self.change_topics(&broker);
        }
        drop(flights);
        broker.close().unwrap();
    }

    /// Topics come, change and go while Kafka's metadata is not looking.
    fn change_topics(&mut self, broker: &Broker) {
        broker.delete_topic(NOTES).unwrap();
        let again = TopicConfig::default().segment_bytes(2 << 20);
        let notes = broker.create_topic(NOTES, again).unwrap();
        self.notes = append_notes(&notes, &mut self.random, 77);
        let change = |config: TopicConfig| config.partitions(PARTITIONS + 1);
        broker.alter_topic(FLIGHTS, change).unwrap();
        let flights = broker.topic(FLIGHTS).unwrap();
        let offset = flights
            .append_to(PARTITIONS, Record::new("a new partition"))
            .unwrap();
        let log = flights.partition(PARTITIONS).unwrap();
        let record = log.read(offset).unwrap().unwrap();
        self.flights
            .insert((PARTITIONS, offset), seen(PARTITIONS, &record));
    }

    /// (d) After a kill no broker starts, whatever is tried; after a close one does.
    fn survive_a_kill(&mut self) {
        let mut victim = Victim::spawn(&self.root, NODE);
        victim.wait_until_appended(50);
        victim.kill();
        let plan = Plan {
            node_id: NODE,
            ..Plan::default()
        };
        let before = fs::read(self.root.join("meta.properties")).unwrap();
        let printed = KafkaBroker::try_start(self.kafka, &self.root, &plan).unwrap_err();
        assert!(
            printed.contains("Ottla has this directory open"),
            "{printed}"
        );
        let (properties, _) = write_properties(&self.root, &plan);
        let formatted = self.driver.try_ask(&[
            "tool",
            "kafka.tools.StorageTool",
            "format",
            "-t",
            "MkU3OEVBNTcwNTJENDM2Qg",
            "--ignore-formatted",
            "-c",
            properties.to_str().unwrap(),
        ]);
        let after = fs::read(self.root.join("meta.properties")).unwrap();
        assert_eq!(after, before, "the format tool changed it: {formatted:?}");
        let printed = KafkaBroker::try_start(self.kafka, &self.root, &plan).unwrap_err();
        assert!(
            printed.contains("Ottla has this directory open"),
            "{printed}"
        );

        let broker = self.open();
        assert!(!broker.open_report().clean);
        let found = read_ours(&broker, FLIGHTS, ALL);
        let new: Contents = found
            .iter()
            .filter(|(place, _)| !self.flights.contains_key(place))
            .map(|(place, record)| (*place, record.clone()))
            .collect();
        assert!(new.len() >= 50, "{}", new.len());
        assert!(
            new.values()
                .all(|record| record.value.as_deref() == Some(b"a last word"))
        );
        self.flights.extend(new);
        assert_same(&found, &self.flights, "after a kill");
        broker.close().unwrap();
        tell(&format!(
            "kafka: (d) refusal {}: a broker kept away twice, also after its format tool; healed",
            self.kafka.version
        ));
    }

    /// (f) Metadata made again hands out no producer id a second time, and keeps leader epochs.
    fn lose_the_metadata(&mut self) {
        fs::remove_dir_all(self.root.join("__cluster_metadata-0")).unwrap();
        let broker = self.open();
        drop(broker.create_topic("more", TopicConfig::default()).unwrap());
        broker.close().unwrap();
        let broker = self.start(Quorum::Dynamic, 0);
        let address = broker.address.clone();
        self.read_all(&address, "with fresh metadata");
        self.check_committed(&address);
        for round in 1..=3 {
            self.produce(&address, round);
        }
        self.read_all(&address, "after new producers");
        broker.stop();
        tell(&format!(
            "kafka: (f) producer ids {}: 900 records of new idempotent producers, none taken for a \
             duplicate",
            self.kafka.version
        ));
    }
}

/// All flights that come with the crate, with their scheduled hour as the record's time.
fn flights_of_2013() -> Vec<Made> {
    use std::io::Read as _;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/flights.csv.gz");
    let mut text = String::new();
    flate2::read::GzDecoder::new(fs::File::open(path).unwrap())
        .read_to_string(&mut text)
        .unwrap();
    let lines = text.lines().skip(1).zip(0..);
    let flights = lines.map(|(line, number): (&str, i64)| {
        let fields: Vec<_> = line.split(',').collect();
        let key = (fields[11] != "NA").then(|| fields[11].as_bytes().to_vec());
        Made {
            key,
            value: Some(line.as_bytes().to_vec()),
            timestamp: Some(1_357_034_400_000 + 1000 * number),
            headers: vec![("carrier".to_owned(), Some(fields[9].as_bytes().to_vec()))],
        }
    });
    flights.collect()
}

/// Texts with a header: what the console consumer can show.
fn append_notes(topic: &Topic, random: &mut Random, count: u64) -> Contents {
    let mut contents = Contents::new();
    for number in 0..count {
        let made = Made {
            key: Some(format!("key-{}", random.below(20)).into_bytes()),
            value: Some(format!("note {number}").into_bytes()),
            timestamp: Some(1_600_000_000_000 + i64::try_from(number).unwrap()),
            headers: vec![("n".to_owned(), Some(number.to_string().into_bytes()))],
        };
        let offset = topic.append_to(0, made.headed().record()).unwrap();
        contents.insert((0, offset), at(&made, 0, offset));
    }
    contents
}

fn printed_by_console(note: &Seen) -> String {
    let text = |bytes: &Option<Vec<u8>>| String::from_utf8(bytes.clone().unwrap()).unwrap();
    let (name, value) = &note.headers[0];
    format!(
        "CreateTime:{}\tOffset:{}\t{name}:{}\t{}\t{}",
        note.timestamp,
        note.offset,
        text(value),
        text(&note.key),
        text(&note.value),
    )
}
