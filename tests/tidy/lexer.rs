//! Rust source to tokens: just enough of a lexer to tell code from comments and literals.
//!
//! Knows nothing about rules. Comments and the insides of literals give no tokens, so a rule that
//! looks at tokens cannot be misled by prose.

/// A piece of code: an identifier or keyword, `::`, or one other character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) text: &'a str,
    /// The line it stands on, from 1.
    pub(crate) line: usize,
}

impl Token<'_> {
    pub(crate) fn is_name(&self) -> bool {
        self.text.starts_with(is_name_start)
    }
}

/// The tokens of a source file, in order.
pub(crate) fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut lexer = Lexer {
        rest: source,
        line: 1,
        found: Vec::new(),
    };
    while lexer.step() {}
    lexer.found
}

struct Lexer<'a> {
    rest: &'a str,
    line: usize,
    found: Vec<Token<'a>>,
}

impl Lexer<'_> {
    fn step(&mut self) -> bool {
        let Some(first) = self.rest.chars().next() else {
            return false;
        };
        if self.rest.starts_with("//") {
            self.skip(self.rest.find('\n').unwrap_or(self.rest.len()));
        } else if self.rest.starts_with("/*") {
            self.skip(block_comment(self.rest));
        } else if let Some(length) = raw_string(self.rest) {
            self.skip(length);
        } else if let Some(length) = quoted(self.rest) {
            self.skip(length);
        } else if first == '\'' {
            // A lifetime or a label: its name is no path.
            let name = 1 + name_length(&self.rest[1..]);
            self.skip(name);
        } else if self.rest.starts_with("::") {
            self.token(2);
        } else if self.rest.starts_with("r#") && name_length(&self.rest[2..]) > 0 {
            self.skip(2);
        } else if is_name_start(first) {
            self.token(name_length(self.rest));
        } else if first.is_ascii_digit() {
            let digits = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
            self.token(self.rest.find(digits).unwrap_or(self.rest.len()));
        } else if first.is_whitespace() {
            self.skip(first.len_utf8());
        } else {
            self.token(first.len_utf8());
        }
        true
    }

    fn token(&mut self, length: usize) {
        let (text, rest) = self.rest.split_at(length);
        self.found.push(Token {
            text,
            line: self.line,
        });
        self.rest = rest;
    }

    fn skip(&mut self, length: usize) {
        let (skipped, rest) = self.rest.split_at(length);
        self.line += skipped.matches('\n').count();
        self.rest = rest;
    }
}

fn is_name_start(c: char) -> bool {
    c.is_alphabetic() || c == '_'
}

fn name_length(text: &str) -> usize {
    if !text.starts_with(is_name_start) {
        return 0;
    }
    let ends = |c: char| !(c.is_alphanumeric() || c == '_');
    text.find(ends).unwrap_or(text.len())
}

/// Bytes of the block comment that `text` begins with; they nest.
fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// Bytes of the raw string that `text` begins with: `r"..."`, `br#"..."#` and their kin.
fn raw_string(text: &str) -> Option<usize> {
    let prefix = ["r", "br", "cr"]
        .into_iter()
        .find(|prefix| text.strip_prefix(prefix).is_some_and(is_raw_body))?;
    let body = &text[prefix.len()..];
    let hashes = body.find('"')?;
    let end = format!("\"{}", &body[..hashes]);
    let opened = prefix.len() + hashes + 1;
    let closed = text[opened..].find(&end).map(|at| opened + at + end.len());
    Some(closed.unwrap_or(text.len()))
}

fn is_raw_body(text: &str) -> bool {
    text.trim_start_matches('#').starts_with('"')
}

/// Bytes of the string or character literal that `text` begins with; `None` for a lifetime.
fn quoted(text: &str) -> Option<usize> {
    let body = text.trim_start_matches(['b', 'c']);
    let prefix = text.len() - body.len();
    if prefix > 1 {
        return None;
    }
    let quote = body.chars().next()?;
    match quote {
        '"' => {}
        '\'' => {
            let mut after = body.chars().skip(1);
            let (first, second) = (after.next()?, after.next());
            if first != '\\' && second != Some('\'') {
                return None;
            }
        }
        _ => return None,
    }
    let mut escaped = false;
    for (at, c) in body.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == quote {
            return Some(prefix + at + 1);
        }
    }
    Some(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, expected: &str) {
        let found: Vec<&str> = tokens(source).iter().map(|token| token.text).collect();
        assert_eq!(found.join(" "), expected, "{source}");
    }

    #[test]
    fn comments_give_no_tokens() {
        check("a // unsafe\nb", "a b");
        check("a /* x /* nested */ y */ b", "a b");
        check("/// use crate::log;\nfn f() {}", "fn f ( ) { }");
    }

    #[test]
    fn literals_give_no_tokens() {
        check(r#"let s = "unsafe \" still";"#, "let s = ;");
        check(
            r##"f(r#"a "quoted" b"#, br"x", c"y", b"z")"##,
            "f ( , , , )",
        );
        check(
            r"let c = '\''; let d = 'x'; let e = b'\n';",
            "let c = ; let d = ; let e = ;",
        );
    }

    #[test]
    fn lifetimes_are_not_literals() {
        check(
            "fn f<'a>(x: &'a str) -> &'a str",
            "fn f < > ( x : & str ) - > & str",
        );
    }

    #[test]
    fn names_that_look_like_prefixes_are_names() {
        check("r + b + br + r#type", "r + b + br + type");
        check("bytes::Bytes", "bytes :: Bytes");
    }

    #[test]
    fn lines_are_counted_through_literals_and_comments() {
        let source = "\"a\nb\"\n/*\n*/ here";
        assert_eq!(tokens(source)[0].line, 4);
    }
}
