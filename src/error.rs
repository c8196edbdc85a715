//! The one public error type. Imports from floors 0 and 1 only.
//!
//! Knows nothing about the code that returns it. A variant has the values that a caller needs to
//! act; its documentation says what is still true and what to do.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::format::{Corruption, EncodeError};
use crate::types::{AppendedBatch, BadSetting, Epoch, Offset, PartitionId, TopicPartition};

/// The result of a fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong, by what a caller can do. Cheap to clone.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A call to the operating system failed. Records that were acknowledged before are not
    /// affected, and the log stays usable.
    #[error("cannot {operation} {}: {source}", path.display())]
    #[non_exhaustive]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What failed, as a verb: `open`, `write`, `list`.
        operation: &'static str,
        /// The error of the operating system.
        source: Arc<io::Error>,
    },

    /// The disk (or a quota) is full. Nothing of the refused append is in the log. Free some space,
    /// for example by retention, and retry.
    #[error("no space left on the disk for {}: free some and try again", path.display())]
    #[non_exhaustive]
    NoSpace {
        /// The file that could not grow.
        path: PathBuf,
    },

    /// Bytes that were safely on the disk have changed or are missing. Nothing was truncated or
    /// deleted.
    #[error("{} is damaged at byte {position}: {reason}", path.display())]
    #[non_exhaustive]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// In bytes from the start of the file.
        position: u64,
        /// What is wrong there.
        reason: Corruption,
    },

    /// A sync failed earlier, or a change of several files failed half-way. What it covered may or
    /// may not be on the disk, so this log accepts no more appends and confirms nothing. Reading
    /// still works. Reopen the log to continue from what is on the disk.
    #[error(
        "a sync of {} failed ({cause}): nothing is confirmed any more; close the log and open it again",
        path.display()
    )]
    #[non_exhaustive]
    Poisoned {
        /// The file or directory whose sync failed.
        path: PathBuf,
        /// The error of that sync.
        #[source]
        cause: Arc<io::Error>,
    },

    /// Another handle, in this process or another one, has the directory open for writing.
    #[error("{} is in use by {}", path.parent().unwrap_or(path).display(), user_of_lock(*pid))]
    #[non_exhaustive]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// The process that took the lock last, if it uses this crate.
        pid: Option<u32>,
    },

    /// The log or broker was opened read-only.
    #[error("it was opened read-only")]
    ReadOnly,

    /// Only the broker itself writes Kafka's internal topics, such as `__consumer_offsets`.
    #[error("topic {topic} is internal: it is read-only for everybody but the broker itself")]
    #[non_exhaustive]
    InternalTopic {
        /// The topic.
        topic: String,
    },

    /// The offset cannot be read (or truncated at): records below `start` were deleted, records
    /// from `end` on do not exist yet.
    #[error("offset {requested} is outside {start}..{end}{}", place_of(partition.as_ref()))]
    #[non_exhaustive]
    OffsetOutOfRange {
        /// The partition, if the log belongs to a topic.
        partition: Option<TopicPartition>,
        /// The offset that was requested.
        requested: Offset,
        /// The first offset of the log.
        start: Offset,
        /// The next offset to be assigned.
        end: Offset,
    },

    /// The records below the offset have changed since the caller got it: the log was truncated, or
    /// a crash lost its end, and the offsets from `end` on were or will be assigned again. What was
    /// derived from records at or above `end` is invalid, the rest still valid. Go back to a state
    /// that reaches no further than `end`, and read on from there.
    #[error(
        "offset {requested} of epoch {epoch}{} was cut off: the log of that epoch ends at {end}",
        place_of(partition.as_ref())
    )]
    #[non_exhaustive]
    Truncated {
        /// The partition, if the log belongs to a topic.
        partition: Option<TopicPartition>,
        /// The offset that was requested.
        requested: Offset,
        /// The epoch that was requested with it.
        epoch: Epoch,
        /// Where the log diverges from what the caller has read: the end of that epoch, or the
        /// start of the log if it never had it, because then nothing is known to be common.
        end: Offset,
    },

    /// The encoded record or batch is larger than the log accepts.
    #[error("a batch of {size} bytes is larger than the {limit} that max.message.bytes allows")]
    #[non_exhaustive]
    RecordTooLarge {
        /// The size of the batch in bytes.
        size: u64,
        /// The log's `max_message_bytes`.
        limit: u64,
    },

    /// One call appended records to several partitions, and some of them failed. Each appends in
    /// order: of a failed partition, `appended` lists the first records.
    #[error("{} of the batches are appended, and {}", appended.len(), first_failure(failed))]
    #[non_exhaustive]
    PartlyAppended {
        /// What was appended, as the call would have returned it.
        appended: Vec<AppendedBatch>,
        /// The partitions that did not append all of their records; at least one.
        failed: Vec<(PartitionId, Error)>,
    },

    /// The log does not end where a conditional append expected it to: another writer appended
    /// or truncated first. Nothing was written. Read what is new, decide again, and retry with the
    /// new end.
    #[error(
        "the log ends at offset {end} and not at {expected}: look at what is new and try again"
    )]
    #[non_exhaustive]
    EndMoved {
        /// The end that the caller expected.
        expected: Offset,
        /// The actual end of the log.
        end: Offset,
    },

    /// The record is not valid for this log. Nothing of its batch was appended.
    #[error("the record cannot be stored: {reason}")]
    #[non_exhaustive]
    InvalidRecord {
        /// What is wrong with it.
        reason: &'static str,
    },

    /// The codec of a [`TypedTopic`](crate::TypedTopic) cannot encode a value. Nothing was
    /// appended.
    #[error("a value for topic {topic} cannot be encoded: {source}")]
    #[non_exhaustive]
    Unencodable {
        /// The topic.
        topic: String,
        /// The codec's error.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },

    /// The codec of a [`TypedTopic`](crate::TypedTopic) cannot decode a record. The next read
    /// continues after it: skip it, or append it to a dead-letter topic.
    #[error("the record at offset {offset} of {topic}-{partition} cannot be decoded: {source}")]
    #[non_exhaustive]
    Undecodable {
        /// The topic.
        topic: String,
        /// The partition.
        partition: PartitionId,
        /// The offset.
        offset: Offset,
        /// The codec's error.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },

    /// A setting is unknown or out of its bounds.
    #[error("setting {name} cannot be {value}: expected {expected}")]
    #[non_exhaustive]
    InvalidConfig {
        /// The setting, under Kafka's name if Kafka has it.
        name: String,
        /// The refused value.
        value: String,
        /// The accepted values.
        expected: String,
    },

    /// The name is not a valid name of a topic or group.
    #[error("{name:?} cannot be used: {reason}")]
    #[non_exhaustive]
    InvalidName {
        /// The name.
        name: String,
        /// The rule that it breaks.
        reason: &'static str,
    },

    /// A topic of this name already exists.
    #[error("topic {name} exists")]
    #[non_exhaustive]
    TopicExists {
        /// The topic.
        name: String,
    },

    /// The topic does not exist, or it was deleted.
    #[error("there is no topic {name}")]
    #[non_exhaustive]
    UnknownTopic {
        /// The topic.
        name: String,
    },

    /// The topic has no partition of this number, or it is not assigned to this member.
    #[error("{}", unknown_partition(topic, *partition, *not_assigned))]
    #[non_exhaustive]
    UnknownPartition {
        /// `true` if a consumer was asked about a partition that is not assigned to it, `false` if
        /// the topic has no such partition.
        not_assigned: bool,
        /// The topic.
        topic: String,
        /// The partition.
        partition: PartitionId,
    },

    /// The group does not exist: it has no members and has committed nothing.
    #[error("there is no group {group}")]
    #[non_exhaustive]
    UnknownGroup {
        /// The group.
        group: String,
    },

    /// The operation requires a group without members.
    #[error("group {group} has members")]
    #[non_exhaustive]
    GroupNotEmpty {
        /// The group.
        group: String,
    },

    /// This member was removed from its group (it did not poll in time, or another member took its
    /// static id), and other members may have its partitions. Nothing was committed; its next poll
    /// joins again.
    #[error(
        "member {member} was thrown out of group {group} after generation {generation}: {reason}"
    )]
    #[non_exhaustive]
    Fenced {
        /// The interval that has passed, or the other member.
        reason: String,
        /// The group.
        group: String,
        /// The member.
        member: String,
        /// The last generation of the member.
        generation: u64,
    },

    /// The group has committed no offset for this partition, or the records at that offset were
    /// deleted, and [`ConsumerConfig::start`](crate::ConsumerConfig::start) is `None`.
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

    /// A [`WakeupHandle`](crate::WakeupHandle) interrupted the wait. Nothing was lost; the next
    /// call continues.
    #[error("woken up")]
    WokenUp,

    /// The data or the operation needs something that this build, version or crate lacks.
    #[error("not supported: {what}")]
    #[non_exhaustive]
    Unsupported {
        /// What is missing, and what to do about it.
        what: String,
    },

    /// The handle was opened before this process was forked from the one that opened it. Nothing
    /// was done: the log, topic or broker keeps working in the parent. Dropping the handle in the
    /// child only closes descriptors. In the child, open the directory read-only, or open it for
    /// writing only after the fork.
    #[error("opened by the process that this one was forked from")]
    Forked,

    /// The log, topic or broker was closed, or the topic of this handle was deleted.
    #[error("it was closed")]
    Closed,
}

/// The variant of an [`Error`] without the values.
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
    /// What cannot be encoded; `limit` is the size that it may have.
    pub(crate) fn refused(error: EncodeError, limit: u64) -> Self {
        match error {
            EncodeError::Invalid(reason) => Self::InvalidRecord { reason },
            EncodeError::TooLarge { size } => Self::RecordTooLarge { size, limit },
            EncodeError::Unsupported(what) => Self::Unsupported {
                what: what.to_owned(),
            },
        }
    }

    /// Returns the kind of this error.
    ///
    /// # Examples
    ///
    /// ```
    /// use ottla::{Broker, ErrorKind};
    ///
    /// let broker = Broker::temporary()?;
    /// let missing = broker.topic("flights").unwrap_err();
    /// assert_eq!(missing.kind(), ErrorKind::UnknownTopic);
    /// assert!(!missing.is_transient());
    /// # Ok::<(), ottla::Error>(())
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

    /// Returns whether the same call may succeed later, without a change to the program or its
    /// data: after a full disk, a locked directory, too many open files, or an interrupted system
    /// call. The failed call changed nothing.
    ///
    /// Returns `false` for [`Error::EndMoved`] and [`Error::Fenced`]: the same call would fail
    /// again, so read the new state first.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::NoSpace { .. } | Self::Locked { .. } => true,
            Self::Io { source, .. } => is_transient_io(source),
            _ => false,
        }
    }

    /// A full disk becomes [`Error::NoSpace`].
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

    pub(crate) fn corrupt(path: &Path, position: u64, reason: Corruption) -> Self {
        Self::Corrupt {
            path: path.to_path_buf(),
            position,
            reason,
        }
    }
}

/// Too many open files, in this process or system-wide; `std` has no [`io::ErrorKind`] for them.
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

/// Describes the holder of a lock, and what to do about it.
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

/// Adds path and operation to an [`io::Error`].
pub(crate) trait IoContext<T> {
    fn at(self, path: &Path, operation: &'static str) -> Result<T>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn at(self, path: &Path, operation: &'static str) -> Result<T> {
        self.map_err(|source| Error::io(path, operation, source))
    }
}
