//! Who is waited for before a sync.

use std::path::Path;

use crate::clock::Clock;
use crate::disk::sim::Sim;
use crate::log::open_alone_on;
use crate::recovery::OpenMode;
use crate::types::LogConfig;

#[test]
fn who_waited_for_a_sync_is_waited_for_at_the_next_one_and_forgotten_when_they_do_not_come() {
    let (disk, clock) = (Sim::new().disk(), Clock::default());
    let (dir, config) = (Path::new("/log"), LogConfig::default());
    let log = open_alone_on(&disk, &clock, dir, config, OpenMode::Write, false).unwrap();
    log.append("one").unwrap();
    let shared = &log.shared;
    let began = clock.instant();
    let mut turn = shared.take_turn().unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| shared.flush());
        while shared.turn.lock().company.waiting == 0 {
            std::thread::yield_now();
        }
        turn.synced_since(began);
        drop(turn);
        // It takes the turn, and this thread does not come back.
        assert_eq!(waiting.join().unwrap().unwrap(), 1);
    });
    let company = &shared.turn.lock().company;
    assert_eq!((company.expected, company.waiting), (1, 0));
}
