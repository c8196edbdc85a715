//! `stats`: what goes on in a directory, again and again.
//!
//! Knows nothing about the program that has it open: the directory is looked at from outside, once
//! an interval, and rates are differences.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use clap::Args;
use ottla::{Broker, PartitionId};
use serde_json::{Value, json};

use crate::bytes::{self, float};
use crate::failure::Result;
use crate::interrupt;
use crate::out::Out;
use crate::place::Place;
use crate::table::Table;
use crate::time;

use super::log_dirs::on_disk;
use super::select;

/// Rates that a sparkline remembers.
const HISTORY: usize = 24;
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The flags of `stats`.
#[derive(Args, Debug)]
pub(crate) struct Stats {
    /// The time between two looks
    #[arg(long, value_name = "SPAN", default_value = "1s")]
    interval: String,
    /// How many looks; without it, until Ctrl-C (one when nobody sees it refresh)
    #[arg(long, value_name = "COUNT")]
    count: Option<u64>,
}

/// What was seen before, to tell what is new.
#[derive(Debug, Default)]
struct Seen {
    records: BTreeMap<(String, PartitionId), Line>,
    bytes: BTreeMap<(String, PartitionId), Line>,
    lags: BTreeMap<String, Line>,
}

/// What one partition or group did.
#[derive(Debug, Default)]
struct Line {
    last: u64,
    rates: Vec<f64>,
}

impl Line {
    /// Takes in where it is now.
    fn advance(&mut self, now: u64, seconds: Option<f64>) -> f64 {
        let rate = seconds.map_or(0.0, |seconds| {
            float(now.saturating_sub(self.last)) / seconds
        });
        self.last = now;
        if seconds.is_some() {
            self.remember(rate);
        }
        rate
    }

    /// Takes in a figure that the sparkline is to show.
    fn remember(&mut self, figure: f64) {
        self.rates.push(figure);
        let surplus = self.rates.len().saturating_sub(HISTORY);
        self.rates.drain(..surplus);
    }

    fn sparkline(&self) -> String {
        let max = self.rates.iter().copied().fold(0.0, f64::max);
        let bar = |rate: &f64| {
            let eighth = (1..BARS.len()).rev().find(|step| {
                *rate > 0.0 && *rate * 8.0 >= max * float(u64::try_from(*step).unwrap_or(0))
            });
            BARS.get(eighth.unwrap_or(0)).copied().unwrap_or(' ')
        };
        self.rates.iter().map(bar).collect()
    }
}

impl Stats {
    /// Prints what goes on until it is over.
    pub(crate) fn run(&self, place: &Place, out: &mut Out) -> Result<u8> {
        let interval = time::span(&self.interval)?.max(Duration::from_millis(50));
        let live = out.is_terminal() && !out.is_json();
        let looks = self.count.unwrap_or(if live { u64::MAX } else { 1 });
        interrupt::watch()?;
        let mut seen = Seen::default();
        let mut before = None;
        for look in 0..looks {
            if look > 0 && !interrupt::sleep(interval) {
                break;
            }
            let now = Instant::now();
            let seconds = before.map(|before| now.duration_since(before).as_secs_f64());
            before = Some(now);
            if live {
                // Home, and nothing below it.
                out.buffer().extend_from_slice(b"\x1b[H\x1b[J");
            }
            show(place, &mut seen, seconds, out)?;
            out.flush()?;
        }
        Ok(0)
    }
}

fn show(place: &Place, seen: &mut Seen, seconds: Option<f64>, out: &mut Out) -> Result<()> {
    let broker = place.read()?;
    let (table, partitions) = partitions(&broker, seen, seconds)?;
    let groups = broker.groups()?;
    if out.is_json() {
        let groups: Vec<_> = groups
            .iter()
            .map(|group| json!({ "group": group.id, "lag": group.lag() }))
            .collect();
        return out.json(&json!({
            "partitions": partitions, "groups": groups,
            "bytesOnDisk": on_disk(place.dir()), "written": place.is_written(),
        }));
    }
    let writer = if place.is_written() {
        "open in another process"
    } else {
        "open nowhere"
    };
    let used = bytes::size(on_disk(place.dir()));
    out.line(format!(
        "{}: {used} on the disk, {writer}",
        place.dir().display()
    ))?;
    out.table(&table)?;
    if !groups.is_empty() {
        let mut table = Table::with_widths(&[("GROUP", 15), ("LAG", 10), ("", 0)]);
        for group in groups {
            let line = seen.lags.entry(group.id.clone()).or_default();
            line.remember(float(group.lag()));
            table.row(vec![
                group.id.clone(),
                group.lag().to_string(),
                line.sparkline(),
            ]);
        }
        out.line("")?;
        out.table(&table)?;
    }
    Ok(())
}

/// The partitions as a table, and the same as JSON.
fn partitions(
    broker: &Broker,
    seen: &mut Seen,
    seconds: Option<f64>,
) -> Result<(Table, Vec<Value>)> {
    let mut table = Table::with_widths(&[
        ("TOPIC", 15),
        ("PARTITION", 9),
        ("START", 10),
        ("END", 10),
        ("BYTES", 10),
        ("RECORDS/S", 10),
        ("BYTES/S", 10),
        ("", 0),
    ]);
    let mut shown = Vec::new();
    for name in broker.topic_names() {
        let Some(info) = select::described(broker, &name)? else {
            continue;
        };
        for partition in info.partitions {
            let key = (name.clone(), partition.id);
            let bytes = seen.bytes.entry(key.clone()).or_default();
            let byte_rate = bytes.advance(partition.size_bytes, seconds);
            let line = seen.records.entry(key).or_default();
            let rate = line.advance(partition.end_offset, seconds);
            shown.push(json!({
                "topic": name, "partition": partition.id, "startOffset": partition.start_offset,
                "endOffset": partition.end_offset, "bytes": partition.size_bytes,
                "recordsPerSecond": rate, "bytesPerSecond": byte_rate,
            }));
            table.row(vec![
                name.clone(),
                partition.id.to_string(),
                partition.start_offset.to_string(),
                partition.end_offset.to_string(),
                bytes::size(partition.size_bytes),
                format!("{rate:.0}"),
                format!("{byte_rate:.0}"),
                line.sparkline(),
            ]);
        }
    }
    Ok((table, shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparkline_shows_rates_beside_the_highest() {
        let mut line = Line::default();
        assert!(line.advance(100, None).abs() < 1e-9);
        for end in [100, 110, 150] {
            line.advance(end, Some(1.0));
        }
        assert_eq!(line.sparkline(), "▁▃█");
    }
}
