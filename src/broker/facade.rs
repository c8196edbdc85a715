//! The figures of a broker through the `metrics` crate, for the recorder that the program has
//! installed.
//!
//! Knows nothing about how they are counted; `host/metrics/facade.rs` hands over those of a log.
//!
//! 1. A recorder is user code: it is called with nothing locked.
//! 2. Counters rise by what was added since the last time, so that several brokers, and one that is
//!    opened again, add up.

use metrics::{counter, gauge};

use crate::group::GroupMetrics;
use crate::host::LogMetrics;
use crate::host::facade::{added, float, hand_over_log, show};

use super::BrokerMetrics;

pub(super) fn hand_over(before: &BrokerMetrics, now: &BrokerMetrics) {
    let none = LogMetrics::default();
    for (topic, log) in &now.topics {
        hand_over_log(topic, before.topics.get(topic).unwrap_or(&none), log);
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

#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;
