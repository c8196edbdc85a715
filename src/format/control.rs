//! Control records: markers for readers, written by brokers and never shown to users.
//!
//! Knows nothing about open transactions. Key, big-endian:
//!
//! | at | bytes | field |
//! | ---: | ---: | --- |
//! | 0 | 2 | version, 0 |
//! | 2 | 2 | type: 0 abort, 1 commit, 2 leader change, 3 snapshot header, 4 snapshot footer, |
//! | | | 5 KRaft version, 6 KRaft voters |
//!
//! The value of an abort or commit marker: i16 version 0, i32 epoch of the coordinator. A key is
//! valid if and only if it holds its 4 bytes and its version is not negative; what follows, and
//! unknown types, are legal and ignored.

use super::Corruption;
use super::cursor::{Cursor, PutBytes};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ControlKind {
    /// The transaction is aborted.
    Abort,
    /// The transaction is committed.
    Commit,
    /// In the log of Kafka's metadata.
    LeaderChange,
    /// First in a snapshot of Kafka's metadata.
    SnapshotHeader,
    /// Last in such a snapshot.
    SnapshotFooter,
    KRaftVersion,
    KRaftVoters,
    Other(i16),
}

impl ControlKind {
    pub(crate) fn decode(key: &[u8]) -> Result<Self, Corruption> {
        let mut fields = Cursor::new(key);
        if fields.i16()? < 0 {
            return Err(Corruption::malformed(
                "the version of a control record is negative",
            ));
        }
        Ok(match fields.i16()? {
            0 => Self::Abort,
            1 => Self::Commit,
            2 => Self::LeaderChange,
            3 => Self::SnapshotHeader,
            4 => Self::SnapshotFooter,
            5 => Self::KRaftVersion,
            6 => Self::KRaftVoters,
            other => Self::Other(other),
        })
    }

    pub(crate) fn encode(self) -> [u8; 4] {
        let kind: i16 = match self {
            Self::Abort => 0,
            Self::Commit => 1,
            Self::LeaderChange => 2,
            Self::SnapshotHeader => 3,
            Self::SnapshotFooter => 4,
            Self::KRaftVersion => 5,
            Self::KRaftVoters => 6,
            Self::Other(other) => other,
        };
        let [high, low] = kind.to_be_bytes();
        [0, 0, high, low]
    }
}

/// The value of an abort or commit marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EndTransaction {
    /// The epoch of the coordinator that decided.
    pub(crate) coordinator_epoch: i32,
}

impl EndTransaction {
    /// Later versions only add to the value.
    pub(crate) fn decode(value: &[u8]) -> Result<Self, Corruption> {
        let mut fields = Cursor::new(value);
        if fields.i16()? < 0 {
            return Err(Corruption::malformed(
                "the version of a transaction marker is negative",
            ));
        }
        Ok(Self {
            coordinator_epoch: fields.i32()?,
        })
    }

    pub(crate) fn encode(self) -> Vec<u8> {
        let mut value = Vec::new();
        value.put_i16(0);
        value.put_i32(self.coordinator_epoch);
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_comes_back() {
        for kind in 0..9 {
            let key = [0, 0, 0, kind];
            assert_eq!(ControlKind::decode(&key).unwrap().encode(), key);
        }
        assert_eq!(
            ControlKind::decode(&[0, 7, 0, 1, 9]),
            Ok(ControlKind::Commit)
        );
    }

    #[test]
    fn short_keys_and_negative_versions_are_refused() {
        assert_eq!(
            ControlKind::decode(&[0, 0, 0]),
            Err(Corruption::truncated(2, 1))
        );
        assert!(ControlKind::decode(&[0xff, 0xff, 0, 0]).is_err());
        assert!(EndTransaction::decode(&[0, 0, 0, 0, 0]).is_err());
    }

    #[test]
    fn the_value_of_a_marker_in_both_directions() {
        let value = [0, 0, 0, 0, 0, 5];
        let marker = EndTransaction::decode(&value).unwrap();
        assert_eq!(marker.coordinator_epoch, 5);
        assert_eq!(marker.encode(), value);
    }
}
