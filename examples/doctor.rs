//! Looks at a directory of a log or a broker and says what is wrong with it; puts it right when
//! asked to.
//!
//! ```text
//! cargo run --example doctor -- DIR            looks, changes nothing; fails where there is damage
//! cargo run --example doctor -- DIR --repair   sets damage aside, keeps every other record
//! cargo run --example doctor                   shows both on a directory that it damages itself
//! ```

#![expect(clippy::print_stdout, reason = "a program for a terminal")]

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use ottla::{Log, LogConfig};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let repairs = arguments.iter().any(|argument| argument == "--repair");
    match arguments
        .iter()
        .find(|argument| !argument.starts_with("--"))
    {
        Some(dir) => treat(Path::new(dir), repairs),
        None => show(),
    }
}

/// Looks at a directory, and repairs it where that is wanted.
fn treat(dir: &Path, repairs: bool) -> Result<ExitCode, Box<dyn Error>> {
    let sound = if repairs {
        let report = ottla::repair(dir)?;
        println!("{report}");
        report.is_sound()
    } else {
        let report = ottla::verify(dir)?;
        print!("{report}");
        report.is_sound()
    };
    println!("{}", if sound { "no damage" } else { "damaged" });
    Ok(if sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What a flipped bit in the middle of a log costs: the records of one batch.
fn show() -> Result<ExitCode, Box<dyn Error>> {
    let scratch = tempfile::tempdir()?;
    let dir = scratch.path().join("events");
    let log = Log::open(&dir, LogConfig::default())?;
    for number in 0..1_000 {
        log.append(&format!("event {number}"))?;
    }
    log.close()?;

    let segment = dir.join("00000000000000000000.log");
    let mut bytes = std::fs::read(&segment)?;
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 1;
    }
    std::fs::write(&segment, bytes)?;

    println!("-- a bit flipped in the middle of {}", segment.display());
    treat(&dir, false)?;
    println!("-- repaired");
    let outcome = treat(&dir, true)?;
    let log = Log::open(&dir, LogConfig::default())?;
    println!("-- {} of 1000 records are left", log.reader(0)?.count());
    Ok(outcome)
}
