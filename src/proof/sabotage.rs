//! The proofs can fail: each safeguard of the crate is left out once, and the suite that is there
//! for it must say so.
//!
//! Knows nothing about how a safeguard is left out: see `types/sabotage.rs`.
//!
//! A suite runs on a thread of its own with the wrong switched on, and has to panic there.

use std::collections::BTreeSet;
use std::thread;

use super::{crash, faults, regressions};
use crate::types::Sabotage;

/// A suite that must fail, by the name of its test.
struct Catcher {
    name: &'static str,
    run: fn(),
}

const CRASH: Catcher = Catcher {
    name: "nothing_is_lost_or_invented_wherever_the_power_is_cut",
    run: || crash::run_written(4),
};

const FAULTS: Catcher = Catcher {
    name: "every_call_may_fail_and_nothing_acknowledged_is_lost",
    run: || faults::run_some(20),
};

/// Who catches a wrong.
fn catcher(wrong: Sabotage) -> Catcher {
    match wrong {
        Sabotage::PublishBeforeWrite | Sabotage::LatchCleared | Sabotage::SuspectBelieved => FAULTS,
        Sabotage::IndexTrusted => Catcher {
            name: "an_index_that_is_not_what_was_written_is_rebuilt",
            run: regressions::an_index_that_is_not_what_was_written_is_rebuilt,
        },
        Sabotage::IntentComesBack => Catcher {
            name: "a_truncation_that_an_opening_finished_does_not_come_back",
            run: regressions::a_truncation_that_an_opening_finished_does_not_come_back,
        },
        Sabotage::DurableMarkOverwritten => Catcher {
            name: "marks_never_overwrite_the_slot_that_is_durable",
            run: regressions::marks_never_overwrite_the_slot_that_is_durable,
        },
        Sabotage::RenameBeforeSync => Catcher {
            name: "every_file_is_synced_before_it_is_renamed",
            run: regressions::every_file_is_synced_before_it_is_renamed,
        },
        _ => CRASH,
    }
}

/// Whether the catcher fails when this is switched on.
fn is_caught(wrong: Option<Sabotage>, catcher: &Catcher) -> bool {
    let run = catcher.run;
    let caught = thread::spawn(move || {
        if let Some(wrong) = wrong {
            wrong.switch_on();
        }
        run();
    });
    caught.join().is_err()
}

#[test]
fn every_safeguard_that_is_left_out_is_missed() {
    let mut missed = Vec::new();
    for wrong in Sabotage::ALL {
        let catcher = catcher(wrong);
        let caught = is_caught(Some(wrong), &catcher);
        println!("sabotage: {wrong:?}, caught: {caught}, by {}", catcher.name);
        if !caught {
            missed.push(wrong);
        }
    }
    assert!(missed.is_empty(), "nobody caught {missed:?}");
    println!("sabotage: {} wrongs, all caught", Sabotage::ALL.len());
}

#[test]
fn with_every_safeguard_in_place_no_one_complains() {
    let mut done = BTreeSet::new();
    for catcher in Sabotage::ALL.map(catcher) {
        if !done.insert(catcher.name) {
            continue;
        }
        assert!(!is_caught(None, &catcher), "{}", catcher.name);
    }
}
