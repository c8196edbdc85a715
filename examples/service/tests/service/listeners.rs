//! Many clients that listen, in a process of their own: so that descriptors are enough for both
//! ends, and that the clients do not run on the threads of the service.
//!
//! Knows nothing about what is posted. All streams must see the same records in the same order: a
//! prefix of what the longest one sees, and their digest is compared with the log by the parent.

use std::collections::hash_map::{DefaultHasher, Entry, HashMap};
use std::env;
use std::hash::{Hash as _, Hasher as _};
use std::io::{BufRead as _, BufReader, Lines};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::http::Events;

const TASK: &str = "OTTLA_SERVICE_LISTENERS";
const SAYS: &str = "listeners: ";

/// How the streams ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) streams: usize,
    pub(crate) shortest: usize,
    pub(crate) longest: usize,
    pub(crate) digest: u64,
}

/// The process, as its parent sees it.
pub(crate) struct Listeners {
    child: Child,
    says: Lines<BufReader<ChildStdout>>,
}

impl Listeners {
    /// Starts the test of this name again, which must call [`run_if_asked`]; waits until all
    /// streams are there.
    pub(crate) fn start(test: &str, address: SocketAddr, streams: usize, records: usize) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args([test, "--exact", "--nocapture", "--test-threads=1"])
            .env(TASK, format!("{address} {streams} {records}"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let says = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut listeners = Self { child, says };
        assert_eq!(listeners.hear(), "all listen");
        listeners
    }

    fn hear(&mut self) -> String {
        let mut lines = self.says.by_ref().map(Result::unwrap);
        // Behind what the test harness prints.
        let line = lines.find_map(|line| line.split_once(SAYS).map(|(_, said)| said.to_owned()));
        line.unwrap_or_else(|| panic!("the process of the listeners failed"))
    }

    /// Waits until every stream has seen all records that were announced.
    pub(crate) fn await_records(&mut self) {
        assert_eq!(self.hear(), "all seen");
    }

    /// Waits until every stream has ended.
    pub(crate) fn await_end(mut self) -> Ended {
        let said = self.hear();
        let mut numbers = said.split(' ').map(|number| number.parse().unwrap());
        let mut next = || numbers.next().unwrap();
        let to_usize = |number: u64| usize::try_from(number).unwrap();
        let ended = Ended {
            streams: to_usize(next()),
            shortest: to_usize(next()),
            longest: to_usize(next()),
            digest: next(),
        };
        assert!(self.child.wait().unwrap().success());
        ended
    }
}

/// The digest of records in their order.
pub(crate) fn digest<'a>(records: impl IntoIterator<Item = (u64, &'a str)>) -> u64 {
    let mut digest = DefaultHasher::new();
    for record in records {
        record.hash(&mut digest);
    }
    digest.finish()
}

/// What all streams have seen.
#[derive(Default)]
struct Seen {
    /// How many streams have seen what was announced.
    all: usize,
    /// The digest after so many records.
    digests: HashMap<usize, u64>,
    /// How many records each stream saw.
    counts: Vec<usize>,
}

/// In the child, everything; in a test run, nothing.
pub(crate) fn run_if_asked() -> bool {
    let Ok(task) = env::var(TASK) else {
        return false;
    };
    let mut task = task.split(' ');
    let address = task.next().unwrap().parse().unwrap();
    let streams = task.next().unwrap().parse().unwrap();
    let records = task.next().unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(listen_all(address, streams, records));
    true
}

async fn listen_all(address: SocketAddr, streams: usize, records: usize) {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let mut tasks = JoinSet::new();
    for _ in 0..streams {
        let (socket, rest) = connect(address).await;
        let seen = Arc::clone(&seen);
        tasks.spawn(listen(socket, rest, streams, records, seen));
    }
    println!("{SAYS}all listen");
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    let seen = seen.lock().unwrap();
    let (shortest, longest) = (seen.counts.iter().min(), seen.counts.iter().max());
    let (shortest, longest) = (shortest.unwrap(), longest.unwrap());
    let digest = seen.digests[longest];
    println!("{SAYS}{} {shortest} {longest} {digest}", seen.counts.len());
}

/// Opens a stream; what came behind the headers comes along.
async fn connect(address: SocketAddr) -> (TcpStream, Vec<u8>) {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = b"GET /topics/orders/0?from=0 HTTP/1.1\r\nhost: t\r\n\r\n";
    socket.write_all(request).await.unwrap();
    let mut head = Vec::new();
    loop {
        assert!(socket.read_buf(&mut head).await.unwrap() > 0, "refused");
        let end = head.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        if let Some(end) = end {
            assert!(head.starts_with(b"HTTP/1.1 200 "), "refused");
            let rest = head.split_off(end + 4);
            return (socket, rest);
        }
    }
}

async fn listen(
    mut socket: TcpStream,
    rest: Vec<u8>,
    streams: usize,
    records: usize,
    seen: Arc<Mutex<Seen>>,
) {
    let mut events = Events::default();
    let mut digest = DefaultHasher::new();
    let mut count = 0;
    let mut bytes = rest;
    loop {
        for event in events.feed(&bytes) {
            assert_eq!(event.id, u64::try_from(count).unwrap(), "lost or repeated");
            count += 1;
            (event.id, event.value()).hash(&mut digest);
            let mut seen = seen.lock().unwrap();
            match seen.digests.entry(count) {
                Entry::Occupied(known) => assert_eq!(*known.get(), digest.finish()),
                Entry::Vacant(new) => drop(new.insert(digest.finish())),
            }
            seen.all += usize::from(count == records);
            if count == records && seen.all == streams {
                println!("{SAYS}all seen");
            }
        }
        bytes.clear();
        if socket.read_buf(&mut bytes).await.unwrap() == 0 {
            break;
        }
    }
    assert!(events.ended, "cut off behind {count} records");
    seen.lock().unwrap().counts.push(count);
}
