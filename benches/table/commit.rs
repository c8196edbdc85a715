//! Durable appends: every one of them survives power loss when it returns.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use ottla::{Durability, Error, Log, LogConfig};

use crate::rows::{Figure, Rows};
use crate::tools::{VALUE_BYTES, Values, batch_bytes, scratch, width_of};

/// Commits per second of so many threads that each do `commit` over and over.
fn per_second(threads: u64, lasting: Duration, commit: &(impl Fn(&[u8]) + Sync)) -> f64 {
    let began = Instant::now();
    let counts = std::thread::scope(|scope| {
        let workers: Vec<_> = (1..=threads)
            .map(|seed| {
                scope.spawn(move || {
                    let mut values = Values::new(seed, VALUE_BYTES);
                    let mut count = 0_u64;
                    while began.elapsed() < lasting {
                        commit(values.next());
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        let counts = workers.into_iter().map(|worker| worker.join().unwrap());
        counts.sum::<u64>()
    });
    counts as f64 / began.elapsed().as_secs_f64()
}

/// A file that is written and synced by one after the other.
struct OneAtATime {
    file: File,
    end: Mutex<u64>,
}

impl OneAtATime {
    fn commit(&self, bytes: &[u8]) {
        let mut end = self.end.lock().unwrap();
        self.file.write_all_at(bytes, *end).unwrap();
        *end += width_of(bytes.len());
        self.file.sync_data().unwrap();
    }
}

/// The plain loop of a leader and its followers: a thread that finds no sync under way makes one.
struct LeaderAndFollowers {
    file: File,
    end: Mutex<u64>,
    synced: Mutex<(u64, bool)>,
    over: Condvar,
}

impl LeaderAndFollowers {
    fn commit(&self, bytes: &[u8]) {
        let mine = {
            let mut end = self.end.lock().unwrap();
            self.file.write_all_at(bytes, *end).unwrap();
            *end += width_of(bytes.len());
            *end
        };
        let mut state = self.synced.lock().unwrap();
        while state.0 < mine {
            if state.1 {
                state = self.over.wait(state).unwrap();
                continue;
            }
            state.1 = true;
            drop(state);
            let end = *self.end.lock().unwrap();
            self.file.sync_data().unwrap();
            state = self.synced.lock().unwrap();
            *state = (state.0.max(end), false);
            self.over.notify_all();
        }
    }
}

/// Thirty-two threads that each look at the end, find at least once that it moved, and try again;
/// beside plain durable appends.
fn conditional(rows: &Rows) {
    let lasting = Duration::from_millis(rows.effort.pick(400, 1_500));
    let log = |dir: &std::path::Path| {
        let config = LogConfig::default().durability(Durability::Always);
        Log::open(dir, config).unwrap()
    };
    let retried = || {
        let dir = scratch();
        let log = log(&dir.path().join("log"));
        per_second(32, lasting, &|value: &[u8]| {
            // Never the end: the first try is refused.
            let mut expected = u64::MAX;
            while let Err(Error::EndMoved { end, .. }) = log.append_at(expected, value) {
                expected = end;
            }
        })
    };
    let plain = || {
        let dir = scratch();
        let log = log(&dir.path().join("log"));
        per_second(32, lasting, &|value: &[u8]| {
            log.append(value).unwrap();
        })
    };
    Rows::compare(
        "append_at under Always, 32 threads, one retry, records/s | beside: append",
        ">= 0.5",
        rows.effort.pick(3, 7),
        [Box::new(retried), Box::new(plain)],
    );
}

pub(crate) fn rows(rows: &Rows) {
    conditional(rows);
    let lasting = Duration::from_millis(rows.effort.pick(400, 1_500));
    let size = u64::try_from(batch_bytes(1, VALUE_BYTES)).unwrap();
    for threads in [1, 16, 32] {
        let mut figures = [const { Vec::new() }; 3];
        for _ in 0..rows.effort.pick(3, 7) {
            let dir = scratch();
            let config = LogConfig::default().durability(Durability::Always);
            let log = Log::open(dir.path().join("log"), config).unwrap();
            let alone = OneAtATime {
                file: File::create_new(dir.path().join("alone")).unwrap(),
                end: Mutex::new(0),
            };
            let group = LeaderAndFollowers {
                file: File::create_new(dir.path().join("group")).unwrap(),
                end: Mutex::new(0),
                synced: Mutex::new((0, false)),
                over: Condvar::new(),
            };
            let padded = |bytes: &[u8]| {
                let mut batch = bytes.to_vec();
                batch.resize(usize::try_from(size).unwrap(), 7);
                batch
            };
            let [ours, grouped, single] = &mut figures;
            ours.push(per_second(threads, lasting, &|value: &[u8]| {
                log.append(value).unwrap();
            }));
            grouped.push(per_second(threads, lasting, &|value: &[u8]| {
                group.commit(&padded(value));
            }));
            single.push(per_second(threads, lasting, &|value: &[u8]| {
                alone.commit(&padded(value));
            }));
        }
        let [ours, grouped, single] = figures.map(Figure::of);
        Rows::line(
            &format!("Always, {threads} threads, commits/s | beside: leader+followers"),
            ">= 1.0",
            ours,
            Some(grouped),
        );
        let goal = match threads {
            1 => ">= 1.0",
            32 => ">= 12",
            _ => "",
        };
        Rows::line(
            &format!("Always, {threads} threads, commits/s | beside: one sync at a time"),
            goal,
            ours,
            Some(single),
        );
    }
}
