//! The links of the pages in `docs/`: they work where a page is read in the repository, and where
//! rustdoc shows it (`src/docs.rs`), which has the pages under other addresses.
//!
//! A page names its neighbour by a reference, `[testing.md]`, which it defines at its end. Of two
//! definitions of one label the first counts, so `src/docs.rs` puts rustdoc's own before the page.
//!
//! Knows nothing about what is in the package: a target that leads out of `docs/` is refused.

use super::rules::{Finding, at};

/// A definition, `[label]: target`.
pub(crate) fn definitions(text: &str) -> Vec<(usize, &str, &str)> {
    let numbered = text.lines().enumerate();
    numbered
        .filter_map(|(line, text)| {
            let (label, target) = text.strip_prefix('[')?.split_once("]: ")?;
            Some((line + 1, label, target))
        })
        .collect()
}

/// What is wrong with the links of a page: `is_there` says which files `docs/` has, and `shown` is
/// what rustdoc puts before the page, if it shows it.
pub(crate) fn broken_links(
    text: &str,
    is_there: impl Fn(&str) -> bool,
    shown: Option<&str>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (line, target) in inline_targets(text) {
        if let Some(anchor) = target.strip_prefix('#') {
            if !headings(text).any(|heading| heading == anchor) {
                findings.push(at(line, &format!("there is no heading for #{anchor}")));
            }
        } else if !is_elsewhere(target) {
            let says = format!("{target} is not found in rustdoc: define [{target}] at the end");
            findings.push(at(line, &says));
        }
    }
    let known = shown.map(definitions);
    for (line, label, target) in definitions(text) {
        if is_elsewhere(target) {
            continue;
        }
        if label != target || target.contains('/') || !is_there(target) {
            findings.push(at(line, &format!("docs/ has no {target}")));
        }
        let missing = |known: &Vec<(usize, &str, &str)>| known.iter().all(|one| one.1 != label);
        if known.as_ref().is_some_and(missing) {
            let says = format!("src/docs.rs does not say what [{label}] is in rustdoc");
            findings.push(at(line, &says));
        }
    }
    findings
}

/// What `src/docs.rs` puts before a page: the definitions in the attributes above it.
pub(crate) fn shown_before(docs: &str, page: &str) -> Option<String> {
    let include = format!("#[doc = include_str!(\"../docs/{page}\")]");
    let at = docs.lines().position(|line| line == include)?;
    let above: Vec<&str> = docs.lines().take(at).collect();
    let attributes = above.iter().rev().map_while(|line| {
        let inner = line.strip_prefix("#[doc = \"")?;
        inner.strip_suffix("\"]")
    });
    Some(attributes.collect::<Vec<_>>().join("\n"))
}

fn is_elsewhere(target: &str) -> bool {
    target.starts_with("https://") || target.starts_with("http://")
}

/// The targets of `[text](target)`, code blocks apart.
fn inline_targets(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut in_code = false;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        let targets = line.split("](").skip(1);
        let targets = targets.filter_map(|rest| rest.split_once(')'));
        found.extend(targets.map(|(target, _)| (number + 1, target)));
    }
    found
}

/// The anchors of the headings of a page, as GitHub and rustdoc both make them.
fn headings(text: &str) -> impl Iterator<Item = String> {
    let lines = text.lines().filter(|line| line.starts_with('#'));
    lines.map(|line| {
        let words = line.trim_start_matches('#').trim().to_lowercase();
        let kept = words
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(text: &str, shown: Option<&str>) -> Vec<String> {
        let found = broken_links(text, |file| file == "testing.md", shown);
        found.into_iter().map(|finding| finding.says).collect()
    }

    #[test]
    fn a_link_that_works_in_the_repository_alone_is_found() {
        assert_eq!(says("See [it](testing.md).", None).len(), 1);
        assert_eq!(says("```md\nSee [it](testing.md).\n```", None), [""; 0]);
        let page = "See [testing.md].\n\n[testing.md]: testing.md\n";
        assert_eq!(says(page, None), [""; 0]);
        assert_eq!(says(page, Some("")).len(), 1);
        assert_eq!(says(page, Some("[testing.md]: super::testing")), [""; 0]);
    }

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        assert_eq!(says("[gone.md]: gone.md", None).len(), 1);
        assert_eq!(says("[testing.md]: ../testing.md", None).len(), 1);
        assert_eq!(says("[it](#the-end)", None).len(), 1);
        assert_eq!(says("[it](#the-end)\n\n## The end\n", None), [""; 0]);
        assert_eq!(says("[it](https://example.org)", None), [""; 0]);
    }

    #[test]
    fn what_rustdoc_is_given_comes_before_the_page() {
        let docs = "#[doc = \"[other.md]: super::other\"]\npub mod first {}\n\n\
                    #[doc = \"[testing.md]: super::testing\"]\n\
                    #[doc = include_str!(\"../docs/kafka.md\")]\npub mod kafka {}\n";
        let shown = shown_before(docs, "kafka.md").unwrap();
        assert_eq!(shown, "[testing.md]: super::testing");
        assert_eq!(shown_before(docs, "cli.md"), None);
    }
}
