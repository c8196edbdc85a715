//! Tokens to paths: every `a::b::c` of a file, use trees flattened, `super` and `self` resolved.
//!
//! Knows nothing about which paths are allowed.

use crate::lexer::Token;

/// A path as it is meant: `crate`, then the names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path<'a> {
    pub(crate) names: Vec<&'a str>,
    pub(crate) line: usize,
    /// It stands in a `use` item.
    pub(crate) used: bool,
}

impl Path<'_> {
    pub(crate) fn starts_with(&self, prefix: &[&str]) -> bool {
        self.names.starts_with(prefix)
    }

    pub(crate) fn ends_with(&self, suffix: &[&str]) -> bool {
        self.names.ends_with(suffix)
    }
}

/// Every path of a file that is the module `module` (`["log", "append"]`).
pub(crate) fn paths<'a>(module: &[&'a str], tokens: &[Token<'a>]) -> Vec<Path<'a>> {
    let mut walk = Walk {
        tokens,
        at: 0,
        module: module.to_vec(),
        braces: Vec::new(),
        used: false,
        found: Vec::new(),
    };
    while walk.step() {}
    walk.found
}

struct Walk<'a, 't> {
    tokens: &'t [Token<'a>],
    at: usize,
    module: Vec<&'a str>,
    /// The open braces, each with whether it opened an inline module.
    braces: Vec<bool>,
    used: bool,
    found: Vec<Path<'a>>,
}

impl<'a> Walk<'a, '_> {
    fn text(&self, at: usize) -> &'a str {
        self.tokens.get(at).map_or("", |token| token.text)
    }

    fn step(&mut self) -> bool {
        let Some(token) = self.tokens.get(self.at) else {
            return false;
        };
        match token.text {
            "mod" if self.text(self.at + 2) == "{" => {
                self.module.push(self.text(self.at + 1));
                self.braces.push(true);
                self.at += 3;
            }
            "{" => {
                self.braces.push(false);
                self.at += 1;
            }
            "}" => {
                if self.braces.pop() == Some(true) {
                    self.module.pop();
                }
                self.at += 1;
            }
            "use" => {
                self.used = true;
                self.at += 1;
            }
            ";" => {
                self.used = false;
                self.at += 1;
            }
            "::" => self.at += 1,
            _ if token.is_name() => self.tree(Vec::new()),
            _ => self.at += 1,
        }
        true
    }

    /// Reads one path, or one branch of a use tree, from the current token on.
    fn tree(&mut self, mut names: Vec<&'a str>) {
        let line = self.tokens.get(self.at).map_or(0, |token| token.line);
        loop {
            match self.text(self.at) {
                "{" => return self.group(&names),
                name => names.push(name),
            }
            self.at += 1;
            // `a::<B>::c` ends here: what follows the brackets is a method, not a module.
            let goes_on = self.text(self.at) == "::" && self.text(self.at + 1) != "<";
            if !goes_on {
                break;
            }
            self.at += 1;
        }
        if names.len() > 1 && names.last() == Some(&"self") {
            names.pop();
        }
        if self.used && self.text(self.at) == "as" {
            self.at += 2;
        }
        let names = self.resolve(names);
        self.found.push(Path {
            names,
            line,
            used: self.used,
        });
    }

    fn group(&mut self, prefix: &[&'a str]) {
        self.at += 1;
        while self.at < self.tokens.len() {
            match self.text(self.at) {
                "}" => {
                    self.at += 1;
                    return;
                }
                "," => self.at += 1,
                _ => self.tree(prefix.to_vec()),
            }
        }
    }

    fn resolve(&self, names: Vec<&'a str>) -> Vec<&'a str> {
        let supers = names.iter().take_while(|name| **name == "super").count();
        let own = names.first() == Some(&"self") && names.len() > 1;
        if supers == 0 && !own {
            return names;
        }
        let kept = self.module.len().saturating_sub(supers);
        let rest = names.into_iter().skip(supers.max(usize::from(own)));
        let base = self.module.iter().take(kept).copied();
        std::iter::once("crate").chain(base).chain(rest).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lexer::tokens;

    fn check(source: &str, expected: &[&str]) {
        let tokens = tokens(source);
        let found: Vec<String> = paths(&["log", "append"], &tokens)
            .iter()
            .map(|path| path.names.join("::"))
            .filter(|path| path.contains("::"))
            .collect();
        assert_eq!(found, expected, "{source}");
    }

    #[test]
    fn use_trees_are_flattened() {
        check(
            "use crate::{format::{batch::*, index as i}, types::{self, Offset}};",
            &[
                "crate::format::batch::*",
                "crate::format::index",
                "crate::types",
                "crate::types::Offset",
            ],
        );
    }

    #[test]
    fn inline_paths_are_found() {
        check(
            "let x = crate::disk::open(std::fs::File);",
            &["crate::disk::open", "std::fs::File"],
        );
        check(
            "Vec::<crate::types::Offset>::new()",
            &["crate::types::Offset"],
        );
    }

    #[test]
    fn supers_are_resolved_from_the_module_they_stand_in() {
        check("use super::config;", &["crate::log::config"]);
        check(
            "use super::super::broker::Broker;",
            &["crate::broker::Broker"],
        );
        check("use self::inner::X;", &["crate::log::append::inner::X"]);
        check(
            "mod tests { use super::*; fn f() { super::super::a(); } } use super::b;",
            &["crate::log::append::*", "crate::log::a", "crate::log::b"],
        );
    }
}
