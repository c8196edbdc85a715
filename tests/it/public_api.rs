//! Every public name, so that a rename fails to compile.
//!
//! Nothing here runs: the shapes are what is checked.

#![expect(
    dead_code,
    clippy::needless_pass_by_value,
    clippy::no_effect_underscore_binding,
    reason = "compiled, never called"
)]

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use ottla::{
    Appended, AppendedBatch, Broker, BrokerConfig, CleanupPolicy, Codec, CodecError,
    CompactionReport, Compression, Consumer, ConsumerConfig, ConsumerGroup, ConsumerRecord,
    ConsumerRecords, Delivery, Durability, Ensured, Error, GroupInfo, Header, Keyed, Log,
    LogConfig, LogRecord, Offset, OpenReport, OwnedRecord, PartitionId, Partitioner, Producer,
    ProducerConfig, Reader, RebalanceListener, Record, RecordBatch, RecordView, Result,
    RetentionReport, SegmentInfo, Start, TestClock, Timestamp, TimestampType, Topic, TopicConfig,
    TopicInfo, TopicPartition, TopicReader, TypedTopic, UpkeepReport, WakeupHandle, WriteMode,
};

fn shared<T: Send + Sync>() {}
fn sent<T: Send>() {}
fn cloned<T: Clone>() {}
fn caught<T: std::panic::UnwindSafe + std::panic::RefUnwindSafe>() {}
fn worded<T: std::fmt::Display + std::str::FromStr<Err = ottla::ChoiceError>>() {}

fn choices() {
    worded::<CleanupPolicy>();
    worded::<Compression>();
    worded::<Durability>();
    worded::<TimestampType>();
    worded::<WriteMode>();
    worded::<ottla::Assignor>();
    worded::<ottla::ReadIsolation>();
}

fn panics() {
    caught::<Broker>();
    caught::<Consumer>();
    caught::<ConsumerGroup>();
    caught::<Log>();
    caught::<Producer>();
    caught::<Reader>();
    caught::<Topic>();
    caught::<TopicReader>();
}

fn threads() {
    shared::<Log>();
    shared::<Broker>();
    shared::<Topic>();
    shared::<ConsumerGroup>();
    shared::<Producer>();
    shared::<Error>();
    sent::<Reader>();
    sent::<TopicReader>();
    sent::<Consumer>();
    sent::<Delivery>();
    sent::<WakeupHandle>();
    shared::<WakeupHandle>();
    cloned::<WakeupHandle>();
    cloned::<Error>();
    cloned::<OwnedRecord>();
    cloned::<Log>();
    cloned::<Broker>();
    cloned::<Topic>();
    cloned::<ConsumerGroup>();
}

fn values(text: &str, bytes: &[u8], view: RecordView<'_>, log_record: &LogRecord) {
    let number: u64 = 3;
    let _offset: Offset = number;
    let _partition: PartitionId = 3_u32;
    let now: Timestamp = SystemTime::now().into();
    let _times = [
        Timestamp::now(),
        now,
        Timestamp::from_millis(5),
        Timestamp::NONE,
    ];
    let _millis: i64 = now.as_millis();

    let headers = [Header::new("trace", "7f"), Header::null("none")];
    let _name_and_value: (&[u8], Option<&[u8]>) = (headers[0].name, headers[0].value);
    let _key: std::borrow::Cow<'_, str> = headers[0].key();
    let record: Record<'_> = Record::keyed(text, bytes)
        .with_timestamp(now)
        .with_headers(&headers);
    let _made = [
        Record::new(text),
        Record::tombstone(text),
        Record::from_parts(None, Some(bytes)),
    ];
    let _parts: (Option<&[u8]>, Option<&[u8]>, Option<Timestamp>) =
        (record.key(), record.value(), record.timestamp());
    let _headers: Option<Header<'_>> = record.headers().next();

    let owned = text.to_owned();
    let vector = bytes.to_vec();
    let shared = Bytes::copy_from_slice(bytes);
    let _from: [Record<'_>; 8] = [
        text.into(),
        bytes.into(),
        b"four".into(),
        (&owned).into(),
        (&vector).into(),
        (&shared).into(),
        log_record.into(),
        view.into(),
    ];
    let _view: (Offset, Timestamp, Option<&[u8]>, Option<&[u8]>) =
        (view.offset, view.timestamp, view.key(), view.value());
    let _view_headers = view.headers().count();
    let _choices = (
        [
            Start::Earliest,
            Start::Latest,
            Start::Offset(1),
            Start::Time(now),
            Start::from(3),
        ],
        [
            Durability::Os,
            Durability::Interval(Duration::from_secs(1)),
            Durability::Always,
        ],
        [
            Compression::None,
            Compression::Gzip,
            Compression::Snappy,
            Compression::Lz4,
        ],
        Compression::Zstd,
        [
            CleanupPolicy::Delete,
            CleanupPolicy::Compact,
            CleanupPolicy::CompactAndDelete,
        ],
        [TimestampType::CreateTime, TimestampType::LogAppendTime],
        [WriteMode::Auto, WriteMode::Mapped, WriteMode::Pwrite],
    );
}

fn records(record: LogRecord, consumed: ConsumerRecord) {
    let _place: (Offset, Timestamp) = (record.offset, record.timestamp);
    let _borrowed: (Option<&[u8]>, Option<&[u8]>) = (record.key(), record.value());
    let _shared: (Option<Bytes>, Option<Bytes>) = (record.key_bytes(), record.value_bytes());
    let _header: Option<Header<'_>> = record.headers().next();
    let _kept: LogRecord = record.detach();

    let _topic: &str = &consumed.topic;
    let _partition: PartitionId = consumed.partition;
    let _through: (Offset, Option<&[u8]>) = (consumed.offset, consumed.value());
    let _onward: Record<'_> = Record::from(&consumed);
}

fn log(dir: &Path) -> Result<()> {
    let log: Log = Log::open(dir, LogConfig::default())?;
    let _read_only: Log = Log::open_read_only(dir)?;
    let _one: Offset = log.append("text")?;
    let _many: Range<Offset> = log.append_batch(["a", "b"])?;
    let mut reader: Reader = log.reader(0)?;
    let _from_start: Reader = log.reader(Start::Latest)?;
    let _record: Option<LogRecord> = log.read(0)?;
    let _at: Option<Offset> = log.offset_for_time(Timestamp::now())?;
    let _flushed: Offset = log.flush()?;
    let _offsets: [Offset; 4] = [
        log.start_offset(),
        log.flushed_offset(),
        log.end_offset(),
        log.high_watermark(),
    ];
    let _came: bool = log.wait_for(0, Duration::ZERO)?;
    log.truncate_prefix(0)?;
    log.truncate(0)?;
    let _forgotten: RetentionReport = log.apply_retention()?;
    let _compacted: CompactionReport = log.compact()?;
    let _segments: Vec<SegmentInfo> = log.segments();
    let _report: &OpenReport = log.open_report();

    let _next: Option<Result<LogRecord>> = reader.next();
    let batch: Option<RecordBatch> = reader.next_batch()?;
    for _view in batch.iter().flat_map(RecordBatch::records) {}
    reader.seek(Start::Earliest)?;
    reader.seek(3)?;
    let _position: Offset = reader.position();
    let _waited: bool = reader.wait(Duration::ZERO)?;
    log.close()
}

fn broker(dir: &Path) -> Result<()> {
    let _plain: Broker = Broker::open(dir)?;
    let _looking: Broker = Broker::open_read_only(dir)?;
    let broker: Broker = Broker::open_with(dir, BrokerConfig::default().manual_upkeep(true))?;
    let topic: Topic = broker.create_topic("t", TopicConfig::default().partitions(3))?;
    let _found: Topic = broker.create_topic_if_absent("t", TopicConfig::default())?;
    let _named: Topic = broker.topic("t")?;
    let _topics: Vec<TopicInfo> = broker.topics();
    broker.delete_topic("t")?;
    broker.alter_topic("t", |config| config.partitions(8))?;
    let _group: ConsumerGroup = broker.group("g")?;
    let _groups: Vec<GroupInfo> = broker.groups()?;
    broker.delete_group("g")?;
    let _report: &OpenReport = broker.open_report();

    let _about: (&str, u32, TopicConfig) = (topic.name(), topic.partition_count(), topic.config());
    let _info: TopicInfo = topic.describe()?;
    let appended: Appended = topic.append(Record::keyed("k", "v"))?;
    let _place: (PartitionId, Offset) = (appended.partition, appended.offset);
    let _offset: Offset = topic.append_to(0, "v")?;
    for batch in topic.append_batch(["a", "b"])? {
        let AppendedBatch {
            partition, offsets, ..
        } = batch;
        let (_partition, _offsets): (PartitionId, Range<Offset>) = (partition, offsets);
    }
    let _own: Topic = topic.with_partitioner(Arc::new(First));
    let _log: Log = topic.partition(0)?;
    let producer: Producer = topic.producer(ProducerConfig::default())?;
    let delivery: Delivery = producer.send(Record::keyed("k", "v"))?;
    producer.flush()?;
    let _delivered: Appended = delivery.wait()?;
    let _kept_up: UpkeepReport = broker.upkeep()?;
    broker.flush()?;
    broker.close()
}

struct First;

impl Partitioner for First {
    fn partition(&self, _topic: &str, _record: &Record<'_>, _partitions: u32) -> PartitionId {
        0
    }
}

fn group(group: &ConsumerGroup) -> Result<()> {
    let _joined: Consumer = group.join(["t"])?;
    let _several: Consumer = group.join(vec![String::from("t")])?;
    let mut consumer: Consumer = group.join_with(["t"], ConsumerConfig::default())?;
    let _info: GroupInfo = group.describe()?;
    let _committed: Option<Offset> = group.committed("t", 0)?;
    group.reset("t", Start::Earliest)?;

    let records: ConsumerRecords = consumer.poll(Duration::ZERO)?;
    let _size: (usize, bool) = (records.len(), records.is_empty());
    let _changed = (records.gained().len(), records.lost().len());
    for record in records {
        let _record: ConsumerRecord = record;
    }
    consumer.commit()?;
    consumer.commit_to("t", 0, 5)?;
    let _assigned: Vec<(String, PartitionId)> = consumer.assignment();
    let _position: Offset = consumer.position("t", 0)?;
    consumer.seek("t", 0, 3)?;
    consumer.seek("t", 0, Start::Latest)?;
    consumer.pause("t", 0)?;
    consumer.resume("t", 0)?;
    let _lag: u64 = consumer.lag()?;
    consumer.leave()
}

fn checks(dir: &Path) -> Result<()> {
    let report: ottla::VerifyReport = ottla::verify(dir)?;
    let _repaired: ottla::RepairReport = ottla::repair(dir)?;
    let problem: Option<&ottla::Problem> = report.damage().next();
    let _kind: Option<&ottla::ProblemKind> = problem.map(|problem| &problem.kind);
    let _logs: &[ottla::LogCondition] = &report.logs;
    assert!(report.worst() != Some(ottla::Severity::Rebuildable));
    Ok(())
}

fn settings() -> TopicConfig {
    let day = Duration::from_secs(86_400);
    let log: LogConfig = LogConfig::default()
        .segment_age(day)
        .retention(day)
        .delete_retention(day)
        .min_compaction_lag(day)
        .max_compaction_lag(day)
        .timestamp_before_max(day)
        .timestamp_after_max(day)
        .lock_timeout(day)
        .durability(Durability::Always);
    let _always: Durability = log.durability;
    let topic: TopicConfig = TopicConfig::default()
        .partitions(3)
        .segment_bytes(1 << 20)
        .segment_age(day)
        .segment_index_bytes(1 << 20)
        .index_interval_bytes(4_096)
        .max_message_bytes(1 << 20)
        .max_decompressed_batch_bytes(1 << 26)
        .retention(day)
        .retention_bytes(1 << 30)
        .cleanup_policy(CleanupPolicy::Compact)
        .delete_retention(day)
        .min_cleanable_dirty_ratio(0.5)
        .min_compaction_lag(day)
        .max_compaction_lag(day)
        .message_timestamp_type(TimestampType::CreateTime)
        .timestamp_before_max(day)
        .timestamp_after_max(day)
        .compression_type(Compression::None)
        .dedupe_buffer_bytes(1 << 20)
        .durability(Durability::Always)
        .write_mode(WriteMode::Auto)
        .strict_recovery(false)
        .lock_timeout(day);
    let _broker_decides: Option<Durability> = topic.durability;
    let _broker: BrokerConfig = BrokerConfig::default()
        .lock_timeout(day)
        .upkeep_interval(day)
        .max_total_bytes(1 << 40)
        .max_open_files(1_000);
    let _producer: ProducerConfig = ProducerConfig::default().linger(day);
    let _consumer: ConsumerConfig = ConsumerConfig::default()
        .max_poll_interval(day)
        .session_timeout(day)
        .max_poll_records(5)
        .static_member_id("gate")
        .assignor(ottla::Assignor::RoundRobin)
        .start(Start::Latest)
        .auto_commit(true);
    let mut fields = topic;
    fields.segment_age = day;
    fields.retention = Some(day);
    fields.durability = None;
    fields
}

fn owned(record: &Record<'_>) {
    let owned: OwnedRecord = OwnedRecord::keyed("k", "v").with_header(Header::new("trace", "7f"));
    let batch: Vec<OwnedRecord> = vec![owned, OwnedRecord::new("v"), OwnedRecord::tombstone("k")];
    let _borrowed: Vec<Record<'_>> = batch.iter().map(Record::from).collect();
    let _literal: Header<'_> = Header {
        name: b"trace",
        value: Some(b"7f"),
    };
    let names = record.headers().map(|header| header.key().into_owned());
    let _copied: Vec<String> = names.collect();
}

fn conditional(log: &Log, topic: &Topic) -> Result<()> {
    let _one: Offset = log.append_at(3, "v")?;
    let _batch: Range<Offset> = log.append_batch_at(3, ["a", "b"])?;
    let _one: Offset = topic.append_to_at(0, 3, "v")?;
    let _batch: Range<Offset> = topic.append_batch_to_at(0, 3, ["a", "b"])?;
    let _place: PartitionId = topic.partition_for_key(b"k");
    Ok(())
}

fn whole_topic(topic: &Topic) -> Result<()> {
    let mut reader: TopicReader = topic.reader(Start::Earliest)?;
    let positions: BTreeMap<PartitionId, Offset> = reader.positions();
    let _again: TopicReader = topic.reader_at(&positions)?;
    let _next: Option<Result<ConsumerRecord>> = reader.next();
    let _came: bool = reader.wait(Duration::ZERO)?;
    reader.seek(0, 3)?;
    reader.seek(0, Start::Latest)
}

fn outside(log: &Log, broker: &Broker) -> (bool, bool) {
    (log.is_live(), broker.is_live())
}

fn administration(dir: &Path, clock: TestClock) -> Result<()> {
    let config = BrokerConfig::default();
    let broker: Broker = Broker::open_with_clock(dir, config, clock)?;
    let ensured: Ensured = broker.ensure_topic("t", TopicConfig::default())?;
    let _plain = matches!(&ensured, Ensured::Made | Ensured::AsItWas);
    if let Ensured::Altered(changes) = ensured {
        for ottla::SettingChange { name, from, to, .. } in changes {
            let _texts: [String; 3] = [name, from, to];
        }
    }
    let usage: ottla::DiskUsage = broker.disk_usage()?;
    let _topics: &BTreeMap<String, ottla::TopicUsage> = &usage.topics;
    let metrics: ottla::BrokerMetrics = broker.metrics();
    let _logs: &ottla::LogMetrics = &metrics.logs;
    let _report: ottla::BackupReport = broker.backup(dir)?;
    let options = ottla::BackupOptions::default().hard_links(true);
    let report: ottla::BackupReport = broker.backup_with(dir, options)?;
    let _time_and_size: (Duration, u64) = (report.elapsed, report.bytes);
    Ok(())
}

fn one_log(log: &Log, dir: &Path) -> Result<()> {
    let _report: ottla::BackupReport = log.backup(dir)?;
    let _metrics: ottla::LogMetrics = log.metrics();
    Ok(())
}

fn temporary(dir: &Path) -> Result<()> {
    let clock = TestClock::new();
    clock.advance(Duration::from_secs(1));
    clock.set(Timestamp::from_millis(5));
    let _now: Timestamp = clock.now();
    let _brokers: [Broker; 3] = [
        Broker::temporary()?,
        Broker::temporary_in(dir)?,
        Broker::temporary_with(BrokerConfig::default(), Some(clock))?,
    ];
    Ok(())
}

struct CommitFirst;

impl RebalanceListener for CommitFirst {
    fn on_revoke(&mut self, consumer: &mut Consumer, _partitions: &[TopicPartition]) {
        let _committed: Result<()> = consumer.commit();
    }
}

fn members(group: &ConsumerGroup) -> Result<()> {
    let mut consumer: Consumer =
        group.join_listening(["t"], ConsumerConfig::default(), CommitFirst)?;
    group.commit_to("t", 0, 5, "from a backfill")?;
    group.reset_partition("t", 0, Start::Earliest)?;
    group.delete_commits("t")?;

    let handle: WakeupHandle = consumer.wakeup_handle();
    handle.clone().wake();
    consumer.subscribe(["t", "u"])?;
    consumer.subscribe(vec![String::from("t")])?;
    consumer.subscribe_matching(|topic: &str| topic.starts_with("flights."))?;
    let _paused: Vec<TopicPartition> = consumer.paused();
    let _id: &str = consumer.member_id();
    let _committed: Vec<(TopicPartition, Offset)> = consumer.committed_all()?;
    consumer.commit_to_with("t", 0, 5, "metadata")?;
    consumer.rewind()
}

struct Text;

impl Codec<String> for Text {
    fn name(&self) -> &'static str {
        "text"
    }
    fn encode(&self, value: &String, into: &mut Vec<u8>) -> std::result::Result<(), CodecError> {
        into.extend_from_slice(value.as_bytes());
        Ok(())
    }
    fn decode(&self, bytes: &[u8], _version: u32) -> std::result::Result<String, CodecError> {
        Ok(String::from_utf8(bytes.to_vec())?)
    }
}

struct Departure(String);

impl Keyed for Departure {
    fn key(&self) -> impl AsRef<[u8]> {
        &self.0
    }
}

fn typed<C: Codec<Departure> + Clone + 'static>(
    topic: &Topic,
    consumer: Consumer,
    codec: C,
) -> Result<()> {
    let departures: TypedTopic<Departure, C> = TypedTopic::new(topic, codec.clone());
    let _appended: Appended = departures.append(&Departure("N14228".to_owned()))?;
    let same: TypedTopic<Departure> = topic.typed::<Departure>(codec.clone());
    let keyed = same.keyed_by(|departure| Some(departure.0.clone().into_bytes()));
    let _appended: Appended = keyed.append(&Departure("N14228".to_owned()))?;
    let mut reader = departures.reader(Start::Earliest)?;
    let _next: Option<Result<(Departure, ConsumerRecord)>> = reader.next();
    let mut typed = consumer.typed::<Departure>(codec);
    let _polled: Vec<Result<(Departure, ConsumerRecord)>> = typed.poll(Duration::ZERO)?;
    typed.commit()?;
    let _texts: TypedTopic<String> = topic.typed(Text);
    Ok(())
}

#[cfg(feature = "json")]
fn json(topic: &Topic) {
    let _numbers: TypedTopic<u64> = topic.typed::<u64>(ottla::Json);
}

fn deliveries(delivery: &Delivery) -> Result<()> {
    fn kept<T: Send + 'static>() {}
    kept::<Delivery>();
    kept::<Delivery<Offset>>();
    let _in_time: Option<Appended> = delivery.wait_timeout(Duration::ZERO)?;
    Ok(())
}

#[cfg(feature = "async")]
async fn asynchronous(
    broker: &Broker,
    topic: &Topic,
    log: &Log,
    consumer: &mut Consumer,
) -> Result<()> {
    fn stream<T>(_: &impl futures_core::Stream<Item = Result<T>>) {}
    let delivery: Delivery<Appended> = topic.append_async("v")?;
    let _appended: Appended = delivery.await?;
    let delivery: Delivery<Offset> = log.append_async("v")?;
    let offset: Offset = delivery.await?;
    let flushed: Delivery<Offset> = log.flushed(offset);
    let _flushed: Offset = flushed.await?;
    let records: ottla::RecordStream = log.reader(0)?.into_stream();
    stream::<LogRecord>(&records);
    let records: ottla::TopicStream = topic.reader(Start::Earliest)?.into_stream();
    stream::<ConsumerRecord>(&records);
    let _polled: ConsumerRecords = consumer.poll_async().await?;
    consumer.commit_async().await?;
    broker.flush_async().await?;
    broker.close_async().await
}
