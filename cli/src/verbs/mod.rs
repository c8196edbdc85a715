//! The verbs, one file or directory each: its flags, and what it does.
//!
//! This file sends a command line to its verb. Invariant: a verb prints through
//! [`Out`](crate::out::Out) alone, so that a closed pipe ends every one of them in the same way.

pub(crate) mod backup;
pub(crate) mod complete;
pub(crate) mod configs;
pub(crate) mod consume;
pub(crate) mod delete_records;
pub(crate) mod dump;
pub(crate) mod get_offsets;
pub(crate) mod groups;
pub(crate) mod kafka;
pub(crate) mod keep;
pub(crate) mod log_dirs;
pub(crate) mod perf;
pub(crate) mod plot;
pub(crate) mod produce;
pub(crate) mod select;
pub(crate) mod stats;
pub(crate) mod topics;

use crate::args::{Cli, Verb};
use crate::failure::Result;
use crate::out::Out;
use crate::place::Place;

/// Runs the verb; the code is the process's.
pub(crate) fn run(cli: Cli) -> Result<u8> {
    let mut out = Out::new(&cli.globals);
    let place = Place::of(&cli.globals);
    let code = match cli.verb {
        Verb::Completions(verb) => verb.run(&mut out),
        Verb::Man(verb) => verb.run(&mut out),
        Verb::Topics(verb) => verb.run(&place?, &mut out),
        Verb::Produce(verb) => verb.run(&place?, &mut out),
        Verb::Consume(verb) => verb.run(&place?, &mut out),
        Verb::Groups(verb) => verb.run(&place?, &mut out),
        Verb::GetOffsets(verb) => verb.run(&place?, &mut out),
        Verb::Configs(verb) => verb.run(&place?, &mut out),
        Verb::DeleteRecords(verb) => verb.run(&place?, &mut out),
        Verb::LogDirs(verb) => verb.run(&place?, &mut out),
        Verb::Dump(verb) => verb.run(place, &mut out),
        Verb::Verify(verb) => verb.run(&place?, &mut out),
        Verb::Repair(verb) => verb.run(&place?, &mut out),
        Verb::Backup(verb) => verb.run(&place?, &mut out),
        Verb::Compact(verb) => verb.run(&place?, &mut out),
        Verb::Retain(verb) => verb.run(&place?, &mut out),
        Verb::Stats(verb) => verb.run(&place?, &mut out),
        Verb::Plot(verb) => verb.run(&place?, &mut out),
        Verb::Perf(verb) => verb.run(&place?, &mut out),
        Verb::ToKafka(verb) => verb.run(&place?, &mut out),
        Verb::FromKafka(verb) => verb.run(place, &mut out),
    }?;
    out.flush()?;
    Ok(code)
}
