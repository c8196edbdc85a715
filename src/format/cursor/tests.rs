//! Tests of `cursor.rs`.

use super::*;

#[test]
fn what_was_put_is_read() {
    let mut out = Vec::new();
    out.put_i8(-2);
    out.put_u16(513);
    out.put_i16(-2);
    out.put_u32(u32::MAX);
    out.put_i32(i32::MIN);
    out.put_u64(u64::MAX);
    out.put_i64(-3);
    let mut cursor = Cursor::new(&out);
    assert_eq!(cursor.i8(), Ok(-2));
    assert_eq!(cursor.u16(), Ok(513));
    assert_eq!(cursor.i16(), Ok(-2));
    assert_eq!(cursor.u32(), Ok(u32::MAX));
    assert_eq!(cursor.i32(), Ok(i32::MIN));
    assert_eq!(cursor.u64(), Ok(u64::MAX));
    assert_eq!(cursor.i64(), Ok(-3));
    assert_eq!(cursor.finish(), Ok(()));
}

#[test]
fn unsigned_varints_come_back_and_are_bounded() {
    for value in [0, 1, 127, 128, 300, 16_383, 16_384, u32::MAX] {
        let mut out = Vec::new();
        out.put_uvarint(value);
        assert_eq!(Cursor::new(&out).uvarint(), Ok(value));
    }
    assert_eq!(Cursor::new(&[0xac, 0x02]).uvarint(), Ok(300));
    assert!(Cursor::new(&[0x80; 5]).uvarint().is_err());
    assert!(Cursor::new(&[0x80]).uvarint().is_err());
}

#[test]
fn a_short_read_says_what_it_lacks_and_moves_nothing() {
    let mut cursor = Cursor::new(&[1, 2, 3]);
    assert_eq!(cursor.u32(), Err(Corruption::truncated(4, 3)));
    assert_eq!(cursor.bytes(4), Err(Corruption::truncated(4, 3)));
    assert_eq!(cursor.bytes(3), Ok(&[1, 2, 3][..]));
    assert!(cursor.is_empty());
}
