//! The one reader and writer of big-endian bytes.
//!
//! Knows nothing about what they mean. A read past the end is [`Corruption::Truncated`] and leaves
//! the cursor where it was; nothing is allocated by a length that was read.

use super::Corruption;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

macro_rules! read_be {
    ($($name:ident: $type:ty),+) => {$(
        #[inline]
        pub(crate) fn $name(&mut self) -> Result<$type, Corruption> {
            self.array().map(<$type>::from_be_bytes)
        }
    )+};
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    read_be!(u8: u8, i8: i8, u16: u16, i16: i16, u32: u32, i32: i32, u64: u64, i64: i64);

    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Corruption> {
        let (array, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or_else(|| Corruption::truncated(N, self.rest.len()))?;
        self.rest = rest;
        Ok(*array)
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Result<&'a [u8], Corruption> {
        let (bytes, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or_else(|| Corruption::truncated(length, self.rest.len()))?;
        self.rest = rest;
        Ok(bytes)
    }

    /// An unsigned varint of at most 32 bits and 5 bytes, as in Kafka's flexible records.
    pub(crate) fn uvarint(&mut self) -> Result<u32, Corruption> {
        let mut value = 0_u32;
        let mut next = *self;
        for shift in [0_u32, 7, 14, 21, 28] {
            let byte = next.u8()?;
            value |= u32::from(byte & 0x7f).wrapping_shl(shift);
            if byte < 0x80 {
                *self = next;
                return Ok(value);
            }
        }
        Err(Corruption::malformed("a varint is longer than 5 bytes"))
    }

    /// Returns an error if bytes are left.
    pub(crate) fn finish(self) -> Result<(), Corruption> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Corruption::malformed("bytes are left after the value"))
        }
    }
}

pub(crate) trait PutBytes {
    fn put(&mut self, bytes: &[u8]);

    fn put_u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    fn put_i8(&mut self, value: i8) {
        self.put(&value.to_be_bytes());
    }

    fn put_u16(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }

    fn put_i16(&mut self, value: i16) {
        self.put(&value.to_be_bytes());
    }

    fn put_u32(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }

    fn put_i32(&mut self, value: i32) {
        self.put(&value.to_be_bytes());
    }

    fn put_u64(&mut self, value: u64) {
        self.put(&value.to_be_bytes());
    }

    fn put_i64(&mut self, value: i64) {
        self.put(&value.to_be_bytes());
    }

    /// The inverse of [`Cursor::uvarint`].
    fn put_uvarint(&mut self, value: u32) {
        let mut left = value;
        while let Some(high) = left.checked_shr(7).filter(|high| *high > 0) {
            let [.., low] = left.to_be_bytes();
            self.put_u8(low | 0x80);
            left = high;
        }
        let [.., low] = left.to_be_bytes();
        self.put_u8(low);
    }
}

impl PutBytes for Vec<u8> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;
