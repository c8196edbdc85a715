//! Polls and commits as tasks.

use super::*;

#[test]
fn a_poll_waits_for_the_first_record_and_a_commit_is_safe() {
    let (_scratch, broker, topic) = always(2);
    let mut consumer = broker.group("g").unwrap().join(["t"]).unwrap();
    let wakes = Arc::new(Wakes::default());
    {
        let mut poll = pin!(consumer.poll_async());
        assert!(wakes.poll(poll.as_mut()).is_pending());
        topic.append_to(1, "a record").unwrap();
        await_wake(&wakes, 1);
        assert_eq!(block_on(poll).unwrap().len(), 1);
    }
    assert!(wakes.is_left());
    block_on(consumer.commit_async()).unwrap();
    assert_eq!(consumer.committed("t", 1).unwrap(), Some(1));
    block_on(consumer.commit_async()).unwrap();
    topic.append_to(0, "a record").unwrap();
    assert_eq!(block_on(consumer.poll_async()).unwrap().len(), 1);
    block_on(broker.close_async()).unwrap();
    assert!(matches!(
        block_on(consumer.poll_async()),
        Err(Error::Closed)
    ));
    assert!(matches!(
        block_on(consumer.commit_async()),
        Err(Error::Closed)
    ));
}

#[test]
fn a_poll_that_is_dropped_loses_no_record_and_leaves_no_waker() {
    let (broker, topic) = in_memory(3);
    let mut consumer = broker.group("g").unwrap().join(["t"]).unwrap();
    let wakes = Arc::new(Wakes::default());
    let mut read = [0; 3];
    let mut number = 0;
    for round in 0..100 {
        // Dropped before and after the record, and without a poll.
        let mut poll = Box::pin(consumer.poll_async());
        let polled = (round % 3 > 0).then(|| wakes.poll(poll.as_mut()));
        assert!(polled.is_none_or(|polled| polled.is_pending()));
        topic.append_to(round % 3, &format!("{number}")).unwrap();
        number += 1;
        drop(poll);
        assert!(wakes.is_left());
        let records = block_on(consumer.poll_async()).unwrap();
        for record in &records {
            let read = &mut read[usize::try_from(record.partition).unwrap()];
            assert_eq!(record.offset, *read);
            *read += 1;
        }
        assert_eq!(read.iter().sum::<u64>(), number);
    }
}

#[test]
fn what_a_dropped_poll_gained_and_skipped_is_reported_by_the_next_one() {
    let (broker, topic) = in_memory(1);
    let mut consumer = broker.group("g").unwrap().join(["t"]).unwrap();
    for _ in 0..4 {
        topic.append("a record").unwrap();
    }
    assert_eq!(block_on(consumer.poll_async()).unwrap().len(), 4);
    block_on(consumer.commit_async()).unwrap();
    drop(consumer);
    for _ in 0..4 {
        topic.append("a record").unwrap();
    }
    topic.partition(0).unwrap().truncate_prefix(8).unwrap();
    let mut consumer = broker.group("g").unwrap().join(["t"]).unwrap();
    let wakes = Arc::new(Wakes::default());
    assert!(wakes.poll(pin!(consumer.poll_async())).is_pending());
    topic.append("a record").unwrap();
    let records = block_on(consumer.poll_async()).unwrap();
    assert_eq!((records.len(), records.gained().len()), (1, 1));
    assert_eq!(records.skipped().len(), 1);
    assert_eq!((records.skipped()[0].from, records.skipped()[0].to), (4, 8));
}

#[test]
fn a_wakeup_handle_ends_a_poll_that_waits_as_a_task() {
    let (broker, topic) = in_memory(1);
    let mut consumer = broker.group("g").unwrap().join(["t"]).unwrap();
    let handle = consumer.wakeup_handle();
    let wakes = Arc::new(Wakes::default());
    {
        let mut poll = pin!(consumer.poll_async());
        assert!(wakes.poll(poll.as_mut()).is_pending());
        handle.wake();
        assert_eq!(wakes.count(), 1);
        assert!(matches!(wakes.poll(poll), Poll::Ready(Err(Error::WokenUp))));
    }
    assert!(wakes.is_left());
    handle.wake();
    assert!(matches!(
        block_on(consumer.poll_async()),
        Err(Error::WokenUp)
    ));
    topic.append("a record").unwrap();
    assert_eq!(block_on(consumer.poll_async()).unwrap().len(), 1);
}

#[test]
fn a_poll_that_waits_takes_over_from_a_member_that_is_late() {
    for manual in [true, false] {
        let clock = TestClock::new();
        let config = BrokerConfig::default().manual_upkeep(manual);
        let broker = Broker::temporary_with(config, Some(clock.clone())).unwrap();
        let topic = broker.create_topic("t", TopicConfig::default()).unwrap();
        let group = broker.group("g").unwrap();
        let interval = ConsumerConfig::default().max_poll_interval(MINUTE);
        let mut late = group.join_with(["t"], interval.clone()).unwrap();
        topic.append("a record").unwrap();
        assert_eq!(late.poll(Duration::ZERO).unwrap().len(), 1);
        let mut waiting = group.join_with(["t"], interval).unwrap();
        let wakes = Arc::new(Wakes::default());
        let mut poll = pin!(waiting.poll_async());
        assert!(wakes.poll(poll.as_mut()).is_pending());
        let before = wakes.count();
        clock.advance(2 * MINUTE);
        await_wake(&wakes, before + 1);
        assert_eq!(block_on(poll).unwrap().len(), 1, "manual: {manual}");
    }
}

#[test]
fn a_member_whose_poll_was_dropped_is_late_again() {
    let clock = TestClock::new();
    let config = BrokerConfig::default().manual_upkeep(true);
    let broker = Broker::temporary_with(config, Some(clock.clone())).unwrap();
    broker.create_topic("t", TopicConfig::default()).unwrap();
    let mut consumer = broker.group("g").unwrap().join(["t"]).unwrap();
    let wakes = Arc::new(Wakes::default());
    {
        let mut poll = pin!(consumer.poll_async());
        assert!(wakes.poll(poll.as_mut()).is_pending());
        clock.advance(60 * MINUTE);
        assert!(wakes.poll(poll.as_mut()).is_pending());
        let members = broker.groups().unwrap()[0].members.len();
        assert_eq!(members, 1, "within a poll nobody is late");
    }
    clock.advance(60 * MINUTE);
    assert!(matches!(consumer.commit(), Err(Error::Fenced { .. })));
}
