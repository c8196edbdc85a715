//! What a consumer subscribes to, and how it changes that.
//!
//! Knows nothing about who gets which partition. A pattern is matched again, with no lock held, in
//! the poll after a topic was added or removed.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use crate::error::Result;

use super::super::subscribed;
use super::Consumer;

pub(super) struct Pattern {
    matches: Box<dyn Fn(&str) -> bool + Send>,
    /// The version of the topics that were matched last.
    seen: Option<u64>,
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pattern")
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}

impl Consumer {
    /// Subscribes to these topics, existing or not, instead of the previous ones. The next poll
    /// gives up the partitions of other topics, and takes its share of these.
    ///
    /// # Errors
    ///
    /// - [`Error::InvalidConfig`](crate::Error::InvalidConfig): the list is empty.
    /// - [`Error::Closed`](crate::Error::Closed).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use ottla::{Broker, TopicConfig};
    ///
    /// # let scratch = tempfile::tempdir()?;
    /// # let broker = Broker::open(scratch.path().join("data"))?;
    /// broker.create_topic("flights", TopicConfig::default())?;
    /// broker.create_topic("gates", TopicConfig::default())?.append("gate 7 opens")?;
    /// let mut consumer = broker.group("departure-board")?.join(["flights"])?;
    /// assert_eq!(consumer.poll(Duration::ZERO)?.len(), 0);
    ///
    /// consumer.subscribe(["flights", "gates"])?;
    /// assert_eq!(consumer.poll(Duration::ZERO)?.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn subscribe<S: AsRef<str>>(&mut self, topics: impl IntoIterator<Item = S>) -> Result<()> {
        self.group.shared.check_owner()?;
        let topics = subscribed(topics)?;
        self.group.shared.check_open()?;
        self.pattern = None;
        self.set_topics(topics);
        Ok(())
    }

    /// Subscribes to every topic whose name `matches`, including later ones. Kafka's own topics,
    /// such as `__consumer_offsets`, are never matched.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`](crate::Error::Closed).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use ottla::{Broker, TopicConfig};
    ///
    /// # let scratch = tempfile::tempdir()?;
    /// # let broker = Broker::open(scratch.path().join("data"))?;
    /// let mut consumer = broker.group("audit")?.join(["flights"])?;
    /// consumer.subscribe_matching(|name| name.starts_with("flights-"))?;
    ///
    /// broker.create_topic("flights-eu", TopicConfig::default())?.append("departed")?;
    /// assert_eq!(consumer.poll(Duration::ZERO)?.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn subscribe_matching(
        &mut self,
        matches: impl Fn(&str) -> bool + Send + 'static,
    ) -> Result<()> {
        self.group.shared.check_owner()?;
        self.group.shared.check_open()?;
        self.pattern = Some(Pattern {
            matches: Box::new(matches),
            seen: None,
        });
        self.match_pattern();
        Ok(())
    }

    pub(super) fn match_pattern(&mut self) {
        let Some(pattern) = &mut self.pattern else {
            return;
        };
        let topics = &self.group.shared.topics;
        // Read before the names: a topic that is added between the two is found by the next check.
        let version = topics.version();
        if pattern.seen == Some(version) {
            return;
        }
        pattern.seen = Some(version);
        let names = topics.names().into_iter();
        let matched = names.filter(|name| (pattern.matches)(name)).collect();
        self.set_topics(matched);
    }

    fn set_topics(&mut self, topics: BTreeSet<Arc<str>>) {
        if self.joining.topics != topics {
            self.joining.topics = topics;
            self.group.resubscribe(self.seat.id, &self.joining.topics);
        }
    }
}
