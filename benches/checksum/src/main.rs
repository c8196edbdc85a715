//! CRC-32C by the crates that compute it, at the sizes of batches.
//!
//! ```text
//! cd benches/checksum && cargo run --release
//! ```
//!
//! `crc32fast` is not here: it has the other polynomial. The crates take turns in rounds that are
//! shorter than a time slice, and the table has the fastest round of each: what else the machine
//! does makes a round slower, never faster.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// A batch without records, one small record, what appends often are, and what readers read at
/// once.
const SIZES: [usize; 6] = [61, 149, 300, 1_024, 4_096, 1 << 20];

/// The checksum of a batch begins behind its first 21 bytes, so no crate gets aligned bytes.
const BEFORE: usize = 21;

const ROUNDS: usize = 4_001;
const ROUND: Duration = Duration::from_micros(100);

type Checksum = fn(&[u8]) -> u32;

static TABLES: crc::Crc<u32, crc::Table<16>> =
    crc::Crc::<u32, crc::Table<16>>::new(&crc::CRC_32_ISCSI);

fn crates() -> [(&'static str, Checksum); 3] {
    [
        ("crc-fast", |bytes| crc_fast::crc32_iscsi(bytes)),
        ("crc32c", |bytes| crc32c::crc32c(bytes)),
        ("crc", |bytes| TABLES.checksum(bytes)),
    ]
}

/// How long one call takes, in nanoseconds, in one round.
fn round(checksum: Checksum, bytes: &[u8], calls: u32) -> f64 {
    let began = Instant::now();
    for _ in 0..calls {
        black_box(checksum(black_box(bytes)));
    }
    began.elapsed().as_secs_f64() * 1e9 / f64::from(calls)
}

fn main() {
    let mut state = 1_u32;
    let bytes: Vec<u8> = (0..BEFORE + SIZES[SIZES.len() - 1])
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .collect();
    println!(
        "crc-fast: {}",
        crc_fast::get_calculator_target(crc_fast::CrcAlgorithm::Crc32Iscsi)
    );
    println!("| bytes | {} |", crates().map(|(name, _)| name).join(" | "));
    println!("| ---: | ---: | ---: | ---: |");
    for size in SIZES {
        let bytes = &bytes[BEFORE..BEFORE + size];
        let sums = crates().map(|(_, checksum)| checksum(bytes));
        assert!(sums.iter().all(|sum| *sum == sums[0]), "{sums:x?}");

        let plan = crates().map(|(_, checksum)| {
            let one = round(checksum, bytes, 100);
            (ROUND.as_secs_f64() * 1e9 / one).max(1.0) as u32
        });
        let mut fastest = [f64::INFINITY; 3];
        for _ in 0..ROUNDS {
            for ((fastest, (_, checksum)), calls) in fastest.iter_mut().zip(crates()).zip(plan) {
                *fastest = fastest.min(round(checksum, bytes, calls));
            }
        }
        let figures = fastest.map(|ns| format!("{ns:.1} ns, {:.1} GB/s", size as f64 / ns));
        println!("| {size} | {} |", figures.join(" | "));
    }
}
