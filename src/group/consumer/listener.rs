//! User code that is called before partitions are given up and after they were gained.
//!
//! Knows nothing about how partitions move.

use std::fmt;

use crate::types::TopicPartition;

use super::Consumer;

/// Is called when its [`Consumer`] gains and loses partitions, as Kafka's
/// `ConsumerRebalanceListener`: see
/// [`ConsumerGroup::join_listening`](crate::ConsumerGroup::join_listening).
///
/// Every method is called inside [`Consumer::poll`] (or [`Consumer::leave`]), on that thread, with
/// no lock held. A member with a listener gives partitions up only in its own polls:
/// [`on_revoke`](Self::on_revoke) always comes before the next owner may read.
pub trait RebalanceListener: Send {
    /// These partitions pass to other members when this returns. They are still this member's: what
    /// it does not commit is delivered again to the next owner.
    fn on_revoke(&mut self, consumer: &mut Consumer, partitions: &[TopicPartition]);

    /// These partitions were gained. Nothing was read from them yet; the listener may seek.
    fn on_assign(&mut self, consumer: &mut Consumer, partitions: &[TopicPartition]) {
        let _ = (consumer, partitions);
    }

    /// These partitions were lost without a chance to commit: the member was removed, and others
    /// may already read them.
    fn on_lost(&mut self, consumer: &mut Consumer, partitions: &[TopicPartition]) {
        let _ = (consumer, partitions);
    }
}

pub(super) struct Listener(pub(super) Box<dyn RebalanceListener>);

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}
