//! `perf produce` and `perf consume`: how fast it is here, in the words of Kafka's two scripts.
//!
//! Knows nothing about how it comes about. A record's latency is the time that the append of its
//! batch took, syncs included with acks=all.

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use ottla::{Record, Start, Timestamp};

use crate::bytes::float;
use crate::failure::{Failure, Result, file_failure};
use crate::interrupt;
use crate::out::Out;
use crate::place::Place;
use crate::props::{self, Props};

use super::select;

/// The flags of `perf`.
#[derive(Args, Debug)]
pub(crate) struct Perf {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Append records and print rates and latencies: kafka-producer-perf-test.sh
    Produce(Produce),
    /// Read records and print rates: kafka-consumer-perf-test.sh
    Consume(Consume),
}

#[derive(Args, Debug)]
struct Produce {
    /// The topic
    #[arg(long, value_name = "NAME")]
    topic: String,
    /// How many records to append
    #[arg(long, value_name = "COUNT")]
    num_records: u64,
    /// Bytes of each
    #[arg(long, value_name = "BYTES", default_value_t = 100)]
    #[arg(conflicts_with_all = ["payload_file", "payload_monotonic"])]
    record_size: usize,
    /// A file whose parts are the records, in turns
    #[arg(long, value_name = "FILE", conflicts_with = "payload_monotonic")]
    payload_file: Option<PathBuf>,
    /// What stands between the parts of that file
    #[arg(long, value_name = "TEXT", default_value = "\\n")]
    payload_delimiter: String,
    /// The records are the numbers from 0 on
    #[arg(long)]
    payload_monotonic: bool,
    /// How many of them are appended before it is measured
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    warmup_records: u64,
    /// Print what came of every so many milliseconds
    #[arg(long, value_name = "MS", default_value_t = 5000)]
    reporting_interval: u64,
    /// Records a second at most; -1 for no limit
    #[arg(long, value_name = "RATE", default_value_t = -1, allow_hyphen_values = true)]
    throughput: i64,
    /// acks, batch.size
    #[arg(long, value_name = "NAME=VALUE", num_args = 1.., alias = "command-property")]
    producer_props: Vec<String>,
}

#[derive(Args, Debug)]
struct Consume {
    /// The topic
    #[arg(long, value_name = "NAME")]
    topic: String,
    /// How many records to read at most
    #[arg(long, value_name = "COUNT", alias = "num-records")]
    messages: Option<u64>,
    /// Leave out the head
    #[arg(long)]
    hide_header: bool,
}

impl Perf {
    /// Measures, and prints.
    pub(crate) fn run(&self, place: &Place, out: &mut Out) -> Result<u8> {
        match &self.what {
            What::Produce(produce) => produce.run(place, out)?,
            What::Consume(consume) => consume.run(place, out)?,
        }
        Ok(0)
    }
}

/// How long batches took, and how many records each had.
#[derive(Debug, Default)]
struct Latencies(Vec<(Duration, u64)>);

impl Latencies {
    fn records(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }

    fn average_ms(&self) -> f64 {
        let sum = self
            .0
            .iter()
            .map(|(took, count)| took.as_secs_f64() * float(*count))
            .sum::<f64>();
        1000.0 * sum / float(self.records().max(1))
    }

    fn max_ms(&self) -> f64 {
        let max = self
            .0
            .iter()
            .map(|(took, _)| *took)
            .max()
            .unwrap_or_default();
        1000.0 * max.as_secs_f64()
    }

    /// The latency that so many thousandths of the records did not go above; it is sorted.
    fn percentile(&self, thousandths: u64) -> u128 {
        let wanted = self.records().saturating_mul(thousandths).div_ceil(1000);
        let mut seen = 0;
        for (took, count) in &self.0 {
            seen += count;
            if seen >= wanted {
                return took.as_millis();
            }
        }
        0
    }
}

impl Produce {
    fn run(&self, place: &Place, out: &mut Out) -> Result<()> {
        let (durable, batch_bytes) = self.wishes()?;
        let payloads = self.payloads()?;
        interrupt::watch()?;
        let broker = place.write()?;
        let topic = broker
            .topic(&self.topic)
            .map_err(|_| select::no_topic(&broker, &self.topic))?;
        let per_batch = (batch_bytes / (payloads.average() + 10)).max(1);
        let per_batch = u64::try_from(per_batch).unwrap_or(1);
        let mut latencies = Latencies::default();
        let (mut began, mut window, mut sent) = (Instant::now(), Instant::now(), 0_u64);
        let mut reported = 0_usize;
        let interval = Duration::from_millis(self.reporting_interval);
        while sent < self.num_records && !interrupt::asked() {
            let warms_up = sent < self.warmup_records;
            let until = if warms_up {
                self.warmup_records
            } else {
                self.num_records
            };
            let count = per_batch.min(until - sent);
            let batch = payloads.of(sent..sent + count);
            let at = Instant::now();
            topic.append_batch(batch.iter().map(Record::new))?;
            if durable {
                broker.flush()?;
            }
            sent += count;
            if warms_up {
                (began, window) = (Instant::now(), Instant::now());
                continue;
            }
            latencies.0.push((at.elapsed(), count));
            self.hold_back(sent - self.warmup_records, began);
            if window.elapsed() >= interval && sent < self.num_records {
                let part = Latencies(latencies.0.get(reported..).unwrap_or_default().to_vec());
                out.line(payloads.line(&part, window.elapsed()))?;
                out.flush()?;
                (reported, window) = (latencies.0.len(), Instant::now());
            }
        }
        let took = began.elapsed();
        broker.close()?;
        latencies.0.sort_unstable();
        let percentiles = [(500, "50th"), (950, "95th"), (990, "99th"), (999, "99.9th")];
        let percentiles =
            percentiles.map(|(part, name)| format!("{} ms {name}", latencies.percentile(part)));
        if out.is_json() {
            return out.json(&serde_json::json!({
                "records": latencies.records(),
                "seconds": took.as_secs_f64(),
                "recordsPerSecond": float(latencies.records()) / took.as_secs_f64(),
                "avgLatencyMs": latencies.average_ms(),
                "maxLatencyMs": latencies.max_ms(),
            }));
        }
        let line = payloads.line(&latencies, took);
        out.line(format!(
            "{}, {}.",
            line.trim_end_matches('.'),
            percentiles.join(", ")
        ))
    }

    /// Whether each batch is synced, and about how many bytes it has.
    fn wishes(&self) -> Result<(bool, usize)> {
        let mut props = Props::read(&self.producer_props)?;
        let durable = matches!(props.take("acks").as_deref(), Some("all" | "-1"));
        let batch_bytes = match props.take("batch.size") {
            None => 16_384,
            Some(text) => text.parse::<usize>().map_err(|_| {
                Failure::usage(format!(
                    "batch.size cannot be {text}: expected a number of bytes"
                ))
            })?,
        };
        props.ignore_clients();
        props.check_empty("acks, batch.size")?;
        if self.warmup_records > 0 && self.warmup_records >= self.num_records {
            return Err(Failure::usage(
                "--warmup-records must be fewer than --num-records, of which they are the first",
            ));
        }
        Ok((durable, batch_bytes))
    }

    /// Waits while it is ahead of the rate that was asked for.
    fn hold_back(&self, sent: u64, began: Instant) {
        let Ok(rate) = u64::try_from(self.throughput) else {
            return;
        };
        let due = Duration::from_secs_f64(float(sent) / float(rate.max(1)));
        interrupt::sleep(due.saturating_sub(began.elapsed()));
    }

    fn payloads(&self) -> Result<Payloads> {
        if self.payload_monotonic {
            return Ok(Payloads(Vec::new()));
        }
        let Some(path) = &self.payload_file else {
            let letters = (0..self.record_size).map(|at| b'A' + u8::try_from(at % 26).unwrap_or(0));
            return Ok(Payloads(vec![letters.collect()]));
        };
        let text =
            std::fs::read_to_string(path).map_err(|error| file_failure("read", path, &error))?;
        let delimiter = props::unescaped(&self.payload_delimiter);
        let parts = text.split(&delimiter).filter(|part| !part.is_empty());
        let parts: Vec<_> = parts.map(|part| part.as_bytes().to_vec()).collect();
        if parts.is_empty() || delimiter.is_empty() {
            let path = path.display();
            return Err(Failure::usage(format!(
                "{path} has no payload between delimiters"
            )));
        }
        Ok(Payloads(parts))
    }
}

/// What the records are, in turns. Without any, every record is its own number.
#[derive(Debug)]
struct Payloads(Vec<Vec<u8>>);

impl Payloads {
    /// Bytes of a record, about.
    fn average(&self) -> usize {
        let sum: usize = self.0.iter().map(Vec::len).sum();
        sum.checked_div(self.0.len()).unwrap_or(8)
    }

    /// The records of these numbers.
    fn of(&self, numbers: std::ops::Range<u64>) -> Vec<Cow<'_, [u8]>> {
        let parts = u64::try_from(self.0.len()).unwrap_or(0);
        let one = |number: u64| {
            let at = number
                .checked_rem(parts)
                .and_then(|at| usize::try_from(at).ok());
            match at.and_then(|at| self.0.get(at)) {
                Some(part) => Cow::Borrowed(part.as_slice()),
                None => Cow::Owned(number.to_string().into_bytes()),
            }
        };
        numbers.map(one).collect()
    }

    fn line(&self, part: &Latencies, took: Duration) -> String {
        let records = part.records();
        let rate = float(records) / took.as_secs_f64();
        let size = float(u64::try_from(self.average()).unwrap_or(0));
        format!(
            "{records} records sent, {rate:.1} records/sec ({:.2} MB/sec), {:.1} ms avg latency, \
             {:.1} ms max latency.",
            rate * size / float(1 << 20),
            part.average_ms(),
            part.max_ms()
        )
    }
}

impl Consume {
    fn run(&self, place: &Place, out: &mut Out) -> Result<()> {
        interrupt::watch()?;
        let broker = place.read()?;
        let topic = broker
            .topic(&self.topic)
            .map_err(|_| select::no_topic(&broker, &self.topic))?;
        let wanted = self.messages.unwrap_or(u64::MAX);
        let (mut records, mut size) = (0_u64, 0_usize);
        let (began, start) = (Instant::now(), Timestamp::now());
        'partitions: for id in 0..topic.partition_count() {
            let mut reader = topic.partition(id)?.reader(Start::Earliest)?;
            while let Some(batch) = reader.next_batch()? {
                for record in batch.records() {
                    records += 1;
                    size +=
                        record.key().map_or(0, <[u8]>::len) + record.value().map_or(0, <[u8]>::len);
                    if records >= wanted {
                        break 'partitions;
                    }
                }
                if interrupt::asked() {
                    break 'partitions;
                }
            }
        }
        let took = began.elapsed();
        let seconds = took.as_secs_f64().max(1e-9);
        let megabytes = float(u64::try_from(size).unwrap_or(0)) / float(1 << 20);
        if out.is_json() {
            return out.json(&serde_json::json!({
                "records": records, "bytes": size, "seconds": took.as_secs_f64(),
                "recordsPerSecond": float(records) / seconds,
            }));
        }
        if !self.hide_header {
            out.line(
                "start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, \
                 nMsg.sec, rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec",
            )?;
        }
        let (rate, per_second) = (megabytes / seconds, float(records) / seconds);
        out.line(format!(
            "{}, {}, {megabytes:.4}, {rate:.4}, {records}, {per_second:.4}, 0, {}, {rate:.4}, \
             {per_second:.4}",
            clock(start),
            clock(Timestamp::now()),
            took.as_millis()
        ))
    }
}

/// `2026-11-28 12:00:00:000`, as Kafka's script has it.
fn clock(at: Timestamp) -> String {
    at.to_string()
        .trim_end_matches('Z')
        .replace('T', " ")
        .replace('.', ":")
}
