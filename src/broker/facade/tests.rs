//! Tests of `facade.rs`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};

use crate::broker::{Broker, BrokerConfig};
use crate::clock::Clock;
use crate::disk::sim::Sim;
use crate::log::open_alone_on;
use crate::recovery::OpenMode;
use crate::sync::Mutex;
use crate::topic::TopicConfig;
use crate::types::Durability;
use crate::types::LogConfig;

use super::*;

const TICK: Duration = Duration::from_millis(1);

/// A recorder that keeps what it gets by name and labels.
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
fn the_facade_shows_the_figures_of_a_log_that_is_opened_alone() {
    let (sim, kept) = (Sim::new(), Kept::default());
    let open = |dir: &str, manual| {
        let (disk, config) = (sim.disk(), LogConfig::default().segment_bytes(1024));
        let path = Path::new(dir);
        open_alone_on(&disk, &Clock::System, path, config, OpenMode::Write, manual).unwrap()
    };
    let records = |topic: &str| kept.get(&format!("ottla_append_records_total topic={topic}"));
    metrics::with_local_recorder(&kept, || {
        let log = open("/logs/events", true);
        log.append_batch(["a", "b"]).unwrap();
        assert_eq!(records("events"), None, "appends hand over nothing");
        log.apply_retention().unwrap();
        assert_eq!(records("events"), Some(2.0));
        log.append("c").unwrap();
        assert_eq!(log.metrics().records, 3);
        assert_eq!(records("events"), Some(3.0));
        log.append("d").unwrap();
        log.close().unwrap();
        assert_eq!(records("events"), Some(4.0));
        assert_eq!(kept.get("ottla_appends_total topic=events"), Some(3.0));
        assert_eq!(kept.get("ottla_poisoned_logs topic=events"), Some(0.0));
        assert!(
            kept.get("ottla_sync_microseconds topic=events quantile=0.99")
                .is_some()
        );

        // Opened again the counters continue; a drop is a close.
        let log = open("/logs/events", true);
        log.append("e").unwrap();
        drop(log);
        assert_eq!(records("events"), Some(5.0));

        // A broker hands over the figures of its logs, and they do not.
        let config = BrokerConfig::default().manual_upkeep(true);
        let broker = Broker::open_on(sim.disk(), Clock::System, Path::new("/data"), config);
        let broker = broker.unwrap();
        let topic = broker.create_topic("t", TopicConfig::default()).unwrap();
        topic.append("a").unwrap();
        let log = topic.partition(0).unwrap();
        assert_eq!(log.metrics().records, 1);
        log.flush().unwrap();
        assert_eq!(records("t-0"), None);
        broker.close().unwrap();
        assert_eq!((records("t"), records("t-0")), (Some(1.0), None));
    });
}

#[test]
fn the_flusher_hands_over_the_figures_of_a_log_that_is_opened_alone() {
    let kept = Kept::default();
    // The flusher has a thread of its own, which sees the recorder of the process alone: no
    // other test of this binary installs one.
    metrics::set_global_recorder(kept.clone()).unwrap();
    let config = LogConfig::default().durability(Durability::Interval(TICK));
    let (disk, clock, path) = (Sim::new().disk(), Clock::System, Path::new("/flushed"));
    let log = open_alone_on(&disk, &clock, path, config, OpenMode::Write, false).unwrap();
    log.append("a").unwrap();
    let until = Clock::System.until(Duration::from_secs(600));
    while kept.get("ottla_append_records_total topic=flushed") != Some(1.0) {
        assert!(!Clock::System.is_over(until), "nothing is handed over");
        std::thread::yield_now();
    }
}

#[test]
fn the_copy_of_a_backup_hands_over_nothing() {
    let (sim, kept) = (Sim::new(), Kept::default());
    let config = BrokerConfig::default().manual_upkeep(true);
    let data = Path::new("/data");
    let broker = Broker::open_on(sim.disk(), Clock::System, data, config).unwrap();
    let topic = broker.create_topic("t", TopicConfig::default()).unwrap();
    topic.append("a").unwrap();
    let (disk, clock, path) = (sim.disk(), Clock::System, Path::new("/logs/t"));
    let config = LogConfig::default();
    let log = open_alone_on(&disk, &clock, path, config, OpenMode::Write, true).unwrap();
    log.append("a").unwrap();
    metrics::with_local_recorder(&kept, || {
        broker.backup("/backups/data").unwrap();
        log.backup("/backups/t").unwrap();
    });
    assert_eq!(*kept.0.lock(), BTreeMap::new());
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
