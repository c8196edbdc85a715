//! Every public name, so that a rename fails to compile.
//!
//! Nothing here runs: the shapes are what is checked.

#![expect(
    dead_code,
    clippy::match_like_matches_macro,
    clippy::needless_pass_by_value,
    clippy::no_effect_underscore_binding,
    reason = "compiled, never called"
)]

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use ottla::{
    Appended, AppendedBatch, Broker, BrokerConfig, CleanupPolicy, CompactionReport, Compression,
    Consumer, ConsumerConfig, ConsumerGroup, ConsumerRecord, ConsumerRecords, Delivery, Durability,
    Error, GroupInfo, Header, Log, LogConfig, LogRecord, Offset, OpenReport, PartitionId,
    Partitioner, Producer, ProducerConfig, Reader, Record, RecordBatch, RecordView, Result,
    RetentionReport, SegmentInfo, Start, Timestamp, TimestampType, Topic, TopicConfig, TopicInfo,
    TopicReader, UpkeepReport, WriteMode,
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
    let _report: ottla::VerifyReport = ottla::verify(dir)?;
    Ok(())
}

fn errors(error: &Error) -> bool {
    match error {
        Error::Io {
            path: _,
            operation: _,
            source: _,
            ..
        }
        | Error::NoSpace { path: _, .. }
        | Error::Corrupt {
            path: _,
            position: _,
            reason: _,
            ..
        }
        | Error::Poisoned {
            path: _, cause: _, ..
        }
        | Error::Locked { path: _, .. }
        | Error::ReadOnly
        | Error::OffsetOutOfRange {
            requested: _,
            start: _,
            end: _,
            ..
        }
        | Error::RecordTooLarge {
            size: _, limit: _, ..
        }
        | Error::InvalidRecord { reason: _, .. }
        | Error::InvalidConfig {
            name: _,
            value: _,
            expected: _,
            ..
        }
        | Error::InvalidName {
            name: _, reason: _, ..
        }
        | Error::TopicExists { .. }
        | Error::UnknownTopic { .. }
        | Error::UnknownPartition { .. }
        | Error::UnknownGroup { .. }
        | Error::GroupNotEmpty { .. }
        | Error::Fenced {
            group: _,
            member: _,
            generation: _,
            ..
        }
        | Error::NoOffset {
            topic: _,
            partition: _,
            ..
        }
        | Error::Unsupported { what: _, .. }
        | Error::Closed => true,
        _ => false,
    }
}
