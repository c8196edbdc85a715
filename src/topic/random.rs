//! Unpredictable numbers for ids, and for choices that should spread.
//!
//! Knows nothing about what they are for. The seed is the standard library's, from the operating
//! system; do not use them as secrets.

use std::hash::{BuildHasher as _, RandomState};

use crate::sync::{AtomicU64, Ordering};
use crate::types::TopicId;

/// Every hasher of the standard library has its own key, so the numbers are unrelated.
pub(crate) fn random_u64() -> u64 {
    RandomState::new().hash_one(0_u8)
}

/// An id by Kafka's rules (`Uuid.randomUuid`): its text does not begin with `-`, like an option,
/// and it is not reserved.
pub(crate) fn random_topic_id() -> TopicId {
    loop {
        let mut bytes = [0; 16];
        let (front, back) = bytes.split_at_mut(8);
        front.copy_from_slice(&random_u64().to_le_bytes());
        back.copy_from_slice(&random_u64().to_le_bytes());
        // The first base64 character encodes the first six bits, and '-' is 62.
        let starts_with_dash = bytes.first().is_some_and(|byte| byte >> 2 == 62);
        let reserved = bytes.iter().take(15).all(|byte| *byte == 0);
        if !starts_with_dash && !reserved {
            return TopicId(bytes);
        }
    }
}

/// Evenly distributed numbers (`SplitMix64`), for any number of threads.
#[derive(Debug)]
pub(super) struct Random {
    state: AtomicU64,
}

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            state: AtomicU64::new(seed),
        }
    }

    /// One of `0..bound`, with equal probability; 0 for an empty range.
    pub(super) fn below(&self, bound: u32) -> u32 {
        let step = 0x9e37_79b9_7f4a_7c15;
        let mut z = self
            .state
            .fetch_add(step, Ordering::Relaxed)
            .wrapping_add(step);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        // The upper half of a product with the bound: even to one part in 2^32, without a division.
        let scaled = (z >> 32).wrapping_mul(u64::from(bound));
        u32::try_from(scaled >> 32).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_never_look_like_an_option() {
        let ids: std::collections::BTreeSet<_> = (0..10_000).map(|_| random_topic_id()).collect();
        assert_eq!(ids.len(), 10_000);
        assert!(ids.iter().all(|id| id.0[0] >> 2 != 62));
    }

    #[test]
    fn a_choice_stays_below_its_bound() {
        let random = Random::new(7);
        assert!((0..1_000).all(|_| random.below(3) < 3));
        assert_eq!(random.below(0), 0);
        assert_eq!(random.below(1), 0);
    }
}
