//! The command line as clap reads it: what all verbs share, and the list of verbs.
//!
//! Knows nothing about what a verb does. The flags of a verb stand with the verb.

use std::path::PathBuf;

use clap::{Args, Command, CommandFactory as _, Parser, Subcommand, ValueEnum};

use crate::verbs;

const AFTER_HELP: &str = "\
Kafka's scripts are other names of the verbs: `ottla kafka-topics.sh --list` is `ottla topics
--list`. Verbs that only read work beside a program that has the directory open.

Exit codes:
    0  done (also when the reader of the output went away)
    1  it could not be done: no such topic, no permission, ...
    2  the command line makes no sense
    3  another process has the directory open for writing
    4  bytes on the disk are damaged
    5  the disk is full
  130  ended by Ctrl-C before it was done";

/// Kafka's verbs on a directory: no server, the directory is the cluster.
#[derive(Debug, Parser)]
#[command(name = "ottla", version, after_help = AFTER_HELP)]
#[command(
    disable_help_subcommand = true,
    propagate_version = true,
    args_override_self = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// The command line. A value that begins with a hyphen and a digit is a number, so that it can be
/// said what is wrong with it.
pub(crate) fn command() -> Command {
    with_negative_numbers(Cli::command())
}

fn with_negative_numbers(command: Command) -> Command {
    let command = command.mut_args(|arg| {
        let takes_value = arg.get_action().takes_values();
        if takes_value {
            arg.allow_negative_numbers(true)
        } else {
            arg
        }
    });
    command.mut_subcommands(with_negative_numbers)
}

/// What every verb takes.
#[derive(Args, Clone, Debug)]
pub(crate) struct Globals {
    /// The directory that holds the topics
    #[arg(
        long,
        global = true,
        env = "OTTLA_DIR",
        value_name = "DIR",
        display_order = 900
    )]
    pub(crate) dir: Option<PathBuf>,

    /// Print JSON
    #[arg(long, global = true, display_order = 901)]
    pub(crate) json: bool,

    /// Colours and bold print: on a terminal, always, or never
    #[arg(
        long,
        global = true,
        value_enum,
        default_value = "auto",
        display_order = 902
    )]
    #[arg(value_name = "WHEN", hide_possible_values = true)]
    pub(crate) color: Color,
}

/// When output is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Make, list, describe, alter and delete topics
    Topics(verbs::topics::Topics),
    /// Append lines to a topic: the console producer
    Produce(verbs::produce::Produce),
    /// Print the records of a topic: the console consumer
    Consume(verbs::consume::Consume),
    /// Look at consumer groups, move them, delete them
    Groups(verbs::groups::Groups),
    /// Print the first, last or a time's offset of every partition
    GetOffsets(verbs::get_offsets::GetOffsets),
    /// Show and change the settings of topics
    Configs(verbs::configs::Configs),
    /// Delete the oldest records of partitions
    DeleteRecords(verbs::delete_records::DeleteRecords),
    /// Show what every partition takes on the disk
    LogDirs(verbs::log_dirs::LogDirs),
    /// Print the files of a directory in words
    Dump(verbs::dump::Dump),
    /// Read everything and say what is damaged; changes nothing
    Verify(verbs::keep::Verify),
    /// Set damage aside, and keep every other record
    Repair(verbs::keep::Repair),
    /// Copy everything into another directory, also beside a program that has it open
    Backup(verbs::backup::Backup),
    /// Keep the newest record of every key, now
    Compact(verbs::keep::Compact),
    /// Delete what the settings for retention say, now
    Retain(verbs::keep::Retain),
    /// Watch rates, sizes and lag
    Stats(verbs::stats::Stats),
    /// Draw records or bytes over time, as an SVG
    Plot(verbs::plot::Plot),
    /// Measure how fast it is here
    Perf(verbs::perf::Perf),
    /// Print how a Kafka broker is started on the directory
    ToKafka(verbs::kafka::ToKafka),
    /// Say what opening a Kafka broker's directory will find; changes nothing
    FromKafka(verbs::kafka::FromKafka),
    /// Print the completions of a shell
    Completions(verbs::complete::Completions),
    /// Print the manual page, or write those of all verbs into a directory
    Man(verbs::complete::Man),
}
