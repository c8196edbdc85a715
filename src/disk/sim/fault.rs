//! The faults that a simulated disk can be told to have, and the names of its operations.
//!
//! Knows nothing about what a fault does to the code under test.

use std::io;
use std::path::PathBuf;

/// The kinds of operation, one for each call of the floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    CreateDir,
    List,
    Open,
    Create,
    Rename,
    RemoveFile,
    RemoveDir,
    SyncDir,
    Exists,
    Stat,
    SetModified,
    Lock,
    Read,
    Write,
    Len,
    SetLen,
    SyncData,
    Reserve,
    Map,
    /// A store into a mapped window: the one operation that cannot answer an error.
    Store,
}

impl Kind {
    /// Every kind.
    pub(crate) const ALL: [Self; 20] = [
        Self::CreateDir,
        Self::List,
        Self::Open,
        Self::Create,
        Self::Rename,
        Self::RemoveFile,
        Self::RemoveDir,
        Self::SyncDir,
        Self::Exists,
        Self::Stat,
        Self::SetModified,
        Self::Lock,
        Self::Read,
        Self::Write,
        Self::Len,
        Self::SetLen,
        Self::SyncData,
        Self::Reserve,
        Self::Map,
        Self::Store,
    ];

    /// Whether the operation can change what a power cut leaves.
    pub(crate) fn changes(self) -> bool {
        matches!(
            self,
            Self::CreateDir
                | Self::Create
                | Self::Rename
                | Self::RemoveFile
                | Self::RemoveDir
                | Self::SyncDir
                | Self::Lock
                | Self::Write
                | Self::SetLen
                | Self::SyncData
                | Self::Reserve
                | Self::Store
        )
    }
}

/// One operation that was made, for a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Operation {
    /// Its number, from 0.
    pub(crate) number: u64,
    /// What it was.
    pub(crate) kind: Kind,
    /// The file or directory, by the name it was opened under.
    pub(crate) path: PathBuf,
}

/// A failure to come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    /// When it strikes first.
    pub(crate) at: At,
    /// What the call answers.
    pub(crate) error: Failure,
    /// Whether it goes on.
    pub(crate) repeat: Repeat,
}

/// When a fault strikes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// At the operation of this number.
    Operation(u64),
    /// At the n-th operation of a kind, from 0, counted over the life of the disk.
    Nth(Kind, u64),
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The disk does not answer.
    Eio,
    /// The disk is full.
    Enospc,
    /// A signal came in between. Once, it is repeated inside this floor and nobody sees it;
    /// forever, it comes out.
    Eintr,
    /// Half of the bytes are written (or read), and then the disk is full (or does not answer).
    ShortWrite,
    /// Too many open files.
    Emfile,
}

impl Failure {
    /// Every failure.
    pub(crate) const ALL: [Self; 5] = [
        Self::Eio,
        Self::Enospc,
        Self::Eintr,
        Self::ShortWrite,
        Self::Emfile,
    ];

    /// The answer of a call that fails so.
    pub(crate) fn error(self) -> io::Error {
        io::Error::from_raw_os_error(match self {
            Self::Eio => libc::EIO,
            Self::Enospc | Self::ShortWrite => libc::ENOSPC,
            Self::Eintr => libc::EINTR,
            Self::Emfile => libc::EMFILE,
        })
    }

    /// Whether a fault that goes on also strikes operations of this kind.
    fn spreads_to(self, kind: Kind) -> bool {
        match self {
            Self::Eio | Self::Eintr => true,
            Self::Enospc | Self::ShortWrite => matches!(
                kind,
                Kind::CreateDir
                    | Kind::Create
                    | Kind::Rename
                    | Kind::Write
                    | Kind::Reserve
                    | Kind::SyncData
                    | Kind::SyncDir
            ),
            Self::Emfile => matches!(
                kind,
                Kind::Open | Kind::Create | Kind::List | Kind::Lock | Kind::SyncDir
            ),
        }
    }
}

/// Whether a fault goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// It strikes one operation.
    Once,
    /// It strikes that operation and then every one that such a failure can meet (of the same kind
    /// when it is told by kind), until the disk is healed.
    Forever,
}

impl Fault {
    /// Whether it strikes this operation, the `nth` of its kind.
    pub(super) fn strikes(&self, number: u64, kind: Kind, nth: u64) -> bool {
        let (first, passed) = match self.at {
            At::Operation(at) => (at == number, number > at && self.error.spreads_to(kind)),
            At::Nth(of, at) => (of == kind && at == nth, of == kind && nth > at),
        };
        first || (passed && self.repeat == Repeat::Forever)
    }
}

/// What becomes of unsynced changes when a sync fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum SyncFailure {
    /// They are lost and yet stay readable until the file leaves the cache, and the next sync
    /// succeeds: ext4, XFS. Names stay for the next sync.
    #[default]
    LostKept,
    /// They are lost, and reads show what the disk has: btrfs.
    LostReverted,
    /// They stay, and the next sync writes them.
    KeptDirty,
}

/// A call that came too early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    /// A file was renamed with unsynced bytes: the new name may come to stand for less.
    RenamedUnsynced(PathBuf),
    /// A file was written behind a cut that was not synced: old bytes may come back after the new
    /// ones. Harmless where readers take whatever follows for garbage.
    WrittenBehindCut(PathBuf),
}
