//! The house rules as a test: floors, doors, headers, lengths.
//!
//! Every rule is a pure function from a file's text to findings, and has a test beside it that
//! shows it failing on a bad sample. Here they are run over what is really in the tree.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

#[path = "tidy/circles.rs"]
mod circles;
#[path = "tidy/floors.rs"]
mod floors;
#[path = "tidy/lexer.rs"]
mod lexer;
#[path = "tidy/links.rs"]
mod links;
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
    rules::worst_phrases,
];

#[test]
fn the_source_keeps_the_house_rules() {
    check("src", &[HOUSE_RULES, FILE_RULES].concat());
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    for file in rust_files(&top) {
        let name = file.strip_prefix(&top).unwrap().to_str().unwrap();
        let is_test = name.ends_with("/tests.rs") || name.contains("/tests/");
        let is_test = is_test || name.ends_with("_tests.rs");
        let outside = ["lib.rs", "proof/", "checks/", "fuzz/"];
        if !is_test && !outside.iter().any(|outside| name.starts_with(outside)) {
            sources.push((name.to_owned(), std::fs::read_to_string(&file).unwrap()));
        }
    }
    assert!(sources.len() > 100, "the source moved");
    let circles = circles::Imports::of(&sources).circles();
    assert!(circles.is_empty(), "\n{}", circles.join("\n"));
}

/// Without it neither the proofs nor the checks would be compiled, and nobody would miss them.
#[test]
fn the_build_script_says_that_this_is_the_repository() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let says = cfg!(ottla_repository).then_some("yes");
    assert_eq!(says, Some("yes"), "build.rs is gone");
    let door = std::fs::read_to_string(top.join("src/lib.rs")).unwrap();
    for module in ["checks", "proof"] {
        let compiled = format!("#[cfg(test)]\n#[cfg(ottla_repository)]\nmod {module};");
        assert!(door.contains(&compiled), "{compiled}");
    }
}

#[test]
fn everything_around_the_source_is_tidy_too() {
    for around in ["tests", "examples", "benches", "fuzz", "cli"] {
        check(around, FILE_RULES);
    }
}

#[test]
fn the_pages_are_in_plain_english() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = pages_of(&top.join("docs"));
    pages.extend([top.join("README.md"), top.join("CHANGELOG.md")]);
    assert!(pages.len() > 5, "the pages moved");
    let mut complaints = Vec::new();
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        let found = rules::worst_phrases("", &text);
        complaints.extend(complaints_of(&page.display().to_string(), found));
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn the_links_of_the_pages_work_in_the_repository_and_in_rustdoc() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = std::fs::read_to_string(top.join("src/docs.rs")).unwrap();
    let mut complaints = Vec::new();
    let mut count = 0;
    for path in pages_of(&top.join("docs")) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        count += links::definitions(&text).len();
        let shown = links::shown_before(&docs, name);
        let is_there = |file: &str| top.join("docs").join(file).is_file();
        let broken = links::broken_links(&text, is_there, shown.as_deref());
        complaints.extend(complaints_of(&format!("docs/{name}"), broken));
    }
    assert!(count >= 8, "the pages link to each other: {count}");
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn every_feature_is_in_the_tables_of_the_first_pages() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |file: &str| std::fs::read_to_string(top.join(file)).unwrap();
    let manifest = read("Cargo.toml");
    let listed = manifest.split("\n[features]\n").nth(1).unwrap();
    let lines = listed.lines().take_while(|line| !line.starts_with('['));
    let names = lines.filter_map(|line| Some(line.split_once(" = [")?.0));
    let features: Vec<&str> = names.filter(|name| *name != "default").collect();
    assert!(features.len() > 5, "{features:?}");
    for (page, row) in [("README.md", "| "), ("src/lib.rs", "//! | ")] {
        let page_text = read(page);
        let rows = page_text.lines().filter_map(|line| line.strip_prefix(row));
        let first_cells: Vec<&str> = rows.filter_map(|row| row.split(" | ").next()).collect();
        for feature in &features {
            let quoted = format!("`{feature}`");
            let is_there = first_cells.iter().any(|cell| cell.contains(&quoted));
            assert!(is_there, "{page} has no row for the feature {feature}");
        }
    }
}

/// What a dashboard and the page about it name is what the crate hands out.
#[test]
fn the_dashboard_and_its_page_name_figures_that_there_are() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let named_in = |file: &str| {
        let text = std::fs::read_to_string(top.join(file)).unwrap();
        let words = text.split(|c: char| !(c.is_ascii_lowercase() || c == '_'));
        // One word is a `cfg` of the build script.
        let figures =
            words.filter(|word| word.starts_with("ottla_") && *word != "ottla_repository");
        figures.map(str::to_owned).collect::<BTreeSet<String>>()
    };
    let facades = ["src/broker/facade.rs", "src/host/metrics/facade.rs"];
    let figures: BTreeSet<_> = facades.into_iter().flat_map(named_in).collect();
    let (page, board) = (
        named_in("docs/observability.md"),
        named_in("docs/grafana.json"),
    );
    assert!(board.len() > 10, "the dashboard shows nothing");
    let unknown: Vec<_> = page
        .union(&board)
        .filter(|name| !figures.contains(*name))
        .collect();
    assert!(unknown.is_empty(), "no such figure: {unknown:?}");
    let untold: Vec<_> = figures.difference(&page).collect();
    assert!(
        untold.is_empty(),
        "the page does not say what these are: {untold:?}"
    );
}

fn check(folder: &str, rules: &[Rule]) {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut complaints = Vec::new();
    for file in rust_files(&top) {
        let name = file.strip_prefix(&top).unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        let found = rules.iter().flat_map(|rule| rule(name, &text));
        complaints.extend(complaints_of(&format!("{folder}/{name}"), found));
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// What was found in a file, which is `shown` by this name.
fn complaints_of(shown: &str, findings: impl IntoIterator<Item = Finding>) -> Vec<String> {
    let says = |finding: Finding| format!("{shown}:{}: {}", finding.line, finding.says);
    findings.into_iter().map(says).collect()
}

/// The pages in a folder.
fn pages_of(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let is_page = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "md");
    paths.filter(is_page).collect()
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
