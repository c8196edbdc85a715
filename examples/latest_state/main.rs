//! The last known flight of every aircraft: a compacted topic as a key-value table that is built
//! again at every start.
//!
//! ```text
//! cargo run --release --example latest_state                     the slice in examples/data
//! cargo run --release --example latest_state -- --input flights.csv.gz
//! cargo run --release --example latest_state -- --key N14228     one row
//! ```
//!
//! Run it twice: the second run finds the table as the first one left it.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a program for a terminal, with a clock of its own"
)]

mod table;

use std::error::Error;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use flate2::read::MultiGzDecoder;
use ottla::{Broker, CleanupPolicy, Header, Log, LogRecord, TopicConfig};

use table::Table;

const TOPIC: &str = "last-flight";
/// The header with the line number, from 1, the line of column names not counted.
const LINE: &str = "line";
const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const HELP: &str = "\
latest_state: the last known flight of every aircraft

  --input FILE   a CSV of flights, plain or .gz (default: the slice in examples/data)
  --data DIR     where the topic is kept (default: target/latest_state/<name of the input>)
  --key TAIL     print the row of one aircraft
  --help         this text";

/// What was asked for.
#[derive(Debug, Default)]
struct Options {
    input: Option<PathBuf>,
    data: Option<PathBuf>,
    key: Option<String>,
}

fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("{problem}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("latest_state: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// The options; `None` when help was asked for.
fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
    let mut options = Options::default();
    while let Some(argument) = arguments.next() {
        let mut value = || {
            let value = arguments.next();
            value.ok_or_else(|| format!("{argument} needs a value"))
        };
        match argument.as_str() {
            "--input" => options.input = Some(PathBuf::from(value()?)),
            "--data" => options.data = Some(PathBuf::from(value()?)),
            "--key" => options.key = Some(value()?),
            "--help" | "-h" => return Ok(None),
            _ => return Err(format!("{argument} is not an option")),
        }
    }
    Ok(Some(options))
}

fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let slice = Path::new(ROOT).join("examples/data/flights.csv.gz");
    let input = options.input.unwrap_or(slice);
    let own = || directory_for(&input);
    let data = options.data.unwrap_or_else(own);
    std::fs::create_dir_all(&data)?;
    println!("{} -> {}", input.display(), data.display());
    let broker = Broker::open(&data)?;
    let config = TopicConfig::default()
        .cleanup_policy(CleanupPolicy::Compact)
        .segment_bytes(8 << 20);
    let topic = broker.create_topic_if_absent(TOPIC, config)?;

    let log = topic.partition(0)?;
    let mut table = build(log.clone())?;
    let began = Instant::now();
    let appended = fill(&mut table, &text_of(&input)?)?;
    println!("{appended} changes in {:.0?}", began.elapsed());

    let (before, began) = (bytes(&log), Instant::now());
    let report = log.compact()?;
    println!(
        "compacted in {:.0?}: {} records dropped, {before} bytes before and {} after",
        began.elapsed(),
        report.records_dropped,
        bytes(&log)
    );
    let again = build(log)?;
    if table.rows().map(row).ne(again.rows().map(row)) {
        return Err("the rebuilt table is another one".into());
    }
    print(&again, options.key.as_deref());
    broker.close()?;
    Ok(())
}

/// A directory per input, so that one input never goes on where another left off.
fn directory_for(input: &Path) -> PathBuf {
    let name = input.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.split('.').next().unwrap_or_default();
    Path::new(ROOT).join("target/latest_state").join(stem)
}

fn build(log: Log) -> ottla::Result<Table> {
    let began = Instant::now();
    let records = log.end_offset();
    let table = Table::open(log)?;
    println!(
        "{} keys of {records} records, built in {:.0?}",
        table.len(),
        began.elapsed()
    );
    Ok(table)
}

/// Puts in every line that is not there yet; gives how many that were.
fn fill(table: &mut Table, input: &str) -> Result<u64, Box<dyn Error>> {
    let already = lines_already(table)?;
    let lines = (1_u64..).zip(input.lines().skip(1));
    let mut appended = 0;
    for (number, line) in lines.filter(|(number, _)| *number > already) {
        // A flight that never took place has no aircraft.
        let tail = line.split(',').nth(11).filter(|tail| *tail != "NA");
        if let Some(tail) = tail {
            let number = number.to_string();
            table.put(tail, line, &[Header::new(LINE, &number)])?;
            appended += 1;
        }
    }
    Ok(appended)
}

/// How far an earlier run got: the newest record says which line it was. No compaction takes it
/// away, for it is the newest of its key.
fn lines_already(table: &Table) -> Result<u64, Box<dyn Error>> {
    let log = table.log();
    let Some(last) = log.end_offset().checked_sub(1) else {
        return Ok(0);
    };
    let record = log.read(last)?.ok_or("the newest record is gone")?;
    let line = record.headers().find(|header| header.key() == LINE);
    let line = line.and_then(|header| std::str::from_utf8(header.value?).ok());
    Ok(line.ok_or("a record without its line")?.parse()?)
}

fn bytes(log: &Log) -> u64 {
    let segments = log.segments();
    segments.iter().map(|segment| segment.size_bytes).sum()
}

fn row(record: &LogRecord) -> (u64, Option<&[u8]>, Option<&[u8]>) {
    (record.offset, record.key(), record.value())
}

fn print(table: &Table, key: Option<&str>) {
    let text =
        |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
    if let Some(key) = key {
        match table.get(key) {
            Some(record) => println!("{key}: {}", text(record.value())),
            None => println!("{key}: no flight is known"),
        }
        return;
    }
    println!("{} aircraft, the first of them:", table.len());
    for record in table.rows().take(5) {
        println!("  {}: {}", text(record.key()), text(record.value()));
    }
}

fn text_of(path: &Path) -> std::io::Result<String> {
    let bytes = std::fs::read(path)?;
    let mut text = String::new();
    if path.extension().is_some_and(|extension| extension == "gz") {
        MultiGzDecoder::new(bytes.as_slice()).read_to_string(&mut text)?;
    } else {
        bytes.as_slice().read_to_string(&mut text)?;
    }
    Ok(text)
}
