//! Ottla beside other logs and stores: the same work, one process, in turns.
//!
//! ```text
//! cargo run --release                                  the table in Markdown, some minutes
//! cargo run --release -- --quick                       less exact, a minute or two
//! cargo run --release -- --svg ../../docs/versus.svg   the picture of the README too
//! ```
//!
//! Each peer is used as its own documentation advises, with its defaults, but for what a row is
//! about (`peers.rs`). Values are 100 random bytes. Every round has a fresh directory and runs all
//! peers one after the other, each round beginning with another one; the median of the rounds is
//! shown, with the least and the most.

mod peers;
mod picture;

use std::hint::black_box;
use std::time::{Duration, Instant};

use peers::{Open, PEERS, Peer};

/// Bytes of a value.
const VALUE_BYTES: usize = 100;
const PER_BATCH: usize = 100;
/// However slow a peer is, a round of it ends after this.
const ROUND_MAX: Duration = Duration::from_secs(4);

/// One kind of work.
struct Work {
    title: &'static str,
    unit: &'static str,
    more_is_better: bool,
    run: fn(&dyn Open, &Effort) -> Option<f64>,
}

struct Effort {
    records: u64,
    reads: u64,
    commits_for: Duration,
    rounds: usize,
}

const WORKS: [Work; 6] = [
    Work {
        title: "append one by one",
        unit: "ns a record",
        more_is_better: false,
        run: append_one_by_one,
    },
    Work {
        title: "append in batches of 100",
        unit: "ns a record",
        more_is_better: false,
        run: append_batches,
    },
    Work {
        title: "read everything in order",
        unit: "ns a record",
        more_is_better: false,
        run: read_all,
    },
    Work {
        title: "read one at random",
        unit: "ns",
        more_is_better: false,
        run: read_at_random,
    },
    Work {
        title: "durable appends, 1 thread",
        unit: "commits/s",
        more_is_better: true,
        run: |open, effort| commits(open, effort, 1),
    },
    Work {
        title: "durable appends, 16 threads",
        unit: "commits/s",
        more_is_better: true,
        run: |open, effort| commits(open, effort, 16),
    },
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let svg = arguments.iter().position(|argument| argument == "--svg");
    let svg = svg.and_then(|at| arguments.get(at + 1));
    let effort = Effort {
        records: if quick { 200_000 } else { 1_000_000 },
        reads: if quick { 20_000 } else { 100_000 },
        commits_for: Duration::from_millis(if quick { 300 } else { 1_500 }),
        rounds: if quick { 3 } else { 7 },
    };
    let mut table = Vec::new();
    for work in &WORKS {
        eprintln!("{} ...", work.title);
        let mut figures: Vec<Vec<f64>> = PEERS.iter().map(|_| Vec::new()).collect();
        for round in 0..effort.rounds {
            for turn in 0..PEERS.len() {
                let at = (round + turn) % PEERS.len();
                if let Some(figure) = (work.run)(PEERS[at], &effort) {
                    figures[at].push(figure);
                }
            }
        }
        table.push(figures.into_iter().map(Figure::of).collect::<Vec<_>>());
    }
    print(&table);
    if let Some(path) = svg {
        std::fs::write(path, picture::draw(&WORKS, &table)).unwrap();
    }
}

/// The median of some rounds, the least and the most.
struct Figure {
    median: f64,
    least: f64,
    most: f64,
}

impl Figure {
    fn of(mut rounds: Vec<f64>) -> Option<Self> {
        rounds.sort_by(f64::total_cmp);
        Some(Self {
            median: *rounds.get(rounds.len() / 2)?,
            least: *rounds.first()?,
            most: *rounds.last()?,
        })
    }
}

fn print(table: &[Vec<Option<Figure>>]) {
    print!("| work |");
    for peer in PEERS {
        print!(" {} |", peer.name());
    }
    print!("\n| --- |");
    for _ in PEERS {
        print!(" ---: |");
    }
    println!();
    for (work, figures) in WORKS.iter().zip(table) {
        print!("| {}, {} |", work.title, work.unit);
        for figure in figures {
            match figure {
                None => print!(" - |"),
                Some(figure) => print!(
                    " {} ({}-{}) |",
                    whole(figure.median),
                    whole(figure.least),
                    whole(figure.most)
                ),
            }
        }
        println!();
    }
}

/// A figure with thousands set apart.
fn whole(figure: f64) -> String {
    if figure < 100.0 {
        return format!("{figure:.1}");
    }
    let digits = format!("{figure:.0}");
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Values that differ from one to the next.
struct Values {
    bytes: Vec<u8>,
    at: usize,
}

impl Values {
    fn new(mut seed: u64) -> Self {
        let mut bytes = Vec::new();
        while bytes.len() < 4096 + VALUE_BYTES {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            bytes.extend_from_slice(&seed.to_le_bytes());
        }
        Self { bytes, at: 0 }
    }

    fn next(&mut self) -> &[u8] {
        self.at = (self.at + 61) % 4096;
        &self.bytes[self.at..self.at + VALUE_BYTES]
    }
}

fn append_one_by_one(open: &dyn Open, effort: &Effort) -> Option<f64> {
    let dir = scratch();
    let mut peer = open.open(dir.path());
    let mut values = Values::new(1);
    let began = Instant::now();
    let mut count = 0;
    while count < effort.records && (count % 1024 != 0 || began.elapsed() < ROUND_MAX) {
        if !peer.append(values.next()) {
            return None;
        }
        count += 1;
    }
    Some(began.elapsed().as_secs_f64() * 1e9 / count as f64)
}

fn fill(peer: &mut dyn Peer, records: u64) -> Option<(u64, Duration)> {
    let mut values = Values::new(2);
    let batch: Vec<Vec<u8>> = (0..PER_BATCH).map(|_| values.next().to_vec()).collect();
    let began = Instant::now();
    let mut count = 0;
    while count < records && began.elapsed() < ROUND_MAX {
        if !peer.append_batch(&batch) {
            return None;
        }
        count += PER_BATCH as u64;
    }
    Some((count, began.elapsed()))
}

fn append_batches(open: &dyn Open, effort: &Effort) -> Option<f64> {
    let dir = scratch();
    let mut peer = open.open(dir.path());
    let (count, took) = fill(&mut *peer, effort.records)?;
    Some(took.as_secs_f64() * 1e9 / count as f64)
}

fn read_all(open: &dyn Open, effort: &Effort) -> Option<f64> {
    let dir = scratch();
    let mut peer = open.open(dir.path());
    let (count, _) = fill(&mut *peer, effort.records)?;
    let began = Instant::now();
    let bytes = peer.read_all()?;
    let took = began.elapsed();
    assert_eq!(bytes, count * VALUE_BYTES as u64, "{}", open.name());
    Some(took.as_secs_f64() * 1e9 / count as f64)
}

fn read_at_random(open: &dyn Open, effort: &Effort) -> Option<f64> {
    let dir = scratch();
    let mut peer = open.open(dir.path());
    let (count, _) = fill(&mut *peer, effort.records)?;
    let mut random = 7_u64;
    let began = Instant::now();
    let mut reads = 0;
    while reads < effort.reads && (reads % 256 != 0 || began.elapsed() < ROUND_MAX) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        assert_eq!(black_box(peer.read_at(random % count))?, VALUE_BYTES);
        reads += 1;
    }
    Some(began.elapsed().as_secs_f64() * 1e9 / reads as f64)
}

fn commits(open: &dyn Open, effort: &Effort, threads: u64) -> Option<f64> {
    let dir = scratch();
    let peer = open.open_durable(dir.path())?;
    let peer = &*peer;
    let began = Instant::now();
    let count: u64 = std::thread::scope(|scope| {
        let workers: Vec<_> = (1..=threads)
            .map(|seed| {
                scope.spawn(move || {
                    let mut values = Values::new(seed);
                    let mut count = 0;
                    while began.elapsed() < effort.commits_for {
                        peer.commit(values.next());
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap())
            .sum::<u64>()
    });
    Some(count as f64 / began.elapsed().as_secs_f64())
}

fn scratch() -> tempfile::TempDir {
    let dir = std::env::var_os("OTTLA_BENCH_DIR").unwrap_or_else(|| ".".into());
    tempfile::tempdir_in(dir).unwrap()
}
