//! One log through many lives: opened, used by many threads, closed under them, and opened again.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ottla::{
    CleanupPolicy, Compression, Durability, Error, Log, LogConfig, Offset, Result, Start, WriteMode,
};

use crate::dice::Dice;
use crate::outside;
use crate::payload::{KEYS, Pass, Said, record};
use crate::stage::Actor;

/// What is done to the old records of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// They are truncated and deleted.
    Plain,
    /// They are compacted, and sometimes deleted.
    Compacted,
}

/// What must be in the log.
#[derive(Debug, Default)]
struct Ledger {
    /// Odd while the log is truncated.
    truncations: u64,
    acknowledged: BTreeMap<Offset, Said>,
}

/// One life of a log.
struct Scene<'a> {
    log: Log,
    number: u64,
    kind: Kind,
    durability: Durability,
    ledger: &'a Mutex<Ledger>,
    closing: AtomicBool,
    life: u64,
}

/// Whether a thread of a scene goes on.
type Goes = std::ops::ControlFlow<()>;

fn config(dice: &mut Dice, kind: Kind) -> LogConfig {
    let durability = match dice.below(3) {
        0 => Durability::Os,
        1 => Durability::Interval(Duration::from_millis(1 + dice.below(20))),
        _ => Durability::Always,
    };
    let mode = match dice.below(3) {
        0 => WriteMode::Auto,
        1 => WriteMode::Mapped,
        _ => WriteMode::Pwrite,
    };
    let config = LogConfig::default()
        .durability(durability)
        .write_mode(mode)
        .segment_bytes(1 << (10 + dice.below(6)))
        .index_interval_bytes(1 << (6 + dice.below(6)))
        .retention_bytes(Some(100 << 10));
    match kind {
        Kind::Plain if dice.once_in(4) => config.compression_type(Compression::Lz4),
        Kind::Plain => config,
        Kind::Compacted if dice.once_in(3) => {
            config.cleanup_policy(CleanupPolicy::CompactAndDelete)
        }
        Kind::Compacted => config.cleanup_policy(CleanupPolicy::Compact),
    }
}

/// Lives of one log until the run is over, and those who look at it meanwhile.
pub(crate) fn run(actor: &mut Actor<'_>, dir: &Path, kind: Kind) {
    let ledger = Mutex::new(Ledger::default());
    let stage = actor.stage;
    stage.threads(|acts| {
        let ready = dir.join("ottla.marks");
        let again = ready.clone();
        acts.start("read-only opener", move |actor| {
            outside::await_dir(actor, &ready);
            outside::look_at_log(actor, dir);
        });
        acts.start("verifier", move |actor| {
            outside::await_dir(actor, &again);
            outside::verify(actor, dir);
        });
        let mut life = 0;
        while !stage.is_over() {
            live(actor, dir, kind, &ledger, life);
            life += 1;
        }
    });
}

fn live(actor: &mut Actor<'_>, dir: &Path, kind: Kind, ledger: &Mutex<Ledger>, life: u64) {
    let config = config(&mut actor.dice, kind);
    let durability = config.durability;
    actor.does("open a log");
    let Some(log) = actor.check(Log::open(dir, config)) else {
        return;
    };
    let report = log.open_report();
    if life > 0 && !(report.clean && report.events.is_empty()) {
        actor.fail(format!("life {life} does not begin clean: {report:?}"));
    }
    let scene = Scene {
        log,
        number: outside::number_of(dir),
        kind,
        durability,
        ledger,
        closing: AtomicBool::new(false),
        life,
    };
    check_ledger(actor, &scene);
    actor.stage.threads(|acts| {
        let scene = &scene;
        for number in 0..2 {
            acts.start("appender", move |actor| append(actor, scene, number));
        }
        acts.start("reader", |actor| repeat(actor, scene, read));
        acts.start("follower", |actor| follow(actor, scene));
        acts.start("peeker", |actor| repeat(actor, scene, peek));
        acts.start("housekeeper", |actor| repeat(actor, scene, keep_house));
        for _ in 0..20 + actor.dice.below(40) {
            if actor.stage.is_over() {
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
        // Half of the time the others do not know that it comes.
        if actor.dice.once_in(2) {
            scene.closing.store(true, Ordering::Release);
        }
        actor.does("close a log");
        let closed = scene.log.close();
        scene.closing.store(true, Ordering::Release);
        actor.check(closed);
    });
}

/// Everything that was acknowledged, and not taken back, is there.
fn check_ledger(actor: &mut Actor<'_>, scene: &Scene<'_>) {
    actor.does("check what was acknowledged");
    let (log, start) = (&scene.log, scene.log.start_offset());
    let mut ledger = scene.ledger.lock().unwrap();
    ledger.acknowledged = ledger.acknowledged.split_off(&start);
    let mut found = BTreeMap::new();
    let Some(reader) = actor.check(log.reader(Start::Earliest)) else {
        return;
    };
    let mut pass = Pass::over(scene.number);
    for record in reader {
        let Some(record) = actor.check(record) else {
            return;
        };
        if let Some(said) = actor.check(pass.take(&record)) {
            found.insert(record.offset, said);
        }
    }
    let mut newest = BTreeMap::new();
    for (offset, said) in &found {
        newest.insert(said.sequence % KEYS, *offset);
    }
    for (offset, said) in &ledger.acknowledged {
        let there = found.get(offset);
        let superseded = scene.kind == Kind::Compacted
            && there.is_none()
            && newest.get(&(said.sequence % KEYS)) > Some(offset);
        if there != Some(said) && !superseded {
            let end = log.end_offset();
            actor.fail(format!(
                "{said:?} was acknowledged at {offset}, and {there:?} is there, in {start}..{end}"
            ));
            return;
        }
    }
}

/// What an answer means for the thread that got it.
fn judge<T>(actor: &Actor<'_>, outcome: Result<T>, moved: bool) -> Goes {
    match outcome {
        Ok(_) => Goes::Continue(()),
        Err(Error::Closed) => Goes::Break(()),
        Err(error) if moved && outside::moved_on(&error) => Goes::Continue(()),
        Err(error) => {
            actor.fail(format!("{error:?}"));
            Goes::Break(())
        }
    }
}

fn goes_on(actor: &Actor<'_>, scene: &Scene<'_>) -> bool {
    !actor.stage.is_over() && !scene.closing.load(Ordering::Acquire)
}

fn repeat<'a>(
    actor: &mut Actor<'a>,
    scene: &Scene<'_>,
    act: impl Fn(&mut Actor<'a>, &Scene<'_>) -> Goes,
) {
    while goes_on(actor, scene) {
        if act(actor, scene).is_break() {
            return;
        }
    }
}

fn append(actor: &mut Actor<'_>, scene: &Scene<'_>, number: u64) {
    let writer = scene.life * 2 + number;
    let mut sequence = 0;
    while goes_on(actor, scene) {
        let count = if actor.dice.once_in(4) {
            1 + actor.dice.below(8)
        } else {
            1
        };
        let said: Vec<_> = (0..count)
            .map(|at| Said {
                log: scene.number,
                writer,
                sequence: sequence + at,
            })
            .collect();
        sequence += count;
        let truncations = scene.ledger.lock().unwrap().truncations;
        let appended = append_once(actor, scene, &said);
        if let Ok(first) = &appended {
            let flushed = scene.log.flushed_offset();
            let mut ledger = scene.ledger.lock().unwrap();
            if ledger.truncations == truncations && truncations.is_multiple_of(2) {
                let end = first + count;
                if scene.durability == Durability::Always && flushed < end {
                    actor.fail(format!("{end} was acknowledged and {flushed} is flushed"));
                }
                ledger.acknowledged.extend((*first..).zip(said));
            }
        }
        if judge(actor, appended, false).is_break() {
            return;
        }
        if actor.dice.once_in(16) {
            actor.rest(Duration::from_millis(2));
        }
    }
}

fn append_once(actor: &mut Actor<'_>, scene: &Scene<'_>, said: &[Said]) -> Result<Offset> {
    let keyed = scene.kind == Kind::Compacted;
    let values: Vec<_> = said
        .iter()
        .map(|said| (keyed.then(|| said.key()), said.value()))
        .collect();
    if let [(key, value)] = &values[..] {
        actor.does("append");
        return scene.log.append(record(key.as_ref(), value));
    }
    actor.does("append a batch");
    let records = values
        .iter()
        .map(|(key, value)| record(key.as_ref(), value));
    scene.log.append_batch(records).map(|offsets| offsets.start)
}

/// One pass from the beginning to the end.
fn read(actor: &mut Actor<'_>, scene: &Scene<'_>) -> Goes {
    actor.does("read");
    let mut pass = Pass::over(scene.number);
    let read = scene.log.reader(Start::Earliest).and_then(|reader| {
        for record in reader {
            actor.check(pass.take(&record?));
        }
        Ok(())
    });
    actor.rest(Duration::from_millis(1));
    judge(actor, read, true)
}

/// Reads on and on, batch by batch, and waits at the end.
fn follow(actor: &mut Actor<'_>, scene: &Scene<'_>) {
    while goes_on(actor, scene) {
        actor.does("begin to follow");
        let mut reader = match scene.log.reader(Start::Latest) {
            Ok(reader) => reader,
            Err(error) => {
                if judge::<()>(actor, Err(error), true).is_break() {
                    return;
                }
                continue;
            }
        };
        let mut pass = Pass::over(scene.number);
        let outcome = loop {
            if !goes_on(actor, scene) {
                return;
            }
            actor.does("follow");
            let next = match reader.wait(Duration::from_millis(20)) {
                Ok(true) => reader.next(),
                Ok(false) => None,
                Err(error) => break Err(error),
            };
            match next {
                Some(Ok(record)) => drop(actor.check(pass.take(&record))),
                Some(Err(error)) => break Err(error),
                None => {}
            }
        };
        if judge::<()>(actor, outcome, true).is_break() {
            return;
        }
    }
}

/// Looks at single places.
fn peek(actor: &mut Actor<'_>, scene: &Scene<'_>) -> Goes {
    let log = &scene.log;
    let (start, end) = (log.start_offset(), log.high_watermark());
    let back = if actor.dice.once_in(2) {
        end.saturating_sub(start)
    } else {
        end.saturating_sub(start).min(20)
    };
    let at = end.saturating_sub(actor.dice.below(back + 1)).max(start);
    let looked = outside::look_up(actor, log, at);
    if actor.dice.once_in(8) {
        actor.does("list segments");
        let segments = log.segments();
        let rises = segments
            .windows(2)
            .all(|pair| pair[0].base_offset < pair[1].base_offset);
        if segments.is_empty() || !rises {
            actor.fail(format!("{segments:?}"));
        }
    }
    judge(actor, looked, true)
}

/// Flushes, forgets, truncates and compacts.
fn keep_house(actor: &mut Actor<'_>, scene: &Scene<'_>) -> Goes {
    let log = &scene.log;
    actor.rest(Duration::from_millis(15));
    let outcome = match (actor.dice.below(8), scene.kind) {
        (0, _) => {
            actor.does("flush");
            log.flush().map(drop)
        }
        (1, _) => {
            actor.does("apply retention");
            log.apply_retention().map(drop)
        }
        (2, _) if actor.dice.once_in(4) => {
            actor.does("truncate the front");
            let (start, end) = (log.start_offset(), log.high_watermark());
            log.truncate_prefix(start + actor.dice.below(end.saturating_sub(start)) / 2)
        }
        (_, Kind::Plain) => return truncate(actor, scene),
        (_, Kind::Compacted) => {
            actor.does("compact");
            log.compact().map(drop)
        }
    };
    judge(actor, outcome, true)
}

fn truncate(actor: &mut Actor<'_>, scene: &Scene<'_>) -> Goes {
    let log = &scene.log;
    let back = if actor.dice.once_in(6) { 200 } else { 12 };
    let back = actor.dice.below(back);
    let new_end = log.end_offset().saturating_sub(back);
    actor.does("truncate");
    scene.ledger.lock().unwrap().truncations += 1;
    let truncated = log.truncate(new_end);
    let mut ledger = scene.ledger.lock().unwrap();
    ledger.truncations += 1;
    // Also where it failed: then nobody knows.
    drop(ledger.acknowledged.split_off(&new_end));
    drop(ledger);
    judge(actor, truncated, true)
}
