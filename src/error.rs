//! The one public error. Sees floors 0 and 1 only.
//!
//! Knows nothing about who fails. Every variant says what happened, with the values a caller needs
//! to act, and its documentation says what is still true and what to do.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::format::Corruption;
use crate::types::{AppendedBatch, BadSetting, Epoch, Offset, PartitionId, TopicPartition};

/// What a fallible call of this crate gives.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong, as a caller can act on it. Cheap to clone: what the system
/// answered is shared.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a call. What was acknowledged before is not touched by it, and
    /// the log stays usable.
    #[error("cannot {operation} {}: {source}", path.display())]
    #[non_exhaustive]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was asked, as a verb: `open`, `write`, `list`.
        operation: &'static str,
        /// The system's answer.
        source: Arc<io::Error>,
    },

    /// The disk (or a quota) is full. Nothing of the refused append is left; free some space, by
    /// retention for example, and try again.
    #[error("no space left on the disk for {}: free some and try again", path.display())]
    #[non_exhaustive]
    NoSpace {
        /// The file that could not grow.
        path: PathBuf,
    },

    /// Bytes that were safely written are not what they were. Nothing was cut or deleted.
    #[error("{} is damaged at byte {position}: {reason}", path.display())]
    #[non_exhaustive]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// Where in it, in bytes from its start.
        position: u64,
        /// What is wrong there.
        reason: Corruption,
    },

    /// A sync failed earlier: what it covered may or may not be on the disk, so this log takes no
    /// more appends and confirms nothing. Reading goes on. Open it again to go on from what is
    /// really there.
    #[error(
        "a sync of {} failed ({cause}): nothing is confirmed any more; close the log and open it again",
        path.display()
    )]
    #[non_exhaustive]
    Poisoned {
        /// The file or directory whose sync failed.
        path: PathBuf,
        /// The system's answer to that sync.
        #[source]
        cause: Arc<io::Error>,
    },

    /// Somebody else, in this process or another, has the directory open for writing.
    #[error("{} is in use by {}", path.parent().unwrap_or(path).display(), user_of_lock(*pid))]
    #[non_exhaustive]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// The process that its content names: the one that took the lock last, if that was one of
        /// ours.
        pid: Option<u32>,
    },

    /// The log or broker was opened read-only.
    #[error("it was opened read-only")]
    ReadOnly,

    /// The topic is one of Kafka's own (`__consumer_offsets` for example): the broker itself writes
    /// it, and everybody else may only read it.
    #[error("topic {topic} is internal: it is read-only for everybody but the broker itself")]
    #[non_exhaustive]
    InternalTopic {
        /// The topic.
        topic: String,
    },

    /// The offset is not one that can be read (or cut at): records below `start` are gone, records
    /// from `end` on do not exist yet.
    #[error("offset {requested} is outside {start}..{end}{}", place_of(partition.as_ref()))]
    #[non_exhaustive]
    OffsetOutOfRange {
        /// The partition, where the log is one of a topic.
        partition: Option<TopicPartition>,
        /// What was asked for.
        requested: Offset,
        /// The first offset that is there.
        start: Offset,
        /// The next offset to be assigned.
        end: Offset,
    },

    /// The records below the offset are no longer what they were when the offset was learnt: the
    /// log was truncated since, or a crash took its end, and the offsets from `end` on were given
    /// out again or will be. What was derived from the records at and above `end` is void;
    /// everything below it still holds. Go back to a state that reaches no further than `end`, and
    /// read on from there.
    #[error(
        "offset {requested} of epoch {epoch}{} was cut off: the log of that epoch ends at {end}",
        place_of(partition.as_ref())
    )]
    #[non_exhaustive]
    Truncated {
        /// The partition, where the log is one of a topic.
        partition: Option<TopicPartition>,
        /// What was asked for.
        requested: Offset,
        /// The epoch in which that offset was learnt.
        epoch: Epoch,
        /// Where the log and what was known of it part: the end of that epoch. The start of the log
        /// when the log has never had that epoch, and nothing is known to be common to both.
        end: Offset,
    },

    /// The record or batch, as it would stand on disk, is larger than the log takes.
    #[error("a batch of {size} bytes is larger than the {limit} that max.message.bytes allows")]
    #[non_exhaustive]
    RecordTooLarge {
        /// Bytes that the batch would take.
        size: u64,
        /// The log's `max_message_bytes`.
        limit: u64,
    },

    /// Of the records of one call some partitions took theirs and others did not. The records of a
    /// partition are taken in order: of those of a failed one, as many of the first are in the log
    /// as `appended` names for it.
    #[error("{} of the batches are appended, and {}", appended.len(), first_failure(failed))]
    #[non_exhaustive]
    PartlyAppended {
        /// What is in the log, as the call would have returned it.
        appended: Vec<AppendedBatch>,
        /// The partitions that did not take all of their records, and why; at least one.
        failed: Vec<(PartitionId, Error)>,
    },

    /// The log does not end where a conditional append expected it to: somebody else appended
    /// first (or truncated). Nothing was written. Read what is new, decide again, and try again
    /// with the new end.
    #[error(
        "the log ends at offset {end} and not at {expected}: look at what is new and try again"
    )]
    #[non_exhaustive]
    EndMoved {
        /// The end that the call expected.
        expected: Offset,
        /// The end that the log had.
        end: Offset,
    },

    /// The record cannot be stored as it is. Nothing of its batch was appended.
    #[error("the record cannot be stored: {reason}")]
    #[non_exhaustive]
    InvalidRecord {
        /// What is wrong with it.
        reason: &'static str,
    },

    /// A codec cannot encode a value ([`TypedTopic`](crate::TypedTopic)). Nothing was appended.
    #[error("a value for topic {topic} cannot be encoded: {source}")]
    #[non_exhaustive]
    Unencodable {
        /// The topic that it was for.
        topic: String,
        /// What the codec says.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },

    /// A codec cannot decode a record ([`TypedTopic`](crate::TypedTopic)). Reading goes on behind
    /// it: skip it, or append it to a topic of dead letters.
    #[error("the record at offset {offset} of {topic}-{partition} cannot be decoded: {source}")]
    #[non_exhaustive]
    Undecodable {
        /// Its topic.
        topic: String,
        /// Its partition.
        partition: PartitionId,
        /// Its offset.
        offset: Offset,
        /// What the codec says.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },

    /// A setting is unknown or out of its bounds.
    #[error("setting {name} cannot be {value}: expected {expected}")]
    #[non_exhaustive]
    InvalidConfig {
        /// The setting, under Kafka's name where Kafka has it.
        name: String,
        /// The value that was given.
        value: String,
        /// What is allowed.
        expected: String,
    },

    /// The name of a topic or group cannot be used.
    #[error("{name:?} cannot be used: {reason}")]
    #[non_exhaustive]
    InvalidName {
        /// The name that was given.
        name: String,
        /// The rule that it breaks.
        reason: &'static str,
    },

    /// There is a topic of this name already.
    #[error("topic {name} exists")]
    #[non_exhaustive]
    TopicExists {
        /// The topic.
        name: String,
    },

    /// There is no topic of this name (any more).
    #[error("there is no topic {name}")]
    #[non_exhaustive]
    UnknownTopic {
        /// The topic.
        name: String,
    },

    /// The topic has no partition of this number, or this member does not hold it.
    #[error("{}", unknown_partition(topic, *partition, *not_assigned))]
    #[non_exhaustive]
    UnknownPartition {
        /// Whether a consumer was asked for a partition that is not assigned to it; otherwise the
        /// topic has no such partition.
        not_assigned: bool,
        /// The topic.
        topic: String,
        /// The partition.
        partition: PartitionId,
    },

    /// Nothing is known of this group: it has no members and has committed nothing.
    #[error("there is no group {group}")]
    #[non_exhaustive]
    UnknownGroup {
        /// The group.
        group: String,
    },

    /// The group has members, and what was asked needs it to have none.
    #[error("group {group} has members")]
    #[non_exhaustive]
    GroupNotEmpty {
        /// The group.
        group: String,
    },

    /// This member was thrown out of its group (it did not poll in time, or another took its static
    /// id), and others may have its partitions. Nothing was committed; its next poll joins again.
    #[error(
        "member {member} was thrown out of group {group} after generation {generation}: {reason}"
    )]
    #[non_exhaustive]
    Fenced {
        /// Why: which interval has passed, or who took its place.
        reason: String,
        /// The group.
        group: String,
        /// The member.
        member: String,
        /// The generation in which the member last belonged to the group.
        generation: u64,
    },

    /// The group has committed nothing for this partition (or what it committed is gone), and its
    /// policy is to ask instead of choosing a start.
    #[error(
        "the group has no committed offset for partition {partition} of topic {topic}: \
         seek to one, or set where the group starts (auto.offset.reset)"
    )]
    #[non_exhaustive]
    NoOffset {
        /// The topic.
        topic: String,
        /// The partition.
        partition: PartitionId,
    },

    /// A [`WakeupHandle`](crate::WakeupHandle) ended the wait. Nothing was lost, and the next call
    /// goes on.
    #[error("woken up")]
    WokenUp,

    /// The data or the request needs something that this build, version or crate does not have.
    #[error("not supported: {what}")]
    #[non_exhaustive]
    Unsupported {
        /// What is missing, and what to do about it.
        what: String,
    },

    /// The handle was opened by another process, from which this one was forked. Nothing was done:
    /// the log, topic or broker belongs to the process that opened it, and goes on there. What the
    /// new process drops closes descriptors and changes nothing else. To use the directory here,
    /// open it before the fork in neither process, or read-only in this one.
    #[error("opened by the process that this one was forked from")]
    Forked,

    /// The log, topic or broker was closed, or the topic was deleted under this handle.
    #[error("it was closed")]
    Closed,
}

/// What kind of error an [`Error`] is: its variant without the values, for code that counts errors
/// or decides by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// [`Error::Io`].
    Io,
    /// [`Error::NoSpace`].
    NoSpace,
    /// [`Error::Corrupt`].
    Corrupt,
    /// [`Error::Poisoned`].
    Poisoned,
    /// [`Error::Locked`].
    Locked,
    /// [`Error::ReadOnly`], [`Error::InternalTopic`].
    ReadOnly,
    /// [`Error::OffsetOutOfRange`].
    OffsetOutOfRange,
    /// [`Error::Truncated`].
    Truncated,
    /// [`Error::RecordTooLarge`].
    RecordTooLarge,
    /// [`Error::PartlyAppended`].
    PartlyAppended,
    /// [`Error::EndMoved`].
    EndMoved,
    /// [`Error::InvalidRecord`].
    InvalidRecord,
    /// [`Error::Unencodable`].
    Unencodable,
    /// [`Error::Undecodable`].
    Undecodable,
    /// [`Error::InvalidConfig`].
    InvalidConfig,
    /// [`Error::InvalidName`].
    InvalidName,
    /// [`Error::TopicExists`].
    TopicExists,
    /// [`Error::UnknownTopic`].
    UnknownTopic,
    /// [`Error::UnknownPartition`].
    UnknownPartition,
    /// [`Error::UnknownGroup`].
    UnknownGroup,
    /// [`Error::GroupNotEmpty`].
    GroupNotEmpty,
    /// [`Error::Fenced`].
    Fenced,
    /// [`Error::NoOffset`].
    NoOffset,
    /// [`Error::WokenUp`].
    WokenUp,
    /// [`Error::Unsupported`].
    Unsupported,
    /// [`Error::Forked`].
    Forked,
    /// [`Error::Closed`].
    Closed,
}

impl Error {
    /// What kind of error it is.
    ///
    /// # Examples
    ///
    /// ```
    /// use ottla::{Broker, ErrorKind};
    ///
    /// # let scratch = tempfile::tempdir()?;
    /// let broker = Broker::open(scratch.path().join("data"))?;
    /// let missing = broker.topic("flights").unwrap_err();
    /// assert_eq!(missing.kind(), ErrorKind::UnknownTopic);
    /// assert!(!missing.is_transient());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { .. } => ErrorKind::Io,
            Self::NoSpace { .. } => ErrorKind::NoSpace,
            Self::Corrupt { .. } => ErrorKind::Corrupt,
            Self::Poisoned { .. } => ErrorKind::Poisoned,
            Self::Locked { .. } => ErrorKind::Locked,
            Self::ReadOnly | Self::InternalTopic { .. } => ErrorKind::ReadOnly,
            Self::OffsetOutOfRange { .. } => ErrorKind::OffsetOutOfRange,
            Self::Truncated { .. } => ErrorKind::Truncated,
            Self::RecordTooLarge { .. } => ErrorKind::RecordTooLarge,
            Self::PartlyAppended { .. } => ErrorKind::PartlyAppended,
            Self::EndMoved { .. } => ErrorKind::EndMoved,
            Self::InvalidRecord { .. } => ErrorKind::InvalidRecord,
            Self::Unencodable { .. } => ErrorKind::Unencodable,
            Self::Undecodable { .. } => ErrorKind::Undecodable,
            Self::InvalidConfig { .. } => ErrorKind::InvalidConfig,
            Self::InvalidName { .. } => ErrorKind::InvalidName,
            Self::TopicExists { .. } => ErrorKind::TopicExists,
            Self::UnknownTopic { .. } => ErrorKind::UnknownTopic,
            Self::UnknownPartition { .. } => ErrorKind::UnknownPartition,
            Self::UnknownGroup { .. } => ErrorKind::UnknownGroup,
            Self::GroupNotEmpty { .. } => ErrorKind::GroupNotEmpty,
            Self::Fenced { .. } => ErrorKind::Fenced,
            Self::NoOffset { .. } => ErrorKind::NoOffset,
            Self::WokenUp => ErrorKind::WokenUp,
            Self::Unsupported { .. } => ErrorKind::Unsupported,
            Self::Forked => ErrorKind::Forked,
            Self::Closed => ErrorKind::Closed,
        }
    }

    /// Whether the same call may succeed later without a change of the program or its data: the
    /// disk was full, the lock was held, the system had too many open files or was interrupted.
    /// Nothing was changed by the call that failed, so that it can be made again.
    ///
    /// False for [`Error::EndMoved`] and [`Error::Fenced`]: look again first, for the same call
    /// fails again.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::NoSpace { .. } | Self::Locked { .. } => true,
            Self::Io { source, .. } => is_transient_io(source),
            _ => false,
        }
    }

    /// An I/O error with its place; a full disk becomes [`Error::NoSpace`].
    pub(crate) fn io(path: &Path, operation: &'static str, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace { path },
            _ => Self::Io {
                path,
                operation,
                source: Arc::new(source),
            },
        }
    }

    /// Damage with its place.
    pub(crate) fn corrupt(path: &Path, position: u64, reason: Corruption) -> Self {
        Self::Corrupt {
            path: path.to_path_buf(),
            position,
            reason,
        }
    }
}

/// Too many open files, in this process or in all: numbers that `std` has no names for.
#[cfg(unix)]
const DESCRIPTORS_EXHAUSTED: [i32; 2] = [24, 23];
#[cfg(not(unix))]
const DESCRIPTORS_EXHAUSTED: [i32; 1] = [4];

fn is_transient_io(source: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, OutOfMemory, ResourceBusy, TimedOut, WouldBlock};

    let number = source.raw_os_error();
    number.is_some_and(|number| DESCRIPTORS_EXHAUSTED.contains(&number))
        || matches!(
            source.kind(),
            Interrupted | OutOfMemory | ResourceBusy | TimedOut | WouldBlock
        )
}

/// Who holds a lock, and what to do about it.
fn user_of_lock(pid: Option<u32>) -> String {
    match pid {
        Some(pid) if pid == std::process::id() => {
            "another handle of this process: share that handle; the log of a broker's partition is \
             got by Topic::partition"
                .to_owned()
        }
        Some(pid) => format!("process {pid}: close it there first, or wait with lock_timeout"),
        None => "another process or another handle: close it there first".to_owned(),
    }
}

/// The partition that an offset is about.
fn place_of(partition: Option<&TopicPartition>) -> String {
    partition.map_or_else(String::new, |of| {
        format!(" in partition {} of topic {}", of.partition, of.topic)
    })
}

fn unknown_partition(topic: &str, partition: PartitionId, not_assigned: bool) -> String {
    if not_assigned {
        format!("partition {partition} of topic {topic} is not assigned to this member")
    } else {
        format!("topic {topic} has no partition {partition}")
    }
}

/// The first of several failures, for the one line that a message has.
fn first_failure(failed: &[(PartitionId, Error)]) -> String {
    match failed {
        [] => "the rest is not".to_owned(),
        [(partition, error)] => format!("partition {partition} failed: {error}"),
        [(partition, error), more @ ..] => format!(
            "{} partitions failed, {partition} first: {error}",
            more.len().saturating_add(1)
        ),
    }
}

impl From<BadSetting> for Error {
    fn from(bad: BadSetting) -> Self {
        let BadSetting {
            name,
            value,
            expected,
        } = bad;
        Self::InvalidConfig {
            name,
            value,
            expected,
        }
    }
}

/// Gives an I/O result its place.
pub(crate) trait IoContext<T> {
    /// The same result, with the path and the verb that an error needs.
    fn at(self, path: &Path, operation: &'static str) -> Result<T>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn at(self, path: &Path, operation: &'static str) -> Result<T> {
        self.map_err(|source| Error::io(path, operation, source))
    }
}
