//! The README's first page is a program that runs.

const README: &str = include_str!("../../README.md");
const PAGES: &str = include_str!("../../src/docs.rs");
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

/// crates.io shows it without the files beside it, and there is no repository to link to.
#[test]
fn its_links_lead_to_places_that_exist_wherever_it_is_shown() {
    const PAGE: &str = "https://docs.rs/ottla/latest/ottla/docs/";
    const SOURCE: &str = "https://docs.rs/crate/ottla/latest/source/";

    let inline = README.split("](").skip(1);
    let inline = inline.map(|rest| rest.split(')').next().unwrap());
    let defined: Vec<(&str, &str)> = README
        .lines()
        .filter_map(|line| line.strip_prefix('[')?.split_once("]: "))
        .collect();
    let mut count = 0;
    for target in inline.chain(defined.iter().map(|(_, target)| *target)) {
        count += 1;
        if let Some(page) = target.strip_prefix(PAGE) {
            let page = page.strip_suffix("/index.html").unwrap();
            assert!(PAGES.contains(&format!("pub mod {page} ")), "{target}");
        } else if let Some(file) = target.strip_prefix(SOURCE) {
            let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
            assert!(root.join(file).exists(), "{target}");
        } else if !target.starts_with('#') {
            panic!("{target} leads nowhere outside the repository");
        }
    }
    assert!(count >= 12, "{count} links");
    for label in README.split("][").skip(1) {
        let label = label.split(']').next().unwrap();
        assert!(defined.iter().any(|(name, _)| *name == label), "{label}");
    }
    assert!(!README.contains("!["), "a picture is not shown there");
}
