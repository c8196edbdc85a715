//! `perf produce` and `perf consume`: how fast it is here, in the words of Kafka's two scripts.
//!
//! Knows nothing about how it comes about. A record's latency is the time that the append of its
//! batch took, syncs included with acks=all.

use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use ottla::{Record, Start, Timestamp};

use crate::bytes::float;
use crate::failure::{Failure, Result};
use crate::interrupt;
use crate::out::Out;
use crate::place::Place;
use crate::props::Props;

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
    record_size: usize,
    /// Records a second at most; -1 for no limit
    #[arg(long, value_name = "RATE", default_value_t = -1, allow_hyphen_values = true)]
    throughput: i64,
    /// acks, batch.size
    #[arg(long, value_name = "NAME=VALUE", num_args = 1.., alias = "command-property")]
    producer_props: Vec<String>,
    #[arg(long, hide = true)]
    print_metrics: bool,
}

#[derive(Args, Debug)]
struct Consume {
    /// The topic
    #[arg(long, value_name = "NAME")]
    topic: String,
    /// How many records to read at most
    #[arg(long, value_name = "COUNT", alias = "num-records")]
    messages: Option<u64>,
    #[arg(long, hide = true)]
    group: Option<String>,
    #[arg(long, hide = true)]
    timeout: Option<u64>,
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
        props.take("linger.ms");
        props.check_empty("acks, batch.size, linger.ms")?;
        interrupt::watch()?;
        let broker = place.write()?;
        let topic = broker
            .topic(&self.topic)
            .map_err(|_| select::no_topic(&broker, &self.topic))?;
        let payload: Vec<u8> = (0..self.record_size)
            .map(|at| b'A' + u8::try_from(at % 26).unwrap_or(0))
            .collect();
        let per_batch = u64::try_from((batch_bytes / (self.record_size + 10)).max(1)).unwrap_or(1);
        let mut latencies = Latencies::default();
        let (began, mut window, mut sent) = (Instant::now(), Instant::now(), 0_u64);
        let mut reported = 0_usize;
        while sent < self.num_records && !interrupt::asked() {
            let count = per_batch.min(self.num_records - sent);
            let at = Instant::now();
            topic.append_batch((0..count).map(|_| Record::new(&payload)))?;
            if durable {
                broker.flush()?;
            }
            latencies.0.push((at.elapsed(), count));
            sent += count;
            self.hold_back(sent, began);
            if window.elapsed() >= Duration::from_secs(5) && sent < self.num_records {
                let part = Latencies(latencies.0.get(reported..).unwrap_or_default().to_vec());
                out.line(self.line(&part, window.elapsed()))?;
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
                "records": sent,
                "seconds": took.as_secs_f64(),
                "recordsPerSecond": float(sent) / took.as_secs_f64(),
                "avgLatencyMs": latencies.average_ms(),
                "maxLatencyMs": latencies.max_ms(),
            }));
        }
        let line = self.line(&latencies, took);
        out.line(format!(
            "{}, {}.",
            line.trim_end_matches('.'),
            percentiles.join(", ")
        ))
    }

    /// Waits while it is ahead of the rate that was asked for.
    fn hold_back(&self, sent: u64, began: Instant) {
        let Ok(rate) = u64::try_from(self.throughput) else {
            return;
        };
        let due = Duration::from_secs_f64(float(sent) / float(rate.max(1)));
        interrupt::sleep(due.saturating_sub(began.elapsed()));
    }

    fn line(&self, part: &Latencies, took: Duration) -> String {
        let records = part.records();
        let rate = float(records) / took.as_secs_f64();
        let size = float(u64::try_from(self.record_size).unwrap_or(0));
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
