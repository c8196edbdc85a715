//! Records that say what they are.
//!
//! Knows nothing about who reads them.

use crate::dice::Dice;

const MAGIC: u64 = 0x7374_6F72_6D21_0001;
const FIELDS: usize = 5;

/// What a record says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    /// 0 for the steady topic, 1 for the other.
    pub(crate) topic: u64,
    /// The life of the topic that it was written to.
    pub(crate) life: u64,
    /// Who wrote it.
    pub(crate) writer: u64,
    /// Rises with every record of a writer.
    pub(crate) sequence: u64,
}

impl Said {
    /// The value: the fields, some bytes that depend on them, and a checksum of all.
    pub(crate) fn value(self) -> Vec<u8> {
        let fields: [u64; FIELDS] = [MAGIC, self.topic, self.life, self.writer, self.sequence];
        let mut value: Vec<u8> = fields.iter().flat_map(|it| it.to_le_bytes()).collect();
        let mut dice = Dice(self.sequence ^ (self.writer << 56));
        for _ in 0..dice.below(20) {
            value.extend(dice.next().to_le_bytes());
        }
        let sum = checksum(&value);
        value.extend(sum.to_le_bytes());
        value
    }

    /// What a value says, if it is whole.
    pub(crate) fn read(value: &[u8]) -> Option<Self> {
        let (body, sum) = value.split_last_chunk::<8>()?;
        if checksum(body) != u64::from_le_bytes(*sum) {
            return None;
        }
        let mut fields = body
            .chunks_exact(8)
            .map(|it| it.try_into().map(u64::from_le_bytes));
        let mut field = || fields.next()?.ok();
        if field()? != MAGIC {
            return None;
        }
        let (topic, life, writer, sequence) = (field()?, field()?, field()?, field()?);
        Some(Self {
            topic,
            life,
            writer,
            sequence,
        })
    }
}

/// FNV-1a over words and bytes.
fn checksum(bytes: &[u8]) -> u64 {
    let step = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}
