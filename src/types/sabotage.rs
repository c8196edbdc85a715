//! Wrongs that a test can switch on, one safeguard of the crate each: a proof that cannot fail
//! proves nothing.
//!
//! Knows nothing about what they break. In every build but the crate's own tests each is off for
//! good, and what it guards compiles to nothing.
//!
//! 1. A wrong is on for the thread that switched it on, and for no other.

/// A safeguard that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// A file is renamed into place without having been synced.
    RenameBeforeSync,
    /// A rename is not followed by a sync of its directory.
    RenameNotSynced,
    /// The name of a new segment is not synced before what is in it counts as flushed.
    NamesNotSynced,
    /// The name of a log's own directory is not synced.
    ParentNotSynced,
    /// The flushed mark moves without the sync that makes it true.
    MarkAheadOfSync,
    /// A segment that was rolled is not synced before the next one counts as flushed.
    SealedNotSynced,
    /// A batch is shown before it is written.
    PublishBeforeWrite,
    /// An append under `Always` is acknowledged before its sync.
    AcknowledgedBeforeSync,
    /// Readers of a log under `Always` see records that were not synced.
    ShownBeforeSync,
    /// A failed sync is forgotten, and the next one believed.
    LatchCleared,
    /// A truncation is not written down before it begins.
    TruncateWithoutIntent,
    /// A truncation that an opening finished may come back.
    IntentComesBack,
    /// Segments are deleted before the new start is durable.
    DeletedBeforeStart,
    /// A mark is written over the one that is durable.
    DurableMarkOverwritten,
    /// Index files are believed although they are not what was written.
    IndexTrusted,
    /// What recovery cuts off is deleted and not set aside.
    QuarantineDeleted,
    /// Recovery keeps segments behind a hole.
    KeptBehindHole,
    /// What recovery keeps above the mark is believed without having been written again.
    SuspectBelieved,
    /// The word that a log was closed is not synced.
    CloseNotSynced,
    /// Followers are woken before it is published what for.
    RungBeforePublished,
    /// What is appended while the bell is about to ring is not noted for the next time.
    NotedAfterPublished,
    /// The end of a writer is not heard by those who wait for it.
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
    /// Whether this wrong is done.
    #[cfg(not(test))]
    #[inline]
    #[expect(clippy::unused_self, reason = "the one of the tests looks at it")]
    pub(crate) const fn is_on(self) -> bool {
        false
    }

    /// Whether this wrong is done, on this thread (1).
    #[cfg(test)]
    pub(crate) fn is_on(self) -> bool {
        ON.get() == Some(self)
    }

    /// The wrongs of followers and of the bell that wakes them.
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

    /// Every wrong of a log and its files.
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

    /// Does it from now on, on this thread.
    #[cfg(test)]
    pub(crate) fn switch_on(self) {
        ON.set(Some(self));
    }
}

#[cfg(test)]
thread_local! {
    static ON: std::cell::Cell<Option<Sabotage>> = const { std::cell::Cell::new(None) };
}
