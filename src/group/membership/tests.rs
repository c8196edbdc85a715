//! Single stories, and random histories against what members believe they have.

use proptest::prelude::*;

use super::*;
use crate::clock::{Clock, ManualClock};
use crate::group::partition::TopicKey;
use crate::types::{Timestamp, TopicId};

const MINUTE: Duration = Duration::from_secs(60);

fn key(name: &str, life: u8) -> TopicKey {
    TopicKey {
        name: Arc::from(name),
        id: TopicId([life; 16]),
    }
}

fn shape(name: &str, partitions: u32) -> TopicShape {
    TopicShape {
        key: key(name, 0),
        partitions,
    }
}

fn joining(topics: &[&str], static_id: Option<&str>) -> Joining {
    Joining {
        topics: topics.iter().map(|name| Arc::from(*name)).collect(),
        static_id: static_id.map(Arc::from),
        assignor: Assignor::Range,
        max_poll_interval: 5 * MINUTE,
    }
}

/// A group over one topic of so many partitions, and the beginning of time.
fn group_of(partitions: u32) -> (Membership, Instant) {
    let mut group = Membership::default();
    group.set_topics(vec![shape("t", partitions)]);
    let clock = Clock::Manual(ManualClock::at(Timestamp::from_millis(0)));
    (group, clock.instant())
}

fn numbers(partitions: &[TopicPartition]) -> Vec<u32> {
    partitions
        .iter()
        .map(|partition| partition.partition)
        .collect()
}

/// Polls, and gives the numbers of what was lost and gained.
fn turn(group: &mut Membership, id: MemberId, now: Instant) -> (Vec<u32>, Vec<u32>) {
    let turn = group.poll(id, now).unwrap();
    group.polled(id, now);
    (numbers(&turn.lost), numbers(&turn.gained))
}

#[test]
fn one_member_takes_everything_in_its_first_poll() {
    let (mut group, now) = group_of(3);
    assert_eq!(group.state(), GroupState::Empty);
    let a = group.join(joining(&["t"], None), now);
    assert_eq!(group.state(), GroupState::Rebalancing);
    assert_eq!(turn(&mut group, a, now), (vec![], vec![0, 1, 2]));
    assert_eq!(turn(&mut group, a, now), (vec![], vec![]));
    assert_eq!(group.state(), GroupState::Stable);
}

#[test]
fn a_partition_passes_on_only_after_its_owner_has_polled() {
    let (mut group, now) = group_of(4);
    let a = group.join(joining(&["t"], None), now);
    turn(&mut group, a, now);
    let b = group.join(joining(&["t"], None), now);
    assert_eq!(turn(&mut group, b, now), (vec![], vec![]));
    assert_eq!(turn(&mut group, b, now), (vec![], vec![]));
    assert_eq!(turn(&mut group, a, now), (vec![2, 3], vec![]));
    assert_eq!(turn(&mut group, b, now), (vec![], vec![2, 3]));
    assert_eq!(group.state(), GroupState::Stable);
}

#[test]
fn who_leaves_frees_what_it_has() {
    let (mut group, now) = group_of(4);
    let a = group.join(joining(&["t"], None), now);
    let b = group.join(joining(&["t"], None), now);
    assert_eq!(turn(&mut group, a, now), (vec![], vec![0, 1]));
    assert_eq!(turn(&mut group, b, now), (vec![], vec![2, 3]));
    assert!(group.leave(a));
    assert!(!group.leave(a));
    assert_eq!(turn(&mut group, b, now), (vec![], vec![0, 1]));
}

#[test]
fn who_does_not_poll_in_time_is_thrown_out_and_who_is_in_a_poll_never() {
    let (mut group, now) = group_of(2);
    let a = group.join(joining(&["t"], None), now);
    let b = group.join(joining(&["t"], None), now);
    turn(&mut group, a, now);
    group.poll(b, now).unwrap();
    assert_eq!(group.next_deadline(), now.checked_add(5 * MINUTE));
    let late = now + 5 * MINUTE;
    assert!(group.knows(
        a,
        now + (5 * MINUTE).saturating_sub(Duration::from_nanos(1))
    ));
    assert!(!group.knows(a, late));
    assert_eq!(group.poll(a, late), None);
    assert_eq!(group.next_deadline(), None);
    assert_eq!(turn(&mut group, b, late + 100 * MINUTE), (vec![], vec![0]));
}

#[test]
fn a_static_id_is_taken_over_at_once_and_the_old_member_is_fenced() {
    let (mut group, now) = group_of(4);
    let a = group.join(joining(&["t"], Some("left")), now);
    let b = group.join(joining(&["t"], Some("right")), now);
    turn(&mut group, a, now);
    turn(&mut group, b, now);
    let again = group.join(joining(&["t"], Some("left")), now);
    assert!(!group.knows(a, now));
    assert_eq!(group.poll(a, now), None);
    assert_eq!(turn(&mut group, b, now), (vec![], vec![]));
    assert_eq!(turn(&mut group, again, now), (vec![], vec![0, 1]));
    assert!(group.has_static_id("left"));
}

#[test]
fn a_topic_that_goes_is_lost_and_one_that_comes_back_is_another() {
    let (mut group, now) = group_of(2);
    let a = group.join(joining(&["t", "u"], None), now);
    turn(&mut group, a, now);
    group.set_topics(vec![shape("u", 1)]);
    let turn = group.poll(a, now).unwrap();
    assert_eq!(
        turn.lost,
        [key("t", 0).partition(0), key("t", 0).partition(1)]
    );
    assert_eq!(turn.gained, [key("u", 0).partition(0)]);
    group.set_topics(vec![
        TopicShape {
            key: key("t", 1),
            partitions: 1,
        },
        shape("u", 1),
    ]);
    assert_eq!(
        group.poll(a, now).unwrap().gained,
        [key("t", 1).partition(0)]
    );
    group.set_topics(vec![
        TopicShape {
            key: key("t", 2),
            partitions: 1,
        },
        shape("u", 1),
    ]);
    let turn = group.poll(a, now).unwrap();
    assert_eq!(turn.lost, [key("t", 1).partition(0)]);
    assert_eq!(turn.gained, [key("t", 2).partition(0)]);
}

#[test]
fn every_change_of_the_plan_is_a_generation() {
    let (mut group, now) = group_of(2);
    let before = group.generation();
    let a = group.join(joining(&["t"], None), now);
    assert_eq!(group.generation(), before + 1);
    turn(&mut group, a, now);
    assert_eq!(group.generation(), before + 1);
    group.leave(a);
    assert_eq!(group.generation(), before + 2);
    assert!(group.is_empty());
}

/// One thing that happens to a group.
#[derive(Clone, Debug)]
enum Op {
    Join {
        slot: usize,
        topics: u8,
        assignor: Assignor,
        is_static: bool,
    },
    Leave(usize),
    Poll {
        slot: usize,
        returns: bool,
    },
    Pass {
        seconds: u64,
    },
    Topics([(u8, u32); 2]),
}

fn ops() -> impl Strategy<Value = Op> {
    let slot = 0_usize..5;
    let assignor = prop::sample::select(vec![
        Assignor::Range,
        Assignor::RoundRobin,
        Assignor::Sticky,
    ]);
    prop_oneof![
        3 => (slot.clone(), 1_u8..4, assignor, prop::bool::weighted(0.3)).prop_map(
            |(slot, topics, assignor, is_static)| Op::Join { slot, topics, assignor, is_static }
        ),
        1 => slot.clone().prop_map(Op::Leave),
        8 => (slot, prop::bool::weighted(0.9))
            .prop_map(|(slot, returns)| Op::Poll { slot, returns }),
        1 => (0_u64..200).prop_map(|seconds| Op::Pass { seconds }),
        1 => [(0_u8..3, 0_u32..6), (0_u8..3, 0_u32..6)].prop_map(Op::Topics),
    ]
}

/// What a member has been told.
#[derive(Debug)]
struct Believer {
    id: MemberId,
    has: BTreeSet<TopicPartition>,
}

#[derive(Debug)]
struct History {
    group: Membership,
    now: Instant,
    believers: [Option<Believer>; 5],
}

const NAMES: [&str; 2] = ["t", "u"];

impl History {
    fn new() -> Self {
        let (mut group, now) = group_of(0);
        group.set_topics(vec![shape("t", 4), shape("u", 3)]);
        Self {
            group,
            now,
            believers: Default::default(),
        }
    }

    fn run(&mut self, op: &Op) {
        match op {
            Op::Join {
                slot,
                topics,
                assignor,
                is_static,
            } => {
                // A consumer that is still there is forgotten without leaving: it hangs.
                let wanted = NAMES
                    .iter()
                    .enumerate()
                    .filter(|(n, _)| topics & (1 << n) != 0);
                let joining = Joining {
                    topics: wanted.map(|(_, name)| Arc::from(*name)).collect(),
                    static_id: is_static.then(|| Arc::from(format!("static-{slot}"))),
                    assignor: *assignor,
                    max_poll_interval: 5 * MINUTE,
                };
                let id = self.group.join(joining, self.now);
                self.believers[*slot] = Some(Believer {
                    id,
                    has: BTreeSet::new(),
                });
            }
            Op::Leave(slot) => {
                if let Some(gone) = self.believers[*slot].take() {
                    self.group.leave(gone.id);
                }
            }
            Op::Poll { slot, returns } => self.poll(*slot, *returns),
            Op::Pass { seconds } => self.now += Duration::from_secs(*seconds),
            Op::Topics(lives) => {
                let shapes = NAMES.iter().zip(lives).filter(|(_, (life, _))| *life > 0);
                let shapes = shapes
                    .map(|(name, (life, partitions))| TopicShape {
                        key: key(name, *life),
                        partitions: *partitions,
                    })
                    .collect();
                self.group.set_topics(shapes);
            }
        }
    }

    fn poll(&mut self, slot: usize, returns: bool) {
        let Some(believer) = &mut self.believers[slot] else {
            return;
        };
        let Some(turn) = self.group.poll(believer.id, self.now) else {
            self.believers[slot] = None;
            return;
        };
        for lost in &turn.lost {
            assert!(
                believer.has.remove(lost),
                "{lost:?} was not its own to lose"
            );
        }
        for gained in turn.gained {
            assert!(believer.has.insert(gained), "gained twice");
        }
        if returns {
            self.group.polled(believer.id, self.now);
        }
    }

    /// No two members that the group still knows believe to have the same partition (I1).
    fn check(&mut self) {
        let mut had = BTreeSet::new();
        for believer in self.believers.iter().flatten() {
            if self.group.knows(believer.id, self.now) {
                for partition in &believer.has {
                    assert!(
                        had.insert(partition.clone()),
                        "{partition:?} has two owners"
                    );
                    assert_eq!(self.group.owners.get(partition), Some(&believer.id));
                }
            }
        }
        for (partition, owner) in &self.group.owners {
            let member = self.group.members.get(owner).expect("an owner is a member");
            assert!(member.owned.contains(partition));
        }
    }

    /// Who hangs is thrown out in time, and then two polls of everybody are enough (I4).
    fn settle(&mut self) {
        let known: Vec<_> = self
            .believers
            .iter()
            .flatten()
            .map(|believer| believer.id)
            .collect();
        let hanging: Vec<_> = self
            .group
            .members()
            .map(|(id, _)| id)
            .filter(|id| !known.contains(id))
            .collect();
        for id in hanging {
            self.group.leave(id);
        }
        for _ in 0..2 {
            for slot in 0..self.believers.len() {
                self.poll(slot, true);
                self.check();
            }
        }
        if self.group.is_empty() {
            return;
        }
        assert_eq!(self.group.state(), GroupState::Stable, "{self:?}");
        let wanted = self.group.subscriptions();
        for shape in self
            .group
            .topics
            .iter()
            .filter(|shape| wanted.contains(&shape.key.name))
        {
            for partition in 0..shape.partitions {
                let partition = shape.key.partition(partition);
                assert!(
                    self.group.owners.contains_key(&partition),
                    "nobody has {partition:?}"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn no_history_gives_a_partition_two_owners_or_leaves_one_without(
        ops in prop::collection::vec(ops(), 1..80)
    ) {
        let mut history = History::new();
        for op in &ops {
            history.run(op);
            history.check();
        }
        history.settle();
    }
}
