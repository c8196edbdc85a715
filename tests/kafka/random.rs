//! Random numbers, settings, records and logs, the same ones in every run.
//!
//! Knows nothing about Kafka. The numbers are xorshift64*: all that tests need.

use std::time::{Duration, SystemTime};

use ottla::{
    Compression, Durability, Header, LogConfig, Record, Timestamp, TimestampType, WriteMode,
};

/// A stream of random numbers.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        random.next();
        random
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// One of the numbers from 0 to below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 16) % end.max(1)
    }

    pub(crate) fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }

    pub(crate) fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        let at = self.below(u64::try_from(choices.len()).unwrap());
        choices[usize::try_from(at).unwrap()].clone()
    }

    pub(crate) fn bytes(&mut self, longest: u64) -> Vec<u8> {
        // Text that repeats, so that codecs have something to do, and now and then noise.
        let length = self.below(longest + 1);
        if self.one_in(4) {
            return (0..length).map(|_| self.next().to_le_bytes()[3]).collect();
        }
        let word = self.below(1000).to_string();
        let letters = word.bytes().cycle();
        letters.take(usize::try_from(length).unwrap()).collect()
    }
}

/// A record that is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Made {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) timestamp: Option<i64>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Made {
    pub(crate) fn random(random: &mut Random, longest_value: u64) -> Self {
        let some = |wanted: bool, bytes: Vec<u8>| wanted.then_some(bytes);
        let key = some(!random.one_in(3), random.bytes(40));
        let value = some(!random.one_in(8), random.bytes(longest_value));
        let count = if random.one_in(3) { random.below(5) } else { 0 };
        let headers = (0..count).map(|_| {
            let name = random.pick(&["trace", "h", "", "name-of-a-header", "h\u{e9}"]);
            let value = some(!random.one_in(4), random.bytes(20));
            (name.to_owned(), value)
        });
        let headers = headers.collect();
        let base = 1_357_000_000_000;
        let timestamp = match random.below(6) {
            0 => None,
            1 => Some(i64::try_from(random.below(1 << 41)).unwrap()),
            _ => Some(base + i64::try_from(random.below(100_000_000)).unwrap()),
        };
        Self {
            key,
            value,
            timestamp,
            headers,
        }
    }

    /// A record of now: a broker refuses times that lie far ahead, and forgets a producer after a
    /// day.
    pub(crate) fn of_now(random: &mut Random, longest_value: u64) -> Self {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis();
        Self {
            timestamp: Some(i64::try_from(now).unwrap()),
            ..Self::random(random, longest_value)
        }
    }

    /// The same with its headers as an appended record borrows them.
    pub(crate) fn headed(&self) -> Headed<'_> {
        let headers = self.headers.iter().map(|(name, value)| Header {
            name: name.as_bytes(),
            value: value.as_deref(),
        });
        Headed {
            made: self,
            headers: headers.collect(),
        }
    }
}

/// A record whose headers are borrowed too.
#[derive(Debug)]
pub(crate) struct Headed<'a> {
    made: &'a Made,
    headers: Vec<Header<'a>>,
}

impl Headed<'_> {
    pub(crate) fn record(&self) -> Record<'_> {
        let record = Record::from_parts(self.made.key.as_deref(), self.made.value.as_deref());
        let record = record.with_headers(&self.headers);
        match self.made.timestamp {
            Some(millis) => record.with_timestamp(Timestamp::from_millis(millis)),
            None => record,
        }
    }
}

/// Settings that make many small segments.
pub(crate) fn config(random: &mut Random) -> LogConfig {
    let codecs = [
        Compression::None,
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ];
    LogConfig::default()
        .segment_bytes(1024 + random.below(60_000))
        .segment_age(Duration::from_secs(60 + random.below(1_000_000)))
        .segment_index_bytes(24 + random.below(400))
        .index_interval_bytes(random.pick(&[0, 1, 300, 1000, 4096]))
        .compression_type(random.pick(&codecs))
        .message_timestamp_type(random.pick(&[
            TimestampType::CreateTime,
            TimestampType::CreateTime,
            TimestampType::LogAppendTime,
        ]))
        .durability(random.pick(&[
            Durability::Os,
            Durability::Os,
            Durability::Interval(Duration::from_millis(5)),
            Durability::Always,
        ]))
        .write_mode(random.pick(&[WriteMode::Auto, WriteMode::Mapped, WriteMode::Pwrite]))
}
