//! Tests of `wire.rs`.

use super::*;

#[test]
fn strings_of_both_families_come_back() {
    for text in ["", "t", "h\u{e9}"] {
        let mut plain = Vec::new();
        plain.put_string16(text).unwrap();
        assert_eq!(Cursor::new(&plain).string(Family::Plain), Ok(text));
        let mut flexible = Vec::new();
        flexible.put_compact_string(text);
        assert_eq!(Cursor::new(&flexible).string(Family::Flexible), Ok(text));
    }
    let mut nulls = Vec::new();
    nulls.put_nullable_string16(None).unwrap();
    assert_eq!(Cursor::new(&nulls).nullable_string(Family::Plain), Ok(None));
    assert!(Cursor::new(&nulls).string(Family::Plain).is_err());
    assert!(Vec::new().put_string16(&"x".repeat(40_000)).is_err());
}

#[test]
fn lengths_that_lie_are_refused_before_room_is_made() {
    let mut huge = Vec::new();
    huge.put_i32(i32::MAX);
    assert!(Cursor::new(&huge).blob(Family::Plain).is_err());
    assert!(Cursor::new(&huge).count(Family::Plain).is_err());
    let mut huge = Vec::new();
    huge.put_uvarint(u32::MAX);
    assert!(Cursor::new(&huge).string(Family::Flexible).is_err());
    assert!(Cursor::new(&huge).count(Family::Flexible).is_err());
    assert!(Cursor::new(&huge).tags(Family::Flexible).is_err());
}

#[test]
fn tags_are_stepped_over() {
    let mut cursor = Cursor::new(&[2, 0, 1, 9, 1, 2, 8, 8, 7]);
    cursor.tags(Family::Flexible).unwrap();
    assert_eq!(cursor.rest(), [7]);
}
