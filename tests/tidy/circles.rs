//! Whether files import each other in a circle.
//!
//! Knows nothing about floors: a circle within one is enough. Unit tests may import what they like,
//! and a module may use the names that its parents show.
//!
//! It does not see a method that is called on a type of another file: a file may add methods to a
//! type, and files that call each other's methods are no circle here.

use std::collections::{BTreeMap, BTreeSet};

use crate::floors::module_of;
use crate::lexer::tokens;
use crate::paths::paths;

/// Which module imports which, by their names from the crate's root on.
#[derive(Debug, Default)]
pub(crate) struct Imports {
    of: BTreeMap<String, BTreeSet<String>>,
}

impl Imports {
    /// Reads some files, each as its path under `src/` and its text.
    pub(crate) fn of(files: &[(String, String)]) -> Self {
        let paths_of_files = files.iter().map(|(path, _)| path);
        let names: BTreeSet<String> = paths_of_files
            .map(|path| module_of(path).join("::"))
            .collect();
        let imports = files.iter().map(|(path, text)| {
            let module = module_of(path);
            let own = module.join("::");
            let code = without_tests(text);
            let found = paths(&module, &tokens(&code));
            // A path in the code counts as an import does; a single name there is no path.
            let used = found
                .iter()
                .filter(|path| path.used || path.names.len() > 2);
            let targets = used.filter_map(|path| match path.names.as_slice() {
                ["crate", rest @ ..] => file_of(rest, &names),
                // Of a child, by its name alone; of another crate otherwise.
                [child, ..] => file_of(&[&module[..], &[*child]].concat(), &names),
                [] => None,
            });
            // A module may use the names that its parents show: they are how the crate is read.
            let is_above = |target: &String| {
                let rest = own.strip_prefix(target.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
            };
            let others = targets.filter(|target| !is_above(target)).collect();
            (own.clone(), others)
        });
        Self {
            of: imports.collect(),
        }
    }

    /// The shortest circle through each module that is in one.
    pub(crate) fn circles(&self) -> Vec<String> {
        let found = self.of.keys().filter_map(|from| self.way_back(from));
        found.map(|circle| circle.join(" -> ")).collect()
    }

    fn way_back(&self, from: &str) -> Option<Vec<&str>> {
        let (from, _) = self.of.get_key_value(from)?;
        let mut came_by = BTreeMap::new();
        let mut next = vec![from.as_str()];
        while !next.is_empty() {
            let mut after = Vec::new();
            for at in next {
                for to in self.of.get(at).into_iter().flatten() {
                    if to == from {
                        let mut circle = vec![to.as_str(), at];
                        while let Some(before) = came_by.get(circle.last()?) {
                            circle.push(*before);
                        }
                        circle.reverse();
                        return Some(circle);
                    }
                    if !came_by.contains_key(to.as_str()) {
                        came_by.insert(to.as_str(), at);
                        after.push(to.as_str());
                    }
                }
            }
            next = after;
        }
        None
    }
}

/// The file that has what a path names: the longest prefix that is a module.
fn file_of(path: &[&str], names: &BTreeSet<String>) -> Option<String> {
    let prefixes = (1..=path.len()).rev().filter_map(|end| path.get(..end));
    prefixes
        .map(|prefix| prefix.join("::"))
        .find(|name| names.contains(name))
}

/// The text without its tests, and without what is imported for tests alone.
fn without_tests(text: &str) -> String {
    let mut kept = String::new();
    let mut lines = text.split_inclusive('\n');
    while let Some(line) = lines.next() {
        let for_tests = line.starts_with("#[cfg(test)]") || line.starts_with("#[cfg(all(test,");
        if !for_tests {
            kept.push_str(line);
            continue;
        }
        // The item ends where a line without indentation ends it.
        let ends = |line: &&str| !line.starts_with(' ') && line.trim_end().ends_with([';', '}']);
        lines.by_ref().find(ends);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circles(files: &[(&str, &str)]) -> Vec<String> {
        let owned = files
            .iter()
            .map(|(path, text)| (path.to_string(), text.to_string()));
        Imports::of(&owned.collect::<Vec<_>>()).circles()
    }

    #[test]
    fn a_circle_is_found_however_long_it_is() {
        let two = [
            ("a/b.rs", "use super::c::C;"),
            ("a/c.rs", "use crate::a::b::B;"),
            ("a/mod.rs", "mod b; use b::B;"),
        ];
        assert_eq!(
            circles(&two),
            ["a::b -> a::c -> a::b", "a::c -> a::b -> a::c"]
        );
        let shown_by_the_parent = [("a/b.rs", "use super::A;"), ("a/mod.rs", "use b::B;")];
        assert_eq!(circles(&shown_by_the_parent), [""; 0]);
        let in_code = [
            ("a/b.rs", "fn f() { super::c::g(); }"),
            ("a/c.rs", "use super::b::f;"),
        ];
        assert_eq!(circles(&in_code).len(), 2);
        let three = [
            ("a.rs", "use crate::b::{self, B};"),
            ("b.rs", "use crate::c::C;"),
            ("c.rs", "use crate::a::A;"),
        ];
        assert_eq!(circles(&three).len(), 3);
    }

    #[test]
    fn what_only_tests_import_is_no_circle() {
        let files = [
            ("a.rs", "use crate::b::B;"),
            (
                "b.rs",
                "#[cfg(test)]\nuse crate::a::A;\nfn f() {}\n\n#[cfg(test)]\nmod tests {\n use crate::a::A;\n}\n",
            ),
        ];
        assert_eq!(circles(&files), [""; 0]);
        for not_for_tests in [
            "not(test)",
            "any(test, feature = \"x\")",
            "feature = \"latest\"",
        ] {
            let b = format!("#[cfg({not_for_tests})]\nuse crate::a::A;\n");
            let files = [("a.rs", "use crate::b::B;"), ("b.rs", b.as_str())];
            assert_eq!(circles(&files).len(), 2, "{not_for_tests}");
        }
        let behind = [
            ("a.rs", "use crate::b::B;"),
            (
                "b.rs",
                "#[cfg(test)]\nmod tests {\n    use x::Y;\n}\nuse crate::a::A;\n",
            ),
        ];
        assert_eq!(circles(&behind).len(), 2);
        let still = [
            ("a.rs", "use crate::b::B;"),
            ("b.rs", "#[cfg(test)]\nuse crate::x::A;\nuse crate::a::A;\n"),
        ];
        assert_eq!(circles(&still).len(), 2);
    }
}
