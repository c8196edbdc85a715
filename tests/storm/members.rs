//! The lives of members: each thread is one member after the other.
//!
//! Knows nothing about writers. A strict member has all the time that it wants between polls, and
//! what it has polled is its own until it says otherwise; a loose one may be thrown out at any
//! time, so that only what it is given is checked.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use ottla::{Assignor, Consumer, ConsumerConfig, ConsumerRecords, Error, PartitionId, Start};

use crate::dice::Dice;
use crate::ledger::{Floors, Place};
use crate::payload::Said;
use crate::{AGAIN, STEADY, Storm};

/// What a loose member has between two polls.
const SHORT: Duration = Duration::from_millis(300);

/// One member.
struct Member<'a> {
    storm: &'a Storm,
    group: &'static str,
    number: u64,
    consumer: Consumer,
    loose: bool,
    places: BTreeMap<(String, PartitionId), Place>,
}

fn config(group: &str) -> ConsumerConfig {
    let start = if group == "latest" {
        Start::Latest
    } else {
        Start::Earliest
    };
    ConsumerConfig::default()
        .start(start)
        .max_poll_interval(Duration::from_secs(600))
}

/// Has a group begin all partitions before anything is in them.
pub(crate) fn begin(storm: &Storm, group: &str) {
    let group_of = storm.broker.group(group).unwrap();
    let mut member = group_of.join_with([STEADY, AGAIN], config(group)).unwrap();
    let records = member.poll(Duration::ZERO).unwrap();
    assert!(
        records.is_empty() && records.gained().len() == 7,
        "{records:?}"
    );
    member.leave().unwrap();
}

/// One member after the other until the storm is over.
pub(crate) fn sit(storm: &Storm, group: &'static str, seat: usize, thread: usize, mut dice: Dice) {
    while !storm.is_over() {
        storm.beat(thread, "joins");
        let calm = storm.is_calm();
        let loose = !calm && dice.once_in(3);
        let mut config = config(group)
            .max_poll_records(u32::try_from(1 + dice.below(500)).unwrap())
            .assignor(match dice.below(3) {
                0 => Assignor::Range,
                1 => Assignor::RoundRobin,
                _ => Assignor::Sticky,
            });
        if loose {
            config = config.max_poll_interval(SHORT);
        }
        if group == "static" {
            let id = format!("seat-{seat}");
            config = config.static_member_id(id).session_timeout(SHORT);
        }
        if group == "auto" {
            let interval = Duration::from_millis(dice.below(20));
            config = config.auto_commit(true).auto_commit_interval(interval);
        }
        let joined = storm
            .broker
            .group(group)
            .unwrap()
            .join_with([STEADY, AGAIN], config);
        let number = {
            let mut ledger = storm.ledger.lock().unwrap();
            ledger.lives += 1;
            ledger.lives
        };
        let Ok(consumer) = joined.map_err(|error| fault(storm, group, number, "join", &error))
        else {
            break;
        };
        let places = BTreeMap::new();
        Member {
            storm,
            group,
            number,
            consumer,
            loose,
            places,
        }
        .live(thread, &mut dice);
    }
    storm.ends(thread);
}

fn fault(storm: &Storm, group: &str, number: u64, what: &str, error: &Error) {
    let mut ledger = storm.ledger.lock().unwrap();
    ledger.fault(format!("{group} member {number}: {what}: {error:?}"));
}

impl Member<'_> {
    fn live(mut self, thread: usize, dice: &mut Dice) {
        let mut polls = 1 + dice.below(40);
        while polls > 0 && !self.storm.is_over() {
            // In the calm everybody stays.
            polls -= u64::from(!self.storm.is_calm());
            self.storm.beat(thread, "polls");
            self.poll(Duration::from_millis(dice.below(20)));
            self.storm.beat(thread, "commits");
            if self.group != "auto" && dice.once_in(2) {
                self.commit();
            }
            self.pause_and_resume(dice);
            if self.loose && dice.once_in(20) {
                self.storm.beat(thread, "hangs");
                thread::sleep(SHORT + Duration::from_millis(dice.below(200)));
            }
        }
        self.storm.beat(thread, "leaves");
        self.release();
        match dice.below(3) {
            0 => {
                if let Err(error) = self.consumer.leave()
                    && !(self.loose && matches!(error, Error::Fenced { .. }))
                {
                    fault(self.storm, self.group, self.number, "leave", &error);
                }
            }
            // Nobody hears of it again: the group must notice by itself.
            1 if self.loose => std::mem::forget(self.consumer),
            _ => drop(self.consumer),
        }
    }

    /// From here on the member may give up what it has.
    fn release(&self) {
        self.storm
            .ledger
            .lock()
            .unwrap()
            .release(self.group, self.number);
    }

    fn poll(&mut self, timeout: Duration) {
        let floors = {
            let mut ledger = self.storm.ledger.lock().unwrap();
            ledger.release(self.group, self.number);
            ledger.floors(self.group)
        };
        let began = Instant::now();
        match self.consumer.poll(timeout) {
            Ok(records) => self.take(&records, &floors, began),
            Err(error) => fault(self.storm, self.group, self.number, "poll", &error),
        }
    }

    fn take(&mut self, records: &ConsumerRecords, floors: &Floors, began: Instant) {
        for gone in records.lost().iter().chain(records.gained()) {
            self.places.remove(gone);
        }
        if self.group == "auto" {
            // The poll may have committed what the polls before it returned, and then let go of it.
            for place in self.places.values_mut() {
                place.uncommitted = false;
            }
        }
        let mut ledger = self.storm.ledger.lock().unwrap();
        // A loose member that the system kept waiting until here may be one no longer.
        let is_timely = began.elapsed() < SHORT;
        for skipped in records.skipped() {
            ledger.fault(format!("{} skipped {skipped:?}", self.group));
        }
        for record in records {
            let of = (record.topic.to_string(), record.partition);
            let Some(said) = record.value().and_then(Said::read) else {
                ledger.fault(format!("{of:?} {} is torn", record.offset));
                continue;
            };
            if said.topic != u64::from(of.0 == AGAIN) {
                ledger.fault(format!("{of:?} {} is {said:?}", record.offset));
            }
            let floor = floors.get(&(of.clone(), said.life)).copied().unwrap_or(0);
            let place = self.places.get(&of);
            ledger.deliver(self.group, &of, place, record.offset, said, floor);
            if self.loose && is_timely {
                ledger.check_free(self.group, &of, said.life);
            }
            let next = Place {
                life: said.life,
                next: record.offset + 1,
                uncommitted: true,
            };
            self.places.insert(of, next);
        }
        let uncommitted = self.places.iter().filter(|(_, place)| place.uncommitted);
        for (of, place) in uncommitted.filter(|_| !self.loose) {
            ledger.hold(self.group, of, place.life, self.number);
        }
        let count = u64::try_from(records.len()).unwrap();
        self.storm.delivered.fetch_add(count, Ordering::Relaxed);
    }

    fn commit(&mut self) {
        self.release();
        match self.consumer.commit() {
            Ok(()) => {
                let mut ledger = self.storm.ledger.lock().unwrap();
                for (of, place) in &mut self.places {
                    // Of what a loose member had, somebody else may have committed less since.
                    if place.uncommitted && !self.loose {
                        ledger.commit(self.group, of, place);
                    }
                    place.uncommitted = false;
                }
            }
            Err(Error::Fenced { .. }) if self.loose => {}
            Err(error) => fault(self.storm, self.group, self.number, "commit", &error),
        }
    }

    fn pause_and_resume(&mut self, dice: &mut Dice) {
        if self.storm.is_calm() || dice.once_in(5) {
            for paused in self.consumer.paused() {
                // It may be gone meanwhile.
                drop(self.consumer.resume(&paused.topic, paused.partition));
            }
        } else if dice.once_in(10) {
            let assigned = self.consumer.assignment();
            let chosen = usize::try_from(dice.next()).unwrap() % assigned.len().max(1);
            if let Some((topic, partition)) = assigned.get(chosen) {
                drop(self.consumer.pause(topic, *partition));
            }
        }
    }
}
