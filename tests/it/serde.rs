//! Settings as part of a service's own configuration file.

use std::time::Duration;

use ottla::{
    BrokerConfig, CleanupPolicy, ConsumerConfig, Durability, LogConfig, ProducerConfig, TopicConfig,
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
