//! The house: which file stands on which floor, and what it may see from there.
//!
//! Knows nothing about what the floors do. The table below is the whole law.

use crate::lexer::tokens;
use crate::paths::{Path, paths};
use crate::rules::Finding;

/// What stands directly under `src/`, and what its files may import beside themselves.
const HOUSE: &[(&str, Sees)] = &[
    ("types", Sees::Only(&[])),
    ("format", Sees::Only(&["types"])),
    ("sync", Sees::Only(&["types"])),
    ("clock", Sees::Only(&["types", "sync"])),
    // Answers `io::Error`, never `Error`.
    ("disk", Sees::Only(&["types", "format", "clock", "sync"])),
    ("error", Sees::Only(&["types", "format"])),
    ("segment", Sees::Over("disk", &["error"])),
    ("dir", Sees::Over("disk", &["error"])),
    (
        "delivery",
        Sees::Only(&["types", "clock", "sync", "disk", "error"]),
    ),
    ("recovery", Sees::Over("segment", &["dir"])),
    ("host", Sees::Over("recovery", &[])),
    ("log", Sees::Over("host", &["delivery"])),
    ("reader", Sees::Over("log", &[])),
    ("topic", Sees::Over("reader", &[])),
    ("doctor", Sees::Over("reader", &[])),
    ("backup", Sees::Over("reader", &[])),
    ("compact", Sees::Over("reader", &["doctor"])),
    ("group", Sees::Over("topic", &[])),
    (
        "broker",
        Sees::Over("group", &["doctor", "backup", "compact"]),
    ),
    // The pages of docs/: prose without code.
    ("docs", Sees::Only(&[])),
    // The front door names what every floor shows.
    ("lib", Sees::All),
    // Compiled for tests and fuzzing only; they stand outside and look at everything.
    ("proof", Sees::All),
    ("checks", Sees::All),
    ("fuzz", Sees::All),
];

/// Names at the crate root that code may use, and the file they live in.
const AT_THE_DOOR: &[(&str, &str)] = &[("Error", "error"), ("Result", "error")];

/// What the table forbids and is right all the same: who sees whom, and why.
const EXCEPTIONS: &[(&str, &str, &str)] = &[(
    "sync",
    "clock",
    "its tests need deadlines, which the clock gives",
)];

#[derive(Clone, Copy)]
enum Sees {
    Only(&'static [&'static str]),
    /// A module, what that one sees, and these.
    Over(&'static str, &'static [&'static str]),
    All,
}

/// What a module may import beside itself; `None` for everything, and for a module without a row.
fn seen_from(module: &str) -> Option<Vec<&'static str>> {
    match HOUSE.iter().find(|(name, _)| *name == module)?.1 {
        Sees::Only(these) => Some(these.to_vec()),
        Sees::Over(below, these) => {
            let mut seen = seen_from(below)?;
            seen.push(below);
            seen.extend(these);
            Some(seen)
        }
        Sees::All => None,
    }
}

/// Imports that point up a floor, and files that stand on none. `path` is relative to `src/`.
pub(crate) fn upward_imports(path: &str, text: &str) -> Vec<Finding> {
    let module = module_of(path);
    let Some(own) = module.first().copied().or(Some("lib")) else {
        return Vec::new();
    };
    if !HOUSE.iter().any(|(name, _)| *name == own) {
        let says = format!("{own} stands on no floor: give it a row in the table of floors.rs");
        return vec![Finding { line: 1, says }];
    }
    let Some(below) = seen_from(own) else {
        return Vec::new();
    };
    paths(&module, &tokens(text))
        .iter()
        .filter_map(|path| {
            let says = complaint(own, &below, path)?;
            Some(Finding {
                line: path.line,
                says,
            })
        })
        .collect()
}

fn complaint(own: &str, below: &[&str], path: &Path<'_>) -> Option<String> {
    if path.names.first() != Some(&"crate") {
        return None;
    }
    let Some(name) = path.names.get(1) else {
        return path
            .used
            .then(|| "imports the crate root as a whole".to_owned());
    };
    let door = AT_THE_DOOR.iter().find(|(shown, _)| shown == name);
    let target = door.map_or(*name, |(_, lives_in)| *lives_in);
    let excepted = EXCEPTIONS
        .iter()
        .any(|(who, whom, _)| (*who, *whom) == (own, target));
    if target == own || below.contains(&target) || excepted {
        None
    } else if HOUSE.iter().any(|(floor, _)| *floor == target) {
        Some(format!("{own} may not see {target}"))
    } else {
        Some(format!(
            "crate::{name} is imported by the front door: name its floor"
        ))
    }
}

/// The module that a file under `src/` is: `log/append.rs` is `["log", "append"]`.
pub(crate) fn module_of(path: &str) -> Vec<&str> {
    let path = path.strip_suffix(".rs").unwrap_or(path);
    let path = path.strip_suffix("/mod").unwrap_or(path);
    path.split('/').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, text: &str, complaints: usize) {
        let found = upward_imports(path, text);
        assert_eq!(found.len(), complaints, "{path}: {text}: {found:?}");
    }

    #[test]
    fn an_import_that_points_up_is_found() {
        check("format/batch.rs", "use crate::log::Log;", 1);
        check(
            "log/mod.rs",
            "use crate::{types::Offset, topic::Topic, broker::Broker};",
            2,
        );
        check("types/offset.rs", "use crate::sync::Mutex;", 1);
        check("disk/mod.rs", "use crate::error::Error;", 1);
        check("disk/mod.rs", "fn f() -> crate::Error {}", 1);
        check("error.rs", "use crate::disk::Disk;", 1);
        check("sync.rs", "use crate::disk::Disk;", 1);
    }

    #[test]
    fn an_inline_path_that_points_up_is_found() {
        check("segment/mod.rs", "fn f() { crate::log::open() }", 1);
        check("segment/index.rs", "fn f() { super::super::group::x() }", 1);
        check(
            "log/mod.rs",
            "mod tests { use super::super::topic::Topic; }",
            1,
        );
        check(
            "format/mod.rs",
            "macro_rules! m { () => { $crate::disk::open() } }",
            1,
        );
    }

    #[test]
    fn a_name_of_the_front_door_is_refused_but_for_the_error() {
        check("log/mod.rs", "use crate::Offset;", 1);
        check("log/mod.rs", "use crate::{Error, Result};", 0);
        check("log/mod.rs", "use crate as ottla;", 1);
        check("log/mod.rs", "use super::*;", 1);
    }

    #[test]
    fn imports_that_point_down_or_stay_are_fine() {
        check(
            "log/append.rs",
            "use crate::types::Offset; use super::config::LogConfig;",
            0,
        );
        check(
            "broker/mod.rs",
            "use crate::group::ConsumerGroup; use crate::Error;",
            0,
        );
        check(
            "clock.rs",
            "use crate::types::Timestamp; fn f() { crate::sync::Mutex::new(0); }",
            0,
        );
        check(
            "types/mod.rs",
            "pub(crate) struct X; pub(in crate::types) fn f() {}",
            0,
        );
        check("lib.rs", "use crate::anything::At::All;", 0);
        check("proof/model.rs", "use crate::log::Log;", 0);
    }

    #[test]
    fn prose_may_name_every_floor() {
        check(
            "types/offset.rs",
            "//! See [`Log`](crate::Log).\n/// crate::log::Log\nfn f() {}",
            0,
        );
        check("types/offset.rs", "const S: &str = \"crate::log\";", 0);
    }

    #[test]
    fn a_file_without_a_floor_is_found() {
        check("cellar/mod.rs", "", 1);
    }
}
