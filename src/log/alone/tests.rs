//! Tests of `alone.rs`.

use super::*;
use crate::disk::sim::Sim;
use crate::format::{Mark, SLOT_LEN};
use crate::recovery::OpenEvent;
use crate::types::to_u64;

#[test]
fn slots_that_cannot_be_read_are_named_by_the_open_report() {
    let sim = Sim::new();
    let (clock, path) = (Clock::default(), Path::new("/log"));
    let open = |sim: &Sim, mode| {
        let config = LogConfig::default();
        open_alone_on(&sim.disk(), &clock, path, config, mode, true).unwrap()
    };
    let log: Log = open(&sim, OpenMode::Write);
    log.append("a record").unwrap();
    log.close().unwrap();
    let file = path.join(file_name::MARKS);
    let mut bytes = sim.read(&file).unwrap();
    let torn = 1 - usize::from(Mark::decode(bytes.split_at(SLOT_LEN).0).is_none());
    if let Some(byte) = bytes.get_mut(torn * SLOT_LEN + 50) {
        *byte ^= 1;
    }
    sim.write_raw(&file, &bytes).unwrap();
    for mode in [OpenMode::Read, OpenMode::Write] {
        let report = open(&sim, mode).open_report().clone();
        let named = report.events.iter().any(|event| {
            let at = to_u64(torn * SLOT_LEN);
            matches!(event, OpenEvent::MarkUnreadable { path, position, .. }
                if *path == file && *position == at)
        });
        assert!(named, "{mode:?}: {report:?}");
    }
}
