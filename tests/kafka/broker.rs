//! A Kafka broker in a process of its own, on the loopback interface and free ports.
//!
//! Knows nothing about what is in its directory. It ends with the test, however that ends: its
//! input is a pipe, and the end of the pipe ends it.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::jars::Kafka;

/// How long a broker may take to start, and to stop.
const PATIENCE: Duration = Duration::from_secs(600);

/// How the controller is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quorum {
    /// `controller.quorum.voters`.
    Static,
    /// `controller.quorum.bootstrap.servers`.
    Dynamic,
}

/// How a broker is started.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) quorum: Quorum,
    pub(crate) node_id: u32,
    /// Where it listens: for clients, and for other controllers. Free ports where nothing is said.
    pub(crate) ports: Option<(u16, u16)>,
    /// The controllers that are asked first: itself where nothing is said.
    pub(crate) bootstrap: Option<String>,
    /// More properties, one a line.
    pub(crate) more: String,
    /// The memory of the process.
    pub(crate) heap_mib: u32,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            quorum: Quorum::Static,
            node_id: 1,
            ports: None,
            bootstrap: None,
            more: String::new(),
            heap_mib: 384,
        }
    }
}

/// A running broker.
#[derive(Debug)]
pub(crate) struct KafkaBroker {
    child: Child,
    input: Option<ChildStdin>,
    printed: Receiver<String>,
    /// `host:port`.
    pub(crate) address: String,
}

impl KafkaBroker {
    /// Starts a broker on a directory that is formatted for it, and waits until it serves.
    pub(crate) fn start(kafka: &Kafka, root: &Path, plan: &Plan) -> Self {
        Self::try_start(kafka, root, plan).unwrap_or_else(|printed| {
            panic!("a broker {} did not start:\n{printed}", kafka.version)
        })
    }

    /// The same; what it printed when it ended instead.
    pub(crate) fn try_start(kafka: &Kafka, root: &Path, plan: &Plan) -> Result<Self, String> {
        let (file, address) = write_properties(root, plan);
        let mut child = Command::new("java")
            .arg(format!("-Xmx{}m", plan.heap_mib))
            .args(["-Xms64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
            .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
            .arg("-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info")
            .args(["-cp", &kafka.class_path, "Driver", "broker"])
            .arg(&file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let (sender, printed) = channel();
        forward(child.stdout.take().unwrap(), sender.clone());
        forward(child.stderr.take().unwrap(), sender);
        let mut broker = Self {
            child,
            input,
            printed,
            address,
        };
        let mut all = String::new();
        if broker.wait_for("Kafka Server started", &mut all) {
            Ok(broker)
        } else {
            broker.child.kill().ok();
            Err(all)
        }
    }

    /// Reads what the broker prints until a line holds some words; false when it ended, or its time
    /// was over, before.
    fn wait_for(&mut self, words: &str, all: &mut String) -> bool {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.printed.recv_timeout(left) {
                Ok(line) => {
                    writeln!(all, "{line}").unwrap();
                    if line.contains(words) {
                        return true;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) => {
                    writeln!(all, "(nothing more within {PATIENCE:?})").unwrap();
                    return false;
                }
            }
        }
    }

    /// Lets it work until a time; panics when it ends before.
    pub(crate) fn idle_until(&mut self, until: Instant) {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.printed.recv_timeout(left) {
                Ok(_line) => {}
                Err(RecvTimeoutError::Timeout) => return,
                Err(RecvTimeoutError::Disconnected) => panic!("the broker ended by itself"),
            }
        }
    }

    /// Stops it cleanly, as a SIGTERM does, and gives what it printed since it was started.
    pub(crate) fn stop(mut self) -> String {
        let mut input = self.input.take().unwrap();
        input.write_all(b"stop\n").unwrap();
        input.flush().unwrap();
        let mut all = String::new();
        // The end of both streams is the end of the process.
        let ended = !self.wait_for("\u{0}", &mut all);
        assert!(ended && !all.contains("(nothing more within"), "{all}");
        let status = self.child.wait().unwrap();
        drop(input);
        assert!(status.success(), "{status}\n{all}");
        all
    }

    /// Ends it in the middle of whatever it does, as a SIGKILL does.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for KafkaBroker {
    fn drop(&mut self) {
        drop(self.input.take());
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn forward(stream: impl Read + Send + 'static, to: Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if to.send(line).is_err() {
                return;
            }
        }
    });
}

/// Writes the properties of a broker beside its directory; gives their file, and the address.
pub(crate) fn write_properties(root: &Path, plan: &Plan) -> (PathBuf, String) {
    let (broker, controller) = plan.ports.unwrap_or_else(|| {
        let [broker, controller] = free_ports();
        (broker, controller)
    });
    let node = plan.node_id;
    let quorum = match plan.quorum {
        Quorum::Static => format!("controller.quorum.voters={node}@127.0.0.1:{controller}"),
        Quorum::Dynamic => {
            let own = || format!("127.0.0.1:{controller}");
            let first = plan.bootstrap.clone().unwrap_or_else(own);
            format!("controller.quorum.bootstrap.servers={first}")
        }
    };
    let text = format!(
        "process.roles=broker,controller
node.id={node}
{quorum}
listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{broker}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs={}
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=3
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
log.cleaner.dedupe.buffer.size=8388608
log.cleaner.threads=1
{}
",
        root.display(),
        plan.more,
    );
    let mut file = root.as_os_str().to_owned();
    file.push(".properties");
    let file = PathBuf::from(file);
    fs::write(&file, text).unwrap();
    (file, format!("127.0.0.1:{broker}"))
}

/// Ports that nobody listens on.
pub(crate) fn free_ports<const COUNT: usize>() -> [u16; COUNT] {
    let listeners = [(); COUNT].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}
