//! The control records in Kafka's metadata files: snapshot header and footer, and the quorum.
//!
//! Knows nothing about elections. Values, big-endian, with the fields of a flexible version:
//!
//! | record | value |
//! | --- | --- |
//! | snapshot header | i16 version 0, i64 last contained timestamp, tags |
//! | snapshot footer | i16 version 0, tags |
//! | KRaft version | i16 version 0, i16 KRaft version, tags |
//! | KRaft voters | i16 version 0, array of voters, tags |
//! | a voter | i32 node, 16 bytes directory id, array of endpoints, KRaft versions, tags |
//! | an endpoint | listener, host, u16 port, tags |
//! | KRaft versions | i16 smallest, i16 largest, tags |
//!
//! A quorum whose voters are set in the brokers' properties has no such record: there the file
//! `quorum-state` names them, as JSON: `"currentVoters":[{"voterId":1},{"voterId":2}]`.

use super::super::Corruption;
use super::super::cursor::{Cursor, PutBytes};
use super::super::uuid::Uuid;
use super::super::wire::{Family, PutWire};

const VERSION: i16 = 0;
/// The version of a quorum that may change its voters.
const KRAFT_VERSION: i16 = 1;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Voter {
    pub(crate) node_id: i32,
    /// The directory id in the node's `meta.properties`.
    pub(crate) directory_id: Uuid,
    pub(crate) listener: String,
    pub(crate) host: String,
    /// The port need not be the one in use.
    pub(crate) port: u16,
}

pub(super) fn snapshot_header() -> Vec<u8> {
    let mut value = Vec::new();
    value.put_i16(VERSION);
    value.put_i64(0);
    value.put_no_tags();
    value
}

pub(super) fn snapshot_footer() -> Vec<u8> {
    let mut value = Vec::new();
    value.put_i16(VERSION);
    value.put_no_tags();
    value
}

pub(super) fn kraft_version() -> Vec<u8> {
    let mut value = Vec::new();
    value.put_i16(VERSION);
    value.put_i16(KRAFT_VERSION);
    value.put_no_tags();
    value
}

pub(super) fn voters(voters: &[Voter]) -> Vec<u8> {
    let mut value = Vec::new();
    value.put_i16(VERSION);
    value.put_compact_count(voters.len());
    for voter in voters {
        value.put_i32(voter.node_id);
        value.put(&voter.directory_id);
        value.put_compact_count(1);
        value.put_compact_string(&voter.listener);
        value.put_compact_string(&voter.host);
        value.put_u16(voter.port);
        value.put_no_tags();
        value.put_i16(0);
        value.put_i16(KRAFT_VERSION);
        value.put_no_tags();
        value.put_no_tags();
    }
    value.put_no_tags();
    value
}

/// Returns each voter with its first endpoint.
pub(super) fn decode_voters(value: &[u8]) -> Result<Vec<Voter>, Corruption> {
    let mut fields = Cursor::new(value);
    if fields.i16()? != VERSION {
        return Err(Corruption::malformed("the voters are not of version 0"));
    }
    let voters = fields.list(Family::Flexible, decode_voter)?;
    fields.tags(Family::Flexible)?;
    fields.finish()?;
    Ok(voters)
}

/// The voters in a `quorum-state`; `None` if it names none, because the voters are records.
/// `Malformed` when it names them in an unknown way.
pub(crate) fn decode_quorum_state(bytes: &[u8]) -> Result<Option<Vec<i32>>, Corruption> {
    const LIST: &str = "\"currentVoters\"";
    const VOTER: &str = "\"voterId\"";
    let malformed = || Corruption::malformed("quorum-state names the voters in an unknown way");
    let text = std::str::from_utf8(bytes).map_err(|_| malformed())?;
    let Some((_, rest)) = text.split_once(LIST) else {
        return Ok(None);
    };
    let rest = rest.trim_start().strip_prefix(':').ok_or_else(malformed)?;
    if rest.trim_start().starts_with("null") {
        return Ok(None);
    }
    let list = rest.trim_start().strip_prefix('[').ok_or_else(malformed)?;
    let (list, _) = list.split_once(']').ok_or_else(malformed)?;
    let id = |voter: &str| {
        let digits = voter.trim_start().strip_prefix(':')?.trim_start();
        let end = digits.find([',', '}'])?;
        digits.get(..end)?.trim_end().parse().ok()
    };
    let voters: Option<Vec<i32>> = list.split(VOTER).skip(1).map(id).collect();
    let voters = voters.ok_or_else(malformed)?;
    Ok(Some(voters).filter(|voters| !voters.is_empty()))
}

fn decode_voter(fields: &mut Cursor<'_>) -> Result<Voter, Corruption> {
    let node_id = fields.i32()?;
    let directory_id = fields.array()?;
    let endpoints = fields.list(Family::Flexible, |endpoint| {
        let listener = endpoint.string(Family::Flexible)?.to_owned();
        let host = endpoint.string(Family::Flexible)?.to_owned();
        let port = endpoint.u16()?;
        endpoint.tags(Family::Flexible)?;
        Ok((listener, host, port))
    })?;
    fields.i16()?;
    fields.i16()?;
    fields.tags(Family::Flexible)?;
    fields.tags(Family::Flexible)?;
    let (listener, host, port) = endpoints
        .into_iter()
        .next()
        .ok_or(Corruption::malformed("a voter listens nowhere"))?;
    Ok(Voter {
        node_id,
        directory_id,
        listener,
        host,
        port,
    })
}
