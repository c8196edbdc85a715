//! Tests of `config.rs`.

use super::*;
use crate::types::Settings as _;

#[cfg(feature = "serde")]
#[test]
fn a_config_comes_back_from_json_under_kafkas_names() {
    for start in [
        None,
        Some(Start::Earliest),
        Some(Start::Latest),
        Some(Start::Offset(7)),
        Some(Start::from((7, 2))),
        Some(Start::Time(Timestamp::from_millis(-5))),
    ] {
        let config = ConsumerConfig::default()
            .start(start)
            .assignor(Assignor::RoundRobin)
            .static_member_id("gate")
            .auto_commit(true)
            .max_poll_interval(Duration::from_millis(7));
        let json = serde_json::to_string(&config).unwrap();
        assert!(json.contains("\"max.poll.interval.ms\":7"), "{json}");
        assert_eq!(
            serde_json::from_str::<ConsumerConfig>(&json).unwrap(),
            config
        );
    }
}

#[test]
fn a_bad_setting_is_refused() {
    assert!(ConsumerConfig::default().check().is_ok());
    assert!(
        ConsumerConfig::default()
            .max_poll_records(0)
            .check()
            .is_err()
    );
    for (name, text) in [
        ("auto.offset.reset", "middle"),
        ("auto.offset.reset", "offset:x"),
        ("partition.assignment.strategy", "best"),
        ("max.poll.interval.ms", "0"),
    ] {
        let mut config = ConsumerConfig::default();
        let set = config.set(name, text);
        assert!(set.is_err() || config.check().is_err(), "{name}: {text}");
    }
}
