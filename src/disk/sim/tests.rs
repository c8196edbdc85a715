//! The simulated disk must show each loss that it stands for, and no other.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::{
    At, Choice, Failure, Fate, Fault, Kind, Repeat, Sim, SyncFailure, Violation, is_power_cut,
};
use crate::disk::{Access, Appender, Disk, File};
use crate::sync::Mutex;
use crate::types::WriteMode;

const LOG: &str = "/log";

/// A file whose name is durable and whose content is this, synced.
fn settled(sim: &Sim, content: &[u8]) -> File {
    let file = sim.disk().create(Path::new(LOG)).unwrap();
    sim.disk().sync_dir(Path::new("/")).unwrap();
    file.write_at(0, content).unwrap();
    file.sync_data().unwrap();
    assert_eq!(sim.pending(), 0);
    file
}

/// Every content of the log that a power cut now may leave, as level A finds it.
fn outcomes(sim: &Sim) -> BTreeSet<Option<Vec<u8>>> {
    sim.crash_states_canonical()
        .map(|after| after.read(LOG).ok())
        .collect()
}

fn fault(at: At, error: Failure, repeat: Repeat) -> Fault {
    Fault { at, error, repeat }
}

#[test]
fn what_was_synced_is_in_every_state() {
    let sim = Sim::new();
    let file = settled(&sim, b"first");
    assert_eq!(outcomes(&sim), [Some(b"first".to_vec())].into());
    file.write_at(5, b" second").unwrap();
    let all = outcomes(&sim);
    assert!(all.contains(&Some(b"first".to_vec())), "lost");
    assert!(all.contains(&Some(b"first second".to_vec())), "kept");
    assert!(all.iter().all(|found| {
        let found = found.as_ref().expect("the name is durable");
        found.starts_with(b"first")
    }));
    assert_eq!(sim.durable(LOG).unwrap(), b"first");
}

#[test]
fn a_file_without_a_sync_is_empty_zero_garbage_or_torn() {
    let sim = Sim::new();
    let file = settled(&sim, b"");
    file.write_at(0, &[7; 1000]).unwrap();
    assert_eq!(sim.pending(), 2, "cut at the sector");
    let all: Vec<Vec<u8>> = outcomes(&sim).into_iter().map(Option::unwrap).collect();
    let holds = |wanted: &dyn Fn(&[u8]) -> bool| all.iter().any(|found| wanted(found));
    assert!(holds(&<[u8]>::is_empty));
    assert!(holds(&|found| found == [7; 512]), "the first sector alone");
    assert!(holds(&|found| found.len() == 1000
        && found[..512] == [0; 512]
        && found[512..] == [7; 488]));
    assert!(holds(&|found| found == [7; 256]), "torn");
    assert!(
        holds(&|found| found.len() == 1000
            && found[512..] == [7; 488]
            && found[..512].iter().any(|byte| ![0, 7].contains(byte))),
        "garbage"
    );
}

#[test]
fn bytes_under_the_durable_end_are_old_or_new() {
    let sim = Sim::new();
    let file = settled(&sim, &[1; 2000]);
    file.write_at(100, &[2; 1500]).unwrap();
    for state in sim
        .crash_states_canonical()
        .chain(sim.crash_states_random(1, 500))
    {
        let found = state.read(LOG).unwrap();
        assert_eq!(found.len(), 2000);
        for (at, byte) in found.iter().enumerate() {
            let new = (100..1600).contains(&at) && *byte == 2;
            assert!(*byte == 1 || new, "byte {at} in {state:?}");
        }
    }
}

#[test]
fn a_new_file_is_lost_without_a_sync_of_its_directory() {
    let sim = Sim::new();
    let file = sim.disk().create(Path::new(LOG)).unwrap();
    file.write_at(0, b"acknowledged").unwrap();
    file.sync_data().unwrap();
    assert!(outcomes(&sim).contains(&None), "the loss must show");
    assert_eq!(sim.durable(LOG), None);
    sim.disk().sync_dir(Path::new("/")).unwrap();
    assert_eq!(outcomes(&sim), [Some(b"acknowledged".to_vec())].into());
}

#[test]
fn a_file_in_a_new_directory_needs_both_syncs() {
    let sim = Sim::new();
    let (disk, root, dir) = (sim.disk(), Path::new("/"), Path::new("/a"));
    disk.create_dir(dir).unwrap();
    disk.create(&dir.join("f")).unwrap().sync_data().unwrap();
    disk.sync_dir(dir).unwrap();
    assert!(sim.crash(Choice::None).files().is_empty());
    disk.sync_dir(root).unwrap();
    assert_eq!(sim.crash(Choice::None).files().len(), 1);
}

#[test]
fn a_rename_without_a_sync_may_be_undone_and_is_never_half_done() {
    let sim = Sim::new();
    settled(&sim, b"old");
    let (disk, new) = (sim.disk(), Path::new("/log.tmp"));
    let file = disk.create(new).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    file.write_at(0, b"new").unwrap();
    file.sync_data().unwrap();
    disk.rename(new, Path::new(LOG)).unwrap();
    let both: BTreeSet<_> = [Some(b"old".to_vec()), Some(b"new".to_vec())].into();
    assert_eq!(outcomes(&sim), both);
    disk.sync_dir(Path::new("/")).unwrap();
    assert_eq!(outcomes(&sim), [Some(b"new".to_vec())].into());
}

#[test]
fn a_rename_of_unsynced_bytes_can_leave_an_empty_file_and_replace_cannot() {
    let sim = Sim::new();
    settled(&sim, b"old");
    let (disk, new) = (sim.disk(), Path::new("/log.tmp"));
    disk.create(new).unwrap().write_at(0, b"new").unwrap();
    disk.rename(new, Path::new(LOG)).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    assert!(
        outcomes(&sim).contains(&Some(Vec::new())),
        "the loss must show"
    );

    let sim = Sim::new();
    settled(&sim, b"old");
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let watcher = Arc::clone(&seen);
    sim.on_change(move |sim| watcher.lock().extend(outcomes(sim)));
    sim.disk().replace(Path::new(LOG), b"new").unwrap();
    let both: BTreeSet<_> = [Some(b"old".to_vec()), Some(b"new".to_vec())].into();
    assert_eq!(*seen.lock(), both);
    assert_eq!(sim.durable(LOG).unwrap(), b"new");
}

#[test]
fn an_unlink_without_a_sync_may_bring_the_file_back() {
    let sim = Sim::new();
    settled(&sim, b"old");
    sim.disk().remove_file(Path::new(LOG)).unwrap();
    assert_eq!(outcomes(&sim), [None, Some(b"old".to_vec())].into());
    sim.disk().sync_dir(Path::new("/")).unwrap();
    assert_eq!(outcomes(&sim), [None].into());
}

#[test]
fn names_arrive_in_order_within_a_directory() {
    let sim = Sim::new();
    for name in ["/1", "/2", "/3"] {
        sim.disk().create(Path::new(name)).unwrap();
    }
    for state in sim
        .crash_states_exhaustive(12)
        .chain(sim.crash_states_random(7, 100))
    {
        let names: Vec<_> = state.files().into_iter().map(|(path, _)| path).collect();
        let all = ["/1", "/2", "/3"].map(Path::new);
        assert!(all.starts_with(&names.iter().map(|path| &**path).collect::<Vec<_>>()));
    }
}

#[test]
fn a_cut_that_was_not_synced_can_bring_the_old_tail_back() {
    let sim = Sim::new();
    let file = settled(&sim, b"one two three");
    file.set_len(3).unwrap();
    file.write_at(3, b" 2").unwrap();
    assert!(outcomes(&sim).contains(&Some(b"one 2wo three".to_vec())));
    let sim = Sim::new();
    let file = settled(&sim, b"one two three");
    file.set_len(3).unwrap();
    file.sync_data().unwrap();
    file.write_at(3, b" 2").unwrap();
    let all = outcomes(&sim);
    assert!(all.iter().flatten().all(|found| found.len() <= 5));
}

#[test]
fn a_write_tears_at_every_byte() {
    let sim = Sim::new();
    let file = settled(&sim, b"");
    file.write_at(0, b"0123456789").unwrap();
    for len in 0..=10 {
        let fate = |fate| Choice::One {
            index: 0,
            fate,
            after: true,
        };
        let head = sim.crash(fate(Fate::Head(len))).read(LOG).unwrap();
        assert_eq!(head, b"0123456789"[..len]);
        let tail = sim.crash(fate(Fate::Tail(len))).read(LOG).unwrap();
        assert_eq!(tail.len(), 10);
        assert_eq!(tail[len..], b"0123456789"[len..]);
        assert_eq!(tail[..len], vec![0; len]);
    }
    let torn: BTreeSet<usize> = sim
        .crash_states_random(3, 2000)
        .map(|state| state.read(LOG).unwrap().len())
        .collect();
    assert_eq!(torn.len(), 11, "random states tear everywhere too");
}

#[test]
fn the_same_choice_gives_the_same_state() {
    let sim = Sim::new();
    let file = settled(&sim, b"x");
    file.write_at(1, &[3; 5000]).unwrap();
    for state in sim.crash_states_random(42, 50) {
        let again = sim.crash(state.born_of().unwrap());
        assert_eq!(again.read(LOG).unwrap(), state.read(LOG).unwrap());
    }
}

#[test]
fn a_killed_process_leaves_every_written_byte_unsynced_and_no_lock() {
    let sim = Sim::new();
    let file = settled(&sim, b"synced ");
    let lock = sim.disk().lock(Path::new("/.lock")).unwrap();
    file.write_at(7, b"written").unwrap();
    let killed = sim.process_crash();
    assert_eq!(killed.read(LOG).unwrap(), b"synced written");
    assert_eq!(killed.durable(LOG).unwrap(), b"synced ");
    assert_eq!(outcomes(&killed), outcomes(&sim));
    assert!(killed.disk().lock(Path::new("/.lock")).unwrap().is_some());
    assert!(sim.disk().lock(Path::new("/.lock")).unwrap().is_none());
    drop(lock);
}

#[test]
fn nothing_happens_once_the_power_is_off() {
    let sim = Sim::new();
    let file = settled(&sim, b"before");
    sim.cut_power_at(sim.operations() + 1);
    file.write_at(6, b" the last").unwrap();
    assert!(sim.is_off());
    let refused = file.write_at(0, b"after").unwrap_err();
    assert!(is_power_cut(&refused));
    assert!(is_power_cut(&file.sync_data().unwrap_err()));
    assert!(is_power_cut(&sim.disk().list(Path::new("/")).unwrap_err()));
    assert_eq!(sim.read(LOG).unwrap(), b"before the last");
    assert_eq!(sim.crash(Choice::None).read(LOG).unwrap(), b"before");
    sim.heal();
    file.sync_data().unwrap();
}

#[test]
fn a_failed_sync_lies_afterwards_as_each_file_system_does() {
    let check = |model, reads: &[u8], after_second: &[u8]| {
        let sim = Sim::new();
        let file = settled(&sim, b"aaaa");
        sim.set_sync_failure(model);
        file.write_at(0, b"bbbb").unwrap();
        sim.fail(fault(
            At::Operation(sim.operations()),
            Failure::Eio,
            Repeat::Once,
        ));
        file.sync_data().unwrap_err();
        file.sync_data().unwrap();
        assert_eq!(sim.read(LOG).unwrap(), reads, "{model:?}");
        assert_eq!(
            outcomes(&sim),
            [Some(after_second.to_vec())].into(),
            "{model:?}"
        );
        assert_eq!(sim.process_crash().read(LOG).unwrap(), reads);
        // The two cures: drop the cache and look, or write again and sync.
        let file = sim.disk().open(Path::new(LOG), Access::Write).unwrap();
        let File::Sim(cached) = &file else {
            panic!("a file of the simulated disk");
        };
        cached.drop_cache();
        assert_eq!(sim.read(LOG).unwrap(), after_second, "{model:?}");
        file.write_at(0, b"bbbb").unwrap();
        file.sync_data().unwrap();
        assert_eq!(outcomes(&sim), [Some(b"bbbb".to_vec())].into());
    };
    check(SyncFailure::LostKept, b"bbbb", b"aaaa");
    check(SyncFailure::LostReverted, b"aaaa", b"aaaa");
    check(SyncFailure::KeptDirty, b"bbbb", b"bbbb");
}

#[test]
fn a_full_disk_takes_a_part_and_then_refuses() {
    let sim = Sim::new();
    let file = settled(&sim, &[1; 100]);
    sim.set_capacity(Some(150));
    let full = file.write_at(100, &[2; 80]).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    assert_eq!(file.len().unwrap(), 150, "as tmpfs does");
    assert!(file.reserve(150, 1).is_err());
    file.set_len(100).unwrap();
    file.reserve(100, 50).unwrap();
    file.write_at(100, &[3; 50]).unwrap();
    sim.set_capacity(None);
    file.write_at(150, &[4; 50]).unwrap();
    assert_eq!(sim.used(), 200);
    sim.disk().remove_file(Path::new(LOG)).unwrap();
    assert_eq!(sim.used(), 0);
}

/// Appends until the disk is full, frees space, goes on: what was acknowledged is all there.
#[test]
fn an_appender_meets_a_full_disk_without_a_signal_and_goes_on() {
    for mode in [WriteMode::Auto, WriteMode::Pwrite] {
        for capacity in (70_000..75_000).step_by(37) {
            let sim = Sim::new();
            sim.set_capacity(Some(capacity));
            let file = Arc::new(sim.disk().create(Path::new(LOG)).unwrap());
            let mut appender = Appender::new(file, mode, 0, 1 << 30);
            let mut model = Vec::new();
            let full = loop {
                match appender.append(&[5; 999]) {
                    Ok(()) => model.extend([5; 999]),
                    Err(full) => break full,
                }
            };
            assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
            assert!(
                u64::try_from(model.len()).unwrap() + 999 > capacity,
                "stopped too early"
            );
            appender.cut(appender.end()).unwrap();
            assert_eq!(sim.read(LOG).unwrap(), model);
            sim.set_capacity(Some(capacity + 100_000));
            appender.append(&[6; 999]).unwrap();
            appender.trim().unwrap();
            assert_eq!(sim.read(LOG).unwrap()[model.len()..], [6; 999]);
        }
    }
}

#[test]
#[should_panic(expected = "SIGBUS")]
fn a_window_over_space_that_was_never_reserved_dies_on_a_full_disk() {
    let sim = Sim::new();
    sim.set_can_reserve(false);
    sim.set_capacity(Some(1000));
    let file = Arc::new(sim.disk().create(Path::new(LOG)).unwrap());
    let mut appender = Appender::new(file, WriteMode::Mapped, 0, 1 << 30);
    for _ in 0..2 {
        appender.append(&[1; 999]).unwrap();
    }
}

#[test]
fn auto_leaves_the_window_alone_where_it_is_not_known_to_be_safe() {
    let stores = |prepare: &dyn Fn(&Sim)| {
        let sim = Sim::new();
        prepare(&sim);
        sim.record();
        let file = Arc::new(sim.disk().create(Path::new(LOG)).unwrap());
        let mut appender = Appender::new(file, WriteMode::Auto, 0, 1 << 30);
        (0..10).for_each(|_| appender.append(b"bytes").unwrap());
        let trace = sim.trace();
        trace.iter().filter(|made| made.kind == Kind::Store).count()
    };
    assert_eq!(stores(&|_| {}), 10);
    assert_eq!(stores(&|sim| sim.set_window_safe(false)), 0);
    assert_eq!(stores(&|sim| sim.set_can_reserve(false)), 0);
}

#[test]
fn a_store_on_a_dying_disk_is_reported_by_the_next_sync() {
    let sim = Sim::new();
    let file = Arc::new(sim.disk().create(Path::new(LOG)).unwrap());
    let mut appender = Appender::new(Arc::clone(&file), WriteMode::Auto, 0, 1 << 20);
    appender.append(b"fine").unwrap();
    file.sync_data().unwrap();
    sim.fail(fault(At::Nth(Kind::Store, 1), Failure::Eio, Repeat::Once));
    appender.append(b"swallowed").unwrap();
    file.sync_data().unwrap_err();
    file.sync_data().unwrap();
    assert!(sim.read(LOG).unwrap().starts_with(b"fineswallowed"));
    sim.disk().sync_dir(Path::new("/")).unwrap();
    let after = sim.crash(Choice::All).read(LOG).unwrap();
    assert!(after.starts_with(b"fine\0\0\0\0"));
}

/// A small job that makes every kind of call; how many of them it got through.
fn job(disk: &Disk) -> std::io::Result<()> {
    let (root, dir) = (Path::new("/"), Path::new("/a"));
    let _lock = disk
        .lock(Path::new("/.lock"))?
        .expect("nobody else is here");
    disk.create_dir(dir)?;
    disk.sync_dir(root)?;
    disk.replace(&dir.join("mark"), b"0123456789")?;
    disk.read_small(&dir.join("mark"), 100)?;
    let log = dir.join("log");
    let file = Arc::new(disk.create(&log)?);
    let mut appender = Appender::new(Arc::clone(&file), WriteMode::Auto, 0, 1 << 20);
    for number in 0..20u8 {
        appender.append(&[number + 1; 100])?;
    }
    file.sync_data()?;
    disk.sync_dir(dir)?;
    appender.cut(1000)?;
    appender.trim()?;
    file.read_at(0, &mut [0; 10])?;
    disk.list(dir)?;
    disk.file_len(&log)?;
    disk.set_modified(&log, crate::types::Timestamp::from_millis(1))?;
    disk.rename(&log, &dir.join("old"))?;
    disk.exists(&log)?;
    disk.remove_file(&dir.join("old"))?;
    disk.remove_file(&dir.join("mark"))?;
    disk.remove_dir(dir)
}

#[test]
fn every_call_can_fail_in_every_way() {
    let calm = Sim::new();
    calm.record();
    job(&calm.disk()).unwrap();
    let kinds: BTreeSet<Kind> = calm.trace().iter().map(|made| made.kind).collect();
    assert_eq!(
        kinds.len(),
        Kind::ALL.len(),
        "the job makes every kind of call"
    );
    let (mut injected, mut refused) = (0, 0);
    for at in 0..calm.operations() {
        for error in Failure::ALL {
            for repeat in [Repeat::Once, Repeat::Forever] {
                let sim = Sim::new();
                sim.fail(fault(At::Operation(at), error, repeat));
                let outcome = job(&sim.disk());
                assert!(sim.operations() > at);
                injected += 1;
                refused += usize::from(outcome.is_err());
                sim.heal();
                for state in sim.crash_states_canonical() {
                    state.disk().list(Path::new("/")).unwrap();
                }
            }
        }
    }
    assert!(
        injected >= 400 && refused > injected * 3 / 4,
        "{refused} of {injected}"
    );
}

#[test]
fn a_bit_flips_at_rest() {
    let sim = Sim::new();
    settled(&sim, b"abc");
    sim.flip(LOG, 8).unwrap();
    assert_eq!(sim.read(LOG).unwrap(), b"acc");
    assert_eq!(sim.crash(Choice::None).read(LOG).unwrap(), b"acc");
    sim.write_raw("/planted", b"x").unwrap();
    sim.write_raw(LOG, b"whole").unwrap();
    assert_eq!(sim.durable(LOG).unwrap(), b"whole");
    let files = [("/log".into(), 5), ("/planted".into(), 1)];
    assert_eq!(sim.files(), files);
}

/// An appender whose caller syncs after every append: whatever was acknowledged is in every state,
/// in both ways of writing.
#[test]
fn acknowledged_appends_survive_every_power_cut() {
    for mode in [WriteMode::Auto, WriteMode::Pwrite] {
        let sim = Sim::new();
        let file = Arc::new(sim.disk().create(Path::new(LOG)).unwrap());
        sim.disk().sync_dir(Path::new("/")).unwrap();
        let acknowledged = Arc::new(Mutex::new(0usize));
        let states = Arc::new(Mutex::new(0usize));
        let (floor, count) = (Arc::clone(&acknowledged), Arc::clone(&states));
        sim.on_change(move |sim| {
            let floor = *floor.lock();
            for state in sim
                .crash_states_canonical()
                .chain(sim.crash_states_random(9, 20))
            {
                let found = state.read(LOG).unwrap();
                assert!(found.len() >= floor, "{state:?}");
                for (at, byte) in found[..floor].iter().enumerate() {
                    assert_eq!(usize::from(*byte), at / 300 + 1, "{state:?}");
                }
                *count.lock() += 1;
            }
        });
        let mut appender = Appender::new(Arc::clone(&file), mode, 0, 100_000);
        for number in 1..=100u8 {
            appender.append(&[number; 300]).unwrap();
            file.sync_data().unwrap();
            *acknowledged.lock() += 300;
        }
        appender.trim().unwrap();
        let states = *states.lock();
        assert!(states > 4000, "only {states} states");
    }
}

#[test]
fn a_write_leaves_the_time_and_compaction_can_put_it_back() {
    use crate::types::Timestamp;
    let sim = Sim::new();
    let file = settled(&sim, b"x");
    let (disk, log) = (sim.disk(), Path::new(LOG));
    sim.set_now(Timestamp::from_millis(5));
    assert_eq!(disk.modified(log).unwrap(), Timestamp::from_millis(0));
    file.write_at(0, b"y").unwrap();
    assert_eq!(disk.modified(log).unwrap(), Timestamp::from_millis(5));
    disk.set_modified(log, Timestamp::from_millis(3)).unwrap();
    assert_eq!(disk.modified(log).unwrap(), Timestamp::from_millis(3));
}

#[test]
fn a_watcher_sees_the_disk_before_each_change_until_it_is_stopped() {
    let sim = Sim::new();
    let file = settled(&sim, b"");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let found = Arc::clone(&seen);
    sim.on_change(move |sim| found.lock().push(sim.read(LOG).unwrap()));
    file.write_at(0, b"a").unwrap();
    file.read_at(0, &mut [0]).unwrap();
    file.write_at(1, b"b").unwrap();
    sim.stop_watching();
    file.write_at(2, b"c").unwrap();
    assert_eq!(*seen.lock(), [b"".to_vec(), b"a".to_vec()]);
}

#[test]
fn calls_in_a_wrong_order_are_reported() {
    let sim = Sim::new();
    let file = settled(&sim, b"one two three");
    sim.watch_order();
    let rename = |from: &str, to: &str| sim.disk().rename(Path::new(from), Path::new(to)).unwrap();
    file.set_len(3).unwrap();
    file.sync_data().unwrap();
    file.write_at(3, b" 2").unwrap();
    file.sync_data().unwrap();
    rename("/log", "/new");
    assert_eq!(sim.violations(), []);
    file.write_at(5, b" 3").unwrap();
    rename("/new", LOG);
    assert_eq!(
        sim.violations(),
        [Violation::RenamedUnsynced("/new".into())]
    );
    file.set_len(3).unwrap();
    file.write_at(3, b" 2").unwrap();
    assert_eq!(sim.violations()[1], Violation::WrittenBehindCut(LOG.into()));
}
