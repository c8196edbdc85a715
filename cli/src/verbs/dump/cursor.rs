//! Big-endian numbers and varints from a slice.
//!
//! Knows nothing about what they mean. Invariant: nothing is read past the end, and no length is
//! believed that the slice does not have.

/// What is left of a slice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

macro_rules! numbers {
    ($($name:ident: $type:ty),*) => {$(
        pub(super) fn $name(&mut self) -> Option<$type> {
            let bytes = self.take(size_of::<$type>())?;
            Some(<$type>::from_be_bytes(bytes.try_into().ok()?))
        }
    )*};
}

impl<'a> Cursor<'a> {
    numbers!(i8: i8, i16: i16, u16: u16, i32: i32, u32: u32, i64: i64, u64: u64);

    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn skip(&mut self, count: usize) -> Option<()> {
        self.take(count).map(drop)
    }

    /// A varint of at most ten bytes.
    pub(super) fn uvarint(&mut self) -> Option<u64> {
        let (mut value, mut shift) = (0_u64, 0);
        loop {
            let byte = *self.take(1)?.first()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(value);
            }
            shift += 7;
        }
    }

    /// A zigzag varint.
    pub(super) fn varint(&mut self) -> Option<i64> {
        let value = self.uvarint()?;
        let half = i64::try_from(value >> 1).ok()?;
        Some(if value & 1 == 1 { !half } else { half })
    }

    #[expect(clippy::option_option, reason = "too short is one thing, null another")]
    /// Bytes behind a varint of their length; -1 is null.
    pub(super) fn bytes(&mut self) -> Option<Option<&'a [u8]>> {
        match self.varint()? {
            -1 => Some(None),
            length => Some(Some(self.take(usize::try_from(length).ok()?)?)),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
