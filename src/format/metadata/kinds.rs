//! Every kind of record in Kafka's metadata up to 4.3, and its treatment here.
//!
//! Knows nothing about what the fields are. A kind that is *replayed* says which topics there are,
//! where their partitions are kept or what they are set to. A *carried* one says nothing of that
//! and stays in Kafka's log, which is only ever added to. Everything else is *refused*: an unknown
//! kind, or a later version of one that is replayed, could say where a record is. `docs/kafka.md`
//! shows the same table.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Treatment {
    /// The record is applied.
    Replayed,
    /// The record is ignored and stays in the log.
    Carried,
    /// The record could say where a record is, so the log is not used.
    Refused,
}

use Treatment::{Carried, Refused, Replayed};

/// Api key, newest known version, treatment, Kafka's name.
const KINDS: [(u32, u32, Treatment, &str); 26] = [
    (0, 4, Carried, "RegisterBrokerRecord"),
    (1, 0, Carried, "UnregisterBrokerRecord"),
    (2, 0, Replayed, "TopicRecord"),
    (3, 2, Replayed, "PartitionRecord"),
    (4, 0, Replayed, "ConfigRecord"),
    (5, 2, Replayed, "PartitionChangeRecord"),
    (7, 0, Carried, "FenceBrokerRecord"),
    (8, 0, Carried, "UnfenceBrokerRecord"),
    (9, 0, Replayed, "RemoveTopicRecord"),
    (10, 0, Carried, "DelegationTokenRecord"),
    (11, 0, Carried, "UserScramCredentialRecord"),
    (12, 0, Carried, "FeatureLevelRecord"),
    (14, 0, Carried, "ClientQuotaRecord"),
    (15, 0, Replayed, "ProducerIdsRecord"),
    (17, 3, Carried, "BrokerRegistrationChangeRecord"),
    (18, 0, Carried, "AccessControlEntryRecord"),
    (19, 0, Carried, "RemoveAccessControlEntryRecord"),
    (20, 0, Carried, "NoOpRecord"),
    (21, 0, Replayed, "ZkMigrationStateRecord"),
    (22, 0, Carried, "RemoveUserScramCredentialRecord"),
    (23, 0, Replayed, "BeginTransactionRecord"),
    (24, 0, Replayed, "EndTransactionRecord"),
    (25, 0, Replayed, "AbortTransactionRecord"),
    (26, 0, Carried, "RemoveDelegationTokenRecord"),
    (27, 0, Carried, "RegisterControllerRecord"),
    (28, 0, Carried, "ClearElrRecord"),
];

pub(crate) fn treatment(api_key: u32, version: u32) -> Treatment {
    let known = KINDS.iter().find(|(known, ..)| *known == api_key);
    match known {
        Some((_, newest, Replayed, _)) if version > *newest => Refused,
        Some((_, _, treatment, _)) => *treatment,
        None => Refused,
    }
}

#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;
