//! The house rules as a test: floors, doors, headers, lengths.
//!
//! Every rule is a pure function from a file's text to findings, and has a test beside it that
//! shows it failing on a bad sample. Here they are run over what is really in the tree.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::path::{Path, PathBuf};

#[path = "tidy/floors.rs"]
mod floors;
#[path = "tidy/lexer.rs"]
mod lexer;
#[path = "tidy/paths.rs"]
mod paths;
#[path = "tidy/rules.rs"]
mod rules;

use rules::Finding;

type Rule = fn(&str, &str) -> Vec<Finding>;

/// What holds in `src/`.
const HOUSE_RULES: &[Rule] = &[
    floors::upward_imports,
    rules::outside_disk,
    rules::time_outside_clock,
    rules::locks_outside_sync,
];

/// What holds in every Rust file.
const FILE_RULES: &[Rule] = &[
    rules::missing_header,
    rules::long_lines,
    rules::long_files,
    rules::idle_matches,
    rules::left_for_later,
];

#[test]
fn the_source_keeps_the_house_rules() {
    check("src", &[HOUSE_RULES, FILE_RULES].concat());
}

#[test]
fn everything_around_the_source_is_tidy_too() {
    for around in ["tests", "examples", "benches", "fuzz"] {
        check(around, FILE_RULES);
    }
}

fn check(folder: &str, rules: &[Rule]) {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut complaints = Vec::new();
    for file in rust_files(&top) {
        let name = file.strip_prefix(&top).unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        for finding in rules.iter().flat_map(|rule| rule(name, &text)) {
            complaints.push(format!(
                "{folder}/{name}:{}: {}",
                finding.line, finding.says
            ));
        }
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// Every Rust file under `folder`, what a build leaves behind excepted.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}
