//! The figures of a log for the recorder of the `metrics` crate that the program has installed: the
//! feature `metrics`.
//!
//! Knows nothing about how they are counted. A broker hands over for all logs of a topic together;
//! its logs hand over nothing themselves.
//!
//! 1. A recorder is user code: it is called with nothing locked.
//! 2. Counters are raised by what was added since the last time, so that several logs of a name,
//!    and one that is opened again, add up.

use metrics::{counter, gauge};

use crate::types::Histogram;

use super::LogMetrics;

/// The quantiles that are shown, in thousandths and as a label.
const QUANTILES: [(u64, &str); 3] = [(500, "0.5"), (990, "0.99"), (1000, "1")];

pub(crate) fn hand_over_log(topic: &str, before: &LogMetrics, now: &LogMetrics) {
    let last = counts_of_log(before);
    for ((name, now), (_, before)) in counts_of_log(now).into_iter().zip(last) {
        counter!(name, "topic" => topic.to_owned()).increment(added(before, now));
    }
    gauge!("ottla_poisoned_logs", "topic" => topic.to_owned()).set(float(now.poisoned));
    show("ottla_sync_microseconds", Some(topic), &now.sync_micros);
    show("ottla_batches_per_sync", Some(topic), &now.batches_per_sync);
}

fn counts_of_log(log: &LogMetrics) -> [(&'static str, u64); 15] {
    [
        ("ottla_appends_total", log.appends),
        ("ottla_append_records_total", log.records),
        ("ottla_append_bytes_total", log.bytes),
        ("ottla_segment_rolls_total", log.rolls),
        ("ottla_syncs_total", log.sync_micros.count()),
        ("ottla_sync_microseconds_total", log.sync_micros.sum()),
        ("ottla_reads_total", log.reads),
        ("ottla_read_bytes_total", log.read_bytes),
        ("ottla_retention_segments_total", log.segments_deleted),
        ("ottla_retention_bytes_total", log.bytes_deleted),
        ("ottla_retention_records_total", log.records_deleted),
        ("ottla_compactions_total", log.compactions),
        (
            "ottla_compaction_read_bytes_total",
            log.compaction_read_bytes,
        ),
        (
            "ottla_compaction_written_bytes_total",
            log.compaction_written_bytes,
        ),
        (
            "ottla_compaction_dropped_records_total",
            log.compaction_records_dropped,
        ),
    ]
}

/// What a counter is raised by. That of a topic that was made again has begun at 0.
pub(crate) fn added(before: u64, now: u64) -> u64 {
    now.checked_sub(before).unwrap_or(now)
}

pub(crate) fn show(name: &'static str, topic: Option<&str>, histogram: &Histogram) {
    for (thousandths, label) in QUANTILES {
        let quantile = if let Some(topic) = topic {
            gauge!(name, "topic" => topic.to_owned(), "quantile" => label)
        } else {
            gauge!(name, "quantile" => label)
        };
        quantile.set(float(histogram.quantile(thousandths)));
    }
}

/// Figures above `u32::MAX` are shown as that.
pub(crate) fn float(figure: u64) -> f64 {
    f64::from(u32::try_from(figure).unwrap_or(u32::MAX))
}
