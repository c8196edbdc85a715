//! A Java process that runs Kafka's clients and tools for the tests: see `Driver.java`.
//!
//! Knows nothing about brokers. Every answer is waited for with a limit; the process ends with its
//! input, so it does not outlive the test, however that ends.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use crate::jars::Kafka;

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// A running driver.
#[derive(Debug)]
pub(crate) struct Driver {
    child: Child,
    requests: Option<ChildStdin>,
    answers: Receiver<String>,
}

/// A record as Kafka's consumer shows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seen {
    pub(crate) partition: u32,
    pub(crate) offset: u64,
    pub(crate) timestamp_type: String,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Driver {
    /// Starts one; it takes about half a second.
    pub(crate) fn start(kafka: &Kafka) -> Self {
        let mut child = Command::new("java")
            .args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-Xshare:auto"])
            .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=error")
            .args(["-cp", &kafka.class_path, "Driver"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let requests = child.stdin.take();
        let output = child.stdout.take().unwrap();
        let (sender, answers) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            requests,
            answers,
        }
    }

    /// Asks for something, and gives the lines of the answer.
    pub(crate) fn ask(&mut self, request: &[&str]) -> Vec<String> {
        self.try_ask(request)
            .unwrap_or_else(|(lines, wrong)| panic!("{request:?}: {wrong}\n{}", lines.join("\n")))
    }

    /// The same, where an error is an answer too.
    pub(crate) fn try_ask(
        &mut self,
        request: &[&str],
    ) -> Result<Vec<String>, (Vec<String>, String)> {
        assert!(request.iter().all(|field| !field.contains(['\t', '\n'])));
        let requests = self.requests.as_mut().unwrap();
        writeln!(requests, "{}", request.join("\t")).unwrap();
        requests.flush().unwrap();
        let mut lines = Vec::new();
        loop {
            let line = self.answers.recv_timeout(PATIENCE).unwrap_or_else(|wrong| {
                panic!("{request:?}: {wrong}, after\n{}", lines.join("\n"))
            });
            if let Some(answer) = line.strip_prefix("> ") {
                lines.push(answer.to_owned());
            } else if line == "ok" {
                return Ok(lines);
            } else {
                return Err((lines, line));
            }
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        drop(self.requests.take());
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Bytes as the driver writes and reads them.
pub(crate) fn hex(bytes: Option<&[u8]>) -> String {
    let Some(bytes) = bytes else {
        return "-".to_owned();
    };
    let mut digits = String::with_capacity(1 + 2 * bytes.len());
    digits.push('x');
    for byte in bytes {
        write!(digits, "{byte:02x}").unwrap();
    }
    digits
}

/// The bytes behind such digits.
pub(crate) fn unhex(digits: &str) -> Option<Vec<u8>> {
    let digits = digits.strip_prefix('x')?;
    let bytes = (0..digits.len()).step_by(2);
    Some(
        bytes
            .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
            .collect(),
    )
}

impl Seen {
    /// What a line of the driver's `read` and `group` says; `None` for a line about an end.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let fields: Vec<_> = line.split('\t').collect();
        let [partition, offset, kind, timestamp, key, value, headers] = fields[..] else {
            return None;
        };
        let headers = headers.split(',').filter(|header| !header.is_empty());
        let headers = headers.map(|header| {
            let (name, value) = header.split_once('=').unwrap();
            let name = String::from_utf8(unhex(name).unwrap()).unwrap();
            (name, unhex(value))
        });
        Some(Self {
            partition: partition.parse().unwrap(),
            offset: offset.parse().unwrap(),
            timestamp_type: kind.to_owned(),
            timestamp: timestamp.parse().unwrap(),
            key: unhex(key),
            value: unhex(value),
            headers: headers.collect(),
        })
    }
}
