//! `produce`: lines become records, with the flags of `kafka-console-producer.sh`.
//!
//! Knows nothing about what a line means (`lines.rs`), nor about how records get into the topic
//! (`sink.rs`). Invariant: a line that was read whole is appended (and settled, as `--acks` says)
//! before the next wait for input, so that Ctrl-C at any moment loses no line that was ended.

mod input;
mod lines;
mod sink;

use std::path::PathBuf;
use std::process;
use std::sync::{Arc, Mutex, PoisonError};

use clap::Args;
use ottla::{Broker, Compression, PartitionId};

use crate::failure::{Failure, INTERRUPTED, Result};
use crate::interrupt;
use crate::kafka_flags;
use crate::out::Out;
use crate::place::Place;
use crate::props::Props;

use self::input::Input;
use self::lines::{Item, Shape};
use self::sink::{Sink, Wishes};

use super::select;

/// Bytes of a file between two syncs. Nothing is reported about a line of a file before all of it
/// is read, so a sync for every chunk would only cost time.
const SETTLE_BYTES: usize = 16 << 20;

/// The flags of `produce`.
#[derive(Args, Debug)]
pub(crate) struct Produce {
    /// The topic
    #[arg(long, value_name = "NAME")]
    topic: String,
    /// Files to read in turn; standard input if none is named
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The partition of every record; otherwise the key's, or one after the other
    #[arg(long, value_name = "NUMBER")]
    partition: Option<PartitionId>,
    /// parse.key, key.separator, parse.headers, headers.delimiter, headers.separator,
    /// headers.key.separator, null.marker, ignore.error
    #[arg(long, value_name = "NAME=VALUE", alias = "reader-property")]
    property: Vec<String>,
    /// What a line is: text, or a JSON object with key, value, headers, timestamp, partition
    #[arg(
        long,
        value_name = "text|json",
        default_value = "text",
        alias = "input"
    )]
    format: String,
    /// How batches are packed: none, gzip, snappy, lz4 or zstd
    #[arg(long, value_name = "CODEC", num_args = 0..=1, default_missing_value = "gzip")]
    #[arg(alias = "compression-codec", alias = "compression-type")]
    compression: Option<String>,
    /// When a line counts as stored: 1 survives the end of the process, all a power cut
    #[arg(
        long,
        value_name = "0|1|all",
        default_value = "1",
        allow_hyphen_values = true
    )]
    #[arg(alias = "request-required-acks")]
    acks: String,
    /// Append line by line, each settled before the next is read
    #[arg(long)]
    sync: bool,
    /// Bytes that are gathered into a batch
    #[arg(long, value_name = "BYTES", alias = "max-partition-memory-bytes")]
    batch_size: Option<usize>,
    /// A header of every record
    #[arg(long, value_name = "NAME=VALUE")]
    header: Vec<String>,
    /// acks, batch.size and compression.type in Kafka's words
    #[arg(long, value_name = "NAME=VALUE", alias = "command-property")]
    producer_property: Vec<String>,
    /// A file of such properties
    #[arg(long, value_name = "FILE", aliases = ["producer.config", "producer-config"])]
    command_config: Option<PathBuf>,
    /// A file of properties as --property takes them
    #[arg(long, value_name = "FILE")]
    reader_config: Option<PathBuf>,
    #[arg(long, hide = true)]
    line_reader: Option<String>,
}

impl Produce {
    /// Reads the input to its end.
    pub(crate) fn run(&self, place: &Place, out: &mut Out) -> Result<u8> {
        self.check_line_reader()?;
        let props = Props::read_with(self.reader_config.as_deref(), &self.property)?;
        let shape = Shape::read(props, &self.format, &self.header)?;
        let wishes = self.wishes()?;
        let broker = place.write()?;
        let Ok(topic) = broker.topic(&self.topic) else {
            return Err(select::no_topic(&broker, &self.topic));
        };
        let mut sink = Sink::new(topic, wishes)?;
        let gate = Arc::new(Mutex::new(()));
        close_on_interrupt(&broker, &gate)?;
        let done = self.copy(&shape, &mut sink, &gate, out);
        let held = gate.lock().unwrap_or_else(PoisonError::into_inner);
        let flushed = sink.finish();
        let closed = broker.close().map_err(Failure::from);
        done.and(flushed).and(closed)?;
        drop(held);
        if out.is_json() {
            out.json(&sink.summary(&self.topic))?;
        }
        Ok(0)
    }

    fn check_line_reader(&self) -> Result<()> {
        let instead = "lines are text with --property parse.key and others, or JSON with --format \
                       json";
        let class = self.line_reader.as_deref();
        kafka_flags::check_class("--line-reader", class, &["LineMessageReader"], instead)
    }

    fn wishes(&self) -> Result<Wishes> {
        let mut props = Props::read_with(self.command_config.as_deref(), &self.producer_property)?;
        let acks = props.take("acks").unwrap_or_else(|| self.acks.clone());
        let codec = props
            .take("compression.type")
            .or_else(|| self.compression.clone());
        let batch = match props.take("batch.size") {
            None => self.batch_size,
            Some(text) => Some(text.parse().map_err(|_| {
                Failure::usage(format!(
                    "batch.size cannot be {text}: expected a number of bytes"
                ))
            })?),
        };
        props.ignore_clients();
        props.check_empty("acks, batch.size, compression.type")?;
        Ok(Wishes {
            partition: self.partition,
            durable: match acks.as_str() {
                "all" | "-1" => true,
                "0" | "1" => false,
                other => {
                    return Err(Failure::usage(format!(
                        "--acks cannot be {other}: expected 0, 1 or all"
                    )));
                }
            },
            one_by_one: self.sync,
            batch_bytes: batch,
            compression: codec.as_deref().map(codec_of).transpose()?,
        })
    }

    /// Takes the input, line by line, into the sink.
    fn copy(&self, shape: &Shape, sink: &mut Sink, gate: &Mutex<()>, out: &mut Out) -> Result<()> {
        let mut number = 0_u64;
        let mut unsettled = 0;
        for mut input in Input::all(&self.files, sink.line_bytes_max(), sink.batch_bytes()) {
            loop {
                // Before the wait for this input, whichever one the lines came from.
                if unsettled > 0 && (input.may_wait()? || unsettled >= SETTLE_BYTES) {
                    let _in_the_middle = gate.lock().unwrap_or_else(PoisonError::into_inner);
                    sink.settle()?;
                    unsettled = 0;
                }
                input.prompt(out)?;
                let Some(chunk) = input.next_chunk(number)? else {
                    break;
                };
                let _in_the_middle = gate.lock().unwrap_or_else(PoisonError::into_inner);
                unsettled += chunk.len();
                let lines = Lines { rest: chunk };
                let mut items: Vec<Item<'_>> = Vec::new();
                for line in lines {
                    number += 1;
                    match shape.item(line, number) {
                        Ok(item) => items.push(item),
                        Err(failure) => {
                            // The lines before it are whole.
                            sink.take(&items)?;
                            return Err(failure.at(&input.name()));
                        }
                    }
                    if sink.is_enough(items.last()) {
                        sink.take(&items)?;
                        items.clear();
                    }
                }
                sink.take(&items)?;
            }
        }
        Ok(())
    }
}

/// The lines of a chunk that ends with one, as Java's `readLine` has them.
#[derive(Debug)]
struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let end = memchr::memchr(b'\n', self.rest).unwrap_or(self.rest.len());
        let (line, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest.get(1..).unwrap_or_default();
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }
}

/// On Ctrl-C what was read is appended, then the directory is closed; the thread that reads may
/// hang in its read for ever.
fn close_on_interrupt(broker: &Broker, gate: &Arc<Mutex<()>>) -> Result<()> {
    let (broker, gate) = (broker.clone(), Arc::clone(gate));
    interrupt::on_interrupt(move || {
        let _no_chunk_is_half_done = gate.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = broker.close() {
            let _the_code_is_known = Failure::from(error).report();
        }
        process::exit(i32::from(INTERRUPTED));
    })
}

pub(crate) fn codec_of(name: &str) -> Result<Compression> {
    match name.to_ascii_lowercase().as_str() {
        "none" | "uncompressed" => Ok(Compression::None),
        "gzip" => Ok(Compression::Gzip),
        "snappy" => Ok(Compression::Snappy),
        "lz4" => Ok(Compression::Lz4),
        "zstd" => Ok(Compression::Zstd),
        other => Err(Failure::usage(format!(
            "--compression cannot be {other}: expected none, gzip, snappy, lz4 or zstd"
        ))),
    }
}
