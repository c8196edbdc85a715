//! Those who only look: read-only openers and `verify`, beside a writer that does not know of
//! them, in its process and in another one.

use std::collections::BTreeMap;
use std::env;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ottla::{Broker, Error, Log, Offset, ReadIsolation, Result, Start};

use crate::payload::{Pass, Said};
use crate::stage::{Actor, Stage};

/// In the other process, the directory that it looks at.
const DIR: &str = "OTTLA_STRESS_LOOK";

/// The number that the records of a log carry.
pub(crate) fn number_of(dir: &Path) -> u64 {
    let name = dir
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    let name = name.unwrap_or_default();
    name.bytes().fold(0, |sum: u64, byte| {
        sum.wrapping_mul(131).wrapping_add(byte.into())
    })
}

/// What a look may answer beside what it looks for: that the log has moved on.
pub(crate) fn moved_on(error: &Error) -> bool {
    matches!(
        error,
        Error::OffsetOutOfRange { .. } | Error::Truncated { .. }
    )
}

/// Reads a log from one end to the other, and at single places.
pub(crate) fn read_all(actor: &mut Actor<'_>, log: &Log, number: u64, what: &'static str) {
    actor.does(what);
    let isolation = if actor.dice.once_in(2) {
        ReadIsolation::ReadCommitted
    } else {
        ReadIsolation::ReadUncommitted
    };
    let outcome = log
        .reader_with(Start::Earliest, isolation)
        .and_then(|reader| {
            let mut pass = Pass::over(number);
            for record in reader {
                actor.check(pass.take(&record?));
            }
            Ok(())
        });
    tolerate(actor, outcome);
    let (start, end) = (log.start_offset(), log.end_offset());
    let at = start + actor.dice.below(end.saturating_sub(start));
    let outcome = look_up(actor, log, at);
    tolerate(actor, outcome);
}

/// Looks at one offset, and for its time.
pub(crate) fn look_up(actor: &mut Actor<'_>, log: &Log, at: Offset) -> Result<()> {
    actor.does("look up");
    if let Some(record) = log.read(at)? {
        actor.check(Said::of(&record));
        if record.offset != at {
            actor.fail(format!("{} was read at {at}", record.offset));
        }
        log.offset_for_time(record.timestamp)?;
    }
    Ok(())
}

fn tolerate(actor: &Actor<'_>, outcome: Result<()>) {
    if let Err(error) = outcome
        && !moved_on(&error)
    {
        actor.fail(format!("{error:?}"));
    }
}

/// Looks at a log until the run is over: through handles that are new, and through one that gets
/// old meanwhile.
pub(crate) fn look_at_log(actor: &mut Actor<'_>, dir: &Path) {
    let number = number_of(dir);
    let mut kept: Option<Log> = None;
    while !actor.stage.is_over() {
        actor.does("open a log read-only");
        let opened = Log::open_read_only(dir);
        let Some(log) = actor.check(opened) else {
            return;
        };
        read_all(actor, &log, number, "read a log read-only");
        if let Some(old) = &kept {
            read_all(actor, old, number, "read an old read-only log");
        }
        if kept.is_none() || actor.dice.once_in(8) {
            kept = Some(log);
        }
        actor.rest(Duration::from_millis(3));
    }
}

/// Follows a log until the run is over: waits for what is appended, by one writer after the other.
pub(crate) fn follow_log(actor: &mut Actor<'_>, dir: &Path) {
    let number = number_of(dir);
    actor.does("open a log to follow it");
    let Some(log) = actor.check(Log::open_read_only(dir)) else {
        return;
    };
    let mut from = Start::Latest;
    while !actor.stage.is_over() {
        match follow_from(actor, &log, number, from) {
            Ok(()) => return,
            Err(error) if moved_on(&error) => from = Start::Earliest,
            Err(error) => return actor.fail(format!("{error:?}")),
        }
    }
}

fn follow_from(actor: &mut Actor<'_>, log: &Log, number: u64, from: Start) -> Result<()> {
    let mut reader = log.reader(from)?;
    let mut pass = Pass::over(number);
    while !actor.stage.is_over() {
        actor.does("wait for a record of another process");
        if reader.wait(Duration::from_millis(200))? {
            for record in reader.by_ref() {
                actor.check(pass.take(&record?));
            }
        }
    }
    Ok(())
}

/// Looks at a broker's directory until the run is over.
pub(crate) fn look_at_root(actor: &mut Actor<'_>, dir: &Path) {
    let mut kept: Option<Broker> = None;
    while !actor.stage.is_over() {
        actor.does("open a broker read-only");
        let opened = Broker::open_read_only(dir);
        let Some(broker) = actor.check(opened) else {
            return;
        };
        read_topics(actor, &broker);
        if let Some(old) = &kept {
            read_topics(actor, old);
        }
        if kept.is_none() || actor.dice.once_in(8) {
            kept = Some(broker);
        }
        actor.rest(Duration::from_millis(3));
    }
}

fn read_topics(actor: &mut Actor<'_>, broker: &Broker) {
    for name in broker.topic_names() {
        let Ok(topic) = broker.topic(&name) else {
            continue;
        };
        for partition in 0..topic.partition_count() {
            if actor.stage.is_over() {
                return;
            }
            actor.does("open a partition read-only");
            match topic.partition(partition) {
                Ok(log) => read_partition(actor, &log, &name),
                // It was deleted after the directory was looked at.
                Err(Error::UnknownTopic { .. }) => {}
                Err(error) => actor.fail(format!("{name}: {error:?}")),
            }
        }
    }
    actor.does("list groups read-only");
    match broker.groups() {
        Ok(_) => {}
        Err(error) => actor.fail(format!("{error:?}")),
    }
}

fn read_partition(actor: &mut Actor<'_>, log: &Log, topic: &str) {
    let number = number_of(Path::new(topic));
    actor.does("read a partition read-only");
    let read = log.reader(Start::Earliest).and_then(|reader| {
        let mut pass = Pass::over(number);
        for record in reader {
            actor.check(pass.take(&record?));
        }
        Ok(())
    });
    match read {
        // The topic was deleted.
        Ok(()) | Err(Error::Closed | Error::UnknownTopic { .. }) => {}
        Err(error) if moved_on(&error) => {}
        Err(error) => actor.fail(format!("{topic}: {error:?}")),
    }
}

/// Has a directory verified until the run is over.
pub(crate) fn verify(actor: &mut Actor<'_>, dir: &Path) {
    let mut live = BTreeMap::new();
    while !actor.stage.is_over() {
        actor.does("verify");
        match ottla::verify(dir) {
            Ok(report) if report.is_sound() => *live.entry(report.logs.len()).or_insert(0_u64) += 1,
            Ok(report) => {
                let damage: Vec<_> = report.damage().map(ToString::to_string).collect();
                actor.fail(damage.join("; "));
            }
            Err(error) => actor.fail(format!("{error:?}")),
        }
        actor.rest(Duration::from_millis(5));
    }
}

/// Waits until a directory can be looked at.
pub(crate) fn await_dir(actor: &mut Actor<'_>, file: &Path) {
    while !file.exists() && !actor.stage.is_over() {
        actor.does("await a directory");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Starts another process that looks, and hears what it has to say at the end.
pub(crate) fn run(actor: &mut Actor<'_>, dir: &Path) {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "looks_from_another_process", "--nocapture"])
        .env(DIR, dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let hold = child.stdin.take();
    while !actor.stage.is_over() && child.try_wait().unwrap().is_none() {
        actor.does("await another process");
        thread::sleep(Duration::from_millis(20));
    }
    // The end of its input tells it to come to its end.
    drop(hold);
    actor.does("await the end of another process");
    let ended = child.wait_with_output().unwrap();
    if !ended.status.success() {
        let said = String::from_utf8_lossy(&ended.stdout).into_owned();
        let errors = String::from_utf8_lossy(&ended.stderr);
        actor.fail(format!("another process: {said}{errors}"));
    }
}

/// The other process; in a test run of its own, nothing.
pub(crate) fn child() {
    let Some(dir) = env::var_os(DIR).map(PathBuf::from) else {
        return;
    };
    let stage = Arc::new(Stage::new(0, Duration::MAX));
    let listener = Arc::clone(&stage);
    // Not waited for: after a failure nobody ends its input.
    thread::spawn(move || {
        let mut nothing = [0];
        while std::io::stdin()
            .read(&mut nothing)
            .is_ok_and(|read| read > 0)
        {}
        listener.end();
    });
    stage.watched(|acts| {
        if dir.ends_with("root") {
            let (root, file) = (&dir, dir.join("ottla.catalog"));
            let again = file.clone();
            acts.start("reader of a root", move |actor| {
                await_dir(actor, &file);
                look_at_root(actor, root);
            });
            acts.start("verifier of a root", move |actor| {
                await_dir(actor, &again);
                verify(actor, root);
            });
        } else {
            for name in ["plain", "compacted"] {
                let dir = dir.join(name);
                let followed = dir.clone();
                acts.start(&format!("reader of {name}"), move |actor| {
                    await_dir(actor, &dir.join("ottla.marks"));
                    look_at_log(actor, &dir);
                });
                acts.start(&format!("follower of {name}"), move |actor| {
                    await_dir(actor, &followed.join("ottla.marks"));
                    follow_log(actor, &followed);
                });
            }
        }
    });
    stage.report();
}
