//! Which groups are in memory, what they do when the end of a log goes back, and which are too old.
//!
//! Knows nothing about what happens inside a group.
//!
//! 1. A commit is checked against the epochs of its log under the lock of its group. After a
//!    truncation commits are set back under the same lock, with the new epoch in place: a commit is
//!    either there to be set back, or finds the new epoch.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::host::Followers;
use crate::sync::Mutex;
use crate::types::{GroupId, Offset, Timestamp, TopicPartition};

use super::group::{Group, GroupShared};
use super::membership::Membership;

#[derive(Debug)]
pub(super) struct Roster {
    shared: Arc<GroupShared>,
    groups: Mutex<BTreeMap<GroupId, Weak<Group>>>,
    retention: Option<Duration>,
}

impl Roster {
    pub(super) fn new(shared: Arc<GroupShared>, retention: Option<Duration>) -> Self {
        Self {
            shared,
            groups: Mutex::default(),
            retention,
        }
    }

    pub(super) fn find(&self, id: &str) -> Result<Arc<Group>> {
        let id = GroupId::new(id).map_err(|reason| Error::InvalidName {
            name: id.to_owned(),
            reason,
        })?;
        let mut groups = self.groups.lock();
        if let Some(group) = groups.get(&id).and_then(Weak::upgrade) {
            return Ok(group);
        }
        groups.retain(|_, group| group.strong_count() > 0);
        let group = Group::new(id.clone(), Arc::clone(&self.shared));
        groups.insert(id, Arc::downgrade(&group));
        Ok(group)
    }

    pub(super) fn live(&self) -> Vec<Arc<Group>> {
        self.groups
            .lock()
            .values()
            .filter_map(Weak::upgrade)
            .collect()
    }

    /// Forgets a group that has had no members and committed nothing since a time; false if it has.
    fn expire(&self, id: &str, since: Timestamp) -> Result<bool> {
        let (group, store) = (self.find(id)?, &self.shared.store);
        let left = self.shared.emptied_at(&group.id);
        // A group whose static members may come back has members.
        if left.is_some_and(|left| left > since) || !group.look(Membership::is_empty) {
            return Ok(false);
        }
        let forgotten = group.while_empty(|| {
            // It may have committed since it was found.
            if store
                .unused_since(since)?
                .iter()
                .any(|unused| **unused == *id)
            {
                store.forget_group(id)
            } else {
                Ok(false)
            }
        });
        match forgotten {
            Err(Error::GroupNotEmpty { .. }) => Ok(false),
            Ok(true) => {
                self.shared.forget_emptied(&group.id);
                Ok(true)
            }
            other => other,
        }
    }

    /// Returns when all commits that are under way are written.
    pub(super) fn await_commits(&self) {
        for group in self.live() {
            group.between_commits(|| ());
        }
    }
}

impl Followers for Roster {
    fn upkeep(&self) -> Result<u64> {
        // Members that are late are removed, which wakes those that take over.
        for group in self.live() {
            group.look(|_| ());
        }
        let Some(retention) = self.retention else {
            return Ok(0);
        };
        let since = self.shared.host.clock.now().minus(retention);
        let mut forgotten = 0_u64;
        for id in self.shared.store.unused_since(since)? {
            forgotten = forgotten.saturating_add(u64::from(self.expire(&id, since)?));
        }
        Ok(forgotten)
    }

    fn check(&self) -> Result<()> {
        // What is in a damaged partition could not be set back.
        let damage = self.shared.store.look_for_damage()?.into_iter().next();
        damage.map_or(Ok(()), |(_, error)| Err(error))
    }

    fn set_back(&self, of: &TopicPartition, end: Offset) -> Result<()> {
        let store = &self.shared.store;
        // After that, the store knows groups that have committed for the first time, too (I1).
        self.await_commits();
        for id in store.groups()? {
            let set_back = || {
                // If the commits of a group cannot be read, none can be set back.
                let mut commits = store.all_committed(&id).unwrap_or_default();
                commits
                    .retain(|commit| commit.topic == of.topic && commit.partition == of.partition);
                if commits.is_empty() {
                    return Ok(());
                }
                commits.retain(|commit| commit.offset > end);
                for commit in &mut commits {
                    commit.offset = end;
                }
                store.set_back(&id, &commits)?;
                // Syncs also what an earlier call has written and could not sync.
                store.flush(&id)
            };
            // A group of Kafka's without a name has no handle here, and no member that commits.
            match self.find(&id) {
                Ok(group) => group.between_commits(set_back)?,
                Err(_) => set_back()?,
            }
        }
        Ok(())
    }
}
