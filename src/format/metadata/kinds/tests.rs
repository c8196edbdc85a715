//! Tests of `kinds.rs`.

use super::*;

#[test]
fn a_kind_that_no_one_knows_and_a_later_version_of_one_that_counts_are_refused() {
    for (api_key, newest, treatment_of_it, name) in KINDS {
        assert_eq!(treatment(api_key, newest), treatment_of_it, "{name}");
        let later = match treatment_of_it {
            Replayed => Refused,
            same => same,
        };
        assert_eq!(treatment(api_key, newest + 1), later, "{name}");
    }
    for unknown in [6, 13, 16, 29, 1000] {
        assert_eq!(treatment(unknown, 0), Refused, "{unknown}");
    }
}

#[test]
fn the_documentation_shows_the_same_table() {
    let page = include_str!("../../../../docs/kafka.md");
    for (api_key, _, treatment, name) in KINDS {
        let row = format!("| {api_key} | `{name}` | ");
        let line = page.lines().find(|line| line.starts_with(&row));
        let word = match treatment {
            Replayed => "understood",
            Carried => "carried",
            Refused => "refused",
        };
        assert!(
            line.is_some_and(|line| line[row.len()..].starts_with(word)),
            "{name}: {word} is not what docs/kafka.md says"
        );
    }
}
