//! Tests of `units.rs`.

use super::*;

#[test]
fn sizes_and_times_are_read_as_people_write_them() {
    for (text, expected) in [
        ("4096", Some(4096)),
        ("64 MiB", Some(64 << 20)),
        ("64MiB", Some(64 << 20)),
        ("1.5 GiB", Some(3 << 29)),
        ("10 kB", Some(10_000)),
        (" 2 TiB ", Some(2 << 40)),
        ("0", Some(0)),
        ("1.5", None),
        ("-1", None),
        ("5 s", None),
        ("", None),
        ("MiB", None),
        ("1 2", None),
        ("1..5 MiB", None),
        (". MiB", None),
        ("99999999999 TiB", None),
        ("99999999999999999999", None),
    ] {
        assert_eq!(bytes(text), expected, "{text:?}");
    }
    for (text, expected) in [
        ("500", Some(500)),
        ("500ms", Some(500)),
        ("5 s", Some(5_000)),
        ("1.5 min", Some(90_000)),
        ("7 days", Some(604_800_000)),
        ("2h", Some(7_200_000)),
        ("64 MiB", None),
        ("-1", None),
        ("0.5 ms", None),
        ("18446744073709551615", None),
    ] {
        let time = time(text).map(|time| time.as_millis());
        assert_eq!(time, expected, "{text:?}");
    }
}
