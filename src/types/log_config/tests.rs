//! Tests of `log_config.rs`.

use super::*;
use crate::types::Settings as _;

#[cfg(feature = "serde")]
#[test]
fn a_config_comes_back_from_json_under_kafkas_names() {
    let config = LogConfig::default()
        .segment_bytes(2048)
        .retention(Duration::from_millis(5))
        .durability(Durability::Interval(Duration::from_millis(20)))
        .cleanup_policy(CleanupPolicy::CompactAndDelete);
    let json = serde_json::to_string(&config).unwrap();
    assert!(json.contains("\"segment.bytes\":2048"), "{json}");
    assert!(json.contains("\"retention.bytes\":-1"), "{json}");
    assert_eq!(serde_json::from_str::<LogConfig>(&json).unwrap(), config);
}

#[cfg(feature = "serde")]
#[test]
fn the_field_names_and_texts_are_read_too() {
    let config: LogConfig =
        serde_json::from_str(r#"{"segment_bytes": "4096", "retention_ms": -1}"#).unwrap();
    assert_eq!(config, LogConfig::default().segment_bytes(4096));
}

#[test]
fn the_table_in_the_docs_has_every_setting() {
    let table = include_str!("../../../docs/settings.md");
    for (name, _) in LogConfig::default().entries() {
        assert!(table.contains(&format!("\n| `{name}` | ")), "{name}");
    }
}

#[cfg(feature = "serde")]
#[test]
fn a_bad_setting_is_named_with_its_bounds() {
    for (json, words) in [
        (
            r#"{"segment.bytes": 10}"#,
            ["segment.bytes", "1024 to 2147483647"],
        ),
        (r#"{"segment.byts": 10}"#, ["segment.byts", "segment.bytes"]),
        (
            r#"{"cleanup.policy": "shred"}"#,
            ["cleanup.policy", "delete, compact"],
        ),
        (
            r#"{"min_cleanable_dirty_ratio": 1.5}"#,
            ["min.cleanable.dirty.ratio", "0 to 1"],
        ),
    ] {
        let error = serde_json::from_str::<LogConfig>(json)
            .unwrap_err()
            .to_string();
        for word in words {
            assert!(error.contains(word), "{error}");
        }
    }
}

#[test]
fn a_setting_at_its_bound_is_accepted_and_one_below_it_is_not() {
    assert!(LogConfig::default().segment_bytes(1023).check().is_err());
    assert!(LogConfig::default().segment_bytes(1024).check().is_ok());
}
