//! This test binary, started again as a process that is to be killed.
//!
//! Knows nothing about logs. The child says lines of a letter and a number on its standard error;
//! its parent kills it after so many, and a little later still: by as many turns of a loop as
//! chance says, so that the moment falls anywhere.

use std::env;
use std::hint::black_box;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What the child is told to do.
const TASK: &str = "OTTLA_KILL_TASK";
const DIR: &str = "OTTLA_KILL_DIR";

/// In a child, its directory and its task; in a test run, nothing.
pub(crate) fn task() -> Option<(PathBuf, String)> {
    Some((env::var_os(DIR)?.into(), env::var(TASK).ok()?))
}

/// Says that something was acknowledged: in one write, so that a line is whole or not there.
pub(crate) fn say(what: char, number: u64) {
    let line = format!("{what} {number}\n");
    std::io::stderr().lock().write_all(line.as_bytes()).unwrap();
}

/// A small generator, the same for ever (`SplitMix64`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }
}

/// Runs the child of the test of this name until it has said `lines` lines, and a little longer;
/// gives everything that it said.
pub(crate) fn run_and_kill(
    test: &str,
    dir: &Path,
    task: &str,
    lines: u64,
    rng: &mut Rng,
) -> Vec<(char, u64)> {
    run_and_end(test, dir, task, lines, rng, || ())
}

/// The same, and something else happens right before the child is killed.
pub(crate) fn run_and_end(
    test: &str,
    dir: &Path,
    task: &str,
    lines: u64,
    rng: &mut Rng,
    end: impl FnOnce(),
) -> Vec<(char, u64)> {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .env(TASK, task)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = Vec::new();
    let output = child.stderr.take().unwrap();
    let mut output = BufReader::new(output);
    let mut line = String::new();
    while u64::try_from(said.len()).unwrap() < lines {
        line.clear();
        let read = output.read_line(&mut line).unwrap();
        assert!(read > 0, "the child ended by itself: {:?}", child.wait());
        said.push(heard(&line).unwrap_or_else(|| panic!("the child says {line:?}")));
    }
    let turns = 1 << rng.below(20);
    for turn in 0..rng.below(turns) {
        black_box(turn);
    }
    end();
    // It may have ended by an error of the disk that went away.
    child.kill().unwrap();
    let ended = child.wait().unwrap();
    assert!(!ended.success(), "it ended by itself: {ended:?}");
    for rest in output.lines().map(Result::unwrap) {
        let Some(line) = heard(&rest) else {
            break;
        };
        said.push(line);
    }
    said
}

/// What a line says; `None` for one that the child did not mean to say.
fn heard(line: &str) -> Option<(char, u64)> {
    let (what, number) = line.trim_end().split_once(' ')?;
    let mut letters = what.chars();
    let letter = letters.next().filter(|_| letters.next().is_none())?;
    Some((letter, number.parse().ok()?))
}

/// The figure for what the environment asks for.
pub(crate) fn scale(plain: u64, ci: u64, soak: u64) -> u64 {
    match env::var("OTTLA_PROOF").as_deref() {
        Ok("ci") => ci,
        Ok("soak") => soak,
        _ => plain,
    }
}
