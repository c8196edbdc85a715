//! Figures: each counts what it says, and nothing else.

use std::time::Duration;

use ottla::{
    Broker, BrokerConfig, CleanupPolicy, ConsumerConfig, Durability, Log, LogConfig,
    ProducerConfig, Record, TestClock, TopicConfig,
};

use crate::helpers::scratch;

const NOW: Duration = Duration::ZERO;
const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn a_log_counts_appends_syncs_reads_and_rolls() {
    let dir = scratch();
    let config = LogConfig::default()
        .durability(Durability::Always)
        .segment_bytes(1024);
    let log = Log::open(dir.path().join("log"), config).unwrap();
    assert_eq!(log.metrics(), ottla::LogMetrics::default());
    for number in 0..10 {
        log.append(&format!("record {number}")).unwrap();
    }
    log.append_batch(
        (0..50)
            .map(|number| format!("record number {number}"))
            .collect::<Vec<_>>()
            .iter()
            .map(String::as_str),
    )
    .unwrap();
    let metrics = log.metrics();
    assert_eq!((metrics.appends, metrics.records), (11, 60));
    assert_eq!(metrics.batches_per_sync.sum(), 11);
    assert_eq!(
        metrics.batches_per_sync.count(),
        metrics.sync_micros.count()
    );
    assert!(metrics.bytes > 1500 && metrics.rolls == 1, "{metrics:?}");
    assert_eq!((metrics.reads, metrics.poisoned), (0, 0));
    assert_eq!(log.reader(0).unwrap().count(), 60);
    let read = log.metrics();
    assert!(read.reads >= 2 && read.read_bytes >= read.bytes, "{read:?}");
}

#[test]
fn a_broker_counts_what_retention_and_compaction_did() {
    let clock = TestClock::new();
    let config = BrokerConfig::default().manual_upkeep(true);
    let broker = Broker::temporary_with(config, Some(clock.clone())).unwrap();
    let config = TopicConfig::default().retention(HOUR).segment_age(HOUR / 2);
    let old = broker.create_topic("old", config).unwrap();
    old.append_batch(["a", "b", "c"]).unwrap();
    let config = TopicConfig::default().cleanup_policy(CleanupPolicy::Compact);
    let table = broker.create_topic("table", config).unwrap();
    for number in 0..10 {
        table
            .append(Record::keyed("one", &number.to_string()))
            .unwrap();
    }
    table.partition(0).unwrap().compact().unwrap();
    clock.advance(HOUR * 2);
    broker.upkeep().unwrap();
    let metrics = broker.metrics();
    let (old, table) = (&metrics.topics["old"], &metrics.topics["table"]);
    assert_eq!(
        (old.records, old.segments_deleted, old.records_deleted),
        (3, 1, 3)
    );
    assert!(old.bytes_deleted == old.bytes);
    assert_eq!(
        (table.compactions, table.compaction_records_dropped),
        (1, 9)
    );
    assert!(table.compaction_read_bytes > table.compaction_written_bytes);
    assert_eq!(metrics.logs.records_deleted, 3);
    assert!(metrics.open_logs >= 2 && metrics.open_files >= 1);
}

#[test]
fn groups_count_polls_rebalances_evictions_fences_and_what_was_forgotten_unread() {
    let clock = TestClock::new();
    let config = BrokerConfig::default().manual_upkeep(true);
    let broker = Broker::temporary_with(config, Some(clock.clone())).unwrap();
    let topic = broker.create_topic("t", TopicConfig::default()).unwrap();
    topic.append_batch(["a", "b", "c"]).unwrap();
    let group = broker.group("g").unwrap();
    let patient = ConsumerConfig::default().max_poll_interval(HOUR);
    let mut slow = group.join_with(["t"], patient.clone()).unwrap();
    assert_eq!(slow.poll(NOW).unwrap().len(), 3);
    slow.commit_to("t", 0, 1).unwrap();
    let mut other = group.join_with(["t"], patient).unwrap();
    clock.advance(HOUR / 2);
    assert!(other.poll(NOW).unwrap().is_empty());
    clock.advance(HOUR / 2);
    topic.partition(0).unwrap().truncate_prefix(2).unwrap();
    assert_eq!(other.poll(NOW).unwrap().len(), 1);
    assert!(slow.commit().is_err());
    let groups = broker.metrics().groups;
    assert_eq!((groups.polls, groups.records), (3, 4));
    assert_eq!((groups.evictions, groups.fenced), (1, 1));
    assert_eq!(
        groups.records_forgotten_unread, 1,
        "one was committed, one is there, one is gone"
    );
    assert!(groups.rebalances >= 2, "{groups:?}");
    assert_eq!(groups.poll_lag_micros.count(), 1);
    let half = u64::try_from((HOUR / 2).as_micros()).unwrap();
    assert_eq!(groups.poll_lag_micros.max(), half);
}

#[test]
fn records_that_producers_hold_are_counted_and_figures_can_be_sent_away() {
    let clock = TestClock::new();
    let broker = Broker::temporary_with(BrokerConfig::default(), Some(clock)).unwrap();
    let topic = broker
        .create_topic("t", TopicConfig::default().partitions(2))
        .unwrap();
    let producer = topic
        .producer(ProducerConfig::default().linger(HOUR))
        .unwrap();
    for number in 0..7_u32 {
        let key = number.to_string();
        let _sent = producer.send(Record::keyed(&key, "x")).unwrap();
    }
    assert_eq!(broker.metrics().producer_queue_records, 7);
    producer.flush().unwrap();
    let metrics = broker.metrics();
    assert_eq!(
        (metrics.producer_queue_records, metrics.logs.records),
        (0, 7)
    );
    #[cfg(feature = "serde")]
    {
        let sent = serde_json::to_string(&metrics).unwrap();
        let arrived: ottla::BrokerMetrics = serde_json::from_str(&sent).unwrap();
        assert_eq!(arrived, metrics);
    }
    broker.close().unwrap();
    assert_eq!(broker.metrics().logs.records, 7);
}

#[test]
fn the_sums_of_a_broker_do_not_go_back_when_a_topic_is_deleted() {
    let broker = Broker::temporary().unwrap();
    for round in 1..=2 {
        let topic = broker.create_topic("t", TopicConfig::default()).unwrap();
        topic.append_batch(["a", "b"]).unwrap();
        assert_eq!(broker.metrics().topics["t"].records, 2);
        broker.delete_topic("t").unwrap();
        let metrics = broker.metrics();
        assert_eq!((metrics.logs.records, metrics.topics.len()), (round * 2, 0));
    }
}

#[test]
fn what_was_appended_before_an_opening_is_not_counted() {
    let dir = scratch();
    let open = || Log::open(dir.path().join("log"), LogConfig::default()).unwrap();
    open().append_batch(["a", "b"]).unwrap();
    let log = open();
    assert_eq!(log.metrics().records, 0);
    log.append("c").unwrap();
    assert_eq!(log.metrics().records, 1);
}
