//! Ends, in a copy of a root, the transactions that a Kafka broker had left open: no producer could
//! end them there, and readers of what is committed would wait forever.
//!
//! Knows nothing about which batches belong to a transaction: that was seen when they were copied.
//!
//! 1. The decision of the broker's coordinator counts: a commit that it had not marked everywhere
//!    yet is marked in the other partitions. Everything else is aborted.
//! 2. A producer that could continue is refused, as after a broker aborts a transaction that took
//!    too long: its state gets the next epoch. Otherwise it could commit, in a broker started on
//!    the copy, what it writes there of a transaction, without the part that is aborted here.
//! 3. Before the first marker it is noted, durably, that the producers of these logs are not known:
//!    closing the copy then looks for them, and writes what a broker needs (`rest/producers.rs`).

use std::collections::{BTreeMap, BTreeSet};

use crate::backup::CopiedLog;
use crate::error::Result;
use crate::format::txn::ProducerState;
use crate::format::{MarkKey, TransactionState, TransactionStatus};
use crate::log::Ending;
use crate::topic::TopicShared;
use crate::types::{PartitionId, Record, STATES_TOPIC, Start, Timestamp};

use super::core::Core;
use super::rest;

pub(super) fn end_open(copy: &Core, copied: &[(MarkKey, String, CopiedLog)]) -> Result<()> {
    let open = copied.iter().filter(|(.., log)| !log.open.is_empty());
    let changed: BTreeSet<_> = open
        .clone()
        .map(|(key, name, _)| (name.clone(), key.partition))
        .collect();
    if changed.is_empty() {
        return Ok(());
    }
    let root = &copy.root;
    rest::forget_producers(&root.host.disk, &root.path, &changed)?;
    let coordinator = root.directory.find_shared(STATES_TOPIC);
    let states = match &coordinator {
        Some(topic) => States::read(topic)?,
        None => States::default(),
    };
    let mut ended = BTreeSet::new();
    for (key, name, log) in open {
        let Some(topic) = root.directory.find_shared(name) else {
            continue;
        };
        for producer in &log.open {
            let place = (name.as_str(), key.partition);
            let ending = states.ending(place, producer);
            topic.log(key.partition)?.end_transaction(ending)?;
            ended.insert(producer.producer_id);
        }
    }
    // After the markers, as a coordinator does it: a copy cut short in between is made again.
    match coordinator {
        Some(topic) => states.refuse_further(&topic, &ended, root.host.clock.now()),
        None => Ok(()),
    }
}

/// The newest state of a transactional id.
struct Known {
    partition: PartitionId,
    key: Vec<u8>,
    state: TransactionState,
}

/// The states by producer id.
#[derive(Default)]
struct States(BTreeMap<i64, Known>);

impl States {
    fn read(topic: &TopicShared) -> Result<Self> {
        let mut newest = BTreeMap::new();
        for partition in 0..topic.partition_count() {
            for record in topic.log(partition)?.reader(Start::Earliest)? {
                let record = record?;
                let Some(key) = record.key() else {
                    continue;
                };
                let state = record.value().map(TransactionState::decode);
                // The state of a newer Kafka says nothing here, nor does a deletion.
                let state = state.and_then(std::result::Result::ok);
                newest.insert(key.to_vec(), (partition, state));
            }
        }
        let known = newest.into_iter().filter_map(|(key, (partition, state))| {
            let state = state?;
            let known = Known {
                partition,
                key,
                state,
            };
            Some((known.state.producer_id, known))
        });
        Ok(Self(known.collect()))
    }

    /// How a transaction ends (I1).
    fn ending(&self, (topic, partition): (&str, PartitionId), open: &ProducerState) -> Ending {
        let abort = Ending::abort(open);
        let Some(Known { state, .. }) = self.0.get(&open.producer_id) else {
            return abort;
        };
        let epoch = match state.status {
            TransactionStatus::Ongoing => state.next_epoch(),
            _ => None,
        };
        let epoch = epoch.unwrap_or(state.producer_epoch);
        Ending {
            epoch: epoch.max(abort.epoch),
            commits: state.status == TransactionStatus::PrepareCommit
                && state.has(topic, partition),
            ..abort
        }
    }

    /// Refuses what the producers could still write (I2).
    fn refuse_further(
        &self,
        topic: &TopicShared,
        producers: &BTreeSet<i64>,
        now: Timestamp,
    ) -> Result<()> {
        let known = producers.iter().filter_map(|id| self.0.get(id));
        for known in known.filter(|known| known.state.status == TransactionStatus::Ongoing) {
            if let Some(value) = known.state.aborted(now) {
                let log = topic.log(known.partition)?;
                log.append(Record::keyed(&known.key, &value))?;
            }
        }
        Ok(())
    }
}
