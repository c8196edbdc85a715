//! Tests of `config.rs`.

use super::*;
use crate::types::SettingValue as _;

/// A value of a setting that is not its default.
fn another(name: &str, usual: &str) -> String {
    let words = [
        "true",
        "compact",
        "LogAppendTime",
        "lz4",
        "always",
        "pwrite",
    ];
    let numbers = ["0.25", "2048", "70"];
    let fits = |text: &&&str| {
        let mut config = LogConfig::default();
        let set = config.set(name, text);
        let changed = config
            .entries()
            .contains(&(name_of(name), (**text).to_owned()));
        set == Ok(true) && config.check().is_ok() && changed && **text != usual
    };
    let found = words.iter().chain(&numbers).find(fits);
    (*found.unwrap_or_else(|| panic!("no other value of {name} is known here"))).to_owned()
}

fn name_of(name: &str) -> &'static str {
    LogConfig::name_of(name).unwrap()
}

#[test]
fn every_field_of_a_logs_settings_is_a_topics_and_reaches_its_logs() {
    macro_rules! compare {
        ($(
            $(#[$doc:meta])*
            $field:ident: $type:ty [$takes:ty] = $name:literal, $default:expr,
            |$value:ident| $test:expr, $expected:literal;
        )*) => {$(
            // By its Kafka name and by its field's, as files have it.
            for name in [$name, stringify!($field)] {
                let usual = LogConfig::default();
                let mut log = usual.clone();
                let text = another(name, &usual.$field.print());
                assert_eq!(log.set(name, &text), Ok(true), "{name}");
                assert_ne!(log.$field.print(), usual.$field.print(), "{name}");

                let mut topic = TopicConfig::default();
                assert_eq!(topic.set(name, &text), Ok(true), "{name}");
                let untouched = TopicConfig::default().$field.print();
                assert_ne!(topic.$field.print(), untouched, "{name}");
                assert_eq!(topic.log_config(Durability::Os), log, "{name}");

                // By its setter.
                let set = TopicConfig::default().$field(topic.$field);
                assert_eq!(set, topic, "{name}");
            }
        )*};
    }
    log_settings!(compare);

    let (topic, log) = (TopicConfig::default(), LogConfig::default());
    assert_eq!(
        topic.entries().len(),
        log.entries().len() + 1,
        "and its partitions"
    );
    assert_eq!(topic.log_config(Durability::Os), log);
}

#[cfg(feature = "serde")]
#[test]
fn every_setting_of_a_log_has_a_setter_and_comes_back_from_json() {
    let config = TopicConfig::default()
        .partitions(7)
        .segment_bytes(2048)
        .retention(Duration::from_millis(5))
        .durability(Durability::Always);
    let json = serde_json::to_string(&config).unwrap();
    for part in [
        "\"partitions\":7",
        "\"segment.bytes\":2048",
        "\"durability\":\"always\"",
    ] {
        assert!(json.contains(part), "{json}");
    }
    assert_eq!(serde_json::from_str::<TopicConfig>(&json).unwrap(), config);
    assert_eq!(config.segment_bytes, 2048);
    let log = config.log_config(Durability::Os);
    assert_eq!(
        (log.segment_bytes, log.durability),
        (2048, Durability::Always)
    );
    assert_eq!(
        TopicConfig::default()
            .log_config(Durability::Always)
            .durability,
        { Durability::Always }
    );
}

#[cfg(feature = "serde")]
#[test]
fn an_unknown_or_impossible_setting_is_named_with_its_bounds() {
    for (json, words) in [
        (r#"{"partitions": 0}"#, ["partitions", "1 to 100000"]),
        (r#"{"partitions": "many"}"#, ["partitions", "1 to 100000"]),
        (r#"{"segment.bytes": 10}"#, ["segment.bytes", "1024 to"]),
        (r#"{"durability": "perhaps"}"#, ["durability", "interval:"]),
        (
            r#"{"durability": "interval:0"}"#,
            ["durability", "at least 1"],
        ),
        (
            r#"{"colour": "red"}"#,
            ["colour", "partitions, segment.bytes"],
        ),
    ] {
        let error = serde_json::from_str::<TopicConfig>(json)
            .unwrap_err()
            .to_string();
        for word in words {
            assert!(error.contains(word), "{error}");
        }
    }
}

#[test]
fn the_catalog_keeps_what_differs_from_a_new_topic() {
    assert!(TopicConfig::default().partitions(9).deviations().is_empty());
    let config = TopicConfig::default()
        .segment_bytes(2048)
        .durability(Durability::Os);
    let kept: Vec<_> = config.deviations().into_iter().collect();
    assert_eq!(
        kept,
        [
            ("durability", "os".to_owned()),
            ("segment.bytes", "2048".to_owned())
        ]
    );
}

#[test]
fn two_who_change_different_settings_do_not_undo_each_other() {
    let old = TopicConfig::default().durability(Durability::Always);
    let mine = old.clone().segment_bytes(2048);
    let theirs = old.clone().durability(None).partitions(3);
    let both = mine.with_changes(&old, &theirs).unwrap();
    assert_eq!(
        both,
        TopicConfig::default().segment_bytes(2048).partitions(3)
    );
}
