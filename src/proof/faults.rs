//! Failing disks: every operation of every case fails, once and for ever, in every way, and then
//! the disk heals.
//!
//! Knows nothing about what the operations are. What is owed:
//!
//! 1. Every call answers, with an error of the disk or with `Poisoned`; nothing else is wrong
//!    meanwhile, and what was acknowledged can be read.
//! 2. A poisoned log takes nothing more and confirms nothing more: its flushed offset stands still.
//!    One that is not goes on as if nothing had happened once the disk is well.
//! 3. After the next opening the history's rules hold; then after another power cut too. What a
//!    failed sync covered counts as lost, however the disk fails (three models of it).
//! 4. A full disk is `NoSpace`; dropping the oldest records needs no space, and with space appends
//!    go on.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use super::crash::{append, config};
use super::history::After;
use super::rig::{Rig, Step};
use super::{Rng, Scale, Whereabouts};
use crate::disk::sim::{At, Choice, Failure, Fault, Kind, Repeat, Sim, SyncFailure};
use crate::error::Error;
use crate::types::LogConfig;
use crate::types::{Durability, WriteMode};

/// What is done before the disk begins to fail, and what while it does.
struct Case {
    name: &'static str,
    config: LogConfig,
    before: &'static [Step],
    /// The power is cut between the two; without it the log is closed.
    cut: Option<Choice>,
    during: &'static [Step],
}

const ONE: Step = append(1, 40);
const FEW: Step = append(3, 100);
const BIG: Step = append(2, 700);
const TICK: Step = Step::Tick;

fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for mode in [WriteMode::Pwrite, WriteMode::Auto] {
        let mut add = |name, config, before, cut, during| {
            all.push(Case {
                name,
                config,
                before,
                cut,
                during,
            });
        };
        let os = config(mode, Durability::Os);
        let always = config(mode, Durability::Always);
        let interval = config(mode, Durability::Interval(Duration::from_secs(1)));
        let none: &[Step] = &[];
        add(
            "first",
            os.clone(),
            none,
            None,
            &[ONE, Step::Flush, FEW, Step::Read],
        );
        add(
            "rolls",
            os.clone(),
            none,
            None,
            &[FEW, BIG, FEW, FEW, Step::Flush, FEW, FEW],
        );
        add(
            "always",
            always.clone(),
            none,
            None,
            &[FEW, ONE, BIG, FEW, FEW, Step::Read],
        );
        add(
            "interval",
            interval,
            none,
            None,
            &[FEW, TICK, FEW, FEW, TICK, FEW, FEW, TICK],
        );
        let full: &[Step] = &[FEW, FEW, FEW, FEW, FEW, Step::Flush, FEW];
        let truncate: &[Step] = &[Step::Truncate(2), ONE, Step::Truncate(9), FEW, Step::Flush];
        add("truncate", os.clone(), full, None, truncate);
        add("truncate always", always.clone(), full, None, truncate);
        let forget: &[Step] = &[
            Step::Forget(4),
            FEW,
            Step::Forget(9),
            FEW,
            Step::Forget(99),
            ONE,
        ];
        add("forget", os.clone(), full, None, forget);
        let look: &[Step] = &[Step::Read, Step::Reopen, Step::Read, ONE, Step::Reopen];
        add("read and reopen", os.clone(), full, None, look);
        for (name, cut) in [
            ("recover nothing", Choice::None),
            ("recover all", Choice::All),
            ("recover without names", Choice::DataAlone),
            ("recover some", Choice::Random(3)),
            ("recover others", Choice::Random(8)),
        ] {
            add(
                name,
                os.clone(),
                full,
                Some(cut),
                &[FEW, Step::Flush, Step::Read],
            );
        }
    }
    all
}

/// What one fault is, and on what disk.
#[derive(Clone, Copy, Debug)]
struct Trouble {
    operation: u64,
    failure: Failure,
    repeat: Repeat,
    model: SyncFailure,
}

#[derive(Debug, Default)]
struct Counts {
    injected: u64,
    poisoned: u64,
    refused: u64,
    kinds: BTreeSet<Kind>,
    calls: BTreeSet<Kind>,
}

/// The disk before it begins to fail, and the history so far.
fn prepare(case: &Case, model: SyncFailure) -> Rig {
    let sim = Sim::new();
    sim.set_sync_failure(model);
    let mut rig = Rig::new(sim, case.config.clone(), 1);
    if case.before.is_empty() {
        return rig;
    }
    rig.open(After::Kill).unwrap();
    for step in case.before {
        rig.step(*step).unwrap();
    }
    if let Some(choice) = case.cut {
        let next = rig.sim.crash(choice);
        rig.abandon();
        rig.sim = next;
    } else {
        let log = rig.log.lock().take().unwrap();
        log.close().unwrap();
        rig.history.lock().promise(u64::MAX);
    }
    rig
}

/// How the log is opened first.
fn first_opening(case: &Case) -> After {
    if case.cut.is_some() {
        After::Power
    } else {
        After::Kill
    }
}

/// The kinds of the operations of a case, by number, from its first failing one on.
fn trace(case: &Case) -> Vec<(u64, Kind)> {
    let mut rig = prepare(case, SyncFailure::default());
    rig.sim.record();
    rig.open(first_opening(case)).unwrap();
    for step in case.during {
        rig.step(*step).unwrap();
    }
    rig.abandon();
    let trace = rig.sim.trace();
    trace.iter().map(|made| (made.number, made.kind)).collect()
}

/// Runs a case with its trouble.
fn run(case: &Case, trouble: Trouble, counts: &mut Counts) {
    let mut rig = prepare(case, trouble.model);
    let disk = rig.sim.clone();
    let _told = Whereabouts(|| {
        let mode = case.config.write_mode;
        let (trace, at) = (disk.trace(), trouble.operation);
        let near = trace.iter().filter(|made| made.number.abs_diff(at) < 4);
        let near: Vec<_> = near
            .map(|made| (made.number, made.kind, &made.path))
            .collect();
        format!("{} ({mode:?}): {trouble:?}, among {near:?}", case.name)
    });
    rig.unreliable = true;
    rig.sim.record();
    rig.sim.fail(Fault {
        at: At::Operation(trouble.operation),
        error: trouble.failure,
        repeat: trouble.repeat,
    });
    let mut after = first_opening(case);
    for step in case.during {
        let _told = Whereabouts(|| format!("{step:?}"));
        note_lost_syncs(&mut rig, trouble);
        if rig.log.lock().is_none() {
            // It is tried again and again, as a service that is restarted does.
            match rig.open(after) {
                Ok(()) => after = After::Kill,
                Err(error) => {
                    counts.refused += 1;
                    expect_of_disk(&error);
                    continue;
                }
            }
        }
        note_lost_syncs(&mut rig, trouble);
        if let Err(error) = rig.step(*step) {
            expect_of_disk(&error);
            counts.poisoned += u64::from(leave_if_poisoned(&rig, &error));
        }
    }
    let trace = rig.sim.trace();
    let struck = trace.iter().find(|made| made.number == trouble.operation);
    if let Some(made) = struck {
        counts.injected += 1;
        counts.kinds.insert(made.kind);
    }
    note_lost_syncs(&mut rig, trouble);
    rig.sim.heal();
    rig.unreliable = false;
    let _told = Whereabouts(|| "after the disk was healed".to_owned());
    let stored = struck_by(&rig, trouble, |kind| kind == Kind::Store);
    settle(&mut rig, after, stored);
}

/// Whether a sync may have failed by now: then what it covered is lost.
fn note_lost_syncs(rig: &mut Rig, trouble: Trouble) {
    let loses = trouble.failure != Failure::Emfile;
    let syncs = |kind| matches!(kind, Kind::SyncData | Kind::SyncDir | Kind::Store);
    let hit = struck_by(rig, trouble, syncs);
    rig.sync_failed |= loses && hit;
}

/// Whether an operation of such a kind was struck.
fn struck_by(rig: &Rig, trouble: Trouble, such: impl Fn(Kind) -> bool) -> bool {
    rig.sim.trace().into_iter().any(|made| {
        let struck = match trouble.repeat {
            Repeat::Once => made.number == trouble.operation,
            Repeat::Forever => made.number >= trouble.operation,
        };
        struck && such(made.kind)
    })
}

/// Closes a log that is poisoned, and says whether it was.
fn leave_if_poisoned(rig: &Rig, error: &Error) -> bool {
    let poisoned = matches!(error, Error::Poisoned { .. }) && rig.log.lock().is_some();
    if poisoned {
        expect_latched(rig);
        rig.log.lock().take().unwrap().close().unwrap_err();
    }
    poisoned
}

fn expect_of_disk(error: &Error) {
    let by_disk = matches!(
        error,
        Error::Io { .. } | Error::NoSpace { .. } | Error::Poisoned { .. }
    );
    assert!(by_disk, "a failing disk is told as {error:?}");
}

/// Rule 2 for a poisoned log.
fn expect_latched(rig: &Rig) {
    let log = rig.log();
    let flushed = log.flushed_offset();
    for _ in 0..2 {
        let appended = log.append("more").unwrap_err();
        assert!(matches!(appended, Error::Poisoned { .. }), "{appended:?}");
        let synced = log.flush().unwrap_err();
        assert!(matches!(synced, Error::Poisoned { .. }), "{synced:?}");
        assert_eq!(log.flushed_offset(), flushed, "flushed after all");
    }
}

/// Rules 2 and 3, once the disk is well.
fn settle(rig: &mut Rig, after: After, stored: bool) {
    let mut is_open = rig.log.lock().is_some();
    if is_open {
        let steps = [FEW, Step::Flush, Step::Read, Step::Truncate(1), Step::Flush];
        for (number, step) in steps.into_iter().enumerate() {
            if let Err(error) = rig.step(step) {
                // The flusher met the failed sync, and had nobody to tell; or a store was lost, and
                // the next sync tells it.
                let told_late = number == 0 || stored;
                let left = leave_if_poisoned(rig, &error);
                assert!(told_late && left, "{step:?} on a healed disk: {error:?}");
                is_open = false;
                break;
            }
            rig.sync_failed &= number == 0;
        }
    }
    let (sync_failed, next) = (rig.sync_failed, rig.sim.process_crash());
    rig.abandon();
    rig.sim = next;
    rig.sync_failed = sync_failed;
    let after = if is_open { After::Kill } else { after };
    if let Err(error) = rig.open(after) {
        assert!(stored, "a healed disk does not open: {error:?}");
        rig.sync_failed = true;
        rig.open(after).unwrap();
    }
    for step in [FEW, Step::Flush, Step::Read] {
        rig.step(step).unwrap();
    }
    let crashed = rig.sim.clone();
    for choice in [Choice::None, Choice::All, Choice::Random(5)] {
        let _told = Whereabouts(|| format!("and after a power cut, {choice:?}"));
        rig.abandon();
        rig.sim = crashed.crash(choice);
        rig.open(After::Power).unwrap();
    }
    rig.step(Step::Reopen).unwrap();
    if let Err(breach) = super::kafka_rules::check_after_faults(&closed(rig)) {
        panic!("{breach}");
    }
}

/// The disk of a log that is closed now.
fn closed(rig: &Rig) -> Sim {
    let log = rig.log.lock().take().unwrap();
    log.close().unwrap();
    rig.sim.clone()
}

/// The troubles of one operation; those of a sync in all three models.
fn troubles(operation: u64, kind: Kind) -> Vec<Trouble> {
    let models: &[SyncFailure] = match kind {
        Kind::SyncData | Kind::SyncDir | Kind::Store => &[
            SyncFailure::LostKept,
            SyncFailure::LostReverted,
            SyncFailure::KeptDirty,
        ],
        _ => &[SyncFailure::LostKept],
    };
    let mut all = Vec::new();
    for failure in Failure::ALL {
        for repeat in [Repeat::Once, Repeat::Forever] {
            all.extend(models.iter().map(|model| Trouble {
                operation,
                failure,
                repeat,
                model: *model,
            }));
        }
    }
    all
}

/// Runs one in so many of all troubles, to the first broken promise.
pub(super) fn run_some(one_of: u64) {
    let mut counts = Counts::default();
    let mut rng = Rng(3);
    for case in cases() {
        for (operation, kind) in trace(&case) {
            for trouble in troubles(operation, kind) {
                if rng.one_in(one_of) {
                    run(&case, trouble, &mut counts);
                }
            }
        }
    }
}

#[test]
fn every_call_may_fail_and_nothing_acknowledged_is_lost() {
    let scale = Scale::asked();
    let mut counts = Counts::default();
    let mut rng = Rng(2);
    let mut broken = 0;
    for case in cases() {
        for (operation, kind) in trace(&case) {
            counts.calls.insert(kind);
            for trouble in troubles(operation, kind) {
                let first_of_kind = !counts.kinds.contains(&kind);
                if first_of_kind || rng.one_in(scale.of(8, 1, 1)) {
                    let met = catch_unwind(AssertUnwindSafe(|| run(&case, trouble, &mut counts)));
                    // A few are told, so that what they have in common shows.
                    if let Err(panic) = met {
                        broken += 1;
                        if broken == 10 {
                            resume_unwind(panic);
                        }
                    }
                }
            }
        }
    }
    println!("faults: {counts:?}");
    assert_eq!(broken, 0, "broken promises, told above");
    let wanted = scale.of(2_000, 20_000, 20_000);
    assert!(counts.injected >= wanted, "only {} faults", counts.injected);
    assert_eq!(counts.kinds, counts.calls, "a kind of call never failed");
    let never = Kind::ALL.iter().filter(|kind| !counts.calls.contains(kind));
    // What a log alone has no use for.
    let known = [Kind::RemoveDir, Kind::SetModified];
    assert_eq!(never.copied().collect::<Vec<_>>(), known);
}

/// Rule 4.
fn fill(mode: WriteMode, durability: Durability, room: u64) {
    let _told = Whereabouts(|| format!("{mode:?}, {durability:?}, {room} bytes of room"));
    let mut rig = Rig::new(Sim::new(), config(mode, durability), room);
    rig.open(After::Kill).unwrap();
    for step in [FEW, FEW, FEW, Step::Flush] {
        rig.step(step).unwrap();
    }
    rig.sim.set_capacity(Some(rig.sim.used() + room));
    let mut sizes = Rng(room);
    let full = loop {
        let bytes = u16::try_from(sizes.below(300)).unwrap();
        if let Err(error) = rig.step(append(2, bytes)) {
            break error;
        }
    };
    assert!(matches!(full, Error::NoSpace { .. }), "{full:?}");
    rig.step(Step::Read).unwrap();
    rig.step(Step::Flush).unwrap();
    rig.step(Step::Forget(5)).unwrap();
    rig.step(Step::Kill).unwrap();
    let refused = rig.step(append(8, 500)).unwrap_err();
    assert!(matches!(refused, Error::NoSpace { .. }), "{refused:?}");
    rig.sim.set_capacity(None);
    for step in [FEW, Step::Flush, Step::Read, Step::Reopen, FEW, Step::Read] {
        rig.step(step).unwrap();
    }
}

#[test]
fn a_full_disk_refuses_loses_nothing_and_goes_on_with_space() {
    let fills = Scale::asked().of(50, 500, 5_000);
    let mut done = 0;
    for round in 0.. {
        for mode in [WriteMode::Pwrite, WriteMode::Auto, WriteMode::Mapped] {
            for durability in [Durability::Os, Durability::Always] {
                fill(mode, durability, round * 61);
                done += 1;
            }
        }
        if done >= fills {
            break;
        }
    }
    println!("full disks: {done}, 0 lost, all went on");
}
