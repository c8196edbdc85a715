//! The rules that need no floor: each is a function of a file's name and text.
//!
//! Knows nothing about where files come from. The exceptions stand beside their rule, each with
//! its reason.

use crate::lexer::{Token, tokens};
use crate::paths::{Path, paths};

/// A place that breaks a rule.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) line: usize,
    pub(crate) says: String,
}

/// Lines that a file has at most.
const FILE_LINES_MAX: usize = 600;
/// Columns that a line has at most.
const LINE_COLUMNS_MAX: usize = 100;

/// Files that may name the time, beside `clock.rs`.
const TIME_EXCEPTIONS: &[(&str, &str)] = &[(
    "types/timestamp.rs",
    "Timestamp::now and From<SystemTime> are public conveniences of callers",
)];

/// What only the disk floor opens.
const DOORS: &[&[&str]] = &[
    &["std", "fs"],
    &["std", "os"],
    &["memmap2"],
    &["libc"],
    &["rustix"],
];

/// Marks of unfinished work, put together here so that this file has none of them.
const WORDS: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("HA", "CK"),
];
const STUBS: &[&str] = &[concat!("to", "do!("), concat!("unimple", "mented!(")];

/// Phrases that read like a translation, put together as above.
const PHRASES: &[&str] = &[
    concat!("by the", " way"),
    concat!("held", " against"),
    concat!("is", " none"),
    concat!("are", " none"),
    concat!("speak", " of"),
    concat!("speaks", " of"),
    concat!("who", "ever"),
    concat!("an", "ew"),
    concat!("gone", " over"),
    concat!("looked at", " by"),
    concat!("keeps", " nobody"),
];

/// What of `std::sync` is neither a lock nor an atomic.
const NOT_A_LOCK: &[&str] = &["Arc", "Weak"];

/// File system, memory maps and `unsafe` belong to the disk floor.
pub(crate) fn outside_disk(path: &str, text: &str) -> Vec<Finding> {
    if path.starts_with("disk/") {
        return Vec::new();
    }
    let tokens = tokens(text);
    let unsafe_code = tokens.iter().filter(|token| token.text == "unsafe");
    let unsafe_code = unsafe_code.map(|token| at(token.line, "unsafe outside src/disk/"));
    let paths = paths(&[], &tokens);
    let systems = paths
        .iter()
        .filter(|path| DOORS.iter().any(|door| path.starts_with(door)))
        .map(|path| {
            at(
                path.line,
                &format!("{} outside src/disk/", path.names.join("::")),
            )
        });
    unsafe_code.chain(systems).collect()
}

/// Time comes from the clock, and nothing sleeps.
pub(crate) fn time_outside_clock(path: &str, text: &str) -> Vec<Finding> {
    let excepted = TIME_EXCEPTIONS.iter().any(|(file, _)| *file == path);
    if path == "clock.rs" || excepted {
        return Vec::new();
    }
    let source = |path: &Path<'_>| {
        path.names.contains(&"SystemTime")
            || path.ends_with(&["Instant", "now"])
            || path.ends_with(&["Timestamp", "now"])
            || path.ends_with(&["thread", "sleep"])
    };
    matching_paths(text, source, "instead of the clock")
}

/// Locks, condition variables and atomics come from `crate::sync`.
pub(crate) fn locks_outside_sync(path: &str, text: &str) -> Vec<Finding> {
    if path == "sync.rs" || path.starts_with("sync/") {
        return Vec::new();
    }
    let lock = |path: &Path<'_>| {
        let standard = path.starts_with(&["std", "sync"]) || path.starts_with(&["core", "sync"]);
        let harmless = path
            .names
            .get(2)
            .is_some_and(|name| NOT_A_LOCK.contains(name));
        (standard && !harmless) || path.starts_with(&["parking_lot"])
    };
    matching_paths(text, lock, "instead of crate::sync")
}

fn matching_paths(text: &str, rule: impl Fn(&Path<'_>) -> bool, says: &str) -> Vec<Finding> {
    let tokens = tokens(text);
    paths(&[], &tokens)
        .iter()
        .filter(|path| rule(path))
        .map(|path| at(path.line, &format!("{} {says}", path.names.join("::"))))
        .collect()
}

/// Every file says first what it is for.
pub(crate) fn missing_header(_path: &str, text: &str) -> Vec<Finding> {
    if text.starts_with("//! ") {
        Vec::new()
    } else {
        vec![at(1, "the first line is not a //! header")]
    }
}

/// Lines end in time. What cannot be broken may be longer: a row of a table in a doc comment, and
/// a literal that ends its line.
pub(crate) fn long_lines(_path: &str, text: &str) -> Vec<Finding> {
    let row = |line: &str| {
        let line = line.trim();
        let table = line.starts_with("//! |") || line.starts_with("/// |");
        let comment = line.starts_with("//");
        table || (!comment && ["\"", "\",", "\";"].iter().any(|end| line.ends_with(end)))
    };
    text.lines()
        .enumerate()
        .filter(|(_, line)| line.chars().count() > LINE_COLUMNS_MAX && !row(line))
        .map(|(index, _)| at(index + 1, "longer than 100 columns"))
        .collect()
}

/// Files stay readable.
pub(crate) fn long_files(_path: &str, text: &str) -> Vec<Finding> {
    if text.lines().count() > FILE_LINES_MAX {
        vec![at(
            FILE_LINES_MAX,
            "longer than 600 lines: it is two things",
        )]
    } else {
        Vec::new()
    }
}

/// `matches!(..);` as a statement checks nothing: an `assert!` was forgotten.
pub(crate) fn idle_matches(_path: &str, text: &str) -> Vec<Finding> {
    let tokens = tokens(text);
    let opens = |at: usize| {
        at.checked_sub(1)
            .is_none_or(|at| ";{}".contains(tokens[at].text))
    };
    (0..tokens.len())
        .filter(|start| tokens[*start].text == "matches" && opens(*start))
        .filter(|start| tokens.get(start + 1).is_some_and(|token| token.text == "!"))
        .filter(|start| text_after_group(&tokens, start + 2) == Some(";"))
        .map(|start| at(tokens[start].line, "a matches! that nobody looks at"))
        .collect()
}

/// What follows the bracketed group that begins at `open`.
fn text_after_group<'a>(tokens: &[Token<'a>], open: usize) -> Option<&'a str> {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        match token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return tokens.get(index + 1).map(|token| token.text);
        }
    }
    None
}

/// Nothing is left for later.
pub(crate) fn left_for_later(_path: &str, text: &str) -> Vec<Finding> {
    let word = |c: char| !(c.is_alphanumeric() || c == '_');
    let stub = |line: &str| STUBS.iter().any(|stub| line.contains(stub));
    text.lines()
        .enumerate()
        .filter(|(_, line)| line.split(word).any(|word| WORDS.contains(&word)) || stub(line))
        .map(|(index, _)| at(index + 1, "left for later"))
        .collect()
}

/// Plain English: none of the worst phrases.
pub(crate) fn worst_phrases(_path: &str, text: &str) -> Vec<Finding> {
    let has = |line: &str, phrase: &str| {
        let line = line.to_lowercase();
        let inside = |at: usize| {
            let (before, after) = (&line[..at], &line[at + phrase.len()..]);
            let goes_on = |c: char| c.is_alphanumeric() || c == '_';
            before.ends_with(goes_on) || after.starts_with(goes_on)
        };
        line.match_indices(phrase).any(|(at, _)| !inside(at))
    };
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let phrases = PHRASES.iter().filter(|phrase| has(line, phrase));
        found.extend(phrases.map(|phrase| at(index + 1, &format!("say it plainly: {phrase}"))));
    }
    found
}

pub(crate) fn at(line: usize, says: &str) -> Finding {
    Finding {
        line,
        says: says.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: fn(&str, &str) -> Vec<Finding>, (path, text): (&str, &str), complaints: usize) {
        let found = rule(path, text);
        assert_eq!(found.len(), complaints, "{path}: {text}: {found:?}");
    }

    #[test]
    fn the_file_system_is_found_outside_its_floor() {
        check(outside_disk, ("log/mod.rs", "use std::fs;"), 1);
        check(
            outside_disk,
            ("log/mod.rs", "use std::{fs::File, os::unix};"),
            2,
        );
        check(
            outside_disk,
            ("log/mod.rs", "fn f() { std::fs::read(p); libc::write(1); }"),
            2,
        );
        check(
            outside_disk,
            ("types/mod.rs", "use memmap2::MmapMut; use rustix::fs;"),
            2,
        );
        check(
            outside_disk,
            ("disk/os.rs", "use std::fs; use memmap2::MmapMut;"),
            0,
        );
        check(
            outside_disk,
            ("log/mod.rs", "use std::path::Path; // std::fs"),
            0,
        );
    }

    #[test]
    fn unsafe_code_is_found_outside_the_disk_floor() {
        check(outside_disk, ("log/mod.rs", "fn f() { unsafe { g() } }"), 1);
        check(outside_disk, ("log/mod.rs", "unsafe impl Send for X {}"), 1);
        check(outside_disk, ("disk/os.rs", "unsafe { mmap() }"), 0);
        check(
            outside_disk,
            (
                "log/mod.rs",
                "#![deny(unsafe_code)] // no unsafe\nlet s = \"unsafe\";",
            ),
            0,
        );
    }

    #[test]
    fn time_is_found_outside_the_clock() {
        check(
            time_outside_clock,
            ("log/mod.rs", "let t = Instant::now();"),
            1,
        );
        check(
            time_outside_clock,
            ("log/mod.rs", "use std::time::{Duration, SystemTime};"),
            1,
        );
        check(
            time_outside_clock,
            ("log/mod.rs", "std::time::Instant::now()"),
            1,
        );
        check(
            time_outside_clock,
            ("log/mod.rs", "let t = Timestamp::now();"),
            1,
        );
        check(
            time_outside_clock,
            ("log/mod.rs", "std::thread::sleep(ms)"),
            1,
        );
        check(
            time_outside_clock,
            ("clock.rs", "SystemTime::now(); Instant::now();"),
            0,
        );
        check(
            time_outside_clock,
            ("types/timestamp.rs", "SystemTime::now()"),
            0,
        );
        check(
            time_outside_clock,
            ("log/mod.rs", "use std::time::{Duration, Instant};"),
            0,
        );
    }

    #[test]
    fn locks_are_found_outside_sync() {
        check(
            locks_outside_sync,
            ("log/mod.rs", "use std::sync::Mutex;"),
            1,
        );
        check(
            locks_outside_sync,
            ("log/mod.rs", "use std::sync::{Arc, RwLock, mpsc};"),
            2,
        );
        check(
            locks_outside_sync,
            (
                "log/mod.rs",
                "use std::sync::atomic::{AtomicU64, Ordering};",
            ),
            2,
        );
        check(
            locks_outside_sync,
            ("log/mod.rs", "parking_lot::Mutex::new(0)"),
            1,
        );
        check(
            locks_outside_sync,
            ("log/mod.rs", "use core::sync::atomic::AtomicBool;"),
            1,
        );
        check(
            locks_outside_sync,
            ("log/mod.rs", "static X: std::sync::OnceLock<u8>"),
            1,
        );
        check(
            locks_outside_sync,
            ("sync.rs", "use parking_lot::Mutex;"),
            0,
        );
        check(
            locks_outside_sync,
            ("log/mod.rs", "use std::sync::Arc; use crate::sync::Mutex;"),
            0,
        );
    }

    #[test]
    fn a_missing_header_is_found() {
        check(missing_header, ("a.rs", "use std::io;\n//! late"), 1);
        check(missing_header, ("a.rs", ""), 1);
        check(missing_header, ("a.rs", "//! What it is for.\n"), 0);
    }

    #[test]
    fn a_long_line_is_found_but_for_what_cannot_be_broken() {
        let long = "x".repeat(101);
        check(long_lines, ("a.rs", &format!("short\n{long}\n")), 1);
        check(long_lines, ("a.rs", &"x".repeat(100)), 0);
        check(long_lines, ("a.rs", &format!("    /// | {long} |")), 0);
        check(long_lines, ("a.rs", &format!("// | {long} |")), 1);
        check(
            long_lines,
            ("a.rs", &format!("const BYTES: &str = \"{long}\";")),
            0,
        );
        check(long_lines, ("a.rs", &format!("// \"{long}\"")), 1);
    }

    #[test]
    fn a_long_file_is_found() {
        check(long_files, ("a.rs", &"\n".repeat(601)), 1);
        check(long_files, ("a.rs", &"\n".repeat(600)), 0);
    }

    #[test]
    fn a_matches_that_no_one_looks_at_is_found() {
        check(
            idle_matches,
            ("a.rs", "fn f() { matches!(x, Some(_)); }"),
            1,
        );
        check(
            idle_matches,
            ("a.rs", "fn f() { g(); matches!(x, A { .. } if y); }"),
            1,
        );
        check(
            idle_matches,
            ("a.rs", "fn f() { assert!(matches!(x, Some(_))); }"),
            0,
        );
        check(
            idle_matches,
            ("a.rs", "fn f() -> bool { matches!(x, Some(_)) }"),
            0,
        );
        check(
            idle_matches,
            ("a.rs", "fn f() -> bool { matches!(x, A) || y }"),
            0,
        );
    }

    #[test]
    fn what_is_left_for_later_is_found() {
        check(left_for_later, ("a.rs", concat!("// TO", "DO: more")), 1);
        check(
            left_for_later,
            ("a.rs", concat!("fn f() { to", "do!() }")),
            1,
        );
        check(
            left_for_later,
            ("a.rs", concat!("// FIX", "ME\n// XX", "X\n// HA", "CK")),
            3,
        );
        check(
            left_for_later,
            ("a.rs", "// The next thing to do is done."),
            0,
        );
    }

    #[test]
    fn the_worst_phrases_are_found() {
        check(worst_phrases, ("a.rs", concat!("/// Who", "ever reads")), 1);
        check(
            worst_phrases,
            ("a.rs", concat!("// held", " against it, by the", " way")),
            2,
        );
        check(
            worst_phrases,
            ("a.rs", "if it.is_none() || it.is none_of(these)"),
            0,
        );
    }
}
