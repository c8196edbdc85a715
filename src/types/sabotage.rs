//! Wrongs that a test can switch on, one safeguard of the crate each: a proof that cannot fail
//! proves nothing.
//!
//! Knows nothing about what they break. Outside the crate's own tests each is off for good, and
//! what it guards compiles to nothing.
//!
//! 1. A wrong is on for the thread that switched it on, and for no other.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// A file is renamed into place unsynced.
    RenameBeforeSync,
    /// The directory of a rename is not synced.
    RenameNotSynced,
    /// The name of a new segment is not synced before its contents count as flushed.
    NamesNotSynced,
    /// The name of a log's own directory is not synced.
    ParentNotSynced,
    /// The flushed mark moves without the sync that makes it true.
    MarkAheadOfSync,
    /// A rolled segment is not synced before the next one counts as flushed.
    SealedNotSynced,
    PublishBeforeWrite,
    /// An append under `Always`.
    AcknowledgedBeforeSync,
    /// Records of a log under `Always`.
    ShownBeforeSync,
    /// A failed sync is forgotten, and the next one believed.
    LatchCleared,
    TruncateWithoutIntent,
    /// A truncation that an opening finished may come back.
    IntentComesBack,
    DeletedBeforeStart,
    DurableMarkOverwritten,
    /// Index files that are not what was written are believed.
    IndexTrusted,
    /// What recovery cuts off is not set aside.
    QuarantineDeleted,
    /// Recovery keeps segments behind a hole.
    KeptBehindHole,
    /// What recovery keeps above the mark is not written again.
    SuspectBelieved,
    CloseNotSynced,
    /// Followers are woken before it is published what for.
    RungBeforePublished,
    /// What is appended while the bell is about to ring is not noted.
    NotedAfterPublished,
    ClosedUnheard,
    /// A follower does not see that segments were exchanged or cut.
    ExchangeUnseen,
    /// A follower begins to listen only after it has looked.
    ListenedLate,
    UnflushedFollowed,
    /// A follower takes a segment for the one that it knows by its base offset alone.
    SegmentsBelieved,
}

impl Sabotage {
    #[cfg(not(test))]
    #[inline]
    #[expect(clippy::unused_self, reason = "the one of the tests looks at it")]
    pub(crate) const fn is_on(self) -> bool {
        false
    }

    /// Whether it is on for this thread (1).
    #[cfg(test)]
    pub(crate) fn is_on(self) -> bool {
        ON.get() == Some(self)
    }

    /// Of followers and of the bell that wakes them.
    #[cfg(all(test, ottla_shuttle))]
    pub(crate) const OF_FOLLOWERS: [Self; 7] = [
        Self::RungBeforePublished,
        Self::NotedAfterPublished,
        Self::ClosedUnheard,
        Self::ExchangeUnseen,
        Self::ListenedLate,
        Self::UnflushedFollowed,
        Self::SegmentsBelieved,
    ];

    /// Of a log and its files.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 19] = [
        Self::RenameBeforeSync,
        Self::RenameNotSynced,
        Self::NamesNotSynced,
        Self::ParentNotSynced,
        Self::MarkAheadOfSync,
        Self::SealedNotSynced,
        Self::PublishBeforeWrite,
        Self::AcknowledgedBeforeSync,
        Self::ShownBeforeSync,
        Self::LatchCleared,
        Self::TruncateWithoutIntent,
        Self::IntentComesBack,
        Self::DeletedBeforeStart,
        Self::DurableMarkOverwritten,
        Self::IndexTrusted,
        Self::QuarantineDeleted,
        Self::KeptBehindHole,
        Self::SuspectBelieved,
        Self::CloseNotSynced,
    ];

    #[cfg(test)]
    pub(crate) fn switch_on(self) {
        ON.set(Some(self));
    }
}

#[cfg(test)]
thread_local! {
    static ON: std::cell::Cell<Option<Sabotage>> = const { std::cell::Cell::new(None) };
}
