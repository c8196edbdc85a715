//! Tests of `noted.rs`.

use std::path::Path;

use super::*;
use crate::clock::Clock;
use crate::disk::Access;
use crate::disk::sim::Sim;
use crate::format::file_name;
use crate::host::subscriber::Listener;
use crate::log::open_alone_on;
use crate::recovery::OpenMode;
use crate::types::LogConfig;

fn open(sim: &Sim) -> Log {
    let (dir, config) = (Path::new("/log"), LogConfig::default());
    let (clock, mode) = (Clock::default(), OpenMode::Write);
    open_alone_on(&sim.disk(), &clock, dir, config, mode, true).unwrap()
}

#[test]
fn a_recovery_is_traced_with_what_was_set_aside() {
    let sim = Sim::new();
    let log = open(&sim);
    log.append("a record").unwrap();
    let end = log.segments()[0].size_bytes;
    log.abandon();
    let path = Path::new("/log").join(file_name::log(0));
    let file = sim.disk().open(&path, Access::Write).unwrap();
    file.write_at(end, &[7; 100]).unwrap();
    drop(file);
    let heard = Listener::hear(|| drop(open(&sim)));
    let quarantine = format!("quarantine path={} position={end} bytes=", path.display());
    let all = [
        "[open dir=/log]",
        quarantine.as_str(),
        "recovery dir=/log scanned_bytes=",
        "open dir=/log clean=false",
        "close dir=/log went_well=true",
    ];
    assert_eq!(heard.len(), all.len(), "{heard:#?}");
    for (line, expected) in heard.iter().zip(all) {
        assert!(line.starts_with(expected), "{line}, not {expected}");
    }
}

#[test]
fn a_sync_that_takes_long_is_traced() {
    let log = open(&Sim::new());
    let heard = Listener::hear(|| {
        log.shared.note_sync(3, SLOW_SYNC);
        log.shared.note_sync(3, SLOW_SYNC * 2);
        log.flush().unwrap();
    });
    assert_eq!(heard, ["slow sync dir=/log micros=1000000 batches=3"]);
}

#[test]
fn a_closing_log_is_traced_within_its_span() {
    let log = open(&Sim::new());
    let heard = Listener::hear(|| log.close().unwrap());
    assert_eq!(heard, ["[close dir=/log]", "close dir=/log went_well=true"]);
}
