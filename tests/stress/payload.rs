//! Records that say what they are, and what a reader can tell from them alone.

use std::collections::BTreeMap;

use ottla::{LogRecord, Offset, Record};

/// Keys of a log that is compacted.
pub(crate) const KEYS: u64 = 20;

const MAGIC: u64 = 0x6F74_746C_6121_0001;

/// What a record says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    /// The log that it was written to.
    pub(crate) log: u64,
    /// Who wrote it: never the same for two threads.
    pub(crate) writer: u64,
    /// Rises with every record of a writer.
    pub(crate) sequence: u64,
}

impl Said {
    fn fields(self) -> [u64; 4] {
        [MAGIC, self.log, self.writer, self.sequence]
    }

    /// The value: the fields, and 0 to 399 bytes that no other record has.
    pub(crate) fn value(self) -> Vec<u8> {
        let mut value: Vec<u8> = self
            .fields()
            .iter()
            .flat_map(|field| field.to_le_bytes())
            .collect();
        value.extend(self.filling());
        value
    }

    pub(crate) fn key(self) -> [u8; 8] {
        (self.sequence % KEYS).to_be_bytes()
    }

    fn filling(self) -> impl Iterator<Item = u8> {
        let fields = self.fields().into_iter();
        let seed = fields.fold(0_u64, |sum, field| {
            (sum ^ field).wrapping_mul(0x9E37_79B9_7F4A_7C15)
        });
        let byte = move |at: u64| {
            seed.rotate_left(u32::try_from(at % 64).unwrap_or(0))
                .to_le_bytes()[0]
        };
        (0..seed % 400).map(byte)
    }

    /// What a record says, or what is wrong with it.
    pub(crate) fn of(record: &LogRecord) -> Result<Self, String> {
        let value = record.value().ok_or("a record without a value")?;
        let field = |at: usize| {
            let bytes = value.get(at * 8..)?.first_chunk::<8>()?;
            Some(u64::from_le_bytes(*bytes))
        };
        let fields = [field(0), field(1), field(2), field(3)];
        let [Some(MAGIC), Some(log), Some(writer), Some(sequence)] = fields else {
            return Err(format!("offset {} holds no record of ours", record.offset));
        };
        let said = Self {
            log,
            writer,
            sequence,
        };
        let whole = value[32..].iter().copied().eq(said.filling());
        let keyed = record.key().is_none_or(|key| key == said.key());
        if whole && keyed {
            Ok(said)
        } else {
            Err(format!(
                "the record at offset {} is torn: {said:?}",
                record.offset
            ))
        }
    }
}

/// One pass of a reader over a log: offsets rise, and so do the sequences of each writer, also
/// where records were truncated meanwhile and others have taken their offsets.
#[derive(Debug)]
pub(crate) struct Pass {
    log: u64,
    last: Option<Offset>,
    newest: BTreeMap<u64, u64>,
}

impl Pass {
    pub(crate) fn over(log: u64) -> Self {
        Self {
            log,
            last: None,
            newest: BTreeMap::new(),
        }
    }

    pub(crate) fn take(&mut self, record: &LogRecord) -> Result<Said, String> {
        let said = Said::of(record)?;
        let offset = record.offset;
        if said.log != self.log {
            return Err(format!("offset {offset} is a record of log {}", said.log));
        }
        if self.last >= Some(offset) {
            return Err(format!("offset {offset} comes after {:?}", self.last));
        }
        self.last = Some(offset);
        let before = self.newest.insert(said.writer, said.sequence);
        if before >= Some(said.sequence) {
            return Err(format!("offset {offset}, {said:?}, comes after {before:?}"));
        }
        Ok(said)
    }
}

/// A record of a value and a key.
pub(crate) fn record<'a>(key: Option<&'a [u8; 8]>, value: &'a [u8]) -> Record<'a> {
    match key {
        Some(key) => Record::keyed(key, value),
        None => Record::new(value),
    }
}
