//! `ottla`: Kafka's verbs on a directory.
//!
//! This file reads the command line, runs one verb and turns what came of it into an exit code.
//! It knows nothing about any verb. Invariant: whatever goes wrong is one sentence on standard
//! error and one code, and a reader that goes away (a closed pipe) is no failure.

mod args;
mod bytes;
mod failure;
mod interrupt;
mod kafka_flags;
mod names;
mod out;
mod place;
mod progress;
mod props;
mod table;
mod time;
mod verbs;

use std::process::ExitCode;

use clap::FromArgMatches as _;
use clap::error::ErrorKind;

use args::Cli;
use failure::Failure;

fn main() -> ExitCode {
    let words = match kafka_flags::sifted(names::spelled_out(std::env::args_os())) {
        Ok(words) => words,
        Err(failure) => return failure.report(),
    };
    let parsed = args::command().try_get_matches_from(words);
    let cli = match parsed.and_then(|found| Cli::from_arg_matches(&found)) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    match verbs::run(cli) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failure.report(),
    }
}

/// What clap says about the words: help goes to standard output and is a success; of anything else
/// one sentence is enough.
fn usage(error: &clap::Error) -> ExitCode {
    let shows_help = matches!(
        error.kind(),
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    if !shows_help {
        return Failure::usage(sentence_of(&error.render().to_string())).report();
    }
    if let Err(failed) = error.print() {
        return Failure::from(failed).report();
    }
    ExitCode::from(if error.use_stderr() {
        failure::USAGE
    } else {
        0
    })
}

/// The first paragraph of what clap has to say, and its tips, in one line.
fn sentence_of(text: &str) -> String {
    let text = text.strip_prefix("error: ").unwrap_or(text);
    let paragraphs: Vec<String> = text
        .split("\n\n")
        .map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    let mut sentence = paragraphs.first().cloned().unwrap_or_default();
    let tips = paragraphs
        .iter()
        .filter_map(|text| text.strip_prefix("tip: "));
    for tip in tips {
        sentence.push_str("; ");
        sentence.push_str(tip);
    }
    sentence.push_str(" (see --help)");
    sentence
}
