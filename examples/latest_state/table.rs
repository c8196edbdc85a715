//! A table of keys and values in memory, whose every change is a record of a compacted log: to
//! rebuild it is to read the log.
//!
//! Knows nothing about flights.

use std::collections::BTreeMap;

use ottla::{Header, Log, LogRecord, Offset, Record, Result, Start};

/// The newest record of every key.
#[derive(Debug)]
pub(crate) struct Table {
    log: Log,
    rows: BTreeMap<Vec<u8>, LogRecord>,
}

impl Table {
    /// Builds the table from its log.
    pub(crate) fn open(log: Log) -> Result<Self> {
        let mut rows = BTreeMap::new();
        for record in log.reader(Start::Earliest)? {
            let record = record?;
            let key = record.key().unwrap_or_default().to_vec();
            if record.value().is_some() {
                // Copied out of what was read: one row should not keep a whole chunk.
                rows.insert(key, record.detach());
            } else {
                rows.remove(&key);
            }
        }
        Ok(Self { log, rows })
    }

    /// Sets the value of a key. The log has it first: the table can be rebuilt.
    pub(crate) fn put(&mut self, key: &str, value: &str, headers: &[Header<'_>]) -> Result<Offset> {
        let record = Record::keyed(key, value).with_headers(headers);
        let offset = self.log.append(record)?;
        if let Some(record) = self.log.read(offset)? {
            self.rows.insert(key.as_bytes().to_vec(), record.detach());
        }
        Ok(offset)
    }

    /// The newest record of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&LogRecord> {
        self.rows.get(key.as_bytes())
    }

    /// All rows, by key.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &LogRecord> {
        self.rows.values()
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
    }
}
