//! Tests of `partitions.rs`.

use super::*;

#[test]
fn partitions_are_found_by_number_also_those_added_later() {
    let partitions: Partitions = Partitions::new(3);
    partitions.grow(3);
    partitions.grow(2);
    assert_eq!(partitions.count(), 3);
    partitions.grow(5);
    partitions.grow(6);
    assert_eq!(partitions.count(), 6);
    let places: Vec<_> = (0..6).map(|id| partitions.get(id).unwrap()).collect();
    for (at, place) in places.iter().enumerate() {
        for other in &places[at + 1..] {
            assert!(!std::ptr::eq(*place, *other));
        }
    }
    assert!(partitions.get(6).is_none());
    assert!(partitions.get(u32::MAX).is_none());
    assert_eq!(partitions.iter().count(), 6);
}

#[test]
fn damage_is_remembered_and_other_failures_are_tried_again() {
    let slot = Slot::default();
    assert!(matches!(
        slot.get_or_open(true, || Err(Error::ReadOnly)),
        Err(Error::ReadOnly)
    ));
    let damage = || {
        Err(Error::corrupt(
            "x".as_ref(),
            7,
            Corruption::malformed("test"),
        ))
    };
    assert!(matches!(
        slot.get_or_open(true, damage),
        Err(Error::Corrupt { .. })
    ));
    let again = slot.get_or_open(true, || Err(Error::ReadOnly));
    assert!(matches!(again, Err(Error::Corrupt { position: 7, .. })));
}
