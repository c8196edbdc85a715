//! Digests that are made in the background.

use std::path::Path;
use std::sync::Arc;

use crate::clock::Clock;
use crate::disk::sim::Sim;
use crate::log::{Log, open_alone_on};
use crate::recovery::OpenMode;
use crate::segment::Segment;
use crate::types::LogConfig;

/// A log whose sealed segments have lost their digests and wait for new ones, which only the
/// test makes.
fn log_that_waits() -> (Log, Vec<Arc<Segment>>) {
    let (disk, config) = (Sim::new().disk(), LogConfig::default().segment_bytes(1024));
    let (dir, mode) = (Path::new("/log"), OpenMode::Write);
    let log = open_alone_on(&disk, &Clock::default(), dir, config, mode, true).unwrap();
    for number in 0..40 {
        log.append(&format!("record number {number}")).unwrap();
    }
    let shared = &log.shared;
    let mut sealed: Vec<_> = shared.segments.read().iter().cloned().collect();
    sealed.pop();
    assert!(sealed.len() > 2);
    for segment in &sealed {
        let index_crcs = segment.with_index(&disk, &shared.host.files, Segment::index_crcs);
        segment.remove_digest(&disk).unwrap();
        shared.digest_later(Arc::clone(segment), Some(index_crcs.unwrap()));
    }
    (log, sealed)
}

#[test]
fn a_close_leaves_no_small_segment_without_its_digest_however_far_they_are() {
    for finished in 0..3 {
        let (log, sealed) = log_that_waits();
        let shared = &log.shared;
        assert!(shared.digest_slice(1), "the first is begun");
        // The flusher comes between the closing of the gate and the close's own turn.
        shared.begin_closing();
        for _ in 0..finished {
            shared.digest_slice(u64::MAX);
        }
        let turn = shared.take_turn().unwrap();
        shared.take_over_digests(&turn);
        shared.digest_for_close(&turn);
        for segment in &sealed {
            let digest = segment.digest_summary(&shared.host.disk);
            assert_eq!(digest.unwrap().length, segment.end());
        }
    }
}

#[test]
fn what_is_finished_after_a_close_is_dropped_also_when_it_failed() {
    for succeeds in [true, false] {
        let (log, sealed) = log_that_waits();
        let shared = &log.shared;
        shared.digest_slice(1);
        let begun = shared.digests.lock().current.take().unwrap();
        {
            let turn = shared.take_turn().unwrap();
            shared.take_over_digests(&turn);
            if succeeds {
                shared.digest_for_close(&turn);
            }
        }
        // The next opening may have removed it for other reasons.
        sealed[0].remove_digest(&shared.host.disk).unwrap();
        shared.finish_digest(begun);
        assert!(sealed[0].digest_summary(&shared.host.disk).is_none());
        assert!(!shared.digest_slice(u64::MAX));
        let left = sealed[1].digest_summary(&shared.host.disk);
        assert_eq!(left.is_some(), succeeds);
    }
}
