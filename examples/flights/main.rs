//! Real flights through a topic and back: one thread appends them, two members of a group read
//! them at the same time, and what a person wants to see is printed.
//!
//! ```text
//! cargo run --release --example flights                    the slice in examples/data
//! cargo run --release --example flights -- --input flights.csv.gz
//! cargo run --release --example flights -- --from-beginning
//! cargo run --release --example flights -- --at 2013-06-01
//! ```
//!
//! Run it twice: the second run finds every line appended and every event consumed.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a program for a terminal, with a clock of its own"
)]

mod board;
mod flight;
mod ingest;
mod options;
mod progress;
mod report;

use std::error::Error;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use ottla::{Broker, ConsumerGroup, Start, Topic, TopicConfig};

use board::Board;
use ingest::Ingested;
use options::{Begin, Options};
use progress::Progress;

const TOPIC: &str = "flights";
const GROUP: &str = "departure-board";
const PARTITIONS: u32 = 4;
const MEMBERS: [&str; 2] = ["first", "second"];

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{}", options::HELP);
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("{problem}\n\n{}", options::HELP);
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("flights: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let input = flight::read_input(&options.input)?;
    std::fs::create_dir_all(&options.data)?;
    let broker = Broker::open(&options.data)?;
    println!("{} -> {}", options.input.display(), options.data.display());

    let config = TopicConfig::default().partitions(PARTITIONS);
    let topic = broker.create_topic_if_absent(TOPIC, config)?;
    let group = broker.group(GROUP)?;
    match options.from {
        Begin::Committed => {}
        Begin::Beginning => group.reset(TOPIC, Start::Earliest)?,
        Begin::Time(at) => group.reset(TOPIC, Start::Time(at))?,
    }

    let lines = ingest::lines_to_append(&topic, &input)?;
    let before = left_to_consume(&topic, &group)?;
    let progress = Progress::new(before.saturating_add(lines.count()));
    let (ingested, boards) = fly(&topic, &group, &lines, &progress)?;
    progress.finish();

    report::print(&ingested, &boards, options);
    broker.close()?;
    Ok(())
}

/// Appends on this thread while the members consume on theirs, until both are done.
fn fly(
    topic: &Topic,
    group: &ConsumerGroup,
    lines: &ingest::Lines<'_>,
    progress: &Progress,
) -> ottla::Result<(Ingested, Vec<Board>)> {
    let all_in = AtomicBool::new(false);
    let over = || Ok(all_in.load(Ordering::Acquire) && left_to_consume(topic, group)? == 0);
    thread::scope(|scope| {
        let members: Vec<_> = MEMBERS
            .iter()
            .map(|name| scope.spawn(|| Board::watch(name, group, progress, over)))
            .collect();
        let ingested = ingest::append(topic, lines);
        // Also after an error: the members then stop when they have what is there.
        all_in.store(true, Ordering::Release);
        let boards = members
            .into_iter()
            .map(|member| match member.join() {
                Ok(board) => board,
                Err(panic) => std::panic::resume_unwind(panic),
            })
            .collect::<ottla::Result<Vec<_>>>()?;
        Ok((ingested?, boards))
    })
}

/// Events that are there and that the group has not committed.
fn left_to_consume(topic: &Topic, group: &ConsumerGroup) -> ottla::Result<u64> {
    let mut left = 0_u64;
    for partition in 0..topic.partition_count() {
        let log = topic.partition(partition)?;
        let next = group
            .committed(TOPIC, partition)?
            .unwrap_or_else(|| log.start_offset());
        left = left.saturating_add(log.high_watermark().saturating_sub(next));
    }
    Ok(left)
}
