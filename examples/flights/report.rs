//! What a person wants to see, on standard output.
//!
//! Knows nothing about how it was counted.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::board::{Board, Tally};
use crate::ingest::Ingested;
use crate::options::{Begin, Options};

pub(crate) fn print(ingested: &Ingested, boards: &[Board], options: &Options) {
    let consumed: u32 = boards
        .iter()
        .flat_map(|board| board.partitions.values())
        .map(|seen| seen.events)
        .sum();
    print_flow(ingested, boards, u64::from(consumed));
    if consumed == 0 {
        println!("Everything was consumed before; --from-beginning reads it all again.");
        return;
    }
    print_carriers(boards);
    print_partitions(boards);
    if let Begin::Time(at) = options.from {
        let earlier = boards.iter().filter_map(|board| board.oldest).min();
        if earlier.is_some_and(|oldest| oldest < at) {
            println!("\nSome were scheduled before that day: a log keeps the order of arrival.");
        }
    }
}

fn print_flow(ingested: &Ingested, boards: &[Board], consumed: u64) {
    let Ingested {
        already,
        appended,
        took,
    } = ingested;
    if *already > 0 {
        println!(
            "in:  {already} lines were appended by an earlier run, the topic goes on after them"
        );
    }
    println!(
        "in:  {appended} events appended, {}",
        rate(*appended, *took)
    );
    let first = boards
        .iter()
        .filter_map(|board| board.busy)
        .map(|(first, _)| first)
        .min();
    let last = boards
        .iter()
        .filter_map(|board| board.busy)
        .map(|(_, last)| last)
        .max();
    let took = first
        .zip(last)
        .map(|(first, last)| last - first)
        .unwrap_or_default();
    println!(
        "out: {consumed} events consumed and committed, {}",
        rate(consumed, took)
    );
    let out_of_order: u32 = boards
        .iter()
        .flat_map(|board| board.partitions.values())
        .map(|seen| seen.out_of_order)
        .sum();
    println!("out: {out_of_order} of them out of the order of their partition");
}

fn print_carriers(boards: &[Board]) {
    let mut carriers: BTreeMap<&str, Tally> = BTreeMap::new();
    for (carrier, tally) in boards.iter().flat_map(|board| &board.carriers) {
        let sum = carriers.entry(carrier).or_default();
        sum.flights += tally.flights;
        sum.departed += tally.departed;
        sum.delay_minutes += tally.delay_minutes;
    }
    println!("\ncarrier  flights  cancelled  mean departure delay");
    for (carrier, tally) in &carriers {
        let cancelled = tally.flights - tally.departed;
        let mean = f64::from(tally.delay_minutes) / f64::from(tally.departed.max(1));
        println!(
            "{carrier:<7} {:>8} {cancelled:>10} {mean:>16.1} min",
            tally.flights
        );
    }
    let flights: u32 = carriers.values().map(|tally| tally.flights).sum();
    println!("{:<7} {flights:>8}", "all");
}

fn print_partitions(boards: &[Board]) {
    println!("\nmember   partition   events");
    for board in boards {
        for (partition, seen) in &board.partitions {
            println!("{:<8} {partition:>9} {:>8}", board.member, seen.events);
        }
    }
}

/// `n` events in that time, as events per second.
fn rate(events: u64, took: Duration) -> String {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
    let per_second = events.saturating_mul(1_000_000) / micros;
    format!("{per_second} events/s in {:.3} s", took.as_secs_f64())
}
