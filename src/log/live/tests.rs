//! Tests of `live.rs`.

use super::super::open_alone_on;
use super::*;
use crate::clock::Clock;
use crate::disk::Disk;
use crate::host::Bell;
use crate::recovery::OpenMode;
use crate::types::LogConfig;

#[test]
fn a_log_whose_first_appends_come_at_once_gets_one_slot() {
    let scratch = tempfile::tempdir().unwrap();
    let (disk, home) = (Disk::os(), scratch.path().join("log"));
    // Nobody publishes under manual upkeep, so the log has no slot yet.
    let config = LogConfig::default();
    let log = open_alone_on(&disk, &Clock::System, &home, config, OpenMode::Write, true).unwrap();
    let bell = Bell::default();
    bell.open(&disk, &home, 4);
    // Both threads have found that it has no slot.
    let shared = Audible::me(&*log.shared).unwrap();
    bell.add(&shared);
    bell.add(&shared);
    assert_eq!(bell.slot_count(), Some(1));
    assert_eq!(shared.published().slot(), Some(0));
    bell.close(&disk);
}
