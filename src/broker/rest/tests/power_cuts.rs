//! A root that comes to rest, and one that is taken over, with a power cut at every operation: a
//! broker would start only on what is complete, and opening and closing heals everything else.

use crate::disk::sim::Choice;
use crate::format::properties::MetaProperties;
use crate::sync::{AtomicU64, Ordering};

use super::*;

/// The files that a broker reads before any partition.
const OF_A_BROKER: [&str; 4] = [
    file_name::BOOTSTRAP,
    file_name::RECOVERY_POINTS,
    file_name::HIGH_WATERMARKS,
    ".kafka_cleanshutdown",
];

/// Whether a broker would start.
fn is_formatted(sim: &Sim) -> bool {
    sim.read(path(file_name::META_PROPERTIES))
        .is_ok_and(|bytes| {
            matches!(
                MetaProperties::decode(&bytes),
                Ok(MetaProperties::Formatted(_))
            )
        })
}

/// What a broker finds in a root; `None` for a file that is not there.
fn found_by_a_broker(sim: &Sim) -> Vec<Option<Vec<u8>>> {
    OF_A_BROKER
        .iter()
        .map(|name| sim.read(path(name)).ok())
        .collect()
}

fn crash_states(sim: &Sim) -> Vec<Sim> {
    let mut states: Vec<_> = sim.crash_states_canonical().collect();
    states.extend((0..4).map(|seed| sim.crash(Choice::Random(seed))));
    states.push(sim.process_crash());
    states
}

#[test]
fn a_power_cut_while_a_root_comes_to_rest_leaves_brokers_kept_away_or_everything_in_place() {
    let finished = found_by_a_broker(&Rest::new().sim);
    let sim = Sim::new();
    let broker = open(&sim).unwrap();
    Rest::fill(&broker);
    broker.flush().unwrap();
    let states = Arc::new(AtomicU64::new(0));
    let formatted = Arc::new(AtomicU64::new(0));
    {
        let (states, formatted) = (Arc::clone(&states), Arc::clone(&formatted));
        sim.on_change(move |sim| {
            for crashed in crash_states(sim) {
                states.fetch_add(1, Ordering::Relaxed);
                if is_formatted(&crashed) {
                    formatted.fetch_add(1, Ordering::Relaxed);
                    let found = found_by_a_broker(&crashed);
                    let complete = found.iter().all(Option::is_some);
                    assert!(complete, "{:?}", crashed.born_of());
                    let lengths = |files: &[Option<Vec<u8>>]| -> Vec<_> {
                        files
                            .iter()
                            .map(|file| file.as_ref().map(Vec::len))
                            .collect()
                    };
                    // The ids are new in each root, the rest is the same.
                    assert_eq!(lengths(&found), lengths(&finished));
                }
                // One of eight, in turn: healing opens, closes and reads the whole root.
                if states.load(Ordering::Relaxed).is_multiple_of(8) {
                    heal(&crashed);
                }
            }
        });
    }
    broker.close().unwrap();
    sim.stop_watching();
    let states = states.load(Ordering::Relaxed);
    println!(
        "{states} crash states while a root comes to rest, {} of them at rest",
        formatted.load(Ordering::Relaxed)
    );
    assert!(states >= 8 * 300, "{states}");
    assert!(is_formatted(&sim));
    heal(&sim.process_crash());
}

/// Opening and closing brings a root to rest with everything in it.
fn heal(sim: &Sim) {
    let broker = open(sim).unwrap_or_else(|error| panic!("{error:?} after {:?}", sim.born_of()));
    assert!(!is_formatted(sim), "a broker is kept away while it is open");
    check_whole(&broker);
    broker.close().unwrap();
    assert!(is_formatted(sim));
    assert!(found_by_a_broker(sim).iter().all(Option::is_some));
    let broker = open(sim).unwrap();
    assert!(broker.open_report().clean, "{:?}", broker.open_report());
    check_whole(&broker);
}

#[test]
fn a_power_cut_while_a_root_is_taken_over_loses_nothing() {
    let rest = Rest::of_a_broker();
    let states = Arc::new(AtomicU64::new(0));
    {
        let states = Arc::clone(&states);
        rest.sim.on_change(move |sim| {
            for crashed in crash_states(sim) {
                // One of three, in turn: healing opens, closes and reads the whole root.
                if states.fetch_add(1, Ordering::Relaxed).is_multiple_of(3) {
                    heal(&crashed);
                }
            }
        });
    }
    let broker = open(&rest.sim).unwrap();
    rest.sim.stop_watching();
    check_whole(&broker);
    let states = states.load(Ordering::Relaxed) / 3;
    println!("{states} crash states while a root is taken over");
    assert!(states >= 300, "{states}");
}
