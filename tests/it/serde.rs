//! Settings as part of a service's own configuration file.

use std::time::Duration;

use ottla::{
    BrokerConfig, CleanupPolicy, ConsumerConfig, Durability, Log, LogConfig, ProducerConfig,
    TopicConfig,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What every config promises.
fn check_plain<C>(config: &C)
where
    C: Clone + std::fmt::Debug + PartialEq + Default + Serialize + DeserializeOwned,
{
    for config in [config.clone(), C::default()] {
        let json = serde_json::to_string_pretty(&config).unwrap();
        assert_eq!(serde_json::from_str::<C>(&json).unwrap(), config, "{json}");
    }
    assert_eq!(serde_json::from_str::<C>("{}").unwrap(), C::default());

    let unknown = serde_json::from_str::<C>(r#"{"no.such.setting": 1}"#).unwrap_err();
    assert!(unknown.to_string().contains("no.such.setting"), "{unknown}");
}

#[test]
fn every_config_is_plain_data() {
    check_plain(
        &LogConfig::default()
            .segment_bytes(4_096)
            .retention(Duration::from_secs(60))
            .retention_bytes(1 << 30)
            .cleanup_policy(CleanupPolicy::CompactAndDelete)
            .durability(Durability::Interval(Duration::from_millis(50))),
    );
    check_plain(&TopicConfig::default().partitions(8).segment_bytes(1 << 20));
    check_plain(&BrokerConfig::default().manual_upkeep(true));
    check_plain(&ProducerConfig::default().linger(Duration::from_millis(5)));
    check_plain(&ConsumerConfig::default().max_poll_records(10));
}

/// A service has its own settings and ours in one file.
#[derive(serde::Deserialize)]
struct Service {
    listen: String,
    flights: TopicConfig,
}

#[test]
fn a_topic_is_configured_in_a_services_own_file() {
    let file = r#"{
        "listen": "localhost:80",
        "flights": { "partitions": 12, "retention.ms": 86400000, "segment_bytes": 1048576 }
    }"#;
    let service: Service = serde_json::from_str(file).unwrap();
    assert_eq!(service.listen, "localhost:80");
    let expected = TopicConfig::default()
        .partitions(12)
        .retention(Duration::from_secs(86_400))
        .segment_bytes(1 << 20);
    assert_eq!(service.flights, expected);
}

#[test]
fn a_setting_out_of_its_bounds_is_named_with_them() {
    let error = serde_json::from_str::<TopicConfig>(r#"{"segment.bytes": 1}"#).unwrap_err();
    let words = error.to_string();
    assert!(
        words.contains("segment.bytes") && words.contains("1024"),
        "{words}"
    );
    let error = serde_json::from_str::<TopicConfig>(r#"{"partitions": 0}"#).unwrap_err();
    assert!(error.to_string().contains("partitions"), "{error}");
}

#[test]
fn sizes_and_times_have_units_beside_plain_numbers() {
    let json = r#"{
        "partitions": 4,
        "segment.bytes": "64 MiB",
        "segment_ms": "1 h",
        "retention.ms": "7 days",
        "retention.bytes": "1.5GiB",
        "delete.retention.ms": 5000,
        "durability": "interval:50 ms"
    }"#;
    let config = serde_json::from_str::<TopicConfig>(json).unwrap();
    let expected = TopicConfig::default()
        .partitions(4)
        .segment_bytes(64 << 20)
        .segment_age(Duration::from_secs(3600))
        .retention(Duration::from_secs(7 * 24 * 3600))
        .retention_bytes(3 << 29)
        .delete_retention(Duration::from_secs(5))
        .durability(Durability::Interval(Duration::from_millis(50)));
    assert_eq!(config, expected);
    for wrong in [
        r#"{"segment.bytes": "64 s"}"#,
        r#"{"retention.ms": "7 MiB"}"#,
    ] {
        assert!(
            serde_json::from_str::<TopicConfig>(wrong).is_err(),
            "{wrong}"
        );
    }
}

#[test]
fn a_setting_that_is_given_twice_is_an_error_by_whatever_names() {
    for json in [
        r#"{"retention.ms": 1, "retention_ms": 2}"#,
        r#"{"retention_ms": 2, "retention_ms": 2}"#,
        r#"{"partitions": 1, "partitions": 2}"#,
        r#"{"durability": "os", "durability": "os"}"#,
    ] {
        let error = serde_json::from_str::<TopicConfig>(json).unwrap_err();
        assert!(error.to_string().contains("twice"), "{json}: {error}");
    }
    let broker = r#"{"log.retention.check.interval.ms": 1, "upkeep_interval_ms": 1}"#;
    let error = serde_json::from_str::<BrokerConfig>(broker).unwrap_err();
    for name in ["log.retention.check.interval.ms", "upkeep_interval_ms"] {
        assert!(error.to_string().contains(name), "{error}");
    }
}

/// Every report can be sent: what is written is compared below.
#[test]
fn every_report_type_is_serializable() {
    fn written<T: Serialize>() {}
    written::<ottla::Appended>();
    written::<ottla::AppendedBatch>();
    written::<ottla::BackupReport>();
    written::<ottla::BrokerMetrics>();
    written::<ottla::CompactionReport>();
    written::<ottla::Corruption>();
    written::<ottla::DamagedCommits>();
    written::<ottla::DiskUsage>();
    written::<ottla::Ensured>();
    written::<ottla::GroupInfo>();
    written::<ottla::GroupMetrics>();
    written::<ottla::GroupPartition>();
    written::<ottla::GroupState>();
    written::<ottla::Histogram>();
    written::<ottla::LogCondition>();
    written::<ottla::LogMetrics>();
    written::<ottla::MemberInfo>();
    written::<ottla::OpenEvent>();
    written::<ottla::OpenReport>();
    written::<ottla::PartitionInfo>();
    written::<ottla::Problem>();
    written::<ottla::ProblemKind>();
    written::<ottla::RepairReport>();
    written::<ottla::RetentionReport>();
    written::<ottla::SegmentInfo>();
    written::<ottla::SetAside>();
    written::<ottla::SettingChange>();
    written::<ottla::Severity>();
    written::<ottla::Skipped>();
    written::<ottla::TopicInfo>();
    written::<ottla::TopicPartition>();
    written::<ottla::TopicUsage>();
    written::<ottla::UpkeepProblem>();
    written::<ottla::UpkeepReport>();
    written::<ottla::VerifyReport>();
}

/// Serde's own form of a path is an error for a name that is not UTF-8.
#[cfg(unix)]
#[test]
fn reports_are_written_whatever_their_paths_are() {
    use std::os::unix::ffi::OsStrExt as _;

    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch
        .path()
        .join(std::ffi::OsStr::from_bytes(b"log-\xff"));
    let log = Log::open(&dir, LogConfig::default()).unwrap();
    log.append("kept").unwrap();
    log.append("damaged").unwrap();
    log.close().unwrap();
    let segment = dir.join("00000000000000000000.log");
    let mut bytes = std::fs::read(&segment).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&segment, bytes).unwrap();

    let found = serde_json::to_value(ottla::verify(&dir).unwrap()).unwrap();
    let problems = found["problems"].as_array().unwrap();
    let damage = problems
        .iter()
        .find(|one| one["severity"] == "damage")
        .unwrap();
    assert!(
        damage["path"].as_str().unwrap().contains("log-\u{fffd}"),
        "{damage}"
    );
    assert_eq!(
        damage["offsets"],
        serde_json::json!({ "start": 1, "end": 2 })
    );
    let reason = damage["kind"]["batch"]["reason"].as_str().unwrap();
    assert!(reason.starts_with("the checksum is "), "{reason}");

    let repaired = serde_json::to_value(ottla::repair(&dir).unwrap()).unwrap();
    assert_eq!(repaired["set_aside"][0]["reason"], reason);
    let log = Log::open(&dir, LogConfig::default()).unwrap();
    serde_json::to_value(log.open_report()).unwrap();
}
