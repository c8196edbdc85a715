//! Every kind of error, and what each says, so that a rename fails to compile.
//!
//! Nothing here runs.

#![expect(
    dead_code,
    clippy::match_like_matches_macro,
    clippy::no_effect_underscore_binding,
    reason = "compiled, never called"
)]

use ottla::{AppendedBatch, Error, ErrorKind, Offset, PartitionId};

fn kinds(error: &Error) -> (ErrorKind, bool) {
    match error.clone() {
        Error::PartlyAppended {
            appended, failed, ..
        } => {
            let _in: Vec<AppendedBatch> = appended;
            let _not_in: Vec<(PartitionId, Error)> = failed;
        }
        Error::EndMoved { expected, end, .. } => {
            let _ends: (Offset, Offset) = (expected, end);
        }
        other => assert!(matches!(other, Error::WokenUp | Error::Truncated { .. })),
    }
    let acted_on = [
        ErrorKind::PartlyAppended,
        ErrorKind::EndMoved,
        ErrorKind::WokenUp,
        ErrorKind::Truncated,
        ErrorKind::Undecodable,
    ];
    (acted_on[0], error.is_transient())
}

fn errors(error: &Error) -> bool {
    match error {
        Error::Io {
            path: _,
            operation: _,
            source: _,
            ..
        }
        | Error::NoSpace { path: _, .. }
        | Error::Corrupt {
            path: _,
            position: _,
            reason: _,
            ..
        }
        | Error::Poisoned {
            path: _, cause: _, ..
        }
        | Error::Locked { path: _, .. }
        | Error::ReadOnly
        | Error::OffsetOutOfRange {
            requested: _,
            start: _,
            end: _,
            ..
        }
        | Error::RecordTooLarge {
            size: _, limit: _, ..
        }
        | Error::InvalidRecord { reason: _, .. }
        | Error::InvalidConfig {
            name: _,
            value: _,
            expected: _,
            ..
        }
        | Error::InvalidName {
            name: _, reason: _, ..
        }
        | Error::TopicExists { .. }
        | Error::UnknownTopic { .. }
        | Error::UnknownPartition { .. }
        | Error::UnknownGroup { .. }
        | Error::GroupNotEmpty { .. }
        | Error::Fenced {
            group: _,
            member: _,
            generation: _,
            ..
        }
        | Error::NoOffset {
            topic: _,
            partition: _,
            ..
        }
        | Error::Unsupported { what: _, .. }
        | Error::Closed => true,
        _ => false,
    }
}
