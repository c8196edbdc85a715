//! Faults that a test can switch on. Each leaves out one safeguard of the crate: a proof that
//! cannot fail proves nothing.
//!
//! Knows nothing about what they break. Outside the crate's own tests each is off and compiles to
//! nothing.
//!
//! 1. A fault is on for the thread that switched it on, and for no other.

/// A safeguard that is left out.
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
    /// Readers see a batch before it is written.
    PublishBeforeWrite,
    /// An append under `Always` returns before its sync.
    AcknowledgedBeforeSync,
    /// Readers of a log under `Always` see records that are not synced.
    ShownBeforeSync,
    /// A failed sync is forgotten, and the next one believed.
    LatchCleared,
    /// A truncation begins before its intent is written.
    TruncateWithoutIntent,
    /// A truncation that an opening finished may come back.
    IntentComesBack,
    /// Segments are deleted before the new start is durable.
    DeletedBeforeStart,
    /// A mark overwrites the one that is durable.
    DurableMarkOverwritten,
    /// Index files that are not what was written are believed.
    IndexTrusted,
    /// What recovery cuts off is deleted and not quarantined.
    QuarantineDeleted,
    /// Recovery keeps segments behind a hole.
    KeptBehindHole,
    /// What recovery keeps above the mark is not written again.
    SuspectBelieved,
    /// The mark that says that a log was closed is not synced.
    CloseNotSynced,
    /// Followers are woken before the reason is published.
    RungBeforePublished,
    /// An append while the bell is about to ring is not noted for the next ring.
    NotedAfterPublished,
    /// Waiting followers are not woken when their writer ends.
    ClosedUnheard,
    /// A follower does not see that segments were exchanged or cut.
    ExchangeUnseen,
    /// A follower begins to listen only after it has looked.
    ListenedLate,
    /// A follower shows what its writer has not flushed.
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

    /// Whether the fault is on for this thread (1).
    #[cfg(test)]
    pub(crate) fn is_on(self) -> bool {
        ON.get() == Some(self)
    }

    /// The faults of followers and of the bell that wakes them.
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

    /// The faults of a log and its files.
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
