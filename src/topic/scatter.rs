//! The records of one call, sorted by partition.
//!
//! Knows nothing about how partitions are chosen. Records of one partition keep their order.

use crate::types::{PartitionId, Record, to_usize};

pub(super) struct Scattered<'a> {
    records: Vec<Record<'a>>,
    /// The partition in the upper half, the index in `records` in the lower: faster to sort than
    /// whole records.
    keys: Vec<u64>,
}

const PLACE_MASK: u64 = 0xffff_ffff;

impl<'a> Scattered<'a> {
    pub(super) fn with_capacity(count: usize) -> Self {
        Self {
            records: Vec::with_capacity(count),
            keys: Vec::with_capacity(count),
        }
    }

    pub(super) fn add(&mut self, partition: PartitionId, record: Record<'a>) {
        // More records than 32 bits count fit no batch: building it fails, whatever their order.
        let place = u64::try_from(self.records.len())
            .unwrap_or(u64::MAX)
            .min(PLACE_MASK);
        self.keys.push(u64::from(partition) << 32 | place);
        self.records.push(record);
    }

    pub(super) fn sort(&mut self) {
        self.keys.sort_unstable();
    }

    pub(super) fn batches(
        &self,
    ) -> impl Iterator<Item = (PartitionId, impl Iterator<Item = Record<'a>>)> {
        self.keys.chunk_by(|a, b| a >> 32 == b >> 32).map(|keys| {
            let partition = keys.first().map_or(0, |key| key >> 32);
            let places = keys.iter().map(|key| to_usize(key & PLACE_MASK));
            let records = places.filter_map(|place| self.records.get(place).copied());
            (
                PartitionId::try_from(partition).unwrap_or(PartitionId::MAX),
                records,
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_together_by_partition_in_the_order_they_were_given() {
        let given = [(2, "a"), (0, "b"), (2, "c"), (1, "d"), (0, "e"), (2, "f")];
        let mut scattered = Scattered::with_capacity(0);
        for (partition, value) in &given {
            scattered.add(*partition, Record::new(*value));
        }
        scattered.sort();
        let batches: Vec<_> = scattered
            .batches()
            .map(|(partition, records)| {
                let values: Vec<_> = records.map(|record| record.value().unwrap()).collect();
                (partition, values.concat())
            })
            .collect();
        let expected = [
            (0, b"be".to_vec()),
            (1, b"d".to_vec()),
            (2, b"acf".to_vec()),
        ];
        assert_eq!(batches, expected);
    }
}
