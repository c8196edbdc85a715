//! Floor 8: which partition a record goes to.
//!
//! Knows nothing about logs: a key and a count determine a number, as for a Kafka producer.

use crate::sync::{AtomicU64, Ordering};
use crate::types::{PartitionId, Record};

use super::random::{Random, random_u64};

/// Chooses the partition of every record, for
/// [`Topic::with_partitioner`](crate::Topic::with_partitioner).
///
/// The appending thread calls it before anything is locked: it may block or panic without harm to
/// the topic. With a number outside `0..partitions` the append returns
/// [`Error::UnknownPartition`](crate::Error::UnknownPartition).
///
/// # Examples
///
/// ```
/// use ottla::{PartitionId, Partitioner, Record};
///
/// /// Everything of one origin airport together.
/// struct ByFirstByte;
///
/// impl Partitioner for ByFirstByte {
///     fn partition(&self, _topic: &str, record: &Record<'_>, partitions: u32) -> PartitionId {
///         let first = record.key().and_then(|key| key.first()).copied().unwrap_or(0);
///         u32::from(first) % partitions
///     }
/// }
/// assert_eq!(ByFirstByte.partition("t", &Record::keyed("E", "x"), 2), 1);
/// ```
pub trait Partitioner: Send + Sync {
    /// One of `0..partitions`; `partitions` is at least 1.
    fn partition(&self, topic: &str, record: &Record<'_>, partitions: u32) -> PartitionId;
}

/// The partition of a key, as Kafka's own producer computes it
/// (`BuiltInPartitioner.partitionForKey`). An empty key is a key.
#[inline]
pub(crate) fn partition_of_key(key: &[u8], partitions: u32) -> PartitionId {
    (murmur2(key) & 0x7fff_ffff)
        .checked_rem(partitions)
        .unwrap_or(0)
}

/// Kafka's 32-bit murmur2 (`Utils.murmur2`), with its seed.
#[inline]
fn murmur2(bytes: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;

    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let mut hash = SEED ^ length;
    let (words, tail) = bytes.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> R;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        for (at, byte) in tail.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * at);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

/// Kafka's `batch.size`.
pub(super) const STICKY_BYTES: u64 = 16_384;

/// Kafka's uniform sticky partitioner (KIP-794): records without a key go to one partition for so
/// many bytes, then to another, so that batches fill up.
///
/// Each handle has its own, so that threads do not compete for one partition's lock.
#[derive(Debug)]
pub(super) struct Sticky {
    /// The partition in the upper half, the bytes sent to it in the lower.
    place: AtomicU64,
    limit_bytes: u64,
    random: Random,
}

/// The lower half of `place`. As a value, more than any partition gets: the next record chooses
/// again.
const MOVE_ON: u64 = 0xffff_ffff;

/// A sum below it plus one more record stays below [`MOVE_ON`].
const LIMIT_BYTES_MAX: u64 = 1 << 30;

impl Sticky {
    pub(super) fn new(limit_bytes: u64) -> Self {
        let random = Random::new(random_u64());
        let limit_bytes = limit_bytes.clamp(1, LIMIT_BYTES_MAX);
        Self {
            place: AtomicU64::new(u64::MAX),
            limit_bytes,
            random,
        }
    }

    /// The partition of a record without a key. Threads that share a handle may overwrite each
    /// other's sum: then a partition gets somewhat more. A plain load and store are several times
    /// cheaper than an exact count.
    #[inline]
    pub(super) fn place(&self, bytes: usize, partitions: u32) -> PartitionId {
        let place = self.place.load(Ordering::Relaxed);
        let sent = place & MOVE_ON;
        let partition = u32::try_from(place >> 32).unwrap_or(0);
        let added = u64::try_from(bytes)
            .unwrap_or(u64::MAX)
            .min(self.limit_bytes);
        if sent < self.limit_bytes && partition < partitions {
            self.place
                .store(place.saturating_add(added), Ordering::Relaxed);
            return partition;
        }
        let next = self.next_after(partition, partitions);
        self.place
            .store(u64::from(next) << 32 | added, Ordering::Relaxed);
        next
    }

    /// A batch is complete: the next record chooses again.
    pub(super) fn move_on(&self) {
        let place = self.place.load(Ordering::Relaxed);
        self.place.store(place | MOVE_ON, Ordering::Relaxed);
    }

    /// A partition other than the present one, each with the same probability.
    #[cold]
    fn next_after(&self, present: PartitionId, partitions: u32) -> PartitionId {
        let Some(others) = partitions.checked_sub(1).filter(|others| *others > 0) else {
            return 0;
        };
        if present >= partitions {
            return self.random.below(partitions);
        }
        let other = self.random.below(others);
        if other < present {
            other
        } else {
            other.saturating_add(1)
        }
    }
}

impl Clone for Sticky {
    fn clone(&self) -> Self {
        Self::new(self.limit_bytes)
    }
}

#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;
