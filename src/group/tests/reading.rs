//! Where reading begins, in which order, and what stands in its way.

use super::*;

fn offsets(records: ConsumerRecords) -> Vec<Offset> {
    places(records)
        .into_iter()
        .map(|(_, offset)| offset)
        .collect()
}

fn starting(start: impl Into<Option<Start>>) -> ConsumerConfig {
    ConsumerConfig::default().start(start)
}

#[test]
fn without_a_commit_the_policy_says_where_reading_begins() {
    let root = Root::new();
    let topic = root.topic("t", 1);
    root.clock.set_wall(Timestamp::from_millis(5000));
    fill(&topic, 2);
    root.clock.set_wall(Timestamp::from_millis(6000));
    fill(&topic, 2);
    let check = |config: ConsumerConfig, expected: &[Offset]| {
        let name = format!("{:?}", config.start);
        let mut consumer = root.group(&name).join_with(["t"], config).unwrap();
        assert_eq!(offsets(consumer.poll(NOW).unwrap()), expected, "{name}");
    };
    check(ConsumerConfig::default(), &[0, 1, 2, 3]);
    check(starting(Start::Latest), &[]);
    check(starting(Start::Offset(3)), &[3]);
    check(starting(Start::Offset(9)), &[]);
    check(starting(Start::Time(Timestamp::from_millis(5500))), &[2, 3]);
}

#[test]
fn without_a_policy_poll_asks_until_the_partition_is_sought() {
    let root = Root::new();
    let topic = root.topic("t", 2);
    fill(&topic, 3);
    let group = root.group("g");
    let mut consumer = group.join_with(["t"], starting(None)).unwrap();
    for _ in 0..2 {
        let asked = consumer.poll(LONG);
        assert!(
            matches!(asked, Err(Error::NoOffset { partition: 0, .. })),
            "{asked:?}"
        );
    }
    assert!(matches!(
        consumer.position("t", 0),
        Err(Error::NoOffset { .. })
    ));
    consumer.seek("t", 0, 1).unwrap();
    assert_eq!(consumer.position("t", 0).unwrap(), 1);
    // What can be read is given, and then the other one asks again.
    let records = consumer.poll(LONG).unwrap();
    assert_eq!(numbers(records.gained()), [0, 1]);
    assert_eq!(places(records), [(0, 1), (0, 2)]);
    let asked = consumer.poll(LONG);
    assert!(
        matches!(asked, Err(Error::NoOffset { partition: 1, .. })),
        "{asked:?}"
    );
    consumer.seek("t", 1, Start::Latest).unwrap();
    assert!(consumer.poll(NOW).unwrap().is_empty());
    consumer.commit().unwrap();
    assert_eq!(group.committed("t", 0).unwrap(), Some(3));
    assert_eq!(group.committed("t", 1).unwrap(), Some(3));
}

#[test]
fn the_latest_is_that_of_the_moment_when_the_partition_was_gained() {
    let root = Root::new();
    let topic = root.topic("t", 3);
    let config = starting(Start::Latest).max_poll_records(1);
    let mut consumer = root.group("g").join_with(["t"], config).unwrap();
    assert!(consumer.poll(NOW).unwrap().is_empty());
    fill(&topic, 1);
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.extend(places(consumer.poll(NOW).unwrap()));
    }
    assert_eq!(seen, [(0, 0), (1, 0), (2, 0)]);
}

#[test]
fn retention_under_a_group_is_answered_by_its_policy() {
    let root = Root::new();
    let config = TopicConfig::default().segment_bytes(1024);
    let topic = root.topic_with("t", config);
    let check = |name: &str, start: Start, expected: &[Offset]| {
        let log = topic.partition(0).unwrap();
        let first = log.end_offset();
        fill(&topic, 40);
        let group = root.group(name);
        group.reset("t", Start::Offset(first)).unwrap();
        log.truncate_prefix(first + 38).unwrap();
        let mut asking = group.join_with(["t"], starting(None)).unwrap();
        assert!(matches!(asking.poll(NOW), Err(Error::NoOffset { .. })));
        drop(asking);
        let mut consumer = group.join_with(["t"], starting(start)).unwrap();
        let expected = expected.iter().map(|offset| first + offset);
        assert_eq!(
            offsets(consumer.poll(NOW).unwrap()),
            expected.collect::<Vec<_>>()
        );
    };
    check("earliest", Start::Earliest, &[38, 39]);
    check("latest", Start::Latest, &[]);
}

#[test]
fn retention_that_overtakes_a_reading_member_is_answered_by_its_policy() {
    let root = Root::new();
    let topic = root.topic_with("t", TopicConfig::default().segment_bytes(1024));
    fill(&topic, 100);
    let join = |group: &str, config: ConsumerConfig| {
        let mut consumer = root
            .group(group)
            .join_with(["t"], config.max_poll_records(1))
            .unwrap();
        assert_eq!(offsets(consumer.poll(NOW).unwrap()), [0]);
        consumer
    };
    let mut earliest = join("e", ConsumerConfig::default());
    let mut asking = root
        .group("n")
        .join_with(["t"], starting(None).max_poll_records(1))
        .unwrap();
    assert!(asking.poll(NOW).is_err());
    asking.seek("t", 0, 0).unwrap();
    assert_eq!(offsets(asking.poll(NOW).unwrap()), [0]);
    topic.partition(0).unwrap().truncate_prefix(90).unwrap();
    // The segment that is open is read to its end; then the gap shows.
    let mut seen = 0;
    while seen < 90 {
        let next = offsets(earliest.poll(NOW).unwrap());
        assert!(
            next[0] == seen + 1 || next[0] == 90,
            "{next:?} after {seen}"
        );
        seen = next[0];
    }
    let asked = loop {
        match asking.poll(NOW) {
            Ok(records) => assert!(offsets(records)[0] < 90),
            Err(error) => break error,
        }
    };
    assert!(matches!(asked, Error::NoOffset { .. }), "{asked:?}");
    assert!(
        matches!(asking.poll(NOW), Err(Error::NoOffset { .. })),
        "it asks again"
    );
    asking.seek("t", 0, Start::Earliest).unwrap();
    assert_eq!(offsets(asking.poll(NOW).unwrap()), [90]);
}

#[test]
fn what_was_cut_off_is_not_waited_for() {
    let root = Root::new();
    let topic = root.topic("t", 1);
    fill(&topic, 5);
    let mut consumer = root.group("g").join(["t"]).unwrap();
    assert_eq!(consumer.poll(NOW).unwrap().len(), 5);
    consumer.commit().unwrap();
    topic.partition(0).unwrap().truncate(2).unwrap();
    assert!(consumer.poll(NOW).unwrap().is_empty());
    fill(&topic, 2);
    assert_eq!(offsets(consumer.poll(NOW).unwrap()), [2, 3]);
}

#[test]
fn partitions_take_turns_and_a_poll_has_a_limit() {
    let root = Root::new();
    let topic = root.topic("t", 3);
    fill(&topic, 5);
    let config = ConsumerConfig::default().max_poll_records(2);
    let mut consumer = root.group("g").join_with(["t"], config).unwrap();
    let mut order = Vec::new();
    while order.len() < 15 {
        let records = consumer.poll(NOW).unwrap();
        assert!(records.len() <= 2);
        order.extend(places(records));
    }
    let firsts: Vec<_> = order.iter().step_by(2).take(3).copied().collect();
    assert_eq!(firsts, [(0, 0), (1, 0), (2, 0)]);
    for partition in 0..3 {
        let of_one = order
            .iter()
            .filter(|(of, _)| *of == partition)
            .map(|(_, offset)| *offset);
        assert_eq!(of_one.collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    }
}

#[test]
fn seek_pause_resume_position_and_lag() {
    let root = Root::new();
    let topic = root.topic("t", 2);
    fill(&topic, 4);
    let group = root.group("g");
    let mut consumer = group.join(["t"]).unwrap();
    assert!(matches!(
        consumer.seek("t", 2, 0),
        Err(Error::UnknownPartition { .. })
    ));
    assert!(matches!(
        consumer.pause("t", 0),
        Err(Error::UnknownPartition { .. })
    ));
    assert_eq!(consumer.poll(NOW).unwrap().len(), 8);
    assert_eq!(consumer.lag().unwrap(), 8, "nothing is committed yet");
    assert_eq!(group.describe().unwrap().lag(), 8);
    consumer.seek("t", 0, 1).unwrap();
    consumer.seek("t", 1, Start::Earliest).unwrap();
    let past = consumer.seek("t", 0, 5);
    assert!(
        matches!(past, Err(Error::OffsetOutOfRange { requested: 5, .. })),
        "{past:?}"
    );
    assert_eq!(consumer.position("t", 0).unwrap(), 1);
    assert!(matches!(
        consumer.position("t", 2),
        Err(Error::UnknownPartition { .. })
    ));
    consumer.pause("t", 1).unwrap();
    assert_eq!(
        places(consumer.poll(NOW).unwrap()),
        [(0, 1), (0, 2), (0, 3)]
    );
    assert!(consumer.poll(NOW).unwrap().is_empty());
    consumer.commit().unwrap();
    assert_eq!(
        group.committed("t", 1).unwrap(),
        Some(0),
        "a place that was sought counts"
    );
    consumer.resume("t", 1).unwrap();
    assert_eq!(consumer.poll(NOW).unwrap().len(), 4);
}

#[test]
fn damage_of_one_partition_is_reported_and_keeps_no_other_from_being_read() {
    let root = Root::new();
    let topic = root.topic("t", 2);
    fill(&topic, 1);
    // A bit of the first record's value.
    root.sim
        .flip("/data/t-0/00000000000000000000.log", 70 * 8)
        .unwrap();
    let mut consumer = root.group("g").join(["t"]).unwrap();
    assert_eq!(places(consumer.poll(LONG).unwrap()), [(1, 0)]);
    assert!(matches!(consumer.poll(LONG), Err(Error::Corrupt { .. })));
    assert!(
        matches!(consumer.poll(LONG), Err(Error::Corrupt { .. })),
        "it is not forgotten"
    );
    fill_second(&topic);
    assert_eq!(places(consumer.poll(LONG).unwrap()), [(1, 1)]);
    assert!(matches!(consumer.poll(LONG), Err(Error::Corrupt { .. })));
    consumer.pause("t", 0).unwrap();
    assert!(consumer.poll(NOW).unwrap().is_empty());
    assert_eq!(consumer.position("t", 0).unwrap(), 0);
}

fn fill_second(topic: &Topic) {
    let next = topic.partition(1).unwrap().end_offset();
    topic
        .append_to(1, Record::new(&format!("1@{next}")))
        .unwrap();
}

#[test]
fn records_are_handed_on_whole() {
    let root = Root::new();
    let (from, to) = (root.topic("from", 1), root.topic("to", 1));
    let headers = [crate::types::Header::new("trace", "7f")];
    let record = Record::keyed("k", "v").with_timestamp(Timestamp::from_millis(9));
    from.append(record.with_headers(&headers)).unwrap();
    let mut consumer = root.group("g").join(["from"]).unwrap();
    let records = consumer.poll(NOW).unwrap();
    for record in &records {
        assert_eq!(
            (&*record.topic, record.partition, record.offset),
            ("from", 0, 0)
        );
        to.append(record).unwrap();
    }
    let kept: Vec<_> = records.into_iter().map(ConsumerRecord::detach).collect();
    let copy = to.partition(0).unwrap().read(0).unwrap().unwrap();
    assert_eq!(copy, kept[0].clone().into_record());
}
