//! A distribution of whole numbers.
//!
//! Knows nothing about what is measured, nor in which unit.

use super::to_u64;

/// A distribution in buckets that double: [`Histogram::quantile`] returns at most twice what was
/// measured. Histograms can be [added](Histogram::add).
///
/// # Examples
///
/// ```
/// use ottla::{Broker, Durability, TopicConfig};
///
/// let broker = Broker::temporary()?;
/// let config = TopicConfig::default().durability(Durability::Always);
/// let topic = broker.create_topic("flights", config)?;
/// topic.append("departed EWR")?;
/// let batches = broker.metrics().logs.batches_per_sync;
/// assert_eq!((batches.count(), batches.sum(), batches.max()), (1, 1, 1));
/// assert_eq!(batches.quantile(990), 1);
/// # Ok::<(), ottla::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Histogram {
    count: u64,
    sum: u64,
    max: u64,
    /// How often a figure was 0, was 1, was 2 or 3, was 4 to 7, and so on up to the largest one.
    buckets: Vec<u64>,
}

impl Histogram {
    /// The number of figures.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The sum of the figures.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The largest figure, or 0 without figures.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.max
    }

    /// A number that `thousandths` of the figures do not exceed: `quantile(500)` is the median. It
    /// is less than twice the largest of these figures, and 0 without figures.
    #[must_use]
    pub fn quantile(&self, thousandths: u64) -> u64 {
        let wanted = u128::from(self.count).saturating_mul(u128::from(thousandths.min(1000)));
        let mut seen = 0_u128;
        for (bucket, count) in (0_u32..).zip(&self.buckets) {
            seen = seen.saturating_add(u128::from(*count));
            if seen > 0 && seen.saturating_mul(1000) >= wanted {
                let above = 1_u64.checked_shl(bucket);
                let most = above.map_or(u64::MAX, |above| above.saturating_sub(1));
                return most.min(self.max);
            }
        }
        self.max
    }

    /// Adds the figures of another histogram.
    pub fn add(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.sum = self.sum.saturating_add(other.sum);
        self.max = self.max.max(other.max);
        if self.buckets.len() < other.buckets.len() {
            self.buckets.resize(other.buckets.len(), 0);
        }
        for (bucket, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *bucket = bucket.saturating_add(*more);
        }
    }

    pub(crate) fn record(&mut self, figure: u64) {
        let bucket = u64::BITS.saturating_sub(figure.leading_zeros());
        let bucket = usize::try_from(bucket).unwrap_or_default();
        if self.buckets.len() <= bucket {
            self.buckets.resize(bucket.saturating_add(1), 0);
        }
        if let Some(count) = self.buckets.get_mut(bucket) {
            *count = count.saturating_add(1);
        }
        self.count = self.count.saturating_add(1);
        self.sum = self.sum.saturating_add(figure);
        self.max = self.max.max(figure);
        debug_assert!(to_u64(self.buckets.len()) <= 65, "a figure has 64 bits");
    }

    pub(crate) fn record_micros(&mut self, time: std::time::Duration) {
        self.record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;
