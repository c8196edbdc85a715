//! The figures of a broker through the `metrics` crate, for whichever recorder the program has
//! installed: the feature `metrics`.
//!
//! Knows nothing about how they are counted.
//!
//! 1. A recorder is code of the user's: it is called with nothing locked.
//! 2. Counters are raised by what was added since the last time, so that several brokers, and one
//!    that is opened again, add up.

use metrics::{counter, gauge};

use crate::group::GroupMetrics;
use crate::log::LogMetrics;
use crate::types::Histogram;

use super::BrokerMetrics;

/// The quantiles of a histogram that are shown, in thousandths and as a label.
const QUANTILES: [(u64, &str); 3] = [(500, "0.5"), (990, "0.99"), (1000, "1")];

/// Hands over what is new since `before`.
pub(super) fn hand_over(before: &BrokerMetrics, now: &BrokerMetrics) {
    let none = LogMetrics::default();
    for (topic, log) in &now.topics {
        let last = before.topics.get(topic).unwrap_or(&none);
        for ((name, now), (_, before)) in counts_of_log(log).into_iter().zip(counts_of_log(last)) {
            counter!(name, "topic" => topic.clone()).increment(added(before, now));
        }
        gauge!("ottla_poisoned_logs", "topic" => topic.clone()).set(float(log.poisoned));
        show("ottla_sync_microseconds", Some(topic), &log.sync_micros);
        show("ottla_batches_per_sync", Some(topic), &log.batches_per_sync);
    }
    let last = counts_of_groups(&before.groups);
    for ((name, now), (_, before)) in counts_of_groups(&now.groups).into_iter().zip(last) {
        counter!(name).increment(added(before, now));
    }
    let lag = &now.groups.poll_lag_micros;
    show("ottla_poll_lag_microseconds", None, lag);
    gauge!("ottla_open_logs").set(float(now.open_logs));
    gauge!("ottla_open_files").set(float(now.open_files));
    gauge!("ottla_producer_queue_records").set(float(now.producer_queue_records));
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

fn counts_of_groups(groups: &GroupMetrics) -> [(&'static str, u64); 6] {
    [
        ("ottla_polls_total", groups.polls),
        ("ottla_poll_records_total", groups.records),
        (
            "ottla_records_forgotten_unread_total",
            groups.records_forgotten_unread,
        ),
        ("ottla_rebalances_total", groups.rebalances),
        ("ottla_evictions_total", groups.evictions),
        ("ottla_fenced_calls_total", groups.fenced),
    ]
}

/// What a counter is raised by. The one of a topic that was made again has begun at 0.
fn added(before: u64, now: u64) -> u64 {
    now.checked_sub(before).unwrap_or(now)
}

/// Shows the quantiles of a histogram.
fn show(name: &'static str, topic: Option<&str>, histogram: &Histogram) {
    for (thousandths, label) in QUANTILES {
        let quantile = if let Some(topic) = topic {
            gauge!(name, "topic" => topic.to_owned(), "quantile" => label)
        } else {
            gauge!(name, "quantile" => label)
        };
        quantile.set(float(histogram.quantile(thousandths)));
    }
}

/// A figure as the recorder takes it; what is above four thousand million is shown as that.
fn float(figure: u64) -> f64 {
    f64::from(u32::try_from(figure).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;
    use std::sync::Arc;

    use metrics::{
        Counter, CounterFn, Gauge, GaugeFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    };

    use crate::broker::{Broker, BrokerConfig};
    use crate::clock::Clock;
    use crate::disk::sim::Sim;
    use crate::sync::Mutex;
    use crate::topic::TopicConfig;

    use super::*;

    /// A recorder that keeps what it is told by name and labels.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<BTreeMap<String, f64>>>);

    struct Cell {
        kept: Kept,
        key: String,
    }

    impl Kept {
        fn cell(&self, key: &Key) -> Arc<Cell> {
            let labels = key
                .labels()
                .map(|label| format!(" {}={}", label.key(), label.value()));
            Arc::new(Cell {
                kept: self.clone(),
                key: format!("{}{}", key.name(), labels.collect::<String>()),
            })
        }

        fn get(&self, key: &str) -> Option<f64> {
            self.0.lock().get(key).copied()
        }
    }

    impl CounterFn for Cell {
        fn increment(&self, by: u64) {
            *self.kept.0.lock().entry(self.key.clone()).or_default() += float(by);
        }

        fn absolute(&self, _: u64) {
            unreachable!("counters are raised");
        }
    }

    impl GaugeFn for Cell {
        fn increment(&self, _: f64) {
            unreachable!("gauges are set");
        }

        fn decrement(&self, _: f64) {
            unreachable!("gauges are set");
        }

        fn set(&self, to: f64) {
            self.kept.0.lock().insert(self.key.clone(), to);
        }
    }

    impl Recorder for Kept {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(self.cell(key))
        }

        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::from_arc(self.cell(key))
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> metrics::Histogram {
            metrics::Histogram::noop()
        }
    }

    #[test]
    fn the_facade_shows_the_figures_and_adds_up_over_openings() {
        let (sim, kept) = (Sim::new(), Kept::default());
        let open = || {
            let config = BrokerConfig::default().manual_upkeep(true);
            Broker::open_on(sim.disk(), Clock::System, Path::new("/data"), config).unwrap()
        };
        metrics::with_local_recorder(&kept, || {
            let broker = open();
            let topic = broker.create_topic("t", TopicConfig::default()).unwrap();
            topic.append_batch(["a", "b"]).unwrap();
            assert_eq!(kept.get("ottla_append_records_total topic=t"), None);
            broker.upkeep().unwrap();
            assert_eq!(kept.get("ottla_append_records_total topic=t"), Some(2.0));
            assert_eq!(kept.get("ottla_appends_total topic=t"), Some(1.0));
            topic.append("c").unwrap();
            let seen = broker.metrics();
            assert_eq!(seen.topics["t"].records, 3);
            assert_eq!(kept.get("ottla_append_records_total topic=t"), Some(3.0));
            topic.append("d").unwrap();
            broker.close().unwrap();
            assert_eq!(kept.get("ottla_append_records_total topic=t"), Some(4.0));
            assert_eq!(kept.get("ottla_poisoned_logs topic=t"), Some(0.0));
            assert!(
                kept.get("ottla_sync_microseconds topic=t quantile=0.99")
                    .is_some()
            );

            let broker = open();
            broker.topic("t").unwrap().append("e").unwrap();
            broker.upkeep().unwrap();
            assert_eq!(kept.get("ottla_append_records_total topic=t"), Some(5.0));
            assert_eq!(kept.get("ottla_rebalances_total"), Some(0.0));
        });
    }
}
