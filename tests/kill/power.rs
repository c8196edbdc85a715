//! A log on a real file system whose power is cut: `tests/real_disks.sh` makes the file systems and
//! says how to cut and to come back.
//!
//! Knows nothing about how that is done. Besides what is owed after a kill: what was flushed, or
//! acknowledged under `Durability::Always`, is there after the cut.

use std::env;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use ottla::{Durability, Log, LogConfig, Start, WriteMode};

use crate::child::{Rng, run_and_end, say, scale, task};
use crate::said::{Reading, Said};

/// Where the file system is mounted; without it the test is not run.
const DISK: &str = "OTTLA_DISK";

/// The command that cuts its power.
const CUT: &str = "OTTLA_DISK_CUT";

/// The command that mounts it again.
const BACK: &str = "OTTLA_DISK_BACK";

/// How many batches are flushed at once where nothing else flushes.
const FLUSHED_TOGETHER: u64 = 5;

fn config(number: u64) -> LogConfig {
    let mode = [WriteMode::Pwrite, WriteMode::Mapped];
    let durability = [Durability::Always, Durability::Os];
    LogConfig::default()
        .segment_bytes(1 << 20)
        .write_mode(mode[usize::try_from(number % 2).unwrap()])
        .durability(durability[usize::try_from(number / 2 % 2).unwrap()])
}

/// What a child does.
fn append_until_the_power_goes(dir: &Path, task: &str) {
    let number: u64 = task.parse().unwrap();
    let log = Log::open(dir, config(number)).unwrap();
    let mut rng = Rng(number ^ log.end_offset());
    for round in 1.. {
        let batch = log.end_offset();
        let of = 1 + rng.below(8);
        let bytes = 1 << rng.below(16);
        let values: Vec<_> = (batch..batch + of)
            .map(|offset| Said { offset, batch, of }.encode(bytes))
            .collect();
        let appended = log.append_batch(&values).unwrap();
        if log.config().durability == Durability::Always {
            say('a', appended.end);
        } else if round % FLUSHED_TOGETHER == 0 {
            say('a', log.flush().unwrap());
        }
    }
}

fn run(command: &str) {
    let command = env::var(command).unwrap();
    let ended = Command::new("sh").args(["-c", &command]).status().unwrap();
    assert!(ended.success(), "{command}: {ended}");
}

#[test]
fn what_was_durable_survives_a_power_cut() {
    if let Some((dir, task)) = task() {
        return append_until_the_power_goes(&dir, &task);
    }
    let Ok(disk) = env::var(DISK) else {
        let mut errors = std::io::stderr().lock();
        writeln!(errors, "power cuts: SKIPPED: run tests/real_disks.sh").unwrap();
        return;
    };
    let cuts = scale(20, 100, 5_000);
    let (mut torn, mut records) = (0, 0);
    for number in 0..cuts.div_ceil(5) {
        let dir = PathBuf::from(&disk).join(format!("log-{number}"));
        let mut rng = Rng(number);
        for round in 0..5 {
            let name = "power::what_was_durable_survives_a_power_cut";
            let lines = rng.below(30);
            let cut = || run(CUT);
            let said = run_and_end(name, &dir, &number.to_string(), lines, &mut rng, cut);
            run(BACK);
            // The kernel confirms a sync that races with its shutdown call, and forgets it (seen
            // with nothing but write and fdatasync): what was confirmed last is not counted.
            let durable = said.iter().nth_back(1).map_or(0, |(_, end)| *end);
            let log = Log::open(&dir, config(number)).unwrap();
            let told = || format!("log {number}, cut {round}: {:?}", log.open_report());
            assert!(log.end_offset() >= durable, "{durable} lost: {}", told());
            let mut reading = Reading::default();
            for record in log.reader(Start::Earliest).unwrap() {
                let record = record.unwrap();
                reading.take(record.offset, record.value().unwrap());
            }
            assert_eq!(reading.end(), log.end_offset(), "{}", told());
            records += log.end_offset();
            torn += u64::from(log.open_report().quarantined_bytes > 0);
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }
    println!("power cuts: {cuts} on {disk}, {torn} left a torn tail, {records} records checked");
}
