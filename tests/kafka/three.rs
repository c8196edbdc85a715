//! (j) From one machine to three, and back: the walk of docs/kafka.md. Ottla's directory becomes
//! the first node of a cluster, its topics get replicas on two more, the first node dies, and
//! everything is still there. Its directory is no longer Ottla's to write; when the cluster has
//! shrunk to it again, it is.
//!
//! Knows nothing about metadata records.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ottla::{Broker, Error, OpenEvent, ReadIsolation, Record, TopicConfig};

use crate::broker::{KafkaBroker, Plan, Quorum, free_ports, write_properties};
use crate::driver::Driver;
use crate::jars::{Kafka, tell, with_each_kafka_if_all};
use crate::model::{Contents, assert_same, contents, read_kafkas, read_ours};
use crate::random::{Made, Random};

const TOPIC: &str = "flights";
/// A topic that is made while the first node is away.
const BORN_ELSEWHERE: &str = "born-elsewhere";
const GROUP: &str = "departure-board";
const PARTITIONS: u32 = 3;
const ALL: ReadIsolation = ReadIsolation::ReadUncommitted;
/// How often a controller is asked to take another in, which must have caught up before.
const TRIES: u32 = 5;

#[test]
fn a_root_becomes_three_nodes_and_one_again() {
    with_each_kafka_if_all("a_root_becomes_three_nodes_and_one_again", |kafka| {
        let began = Instant::now();
        let scratch = tempfile::tempdir().unwrap();
        let mut walk = Walk::begin(kafka, scratch.path());
        let first = walk.start(1);
        let address = first.address.clone();
        walk.join(2);
        walk.join(3);
        let others = [2, 3].map(|node| {
            let broker = walk.start(node);
            walk.add_controller(&address, node);
            broker
        });
        walk.replicate(&address, "1,2,3");
        first.kill();
        let survivor = others[0].address.clone();
        walk.check_under_kafka(&survivor, "without the first node");
        walk.go_on(&survivor);
        walk.check_refused();
        let first = walk.start(1);
        walk.replicate(&first.address, "1");
        walk.remove_controllers(&first.address);
        let address = first.address.clone();
        walk.check_under_kafka(&address, "on the first node again");
        for (node, broker) in [2, 3].into_iter().zip(others) {
            broker.stop();
            tell(&format!(
                "kafka: (j) node {node} went after {:?}",
                began.elapsed()
            ));
        }
        first.stop();
        walk.come_home();
        tell(&format!(
            "kafka: (j) three nodes {}: {} records and the positions of a group survived the first \
             node; shrunk and home again; {:?}",
            kafka.version,
            walk.records.len(),
            began.elapsed(),
        ));
    });
}

struct Walk<'a> {
    kafka: &'a Kafka,
    dir: PathBuf,
    driver: Driver,
    ports: [u16; 6],
    cluster: String,
    records: Contents,
    /// How far the group is, over all partitions.
    read: usize,
}

impl<'a> Walk<'a> {
    /// Ottla's directory, closed.
    fn begin(kafka: &'a Kafka, dir: &Path) -> Self {
        let root = dir.join("1");
        let broker = Broker::open(&root).unwrap();
        let config = TopicConfig::default().partitions(PARTITIONS);
        let flights = broker.create_topic(TOPIC, config).unwrap();
        let mut random = Random::new(29);
        for number in 0..600 {
            let mut made = Made::random(&mut random, 100);
            made.timestamp = Some(1_500_000_000_000 + number);
            flights.append(made.headed().record()).unwrap();
        }
        let group = broker.group(GROUP).unwrap();
        let mut member = group.join([TOPIC]).unwrap();
        let read = member.poll(Duration::ZERO).unwrap().len();
        member.commit().unwrap();
        member.leave().unwrap();
        let records = read_ours(&broker, TOPIC, ALL);
        drop((flights, group));
        broker.close().unwrap();
        let meta = fs::read_to_string(root.join("meta.properties")).unwrap();
        Self {
            kafka,
            dir: dir.to_path_buf(),
            driver: Driver::start(kafka),
            ports: free_ports(),
            cluster: property(&meta, "cluster.id"),
            records,
            read,
        }
    }

    fn root(&self, node: u32) -> PathBuf {
        self.dir.join(node.to_string())
    }

    fn plan(&self, node: u32) -> Plan {
        let controllers: Vec<_> = (0..3)
            .map(|other| format!("127.0.0.1:{}", self.ports[2 * other + 1]))
            .collect();
        let at = usize::try_from(node - 1).unwrap();
        Plan {
            quorum: Quorum::Dynamic,
            node_id: node,
            ports: Some((self.ports[2 * at], self.ports[2 * at + 1])),
            bootstrap: Some(controllers.join(",")),
            more: "broker.session.timeout.ms=6000".to_owned(),
            heap_mib: 256,
        }
    }

    fn start(&self, node: u32) -> KafkaBroker {
        KafkaBroker::start(self.kafka, &self.root(node), &self.plan(node))
    }

    /// Formats a new node for the cluster.
    fn join(&mut self, node: u32) {
        let (properties, _) = write_properties(&self.root(node), &self.plan(node));
        self.driver.ask(&[
            "tool",
            "kafka.tools.StorageTool",
            "format",
            "--cluster-id",
            &self.cluster,
            "--no-initial-controllers",
            "--config",
            properties.to_str().unwrap(),
        ]);
    }

    fn add_controller(&mut self, address: &str, node: u32) {
        let mut properties = self.root(node).into_os_string();
        properties.push(".properties");
        let request = [
            "tool",
            "org.apache.kafka.tools.MetadataQuorumCommand",
            "--command-config",
            properties.to_str().unwrap(),
            "--bootstrap-server",
            address,
            "add-controller",
        ];
        for tries in 1..=TRIES {
            match self.driver.try_ask(&request) {
                Ok(_) => break,
                Err(wrong) => assert!(tries < TRIES, "{wrong:?}"),
            }
        }
        let voters = self.driver.ask(&["voters", address]);
        assert!(voters.contains(&node.to_string()), "{voters:?}");
    }

    /// Every topic, Kafka's own too: the groups are in one of those.
    fn replicate(&mut self, address: &str, nodes: &str) {
        let moved = self.driver.ask(&["replicate", address, nodes]);
        let moved: u32 = moved[0].parse().unwrap();
        assert!(moved >= PARTITIONS + 50, "{moved}");
    }

    fn check_under_kafka(&mut self, address: &str, when: &str) {
        let found = read_kafkas(&mut self.driver, address, TOPIC, ALL);
        assert_same(&found, &self.records, when);
        let committed = self.driver.ask(&["committed", address, GROUP]);
        let positions = committed
            .iter()
            .map(|line| line.split('\t').next_back().unwrap());
        let read: usize = positions.map(|at| at.parse::<usize>().unwrap()).sum();
        assert_eq!(read, self.read, "{when}: {committed:?}");
    }

    /// The group reads on, and somebody writes, while the first node is away.
    fn go_on(&mut self, address: &str) {
        let got = contents(&self.driver.ask(&["group", address, GROUP, TOPIC, "50"]));
        self.read += got.len();
        let mut random = Random::new(30);
        let records: Vec<_> = (0..90)
            .map(|number| {
                let mut made = Made::random(&mut random, 100);
                made.timestamp = Some(1_500_000_001_000 + i64::from(number));
                (Some(number % PARTITIONS), made)
            })
            .collect();
        let file = self.dir.join("records");
        crate::model::write_records(&file, &records);
        let request = [
            "produce",
            address,
            TOPIC,
            "acks=all",
            file.to_str().unwrap(),
        ];
        let places = self.driver.ask(&request);
        self.records
            .extend(crate::model::produced(&places, &records));
        self.driver
            .ask(&["create", address, BORN_ELSEWHERE, "3", "retention.ms=-1"]);
        let mut request = request;
        request[2] = BORN_ELSEWHERE;
        self.driver.ask(&request);
    }

    /// The directory of the node that died is not Ottla's to write.
    fn check_refused(&self) {
        let root = self.root(1);
        let before = fs::read(root.join("meta.properties")).unwrap();
        let error = Broker::open(&root).unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
        assert!(error.to_string().contains("not alone"), "{error}");
        assert_eq!(fs::read(root.join("meta.properties")).unwrap(), before);
        let looking = Broker::open_read_only(&root).unwrap();
        let events = &looking.open_report().events;
        let told = events.iter().any(|event| {
            matches!(event, OpenEvent::LeftAlone { reason, .. }
                    if reason.contains("not alone"))
        });
        assert!(told, "{events:?}");
        let seen = read_ours(&looking, TOPIC, ALL);
        assert!(seen.len() >= 600, "{}", seen.len());
    }

    fn remove_controllers(&mut self, address: &str) {
        for node in [2_u32, 3] {
            let meta = fs::read_to_string(self.root(node).join("meta.properties")).unwrap();
            let id = property(&meta, "directory.id");
            let node = node.to_string();
            let request = [
                "tool",
                "org.apache.kafka.tools.MetadataQuorumCommand",
                "--bootstrap-server",
                address,
                "remove-controller",
                "--controller-id",
                &node,
                "--controller-directory-id",
                &id,
            ];
            for tries in 1..=TRIES {
                match self.driver.try_ask(&request) {
                    Ok(_) => break,
                    Err(wrong) => assert!(tries < TRIES, "{wrong:?}"),
                }
            }
        }
        assert_eq!(self.driver.ask(&["voters", address]), ["1"]);
    }

    fn come_home(&self) {
        let broker = Broker::open(self.root(1)).unwrap();
        assert!(broker.open_report().clean, "{:?}", broker.open_report());
        assert_same(&read_ours(&broker, TOPIC, ALL), &self.records, "home again");
        let group = broker.group(GROUP).unwrap();
        let committed = (0..PARTITIONS).map(|of| group.committed(TOPIC, of).unwrap());
        let read: u64 = committed.map(Option::unwrap_or_default).sum();
        assert_eq!(usize::try_from(read).unwrap(), self.read);
        assert_eq!(read_ours(&broker, BORN_ELSEWHERE, ALL).len(), 90);
        let flights = broker.topic(TOPIC).unwrap();
        flights.append(Record::new("home again")).unwrap();
        drop((flights, group));
        broker.close().unwrap();
    }
}

fn property(text: &str, name: &str) -> String {
    let mut lines = text.lines();
    let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    line.unwrap().to_owned()
}
