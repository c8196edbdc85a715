//! Tests of `java_properties.rs`.

use proptest::prelude::*;

use super::*;

fn get(text: &[u8], key: &str) -> Option<String> {
    JavaProperties::parse(text).unwrap().get(key).unwrap()
}

/// The right-hand sides are what `java.util.Properties` of JDK 17 answers.
#[test]
fn every_rule_of_java_util_properties_is_followed() {
    let cases: [(&[u8], &str); 30] = [
        (b"k=caf\\u00e9", "caf\u{e9}"),
        (b"k=caf\\u00E9", "caf\u{e9}"),
        (b"k=caf\xe9", "caf\u{e9}"),
        (b"k=caf\xc3\xa9", "caf\u{c3}\u{a9}"),
        (b"k=\\ud83d\\ude00", "\u{1f600}"),
        (b"k=one\\\n   two", "onetwo"),
        (b"k=one\\\r\n\ttwo\\\rthree", "onetwothree"),
        (b"k=one\\\\\ntwo=2", "one\\"),
        (b"k=one\\\\\\\ntwo", "one\\two"),
        (b"k=one\\\n\ntwo", "one"),
        (b"k=one\\\n#two", "one#two"),
        (b"# a comment\\\nk=v", "v"),
        (b"\\\n#k=x\nk=v", "v"),
        (b"\\\n\\\nk=v", "v"),
        (b"k=v\\", "v"),
        (b"k:v", "v"),
        (b"k v", "v"),
        (b" \t\x0Ck\x0C\t : \t v ", "v "),
        (b"k = = v", "= v"),
        (b"k  v=w", "v=w"),
        (b"\\k=v", "v"),
        (b"\\u006b=v", "v"),
        (
            b"k=a\\tb\\nc\\rd\\fe\\qf\\:\\=\\#\\!\\ ",
            "a\tb\nc\rd\x0Ceqf:=#! ",
        ),
        (b"k=\\  v", "  v"),
        (b"k", ""),
        (b"k=", ""),
        (b"k=1\nk=2", "2"),
        (b"!k=1\r\r  \t\rk=2\r", "2"),
        (b"k=\\\n", ""),
        (b"k\\\n=v", "v"),
    ];
    for (text, value) in cases {
        let shown = String::from_utf8_lossy(text);
        assert_eq!(get(text, "k").as_deref(), Some(value), "{shown:?}");
    }
    assert_eq!(get(b"\\==v", "=").as_deref(), Some("v"));
    assert_eq!(get(b"a\\ b\\:c d", "a b:c").as_deref(), Some("d"));
    assert_eq!(get(b"#k=v\n!k=v\nK=v\nkk=v", "k"), None);
}

#[test]
fn what_java_refuses_is_refused() {
    for text in [&b"a=\\u00e"[..], b"\\u00gg=1", b"a=\\u", b"a=\\u+123"] {
        assert!(JavaProperties::parse(text).is_err());
    }
    let half = JavaProperties::parse(b"a=\\ud83d\nb=1").unwrap();
    assert!(half.get("a").is_err());
    assert_eq!(half.get("b").unwrap().as_deref(), Some("1"));
}

proptest! {
    #[test]
    fn a_value_comes_back_whatever_it_is(value in "[ -~\t\n\r\x0C\\\\\u{80}-\u{10ffff}]*") {
        let text = format!("a=1\nk={}\nb=2\n", escape(&value));
        prop_assert!(text.is_ascii());
        prop_assert_eq!(text.lines().count(), 3);
        prop_assert_eq!(get(text.as_bytes(), "k"), Some(value));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        drop(JavaProperties::parse(&bytes));
    }
}
