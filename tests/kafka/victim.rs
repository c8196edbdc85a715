//! A process that appends until it is killed: this test binary, started again.
//!
//! Knows nothing about Kafka.

use std::env;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use ottla::{Broker, BrokerConfig, Record, Timestamp};

const ROOT: &str = "OTTLA_VICTIM_ROOT";
const NODE: &str = "OTTLA_VICTIM_NODE";
const APPENDED: &str = "appended";

/// In a process that [`Victim`] started: appends until it is killed. False in a test run.
pub(crate) fn appended_as_a_victim() -> bool {
    let Some(root) = env::var_os(ROOT) else {
        return false;
    };
    let node = env::var(NODE).unwrap().parse().unwrap();
    let broker = Broker::open_with(root, BrokerConfig::default().node_id(node)).unwrap();
    let flights = broker.topic("flights").unwrap();
    for number in 0..1_000_000_i64 {
        let time = Timestamp::from_millis(1_700_000_000_000 + number);
        let record = Record::new("a last word").with_timestamp(time);
        flights.append(record).unwrap();
        let mut errors = std::io::stderr().lock();
        writeln!(errors, "{APPENDED}").unwrap();
    }
    true
}

/// Such a process.
#[derive(Debug)]
pub(crate) struct Victim {
    child: Child,
    lines: Receiver<String>,
}

impl Victim {
    pub(crate) fn spawn(root: &Path, node: u32) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args([
                "--exact",
                "to_and_fro::a_root_goes_out_and_comes_back",
                "--nocapture",
            ])
            .env(ROOT, root)
            .env(NODE, node.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = child.stderr.take().unwrap();
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// Waits until it has said so often that a record was appended.
    pub(crate) fn wait_until_appended(&mut self, count: usize) {
        let mut said = 0;
        while said < count {
            let line = self.lines.recv_timeout(Duration::from_secs(600)).unwrap();
            said += usize::from(line == APPENDED);
        }
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
