//! Each peer as its own documentation advises it.
//!
//! What differs between them is in the table of docs/performance.md: a tree sorts what a log only
//! appends, some check no bytes when they read, some cannot append without a sync.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// One that is measured. `false` and `None`: it cannot do that.
pub trait Peer {
    /// Appends a value; it need not survive power loss.
    fn append(&mut self, value: &[u8]) -> bool;
    /// Appends values at once.
    fn append_batch(&mut self, values: &[Vec<u8>]) -> bool;
    /// Reads everything in order; gives the bytes of all values.
    fn read_all(&mut self) -> Option<u64>;
    /// Reads one value by its number; gives its length.
    fn read_at(&mut self, number: u64) -> Option<usize>;
}

/// One whose appends survive power loss.
pub trait Durable: Sync {
    /// Appends a value that survives when this returns.
    fn commit(&self, value: &[u8]);
}

/// Opens a peer in an empty directory.
pub trait Open: Sync {
    fn name(&self) -> &'static str;
    fn open(&self, dir: &Path) -> Box<dyn Peer>;
    fn open_durable(&self, dir: &Path) -> Option<Box<dyn Durable>>;
}

pub const PEERS: [&dyn Open; 7] = [
    &OpenOttla,
    &OpenCommitlog,
    &OpenRaftEngine,
    &OpenOkaywal,
    &OpenFjall,
    &OpenRedb,
    &OpenSled,
];

// Ottla: CRC-32C of every batch, checked at every read; Kafka's format.

struct OpenOttla;
struct Ottla(ottla::Log);

impl Open for OpenOttla {
    fn name(&self) -> &'static str {
        "**ottla**"
    }
    fn open(&self, dir: &Path) -> Box<dyn Peer> {
        Box::new(Ottla(
            ottla::Log::open(dir, ottla::LogConfig::default()).unwrap(),
        ))
    }
    fn open_durable(&self, dir: &Path) -> Option<Box<dyn Durable>> {
        let config = ottla::LogConfig::default().durability(ottla::Durability::Always);
        Some(Box::new(Ottla(ottla::Log::open(dir, config).unwrap())))
    }
}

impl Peer for Ottla {
    fn append(&mut self, value: &[u8]) -> bool {
        self.0.append(value).is_ok()
    }
    fn append_batch(&mut self, values: &[Vec<u8>]) -> bool {
        self.0.append_batch(values).is_ok()
    }
    fn read_all(&mut self) -> Option<u64> {
        let mut reader = self.0.reader(0).unwrap();
        let mut bytes = 0;
        while let Some(batch) = reader.next_batch().unwrap() {
            for record in batch.records() {
                bytes += record.value().unwrap().len() as u64;
            }
        }
        Some(bytes)
    }
    fn read_at(&mut self, number: u64) -> Option<usize> {
        let record = self.0.read(number).unwrap().unwrap();
        Some(record.value().unwrap().len())
    }
}

impl Durable for Ottla {
    fn commit(&self, value: &[u8]) {
        self.0.append(value).unwrap();
    }
}

// commitlog: CRC-32C of every message, not checked when read; its flush does not sync.

struct OpenCommitlog;
struct Commitlog(commitlog::CommitLog);

impl Open for OpenCommitlog {
    fn name(&self) -> &'static str {
        "commitlog"
    }
    fn open(&self, dir: &Path) -> Box<dyn Peer> {
        let options = commitlog::LogOptions::new(dir.join("log"));
        Box::new(Commitlog(commitlog::CommitLog::new(options).unwrap()))
    }
    fn open_durable(&self, _: &Path) -> Option<Box<dyn Durable>> {
        None
    }
}

impl Peer for Commitlog {
    fn append(&mut self, value: &[u8]) -> bool {
        self.0.append_msg(value).is_ok()
    }
    fn append_batch(&mut self, values: &[Vec<u8>]) -> bool {
        let mut messages = commitlog::message::MessageBuf::default();
        for value in values {
            messages.push(value).unwrap();
        }
        self.0.append(&mut messages).is_ok()
    }
    fn read_all(&mut self) -> Option<u64> {
        use commitlog::message::MessageSet;
        let (mut at, mut bytes) = (0, 0);
        loop {
            let limit = commitlog::ReadLimit::max_bytes(256 << 10);
            let messages = self.0.read(at, limit).unwrap();
            let before = at;
            for message in messages.iter() {
                bytes += message.payload().len() as u64;
                at = message.offset() + 1;
            }
            if at == before {
                return Some(bytes);
            }
        }
    }
    fn read_at(&mut self, number: u64) -> Option<usize> {
        use commitlog::message::MessageSet;
        let limit = commitlog::ReadLimit::max_bytes(256);
        let messages = self.0.read(number, limit).unwrap();
        let message = messages.iter().next()?;
        Some(message.payload().len())
    }
}

// raft-engine: entries of one group; lz4 above 8 KiB by default.

struct OpenRaftEngine;
struct RaftEngine {
    engine: raft_engine::Engine,
    next: u64,
    shared: AtomicU64,
}

#[derive(Clone)]
struct Entry;

impl raft_engine::MessageExt for Entry {
    type Entry = protobuf::well_known_types::BytesValue;
    fn index(entry: &Self::Entry) -> u64 {
        u64::from_be_bytes(entry.value[..8].try_into().unwrap())
    }
}

fn entry(index: u64, value: &[u8]) -> protobuf::well_known_types::BytesValue {
    let mut entry = protobuf::well_known_types::BytesValue::new();
    entry.value.reserve(8 + value.len());
    entry.value.extend_from_slice(&index.to_be_bytes());
    entry.value.extend_from_slice(value);
    entry
}

impl RaftEngine {
    fn new(dir: &Path) -> Self {
        let config = raft_engine::Config {
            dir: dir.join("raft").to_str().unwrap().to_owned(),
            ..raft_engine::Config::default()
        };
        Self {
            engine: raft_engine::Engine::open(config).unwrap(),
            next: 0,
            shared: AtomicU64::new(1),
        }
    }
}

impl Open for OpenRaftEngine {
    fn name(&self) -> &'static str {
        "raft-engine"
    }
    fn open(&self, dir: &Path) -> Box<dyn Peer> {
        Box::new(RaftEngine::new(dir))
    }
    fn open_durable(&self, dir: &Path) -> Option<Box<dyn Durable>> {
        Some(Box::new(RaftEngine::new(dir)))
    }
}

impl Peer for RaftEngine {
    fn append(&mut self, value: &[u8]) -> bool {
        let mut batch = raft_engine::LogBatch::default();
        batch
            .add_entries::<Entry>(1, &[entry(self.next, value)])
            .unwrap();
        self.next += 1;
        self.engine.write(&mut batch, false).is_ok()
    }
    fn append_batch(&mut self, values: &[Vec<u8>]) -> bool {
        let mut batch = raft_engine::LogBatch::default();
        let entries: Vec<_> = values
            .iter()
            .zip(self.next..)
            .map(|(value, index)| entry(index, value))
            .collect();
        self.next += values.len() as u64;
        batch.add_entries::<Entry>(1, &entries).unwrap();
        self.engine.write(&mut batch, false).is_ok()
    }
    fn read_all(&mut self) -> Option<u64> {
        let (mut bytes, mut at) = (0, 0);
        while at < self.next {
            let to = (at + 1000).min(self.next);
            let mut entries = Vec::new();
            self.engine
                .fetch_entries_to::<Entry>(1, at, to, None, &mut entries)
                .unwrap();
            bytes += entries
                .iter()
                .map(|entry| entry.value.len() as u64 - 8)
                .sum::<u64>();
            at = to;
        }
        Some(bytes)
    }
    fn read_at(&mut self, number: u64) -> Option<usize> {
        let entry = self.engine.get_entry::<Entry>(1, number).unwrap()?;
        Some(entry.value.len() - 8)
    }
}

impl Durable for RaftEngine {
    fn commit(&self, value: &[u8]) {
        // Many raft groups share one engine: each thread is a group, with its own indexes.
        thread_local! {
            static GROUP: std::cell::Cell<(u64, u64)> = const { std::cell::Cell::new((0, 0)) };
        }
        let (mut group, index) = GROUP.get();
        if group == 0 {
            group = self.shared.fetch_add(1, Ordering::Relaxed);
        }
        GROUP.set((group, index + 1));
        let mut batch = raft_engine::LogBatch::default();
        batch
            .add_entries::<Entry>(group, &[entry(index, value)])
            .unwrap();
        self.engine.write(&mut batch, true).unwrap();
    }
}

// okaywal: every commit is durable, so it has no row without a sync.

struct OpenOkaywal;
struct Okaywal(okaywal::WriteAheadLog);
struct Cannot;

impl Open for OpenOkaywal {
    fn name(&self) -> &'static str {
        "okaywal"
    }
    fn open(&self, _: &Path) -> Box<dyn Peer> {
        Box::new(Cannot)
    }
    fn open_durable(&self, dir: &Path) -> Option<Box<dyn Durable>> {
        let log = okaywal::WriteAheadLog::recover(dir.join("wal"), okaywal::LogVoid);
        Some(Box::new(Okaywal(log.unwrap())))
    }
}

impl Peer for Cannot {
    fn append(&mut self, _: &[u8]) -> bool {
        false
    }
    fn append_batch(&mut self, _: &[Vec<u8>]) -> bool {
        false
    }
    fn read_all(&mut self) -> Option<u64> {
        None
    }
    fn read_at(&mut self, _: u64) -> Option<usize> {
        None
    }
}

impl Durable for Okaywal {
    fn commit(&self, value: &[u8]) {
        let mut entry = self.0.begin_entry().unwrap();
        entry.write_chunk(value).unwrap();
        entry.commit().unwrap();
    }
}

// fjall: an LSM tree; keys are numbers, big-endian, as its README says.

struct OpenFjall;
struct Fjall {
    db: fjall::Database,
    log: fjall::Keyspace,
    next: AtomicU64,
}

impl Fjall {
    fn new(dir: &Path) -> Self {
        let db = fjall::Database::builder(dir.join("fjall")).open().unwrap();
        let log = db
            .keyspace("log", fjall::KeyspaceCreateOptions::default)
            .unwrap();
        Self {
            db,
            log,
            next: AtomicU64::new(0),
        }
    }
    fn number(&self) -> [u8; 8] {
        self.next.fetch_add(1, Ordering::Relaxed).to_be_bytes()
    }
}

impl Open for OpenFjall {
    fn name(&self) -> &'static str {
        "fjall"
    }
    fn open(&self, dir: &Path) -> Box<dyn Peer> {
        Box::new(Fjall::new(dir))
    }
    fn open_durable(&self, dir: &Path) -> Option<Box<dyn Durable>> {
        Some(Box::new(Fjall::new(dir)))
    }
}

impl Peer for Fjall {
    fn append(&mut self, value: &[u8]) -> bool {
        self.log.insert(self.number(), value).is_ok()
    }
    fn append_batch(&mut self, values: &[Vec<u8>]) -> bool {
        let mut batch = self.db.batch();
        for value in values {
            batch.insert(&self.log, self.number(), value.as_slice());
        }
        batch.commit().is_ok()
    }
    fn read_all(&mut self) -> Option<u64> {
        let values = self
            .log
            .iter()
            .map(|item| item.value().unwrap().len() as u64);
        Some(values.sum())
    }
    fn read_at(&mut self, number: u64) -> Option<usize> {
        Some(self.log.get(number.to_be_bytes()).unwrap()?.len())
    }
}

impl Durable for Fjall {
    fn commit(&self, value: &[u8]) {
        self.log.insert(self.number(), value).unwrap();
        self.db.persist(fjall::PersistMode::SyncData).unwrap();
    }
}

// redb: a B-tree, copy on write; one writer at a time.

const REDB_LOG: redb::TableDefinition<'_, u64, &[u8]> = redb::TableDefinition::new("log");

struct OpenRedb;
struct Redb {
    db: redb::Database,
    next: Mutex<u64>,
}

impl Redb {
    fn new(dir: &Path) -> Self {
        Self {
            db: redb::Database::create(dir.join("redb")).unwrap(),
            next: Mutex::new(0),
        }
    }
    fn put<'a>(&self, values: impl Iterator<Item = &'a [u8]>, durability: redb::Durability) {
        let mut transaction = self.db.begin_write().unwrap();
        transaction.set_durability(durability).unwrap();
        {
            let mut next = self.next.lock().unwrap();
            let mut log = transaction.open_table(REDB_LOG).unwrap();
            for value in values {
                log.insert(*next, value).unwrap();
                *next += 1;
            }
        }
        transaction.commit().unwrap();
    }
}

impl Open for OpenRedb {
    fn name(&self) -> &'static str {
        "redb"
    }
    fn open(&self, dir: &Path) -> Box<dyn Peer> {
        Box::new(Redb::new(dir))
    }
    fn open_durable(&self, dir: &Path) -> Option<Box<dyn Durable>> {
        Some(Box::new(Redb::new(dir)))
    }
}

impl Peer for Redb {
    fn append(&mut self, value: &[u8]) -> bool {
        self.put(std::iter::once(value), redb::Durability::None);
        true
    }
    fn append_batch(&mut self, values: &[Vec<u8>]) -> bool {
        self.put(values.iter().map(Vec::as_slice), redb::Durability::None);
        true
    }
    fn read_all(&mut self) -> Option<u64> {
        use redb::{ReadableDatabase as _, ReadableTable as _};
        let log = self.db.begin_read().unwrap().open_table(REDB_LOG).unwrap();
        let values = log
            .iter()
            .unwrap()
            .map(|item| item.unwrap().1.value().len() as u64);
        Some(values.sum())
    }
    fn read_at(&mut self, number: u64) -> Option<usize> {
        use redb::ReadableDatabase as _;
        let log = self.db.begin_read().unwrap().open_table(REDB_LOG).unwrap();
        Some(log.get(number).unwrap()?.value().len())
    }
}

impl Durable for Redb {
    fn commit(&self, value: &[u8]) {
        self.put(std::iter::once(value), redb::Durability::Immediate);
    }
}

// sled: a tree over a log; its flush is what makes an insert durable.

struct OpenSled;
struct Sled {
    db: sled::Db,
    next: AtomicU64,
}

impl Sled {
    fn new(dir: &Path) -> Self {
        Self {
            db: sled::open(dir.join("sled")).unwrap(),
            next: AtomicU64::new(0),
        }
    }
    fn number(&self) -> [u8; 8] {
        self.next.fetch_add(1, Ordering::Relaxed).to_be_bytes()
    }
}

impl Open for OpenSled {
    fn name(&self) -> &'static str {
        "sled"
    }
    fn open(&self, dir: &Path) -> Box<dyn Peer> {
        Box::new(Sled::new(dir))
    }
    fn open_durable(&self, dir: &Path) -> Option<Box<dyn Durable>> {
        Some(Box::new(Sled::new(dir)))
    }
}

impl Peer for Sled {
    fn append(&mut self, value: &[u8]) -> bool {
        self.db.insert(self.number(), value).is_ok()
    }
    fn append_batch(&mut self, values: &[Vec<u8>]) -> bool {
        let mut batch = sled::Batch::default();
        for value in values {
            batch.insert(&self.number(), value.as_slice());
        }
        self.db.apply_batch(batch).is_ok()
    }
    fn read_all(&mut self) -> Option<u64> {
        Some(
            self.db
                .iter()
                .values()
                .map(|value| value.unwrap().len() as u64)
                .sum(),
        )
    }
    fn read_at(&mut self, number: u64) -> Option<usize> {
        Some(self.db.get(number.to_be_bytes()).unwrap()?.len())
    }
}

impl Durable for Sled {
    fn commit(&self, value: &[u8]) {
        self.db.insert(self.number(), value).unwrap();
        self.db.flush().unwrap();
    }
}
