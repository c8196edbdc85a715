//! All groups of one root.
//!
//! Knows nothing about what happens inside a group. A group is in memory while there is a handle on
//! it; its commits are in the store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::host::Host;
use crate::log::Log;
use crate::recovery::OpenEvent;
use crate::topic::TopicDirectory;
use crate::types::{GroupId, PartitionId, ReadIsolation};

use super::group::{Group, GroupShared};
use super::info::{GroupInfo, GroupPartition, MemberInfo};
use super::membership::{MemberId, Membership};
use super::metrics::Tally;
use super::offset_store::{Commit, OffsetLogs, OffsetStore, cannot_be_read};
use super::partition::PartitionKey;
use super::roster::Roster;
use super::topics::Topics;
use super::{ConsumerGroup, GroupState};

pub(crate) struct CoordinatorSource {
    pub(crate) host: Arc<Host>,
    pub(crate) directory: Arc<TopicDirectory>,
    /// `__consumer_offsets`, with the durability of the broker.
    pub(crate) offsets: Box<dyn OffsetLogs>,
    pub(crate) read_only: bool,
    /// See [`OffsetStore::new`].
    pub(crate) tidied: bool,
    /// How long the commits of a group without members are kept, if not for good.
    pub(crate) retention: Option<Duration>,
}

#[derive(Debug)]
pub(crate) struct Coordinator {
    pub(super) shared: Arc<GroupShared>,
    roster: Arc<Roster>,
}

impl Coordinator {
    pub(crate) fn new(source: CoordinatorSource) -> Self {
        let CoordinatorSource {
            host,
            directory,
            offsets,
            read_only,
            tidied,
            retention,
        } = source;
        let store = OffsetStore::new(offsets, Arc::clone(&host), read_only, tidied);
        let shared = GroupShared::new(Arc::clone(&host), Topics::new(directory), store, read_only);
        let roster = Arc::new(Roster::new(Arc::clone(&shared), retention));
        let follower = Arc::downgrade(&roster);
        host.follow(follower);
        Self { shared, roster }
    }

    /// The handle keeps the broker open. A group exists as soon as it is asked for.
    pub(crate) fn group(&self, id: &str) -> Result<ConsumerGroup> {
        self.shared.check_open()?;
        let broker = self.shared.topics.broker();
        Ok(ConsumerGroup::new(self.roster.find(id)?, broker))
    }

    /// Groups that have members, commits or have begun to read, by id. Reads all of
    /// `__consumer_offsets`; groups of damaged partitions are left out.
    pub(crate) fn list(&self) -> Result<Vec<GroupInfo>> {
        self.shared.begin_to_look()?;
        let with_members = self
            .roster
            .live()
            .into_iter()
            .filter(|group| !group.look(Membership::is_empty));
        let mut ids: BTreeSet<_> = with_members.map(|group| group.id.to_string()).collect();
        ids.extend(
            self.shared
                .store
                .groups()?
                .iter()
                .map(|id| id.as_ref().to_owned()),
        );
        let mut infos = Vec::with_capacity(ids.len());
        // A record may name a group with an invalid id, on which there can be no handle.
        for id in ids.into_iter().filter(|id| GroupId::new(id).is_ok()) {
            match describe_now(&*self.roster.find(&id)?) {
                Err(error) if cannot_be_read(&error) => {}
                // The topics that it has read are gone.
                Ok(info) if info.members.is_empty() && info.partitions.is_empty() => {}
                info => infos.push(info?),
            }
        }
        Ok(infos)
    }

    pub(crate) fn damage(&self) -> Vec<(PartitionId, Error)> {
        self.shared.store.damage()
    }

    pub(crate) fn look_for_damage(&self) -> Result<Vec<(PartitionId, Error)>> {
        self.shared.check_open()?;
        self.shared.store.look_for_damage()
    }

    pub(crate) fn delete(&self, id: &str) -> Result<()> {
        let group = self.roster.find(id)?;
        if group.while_empty(|| self.shared.store.forget_group(id))? {
            self.shared.forget_emptied(&group.id);
            Ok(())
        } else {
            Err(Error::UnknownGroup {
                group: id.to_owned(),
            })
        }
    }

    /// See [`OffsetStore::forget_topic`]: the directory no longer knows the topic. After an error,
    /// opening the broker again finishes it.
    pub(crate) fn forget_topic(
        &self,
        name: &str,
        only: Option<&BTreeSet<PartitionId>>,
    ) -> Result<BTreeSet<PartitionId>> {
        // A commit under way has checked that the topic exists; a later one will find that it does
        // not.
        self.roster.await_commits();
        self.shared.store.forget_topic(name, only)
    }

    /// Repairs what a crash may have left, before anything is appended, after every opening that
    /// was not clean: commits past the end of their partition, whose last records are gone, are set
    /// back to the end, with an event; commits on topics that are gone are forgotten.
    ///
    /// # Errors
    ///
    /// The first error of reading and writing `__consumer_offsets`, after all other groups were
    /// handled. Partitions whose own log cannot be used are left alone, and so are the groups of
    /// damaged partitions of `__consumer_offsets`: see [`damage`](Self::damage).
    ///
    /// `left` gets the logs for which a commit past the end may not have been set back durably.
    pub(crate) fn recover(&self, events: &mut Vec<OpenEvent>, left: &mut Vec<Log>) -> Result<()> {
        let store = &self.shared.store;
        let mut outcome = Ok(());
        let mut gone = BTreeSet::new();
        for group in store.groups()? {
            let (mut back, mut logs) = (Vec::new(), Vec::new());
            let commits = match store.all_committed(&group) {
                Ok(commits) => commits,
                Err(error) => {
                    outcome = outcome.and(Err(error));
                    continue;
                }
            };
            for commit in commits {
                let Some(shape) = self.shared.topics.shape(&commit.topic) else {
                    gone.insert(commit.topic);
                    continue;
                };
                let partition = shape.key.partition(commit.partition);
                let Ok(log) = self.shared.topics.log(&partition) else {
                    continue;
                };
                let end = log.end_offset();
                if commit.offset > end {
                    events.push(OpenEvent::CommitSetBack {
                        group: group.as_ref().to_owned(),
                        topic: commit.topic.as_ref().to_owned(),
                        partition: commit.partition,
                        committed: commit.offset,
                        end,
                    });
                    back.push(Commit {
                        offset: end,
                        ..commit
                    });
                    logs.push(log);
                }
            }
            let set_back = store.set_back(&group, &back);
            if set_back.is_err() {
                left.append(&mut logs);
            }
            outcome = outcome.and(set_back);
        }
        for topic in gone {
            outcome = outcome.and(store.forget_topic(&topic, None).map(drop));
        }
        outcome
    }

    pub(crate) fn tally(&self) -> Arc<Tally> {
        Arc::clone(&self.shared.tally)
    }

    /// Waiting polls and later calls get [`Error::Closed`]. Writes what a broker of Kafka's needs
    /// to keep the commits. Must be called before the logs are closed. After an error it is closed
    /// all the same.
    pub(crate) fn close(&self) -> Result<()> {
        if !self.shared.close() {
            return Ok(());
        }
        for group in self.roster.live() {
            group.wake_all();
        }
        if self.shared.read_only {
            return Ok(());
        }
        self.shared.store.tidy_all()
    }
}

pub(super) fn describe(group: &Group) -> Result<GroupInfo> {
    group.shared.begin_to_look()?;
    describe_now(group)
}

fn describe_now(group: &Group) -> Result<GroupInfo> {
    group.shared.check_open()?;
    let seen = group.look(|membership| Seen {
        state: membership.state(),
        generation: membership.generation(),
        members: membership
            .members()
            .map(|(id, member)| member_info(id, member))
            .collect(),
        owners: owners(membership),
        wanted: membership.wanted(),
    });
    let commits = group.shared.store.all_committed(group.id.as_str())?;
    let mut partitions: BTreeMap<PartitionKey, Option<Commit>> = seen
        .wanted
        .into_iter()
        .map(|partition| (partition, None))
        .collect();
    for commit in commits {
        if let Some(shape) = group.shared.topics.shape(&commit.topic) {
            partitions.insert(shape.key.partition(commit.partition), Some(commit));
        }
    }
    let partitions = partitions.into_iter().filter_map(|(partition, place)| {
        let owner = seen.owners.get(&partition);
        let isolation = owner.map_or_else(ReadIsolation::default, |(_, isolation)| *isolation);
        let log = group.shared.topics.log(&partition);
        if matches!(log, Err(Error::UnknownTopic { .. })) {
            // The topic was deleted just now, with its commits.
            return None;
        }
        let mut info = partition_info(&partition, place.as_ref(), log, isolation);
        info.member = owner.map(|(id, _)| id.to_string());
        Some(info)
    });
    Ok(GroupInfo {
        id: group.id.to_string(),
        state: seen.state,
        generation: seen.generation,
        members: seen.members,
        partitions: partitions.collect(),
    })
}

/// The members at one moment.
struct Seen {
    state: GroupState,
    generation: u64,
    members: Vec<MemberInfo>,
    owners: BTreeMap<PartitionKey, (MemberId, ReadIsolation)>,
    wanted: Vec<PartitionKey>,
}

fn owners(membership: &Membership) -> BTreeMap<PartitionKey, (MemberId, ReadIsolation)> {
    let owned = membership.members().flat_map(|(id, member)| {
        member
            .owned
            .iter()
            .map(move |partition| (partition.clone(), (id, member.joined.isolation)))
    });
    owned.collect()
}

fn member_info(id: MemberId, member: &super::membership::Member) -> MemberInfo {
    MemberInfo {
        id: id.to_string(),
        static_id: member.joined.static_id.as_deref().map(str::to_owned),
        topics: member
            .joined
            .topics
            .iter()
            .map(|topic| topic.as_ref().to_owned())
            .collect(),
        partitions: member.owned.iter().map(PartitionKey::named).collect(),
    }
}

fn partition_info(
    key: &PartitionKey,
    place: Option<&Commit>,
    log: Result<Log>,
    isolation: ReadIsolation,
) -> GroupPartition {
    let (topic, partition): (String, PartitionId) = key.named();
    let committed = place.filter(|place| !place.is_note());
    let mut info = GroupPartition {
        topic,
        partition,
        committed: committed.map(|commit| commit.offset),
        metadata: committed.and_then(|commit| commit.metadata.as_deref().map(str::to_owned)),
        start: 0,
        end: 0,
        lag: 0,
        unread: 0,
        member: None,
        problem: None,
    };
    let looked = log.and_then(|log| Ok((log.start_offset(), log.readable_end(isolation)?)));
    match looked {
        Ok((start, end)) => {
            let next = place.map_or(start, |place| place.offset);
            (info.start, info.end) = (start, end);
            info.lag = end.saturating_sub(next.max(start));
            info.unread = start.saturating_sub(next);
        }
        Err(error) => info.problem = Some(error.to_string()),
    }
    info
}
