//! The README's first page is a program that runs.

const README: &str = include_str!("../../README.md");
const QUICKSTART: &str = include_str!("../../examples/quickstart.rs");

#[test]
fn the_snippet_is_the_quickstart_example() {
    let (_, snippet) = README.split_once("```rust,no_run\n").unwrap();
    let (snippet, _) = snippet.split_once("```").unwrap();
    // The example has a header and a word to the lints above the same program.
    let (_, program) = QUICKSTART.split_once("use std::time::Duration;").unwrap();
    assert_eq!(snippet, format!("use std::time::Duration;{program}"));
}

#[test]
fn the_commands_name_what_is_there() {
    for example in [
        "flights",
        "quickstart",
        "one_log",
        "follow_one_record",
        "latest_state",
    ] {
        assert!(README.contains(example), "{example}");
    }
}
