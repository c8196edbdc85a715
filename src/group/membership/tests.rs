//! Single stories, and random histories against what members believe they have.

use proptest::prelude::*;

use super::*;
use crate::clock::{Clock, ManualClock};
use crate::group::partition::TopicKey;
use crate::types::{ReadIsolation, Timestamp, TopicId};

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
        session_timeout: MINUTE,
        isolation: ReadIsolation::ReadUncommitted,
        asked_first: false,
    }
}

/// A group over one topic of so many partitions, and the beginning of time.
fn group_of(partitions: u32) -> (Membership, Instant) {
    let mut group = Membership::default();
    group.set_topics(vec![shape("t", partitions)]);
    let clock = Clock::Manual(ManualClock::at(Timestamp::from_millis(0)));
    (group, clock.instant())
}

fn numbers(partitions: &[PartitionKey]) -> Vec<u32> {
    partitions
        .iter()
        .map(|partition| partition.partition)
        .collect()
}

/// Polls, and returns the numbers of what was lost and gained.
fn turn(group: &mut Membership, id: MemberId, now: Instant) -> (Vec<u32>, Vec<u32>) {
    let turn = group.poll(id, now, Willing::Everything).unwrap();
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

/// Two members of which the first has polled something from each of its four partitions.
fn one_that_holds_and_a_newcomer() -> (Membership, Instant, MemberId, MemberId) {
    let (mut group, now) = group_of(4);
    let a = group.join(joining(&["t"], None), now);
    turn(&mut group, a, now);
    for number in 0..4 {
        group.hold(a, &key("t", 0).partition(number), true);
    }
    let b = group.join(joining(&["t"], None), now);
    (group, now, a, b)
}

#[test]
fn a_held_partition_passes_on_only_after_its_owner_has_polled() {
    let (mut group, now, a, b) = one_that_holds_and_a_newcomer();
    assert_eq!(turn(&mut group, b, now), (vec![], vec![]));
    assert_eq!(turn(&mut group, b, now), (vec![], vec![]));
    assert_eq!(turn(&mut group, a, now), (vec![2, 3], vec![]));
    assert_eq!(turn(&mut group, b, now), (vec![], vec![2, 3]));
    assert_eq!(group.state(), GroupState::Stable);
}

#[test]
fn a_partition_that_is_not_held_passes_at_once_and_its_owner_hears_of_it() {
    let (mut group, now, a, b) = one_that_holds_and_a_newcomer();
    group.hold(a, &key("t", 0).partition(3), false);
    assert_eq!(turn(&mut group, b, now), (vec![], vec![3]));
    assert!(!group.owns(a, &key("t", 0).partition(3)));
    let moves = group.moves();
    group.hold(a, &key("t", 0).partition(2), false);
    assert_ne!(group.moves(), moves, "those who wait for it are woken");
    assert_eq!(turn(&mut group, b, now), (vec![], vec![2]));
    assert_eq!(turn(&mut group, a, now), (vec![2, 3], vec![]));
    assert_eq!(group.state(), GroupState::Stable);
}

#[test]
fn nothing_is_taken_from_a_member_in_a_poll_or_from_one_that_is_asked_first() {
    let (mut group, now) = group_of(2);
    let a = group.join(joining(&["t"], None), now);
    group.poll(a, now, Willing::Everything).unwrap();
    let b = group.join(joining(&["t"], None), now);
    assert_eq!(turn(&mut group, b, now), (vec![], vec![]));
    group.polled(a, now);
    assert_eq!(turn(&mut group, b, now), (vec![], vec![1]));

    let (mut group, now) = group_of(2);
    let asked = Joining {
        asked_first: true,
        ..joining(&["t"], None)
    };
    let a = group.join(asked, now);
    turn(&mut group, a, now);
    let b = group.join(joining(&["t"], None), now);
    assert_eq!(turn(&mut group, b, now), (vec![], vec![]));
    assert_eq!(numbers(&group.leaving(a)), [1]);
    let unasked = group.poll(a, now, Willing::Only(&[])).unwrap();
    assert_eq!(unasked.lost, []);
    let leaving = group.leaving(a);
    let turn_of_a = group.poll(a, now, Willing::Only(&leaving)).unwrap();
    assert_eq!(numbers(&turn_of_a.lost), [1]);
}

#[test]
fn a_member_that_has_not_polled_has_no_share() {
    let (mut group, now) = group_of(4);
    let a = group.join(joining(&["t"], None), now);
    group.join(joining(&["t"], None), now);
    assert_eq!(turn(&mut group, a, now), (vec![], vec![0, 1, 2, 3]));
}

#[test]
fn a_static_member_that_is_dropped_keeps_its_share_for_its_session() {
    let (mut group, now) = group_of(4);
    let a = group.join(joining(&["t"], Some("left")), now);
    let b = group.join(joining(&["t"], Some("right")), now);
    turn(&mut group, a, now);
    turn(&mut group, b, now);
    turn(&mut group, a, now);
    assert!(group.drop_out(a, now));
    let soon = now + MINUTE.saturating_sub(Duration::from_nanos(1));
    assert_eq!(turn(&mut group, b, soon), (vec![], vec![]));
    let again = group.join(joining(&["t"], Some("left")), soon);
    assert_eq!(turn(&mut group, b, soon), (vec![], vec![]));
    assert_eq!(turn(&mut group, again, soon), (vec![], vec![0, 1]));
    assert!(group.drop_out(again, soon));
    assert_eq!(turn(&mut group, b, soon + MINUTE), (vec![], vec![0, 1]));
}

#[test]
fn who_leaves_frees_what_it_has() {
    let (mut group, now) = group_of(4);
    let a = group.join(joining(&["t"], None), now);
    let b = group.join(joining(&["t"], None), now);
    assert_eq!(turn(&mut group, a, now), (vec![], vec![0, 1, 2, 3]));
    assert_eq!(turn(&mut group, b, now), (vec![], vec![2, 3]));
    assert!(group.leave(a));
    assert!(!group.leave(a));
    assert_eq!(turn(&mut group, b, now), (vec![], vec![0, 1]));
}

#[test]
fn who_does_not_poll_in_time_is_removed_and_who_is_in_a_poll_never() {
    let (mut group, now) = group_of(2);
    let a = group.join(joining(&["t"], None), now);
    let b = group.join(joining(&["t"], None), now);
    turn(&mut group, a, now);
    group.poll(b, now, Willing::Everything).unwrap();
    let late = now + 5 * MINUTE;
    assert_eq!(group.next_look(now), Some(late));
    assert!(group.knows(a, late.checked_sub(Duration::from_nanos(1)).unwrap()));
    assert!(!group.knows(a, late));
    assert_eq!(group.poll(a, late, Willing::Everything), None);
    // A deadline that is set while the other waits cannot be before this.
    assert_eq!(group.next_look(late), Some(late + 5 * MINUTE));
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
    assert_eq!(group.poll(a, now, Willing::Everything), None);
    assert_eq!(turn(&mut group, b, now), (vec![], vec![]));
    assert_eq!(turn(&mut group, again, now), (vec![], vec![0, 1]));
    assert!(group.is_superseded(a, &joining(&["t"], Some("left"))));
    assert!(!group.is_superseded(again, &joining(&["t"], Some("left"))));
}

#[test]
fn a_topic_that_goes_is_lost_and_one_that_comes_back_is_another() {
    let (mut group, now) = group_of(2);
    let a = group.join(joining(&["t", "u"], None), now);
    turn(&mut group, a, now);
    group.set_topics(vec![shape("u", 1)]);
    let turn = group.poll(a, now, Willing::Everything).unwrap();
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
        group.poll(a, now, Willing::Everything).unwrap().gained,
        [key("t", 1).partition(0)]
    );
    group.set_topics(vec![
        TopicShape {
            key: key("t", 2),
            partitions: 1,
        },
        shape("u", 1),
    ]);
    let turn = group.poll(a, now, Willing::Everything).unwrap();
    assert_eq!(turn.lost, [key("t", 1).partition(0)]);
    assert_eq!(turn.gained, [key("t", 2).partition(0)]);
}

#[test]
fn every_change_of_the_plan_is_a_generation() {
    let (mut group, now) = group_of(2);
    let before = group.generation();
    let a = group.join(joining(&["t"], None), now);
    assert_eq!(group.generation(), before, "it has no share yet");
    turn(&mut group, a, now);
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
        holds: bool,
    },
    DropOut(usize),
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
        3 => (slot.clone(), 1_u8..8, assignor, prop::bool::weighted(0.3)).prop_map(
            |(slot, topics, assignor, is_static)| Op::Join { slot, topics, assignor, is_static }
        ),
        1 => slot.clone().prop_map(Op::Leave),
        8 => (slot.clone(), prop::bool::weighted(0.9), any::<bool>())
            .prop_map(|(slot, returns, holds)| Op::Poll { slot, returns, holds }),
        1 => slot.prop_map(Op::DropOut),
        1 => (0_u64..200).prop_map(|seconds| Op::Pass { seconds }),
        1 => [(0_u8..3, 0_u32..6), (0_u8..3, 0_u32..6)].prop_map(Op::Topics),
    ]
}

/// What a member has been told.
#[derive(Debug)]
struct Believer {
    id: MemberId,
    has: BTreeSet<PartitionKey>,
    /// What it has polled records from.
    holds: BTreeSet<PartitionKey>,
    polling: bool,
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
                    session_timeout: MINUTE,
                    isolation: ReadIsolation::ReadUncommitted,
                    asked_first: topics & 4 != 0,
                };
                let id = self.group.join(joining, self.now);
                self.believers[*slot] = Some(Believer {
                    id,
                    has: BTreeSet::new(),
                    holds: BTreeSet::new(),
                    polling: false,
                });
            }
            Op::Leave(slot) => {
                if let Some(gone) = self.believers[*slot].take() {
                    self.group.leave(gone.id);
                }
            }
            Op::DropOut(slot) => {
                if let Some(gone) = self.believers[*slot].take() {
                    self.group.drop_out(gone.id, self.now);
                }
            }
            Op::Poll {
                slot,
                returns,
                holds,
            } => self.poll(*slot, *returns, *holds),
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

    fn poll(&mut self, slot: usize, returns: bool, holds: bool) {
        let Some(believer) = &mut self.believers[slot] else {
            return;
        };
        let Some(turn) = self.group.poll(believer.id, self.now, Willing::Everything) else {
            self.believers[slot] = None;
            return;
        };
        for lost in &turn.lost {
            assert!(
                believer.has.remove(lost),
                "{lost:?} was not its own to lose"
            );
            believer.holds.remove(lost);
        }
        for gained in turn.gained {
            assert!(believer.has.insert(gained), "gained twice");
        }
        believer.polling = !returns;
        if returns {
            let odd = |partition: &&PartitionKey| partition.partition % 2 == 1;
            for partition in believer.has.iter().filter(odd) {
                self.group.hold(believer.id, partition, holds);
                if holds {
                    believer.holds.insert(partition.clone());
                } else {
                    believer.holds.remove(partition);
                }
            }
            self.group.polled(believer.id, self.now);
        }
    }

    /// No two members that the group still knows have the same partition (I1), and none has lost
    /// what it holds, nor anything in the midst of a poll (I2, I3).
    fn check(&mut self) {
        let mut had = BTreeSet::new();
        for believer in self.believers.iter().flatten() {
            if self.group.knows(believer.id, self.now) {
                for partition in &believer.has {
                    if !self.group.owns(believer.id, partition) {
                        assert!(!believer.polling && !believer.holds.contains(partition));
                        continue;
                    }
                    assert!(
                        had.insert(partition.clone()),
                        "{partition:?} has two owners"
                    );
                }
            }
        }
        for (partition, owner) in &self.group.owners {
            let member = self.group.members.get(owner).expect("an owner is a member");
            assert!(member.owned.contains(partition));
        }
    }

    /// A member that hangs is removed in time. Then a poll makes all members active, and two more
    /// are enough (I5).
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
        for _ in 0..3 {
            for slot in 0..self.believers.len() {
                self.poll(slot, true, true);
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
