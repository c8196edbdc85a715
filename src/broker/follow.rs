//! A root that another process writes: its topics, as they are now.
//!
//! Knows nothing about logs, which follow by themselves.
//!
//! 1. The files that list the topics are read again only when one of them has changed. Their signs
//!    are read first, so a change meanwhile is found the next time.
//! 2. A topic is known by its id: one of the same name with another id is another topic, and the
//!    handles of the first say that it is gone.
//! 3. A root may pass from us to a Kafka broker and back while it is followed. The marks of logs
//!    are used only while the root is ours.

use std::sync::Arc;

use crate::error::Result;
use crate::log::{RootSigns, is_live, look_until_it_counts};
use crate::recovery::OpenMode;
use crate::sync::WakeLater;

use super::catalog::Catalog;
use super::root::Root;
use super::signs::CatalogSigns;
use super::state::CatalogState;
use super::{Broker, rest};

impl Root {
    pub(super) fn look_when_asked(self: &Arc<Self>) {
        if self.mode == OpenMode::Write {
            return;
        }
        let root = Arc::downgrade(self);
        self.host.set_topic_check(move || {
            if let Some(root) = root.upgrade() {
                // A caller that asks for a topic gets the error.
                root.follow().ok();
            }
        });
    }

    /// Takes over what another process has changed; does nothing in a root that is written here.
    pub(super) fn follow(&self) -> Result<()> {
        if self.mode == OpenMode::Write {
            return Ok(());
        }
        self.check_open()?;
        // Closes the logs of topics that are gone, which wakes the threads that wait for them.
        let _later = WakeLater::begin();
        let mut seen = self.signs.lock();
        let signs = CatalogSigns::of(&self.host.disk, &self.path);
        if signs == *seen {
            return Ok(());
        }
        let state = self.inspect_catalog()?;
        self.go_on_with(&state);
        self.catalog.lock().replace(state)?;
        *seen = signs;
        Ok(())
    }

    fn inspect_catalog(&self) -> Result<CatalogState> {
        let (host, path, config) = (&self.host, &self.path, &self.config);
        let signs = || RootSigns::of(&host.disk, path);
        let look = || {
            let found = rest::inspect(&host.disk, &host.clock, path, config, self.mode)?;
            host.marks.believe(&host.disk, !found.is_newer())?;
            let own = Catalog::look_now(host, path)?;
            Ok(found.catalog(&own, config).unwrap_or(own))
        };
        look_until_it_counts(&host.clock, signs, look).map(|(state, _)| state)
    }

    /// Ends, adds and changes topics to match the catalog.
    fn go_on_with(&self, state: &CatalogState) {
        for topic in self.directory.all() {
            let entry = state.find(topic.name());
            if entry.is_none_or(|entry| entry.id != topic.id()) {
                self.end_topic(topic.name().as_str());
            }
        }
        for entry in state.topics() {
            let config = entry.config().0;
            match self.directory.find_shared(entry.name.as_str()) {
                None => self.directory.insert(self.topic_of(entry, config)),
                Some(topic) if *topic.config() == config => {}
                Some(topic) => {
                    // A log whose settings cannot be applied is read with the old ones.
                    topic.reconfigure(config).ok();
                    self.directory.tell();
                }
            }
        }
    }
}

impl Broker {
    /// Whether a writer has the directory open: this handle, or, for one opened for reading, any
    /// other in any process, such as a running Kafka broker. This is about this moment: a writer
    /// holds a lock, which the system releases when the process ends in any way. Where the system
    /// cannot tell (some network file systems), it is false.
    ///
    /// # Examples
    ///
    /// ```
    /// use ottla::Broker;
    ///
    /// # let scratch = tempfile::tempdir()?;
    /// # let dir = scratch.path().join("data");
    /// let writer = Broker::open(&dir)?;
    /// let follower = Broker::open_read_only(&dir)?;
    /// assert!(writer.is_live() && follower.is_live());
    /// writer.close()?;
    /// assert!(!writer.is_live() && !follower.is_live());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_live(&self) -> bool {
        let root = &self.core.root;
        let open = root.check_open().is_ok();
        open && (root.mode == OpenMode::Write || is_live(&root.host.disk, &root.path))
    }
}
