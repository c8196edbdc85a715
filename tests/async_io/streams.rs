//! Readers as streams: they wait, go on and end, and leave nothing behind.

use super::*;

#[test]
fn a_stream_goes_on_at_the_end_and_is_over_when_the_log_is_closed() {
    for durability in [Durability::Os, Durability::Always] {
        let (_scratch, log) = log(durability);
        let wakes = Arc::new(Wakes::default());
        let mut stream = log.reader(0).unwrap().into_stream();
        for offset in 0..20 {
            assert!(wakes.next(&mut stream).is_pending());
            log.append(&format!("{offset}")).unwrap();
            await_wake(&wakes, usize::try_from(offset).unwrap() + 1);
            let record = block_on(next(&mut stream)).unwrap().unwrap();
            assert_eq!((record.offset, stream.position()), (offset, offset + 1));
        }
        assert!(wakes.next(&mut stream).is_pending());
        log.close().unwrap();
        await_wake(&wakes, 21);
        for _ in 0..3 {
            assert!(matches!(wakes.next(&mut stream), Poll::Ready(None)));
        }
        assert!(wakes.is_left());
    }
}

#[test]
fn a_stream_reads_across_rolls_and_what_was_there_before() {
    let scratch = tempfile::tempdir().unwrap();
    let config = LogConfig::default().segment_bytes(1024);
    let log = Log::open(scratch.path().join("log"), config).unwrap();
    let mut stream = log.reader(0).unwrap().into_stream();
    let mut read = 0;
    let wakes = Arc::new(Wakes::default());
    for number in 0..500 {
        log.append(&format!("record number {number}")).unwrap();
        if number % 7 != 0 {
            continue;
        }
        while let Poll::Ready(record) = wakes.next(&mut stream) {
            assert_eq!(record.unwrap().unwrap().offset, read);
            read += 1;
        }
        assert_eq!(read, number + 1);
    }
    assert!(log.segments().len() > 5);
}

#[test]
fn a_stream_returns_an_error_once_and_is_over() {
    let (_scratch, log) = log(Durability::Os);
    for _ in 0..10 {
        log.append("a record").unwrap();
    }
    let wakes = Arc::new(Wakes::default());
    let mut stream = log.reader(10).unwrap().into_stream();
    assert!(wakes.next(&mut stream).is_pending());
    log.truncate(5).unwrap();
    await_wake(&wakes, 1);
    let cut = block_on(next(&mut stream)).unwrap();
    assert!(matches!(cut, Err(Error::Truncated { .. })), "{cut:?}");
    log.append("another").unwrap();
    for _ in 0..3 {
        assert!(matches!(wakes.next(&mut stream), Poll::Ready(None)));
    }
    assert!(wakes.is_left());
}

#[test]
fn a_stream_of_a_reader_that_has_failed_returns_its_error() {
    let (_scratch, log) = log(Durability::Os);
    for _ in 0..10 {
        log.append("a record").unwrap();
    }
    let mut reader = log.reader(10).unwrap();
    log.truncate(5).unwrap();
    assert!(matches!(reader.next(), Some(Err(Error::Truncated { .. }))));
    let mut stream = reader.into_stream();
    let first = block_on(next(&mut stream));
    assert!(matches!(first, Some(Err(Error::Truncated { .. }))));
    assert!(block_on(next(&mut stream)).is_none());
}

#[test]
fn a_stream_that_is_dropped_leaves_no_waker() {
    let (_scratch, log) = log(Durability::Os);
    let wakes = Arc::new(Wakes::default());
    for _ in 0..10 {
        let mut stream = log.reader(Start::Latest).unwrap().into_stream();
        assert!(wakes.next(&mut stream).is_pending());
        assert!(!wakes.is_left());
        drop(stream);
        assert!(wakes.is_left());
    }
    log.append("a record").unwrap();
    assert_eq!(wakes.count(), 0);
}

#[test]
fn of_two_tasks_that_poll_a_stream_the_last_one_is_woken() {
    let (_scratch, log) = log(Durability::Os);
    let (first, second) = (Arc::new(Wakes::default()), Arc::new(Wakes::default()));
    let mut stream = log.reader(0).unwrap().into_stream();
    assert!(first.next(&mut stream).is_pending());
    assert!(second.next(&mut stream).is_pending());
    assert!(first.is_left(), "it was replaced");
    log.append("a record").unwrap();
    assert_eq!((first.count(), second.count()), (0, 1));
    assert!(matches!(first.next(&mut stream), Poll::Ready(Some(Ok(_)))));
}

#[test]
fn a_stream_that_waits_costs_less_than_300_bytes() {
    const STREAMS: usize = 10_000;
    let (_scratch, log) = log(Durability::Os);
    // What a thread keeps for reading is there from now on.
    log.append(&"x".repeat(10_000)).unwrap();
    assert_eq!(log.reader(0).unwrap().count(), 1);
    let wakes = Arc::new(Wakes::default());
    let task = Waker::from(Arc::clone(&wakes));
    let before = LIVE.get();
    let mut streams = Vec::with_capacity(STREAMS);
    for _ in 0..STREAMS {
        // Some have read before they wait.
        let mut stream = log.reader(0).unwrap().into_stream();
        let mut context = Context::from_waker(&task);
        let read = Pin::new(&mut stream).poll_next(&mut context);
        assert!(matches!(read, Poll::Ready(Some(Ok(_)))));
        assert!(Pin::new(&mut stream).poll_next(&mut context).is_pending());
        streams.push(stream);
    }
    let each = usize::try_from(LIVE.get() - before).unwrap() / STREAMS;
    println!(
        "a waiting stream: {each} bytes, {} in place",
        size_of::<RecordStream>()
    );
    assert!(each <= 300, "{each} bytes");
    log.append("a record").unwrap();
    assert_eq!(wakes.count(), STREAMS);
}

/// After a sync a crowd is woken in turns: each that is polled again wakes the next. These are not
/// polled, as if their executor was stuck.
#[test]
fn every_stream_of_a_crowd_is_woken_by_a_sync_also_when_none_of_them_comes_back() {
    const STREAMS: usize = 1_000;
    let (_scratch, on_disk, _topic) = always(1);
    let clock = TestClock::new();
    let manual = BrokerConfig::default()
        .durability(Durability::Always)
        .manual_upkeep(true);
    let brokers = [
        on_disk,
        Broker::temporary_with(manual.clone(), None).unwrap(),
        Broker::temporary_with(manual.manual_upkeep(false), Some(clock)).unwrap(),
    ];
    for broker in brokers {
        let topic = broker.create_topic_if_absent("t", TopicConfig::default());
        let log = topic.unwrap().partition(0).unwrap();
        let wakes = Arc::new(Wakes::default());
        let mut streams: Vec<_> = (0..STREAMS)
            .map(|_| log.reader(0).unwrap().into_stream())
            .collect();
        for stream in &mut streams {
            assert!(wakes.next(stream).is_pending());
        }
        assert_eq!(block_on(log.append_async("a record").unwrap()).unwrap(), 0);
        await_wake(&wakes, STREAMS);
        for stream in &mut streams {
            assert!(matches!(wakes.next(stream), Poll::Ready(Some(Ok(_)))));
        }
        assert_eq!(wakes.count(), STREAMS);
    }
}

#[test]
fn a_crowd_that_waits_for_its_turn_ends_with_the_log() {
    let (_scratch, log) = log(Durability::Always);
    let wakes = Arc::new(Wakes::default());
    let mut streams = [(); 200].map(|()| log.reader(0).unwrap().into_stream());
    for stream in &mut streams {
        assert!(wakes.next(stream).is_pending());
    }
    log.append("a record").unwrap();
    log.close().unwrap();
    await_wake(&wakes, 200);
    assert_eq!(wakes.count(), 200);
    for mut stream in streams {
        while let Poll::Ready(Some(record)) = wakes.next(&mut stream) {
            record.unwrap();
        }
        assert!(matches!(wakes.next(&mut stream), Poll::Ready(None)));
    }
    await_left(&wakes);
}

#[test]
fn a_stream_of_a_topic_reads_every_partition_and_those_that_are_added() {
    let (broker, topic) = in_memory(3);
    let wakes = Arc::new(Wakes::default());
    let mut stream = topic.reader(Start::Earliest).unwrap().into_stream();
    for partition in [2, 0, 1] {
        assert!(wakes.next(&mut stream).is_pending());
        let before = wakes.count();
        topic.append_to(partition, "a record").unwrap();
        await_wake(&wakes, before + 1);
        let record = block_on(next(&mut stream)).unwrap().unwrap();
        assert_eq!((record.partition, record.offset), (partition, 0));
    }
    assert!(wakes.next(&mut stream).is_pending());
    let before = wakes.count();
    broker
        .alter_topic("t", |config| config.partitions(5))
        .unwrap();
    await_wake(&wakes, before + 1);
    topic.append_to(4, "a record").unwrap();
    let record = block_on(next(&mut stream)).unwrap().unwrap();
    assert_eq!(record.partition, 4);
    assert_eq!(stream.positions().len(), 5);
    assert!(wakes.next(&mut stream).is_pending());
    drop(stream);
    assert!(wakes.is_left());
}

#[test]
fn a_stream_of_a_topic_is_over_when_the_topic_is_deleted_or_the_broker_closed() {
    for delete in [true, false] {
        let (broker, topic) = in_memory(3);
        let wakes = Arc::new(Wakes::default());
        let mut stream = topic.reader(Start::Earliest).unwrap().into_stream();
        let mut one = topic.partition(0).unwrap().reader(0).unwrap().into_stream();
        assert!(wakes.next(&mut stream).is_pending());
        assert!(wakes.next(&mut one).is_pending());
        if delete {
            broker.delete_topic("t").unwrap();
            let gone = block_on(next(&mut stream));
            assert!(
                matches!(gone, Some(Err(Error::UnknownTopic { .. }))),
                "{gone:?}"
            );
        } else {
            block_on(broker.close_async()).unwrap();
        }
        assert!(wakes.count() >= 2);
        for _ in 0..3 {
            assert!(matches!(wakes.next(&mut stream), Poll::Ready(None)));
            assert!(matches!(wakes.next(&mut one), Poll::Ready(None)));
        }
        assert!(wakes.is_left());
    }
}

#[test]
fn a_partition_that_fails_keeps_no_other_from_being_streamed() {
    let (_broker, topic) = in_memory(2);
    for partition in [0, 1] {
        for _ in 0..4 {
            topic.append_to(partition, "a record").unwrap();
        }
    }
    let mut stream = topic.reader(Start::Latest).unwrap().into_stream();
    topic.partition(0).unwrap().truncate(1).unwrap();
    let cut = block_on(next(&mut stream));
    assert!(matches!(cut, Some(Err(Error::Truncated { .. }))), "{cut:?}");
    let wakes = Arc::new(Wakes::default());
    assert!(wakes.next(&mut stream).is_pending());
    topic.append_to(1, "a record").unwrap();
    assert!(matches!(wakes.next(&mut stream), Poll::Ready(Some(Ok(_)))));
    topic.partition(1).unwrap().truncate(1).unwrap();
    assert!(matches!(wakes.next(&mut stream), Poll::Ready(Some(Err(_)))));
    assert!(
        matches!(wakes.next(&mut stream), Poll::Ready(None)),
        "none is left"
    );
}
