//! Kafka's own results, and what holds for any members and topics.

use proptest::prelude::*;

use super::*;
use crate::group::partition::TopicKey;
use crate::types::TopicId;

/// Members as `(topics, what they had)`, topics as `(name, partitions)`.
#[derive(Clone, Debug)]
struct Case {
    members: Vec<(BTreeSet<Arc<str>>, BTreeSet<PartitionKey>)>,
    topics: Vec<TopicShape>,
}

fn key(name: &str) -> TopicKey {
    TopicKey {
        name: Arc::from(name),
        id: TopicId::default(),
    }
}

/// `t1p0` is partition 0 of t1.
fn slot(text: &str) -> PartitionKey {
    let (topic, partition) = text.rsplit_once('p').unwrap();
    key(topic).partition(partition.parse().unwrap())
}

fn slots(text: &str) -> BTreeSet<PartitionKey> {
    text.split_whitespace().map(slot).collect()
}

impl Case {
    fn new(topics: &[(&str, u32)]) -> Self {
        let shape = |(name, partitions): &(&str, u32)| TopicShape {
            key: key(name),
            partitions: *partitions,
        };
        Self {
            members: Vec::new(),
            topics: topics.iter().map(shape).collect(),
        }
    }

    fn member(mut self, topics: &str, had: &str) -> Self {
        let topics = topics.split_whitespace().map(Arc::from).collect();
        self.members.push((topics, slots(had)));
        self
    }

    fn assign(&self, assignor: Assignor) -> Vec<BTreeSet<PartitionKey>> {
        let candidates: Vec<_> = self
            .members
            .iter()
            .map(|(topics, previous)| Candidate {
                topics,
                previous,
                promised: &[],
            })
            .collect();
        assign(assignor, &candidates, &self.topics)
    }

    fn check(&self, assignor: Assignor, expected: &[&str]) {
        let expected: Vec<_> = expected.iter().map(|text| slots(text)).collect();
        assert_eq!(self.assign(assignor), expected, "{assignor:?} of {self:?}");
    }
}

#[test]
fn kafkas_members_with_different_topics() {
    let case = Case::new(&[("t1", 3), ("t2", 2)])
        .member("t1", "")
        .member("t1 t2", "")
        .member("t1", "");
    for assignor in [Assignor::Range, Assignor::RoundRobin] {
        case.check(assignor, &["t1p0", "t1p1 t2p0 t2p1", "t1p2"]);
    }
}

#[test]
fn kafkas_two_members_of_two_topics() {
    let case = Case::new(&[("t1", 3), ("t2", 3)])
        .member("t1 t2", "")
        .member("t1 t2", "");
    case.check(Assignor::Range, &["t1p0 t1p1 t2p0 t2p1", "t1p2 t2p2"]);
    case.check(Assignor::RoundRobin, &["t1p0 t1p2 t2p1", "t1p1 t2p0 t2p2"]);
}

#[test]
fn kafkas_stairs_of_topics() {
    let case = Case::new(&[("t0", 1), ("t1", 2), ("t2", 3)])
        .member("t0", "")
        .member("t0 t1", "")
        .member("t0 t1 t2", "");
    case.check(
        Assignor::RoundRobin,
        &["t0p0", "t1p0", "t1p1 t2p0 t2p1 t2p2"],
    );
    case.check(Assignor::Sticky, &["t0p0", "t1p0 t1p1", "t2p0 t2p1 t2p2"]);
}

#[test]
fn kafkas_sticky_member_that_comes_and_goes() {
    let topics = [("t", 3)];
    Case::new(&topics)
        .member("t", "")
        .check(Assignor::Sticky, &["tp0 tp1 tp2"]);
    Case::new(&topics)
        .member("t", "tp0 tp1 tp2")
        .member("t", "")
        .check(Assignor::Sticky, &["tp0 tp1", "tp2"]);
    Case::new(&topics)
        .member("t", "tp2")
        .check(Assignor::Sticky, &["tp0 tp1 tp2"]);
}

#[test]
fn kafkas_sticky_two_become_four() {
    let topics = [("t1", 3), ("t2", 4)];
    let first = ["t1p0 t1p2 t2p1 t2p3", "t1p1 t2p0 t2p2"];
    Case::new(&topics)
        .member("t1 t2", "")
        .member("t1 t2", "")
        .check(Assignor::Sticky, &first);
    Case::new(&topics)
        .member("t1 t2", first[0])
        .member("t1 t2", first[1])
        .member("t1 t2", "")
        .member("t1 t2", "")
        .check(
            Assignor::Sticky,
            &["t1p0 t2p1", "t2p0 t1p1", "t1p2 t2p3", "t2p2"],
        );
}

#[test]
fn kafkas_conflict_of_two_claims_is_kept_by_neither() {
    let case = |partitions| {
        Case::new(&[("t", partitions)])
            .member("t", "tp0 tp1")
            .member("t", "tp0 tp2")
            .member("t", "")
    };
    case(3).check(Assignor::Sticky, &["tp1", "tp2", "tp0"]);
    case(4).check(Assignor::Sticky, &["tp1 tp3", "tp2", "tp0"]);
}

#[test]
fn nobody_and_nothing_make_no_trouble() {
    for assignor in [Assignor::Range, Assignor::RoundRobin, Assignor::Sticky] {
        Case::new(&[("t", 3)]).check(assignor, &[]);
        Case::new(&[]).member("t", "tp0").check(assignor, &[""]);
        Case::new(&[("t", 3)])
            .member("other", "tp0")
            .check(assignor, &[""]);
        Case::new(&[("t", 1)])
            .member("t", "")
            .member("t", "")
            .check(assignor, &["tp0", ""]);
    }
}

#[test]
fn a_topic_of_another_life_is_not_kept() {
    let mut case = Case::new(&[("t", 2)])
        .member("t", "tp0 tp1")
        .member("t", "");
    case.topics[0].key.id = TopicId([7; 16]);
    let shares = case.assign(Assignor::Sticky);
    assert!(shares.iter().all(|share| share.len() == 1), "{shares:?}");
    assert!(
        shares
            .iter()
            .flatten()
            .all(|slot| slot.topic.id == TopicId([7; 16]))
    );
}

#[test]
fn looking_for_moves_costs_by_topics_and_members_and_passes_over_those_that_have_none() {
    let names: Vec<_> = (0..94).map(|number| format!("t{number:02}")).collect();
    let sized: Vec<_> = names.iter().map(|name| (name.as_str(), 60)).collect();
    let (crowded, rare) = names.split_at(90);
    // 30 members share what is crowded, and one has the rest; then another comes for that. Until
    // the two are even, the 30 are fuller, and none of them has anything to give.
    let mut case = Case::new(&sized);
    for _ in 0..30 {
        case = case.member(&crowded.join(" "), "");
    }
    case = case.member(&rare.join(" "), "");
    let settled = case.assign(Assignor::Sticky);
    case = case.member(&rare.join(" "), "");
    for (member, share) in case.members.iter_mut().zip(settled) {
        member.1 = share;
    }
    let candidates: Vec<_> = case
        .members
        .iter()
        .map(|(topics, previous)| Candidate {
            topics,
            previous,
            promised: &[],
        })
        .collect();
    let table = Table::new(&candidates, &case.topics);
    let kept = sticky::kept(&candidates, &case.topics);
    let mut deal = vec![BTreeSet::new(); candidates.len()];
    let looks = sticky::sticky(&table, &kept, &mut deal);
    assert_eq!((deal[30].len(), deal[31].len()), (120, 120));
    // One look at every load that a topic may go to, and at every topic that a member has.
    assert!(looks < 10_000, "{looks}");
}

const NAMES: [&str; 4] = ["t0", "t1", "t2", "t3"];

/// Any members of any topics, with anything they may claim to have had.
fn cases(same_topics: bool) -> impl Strategy<Value = Case> {
    let topics = prop::collection::vec(0_u32..9, NAMES.len());
    let had = prop::collection::btree_set((0..NAMES.len(), 0_u32..10), 0..12);
    let member = (prop::collection::vec(any::<bool>(), NAMES.len()), had);
    (topics, prop::collection::vec(member, 0..7)).prop_map(move |(topics, members)| {
        let sized: Vec<_> = NAMES.into_iter().zip(topics).collect();
        let mut case = Case::new(&sized);
        for (wants, had) in members {
            let wants = NAMES
                .iter()
                .zip(wants)
                .filter(|(_, wants)| same_topics || *wants);
            let wants = wants.map(|(name, _)| Arc::from(*name)).collect();
            let had = had
                .iter()
                .map(|(topic, number)| key(NAMES[*topic]).partition(*number));
            case.members.push((wants, had.collect()));
        }
        case
    })
}

/// Every partition that is wanted, once, with a member that wants it.
fn check_complete(case: &Case, shares: &[BTreeSet<PartitionKey>]) {
    let mut seen = BTreeSet::new();
    for ((topics, _), share) in case.members.iter().zip(shares) {
        for slot in share {
            assert!(topics.contains(&slot.topic.name), "{slot:?} is not wanted");
            assert!(seen.insert(slot.clone()), "{slot:?} was given twice");
        }
    }
    let wanted = |shape: &&TopicShape| {
        case.members
            .iter()
            .any(|(topics, _)| topics.contains(&shape.key.name))
    };
    let there: BTreeSet<_> = case
        .topics
        .iter()
        .filter(wanted)
        .flat_map(|shape| (0..shape.partitions).map(|number| shape.key.partition(number)))
        .collect();
    assert_eq!(seen, there);
}

fn loads(shares: &[BTreeSet<PartitionKey>]) -> (usize, usize) {
    let loads = || shares.iter().map(BTreeSet::len);
    (loads().min().unwrap_or(0), loads().max().unwrap_or(0))
}

/// What members may keep: there, wanted, and claimed by no other member.
fn claims(case: &Case) -> Vec<BTreeSet<PartitionKey>> {
    let there = |slot: &PartitionKey| {
        case.topics
            .iter()
            .any(|shape| shape.key == slot.topic && slot.partition < shape.partitions)
    };
    let claimed = |slot: &PartitionKey| {
        let by = |(topics, had): &&(BTreeSet<Arc<str>>, BTreeSet<PartitionKey>)| {
            topics.contains(&slot.topic.name) && had.contains(slot)
        };
        case.members.iter().filter(by).count()
    };
    case.members
        .iter()
        .map(|(topics, had)| {
            had.iter()
                .filter(|slot| topics.contains(&slot.topic.name))
                .filter(|slot| there(slot) && claimed(slot) == 1)
                .cloned()
                .collect()
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_partition_goes_to_one_member_that_wants_it(case in cases(false)) {
        for assignor in [Assignor::Range, Assignor::RoundRobin, Assignor::Sticky] {
            check_complete(&case, &case.assign(assignor));
        }
    }

    #[test]
    fn equal_members_get_equal_shares(case in cases(true)) {
        for assignor in [Assignor::RoundRobin, Assignor::Sticky] {
            let shares = case.assign(assignor);
            check_complete(&case, &shares);
            let (least, most) = loads(&shares);
            prop_assert!(most - least <= 1, "{shares:?}");
        }
        // Range balances topic by topic.
        let shares = case.assign(Assignor::Range);
        for shape in &case.topics {
            let of_topic = |share: &BTreeSet<PartitionKey>| {
                share.iter().filter(|slot| slot.topic == shape.key).cloned().collect()
            };
            let (least, most) = loads(&shares.iter().map(of_topic).collect::<Vec<_>>());
            prop_assert!(most - least <= 1, "{shares:?}");
        }
    }

    #[test]
    fn sticky_moves_the_fewest(case in cases(true)) {
        let shares = case.assign(Assignor::Sticky);
        let claims = claims(&case);
        let both = |(had, has): (&BTreeSet<_>, &BTreeSet<_>)| had.intersection(has).count();
        let kept: usize = claims.iter().zip(&shares).map(both).sum();
        let count: usize = shares.iter().map(BTreeSet::len).sum();
        let members = shares.len().max(1);
        // The most that any balanced assignment can keep.
        let most = |had: &BTreeSet<PartitionKey>| had.len().min(count / members);
        let one_more = claims.iter().filter(|had| had.len() > count / members).count();
        let possible = claims.iter().map(most).sum::<usize>() + one_more.min(count % members);
        prop_assert_eq!(kept, possible, "{:?} gives {:?}", case, shares);
    }

    #[test]
    fn sticky_leaves_no_single_move_that_would_help(case in cases(false)) {
        let shares = case.assign(Assignor::Sticky);
        for from in &shares {
            for slot in from {
                for ((topics, _), to) in case.members.iter().zip(&shares) {
                    let helps = topics.contains(&slot.topic.name) && from.len() >= to.len() + 2;
                    prop_assert!(!helps, "{slot:?} in {shares:?}");
                }
            }
        }
    }

    #[test]
    fn sticky_gives_again_what_it_gave(case in cases(false)) {
        let shares = case.assign(Assignor::Sticky);
        let mut again = case.clone();
        for (member, share) in again.members.iter_mut().zip(&shares) {
            member.1.clone_from(share);
        }
        prop_assert_eq!(again.assign(Assignor::Sticky), shares);
    }
}
