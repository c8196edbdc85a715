//! Strings, arrays and tags as Kafka's record schemas lay them out.
//!
//! Knows nothing about which record they are in. Two families, big-endian:
//!
//! | | plain versions | flexible versions |
//! | --- | --- | --- |
//! | string | i16 length, -1 for null, UTF-8 | unsigned varint length + 1, 0 for null, UTF-8 |
//! | bytes | i32 length, -1 for null | unsigned varint length + 1, 0 for null |
//! | array | i32 count, -1 for null | unsigned varint count + 1, 0 for null |
//! | end of a struct | nothing | unsigned varint count of tags, each tag, size, bytes |
//!
//! The count of an array is compared with the bytes that are left before room is made for it: an
//! element takes at least one byte.

use crate::types::to_usize;

use super::cursor::{Cursor, PutBytes};
use super::{Corruption, EncodeError};

/// A column of the table above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Plain,
    Flexible,
}

const NULL: Corruption = Corruption::malformed("a field is null that may not be");
const COUNT: Corruption = Corruption::malformed("an array is longer than its bytes");

impl<'a> Cursor<'a> {
    pub(super) fn nullable_string(
        &mut self,
        family: Family,
    ) -> Result<Option<&'a str>, Corruption> {
        let length = match family {
            Family::Plain => usize::try_from(self.i16()?).ok(),
            Family::Flexible => self.length_plus_one()?,
        };
        let Some(length) = length else {
            return Ok(None);
        };
        std::str::from_utf8(self.bytes(length)?)
            .map(Some)
            .map_err(|_| Corruption::malformed("a string is not UTF-8"))
    }

    pub(super) fn string(&mut self, family: Family) -> Result<&'a str, Corruption> {
        self.nullable_string(family)?.ok_or(NULL)
    }

    /// A field of bytes; null is read as empty.
    pub(super) fn blob(&mut self, family: Family) -> Result<&'a [u8], Corruption> {
        let length = match family {
            Family::Plain => usize::try_from(self.i32()?).ok(),
            Family::Flexible => self.length_plus_one()?,
        };
        self.bytes(length.unwrap_or(0))
    }

    /// The count of an array; null is read as 0.
    pub(super) fn count(&mut self, family: Family) -> Result<usize, Corruption> {
        let count = match family {
            Family::Plain => usize::try_from(self.i32()?).ok(),
            Family::Flexible => self.length_plus_one()?,
        };
        let count = count.unwrap_or(0);
        if count <= self.rest().len() {
            Ok(count)
        } else {
            Err(COUNT)
        }
    }

    pub(super) fn list<T>(
        &mut self,
        family: Family,
        mut element: impl FnMut(&mut Self) -> Result<T, Corruption>,
    ) -> Result<Vec<T>, Corruption> {
        let count = self.count(family)?;
        (0..count).map(|_| element(self)).collect()
    }

    /// An array of a flexible version; `None` is null.
    pub(super) fn nullable_list<T>(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<T, Corruption>,
    ) -> Result<Option<Vec<T>>, Corruption> {
        let Some(count) = self.length_plus_one()? else {
            return Ok(None);
        };
        if count > self.rest().len() {
            return Err(COUNT);
        }
        (0..count)
            .map(|_| element(self))
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// Calls `look` with each tagged field at the end of a struct of a flexible version.
    pub(super) fn each_tag(
        &mut self,
        mut look: impl FnMut(u32, &mut Cursor<'a>) -> Result<(), Corruption>,
    ) -> Result<(), Corruption> {
        for _ in 0..self.uvarint()? {
            let tag = self.uvarint()?;
            let size = to_usize(u64::from(self.uvarint()?));
            look(tag, &mut Cursor::new(self.bytes(size)?))?;
        }
        Ok(())
    }

    /// Skips the tagged fields, if the family has any.
    pub(super) fn tags(&mut self, family: Family) -> Result<(), Corruption> {
        match family {
            Family::Plain => Ok(()),
            Family::Flexible => self.each_tag(|_tag, _field| Ok(())),
        }
    }

    /// Reads a length or count of a flexible version; `None` is null.
    fn length_plus_one(&mut self) -> Result<Option<usize>, Corruption> {
        let length = self.uvarint()?.checked_sub(1);
        Ok(length.map(|length| to_usize(u64::from(length))))
    }
}

const TOO_LONG: EncodeError =
    EncodeError::Invalid("a name or text is too long for Kafka's records");

/// Writes these fields. Names with `16` and `32` are for plain versions, with `compact` and `tags`
/// for flexible ones.
pub(super) trait PutWire: PutBytes {
    fn put_string16(&mut self, text: &str) -> Result<(), EncodeError> {
        self.put_i16(i16::try_from(text.len()).map_err(|_| TOO_LONG)?);
        self.put(text.as_bytes());
        Ok(())
    }

    fn put_nullable_string16(&mut self, text: Option<&str>) -> Result<(), EncodeError> {
        if let Some(text) = text {
            return self.put_string16(text);
        }
        self.put_i16(-1);
        Ok(())
    }

    fn put_blob32(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.put_i32(i32::try_from(bytes.len()).map_err(|_| TOO_LONG)?);
        self.put(bytes);
        Ok(())
    }

    fn put_compact_count(&mut self, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.put_uvarint(count.saturating_add(1));
    }

    fn put_compact_string(&mut self, text: &str) {
        self.put_compact_count(text.len());
        self.put(text.as_bytes());
    }

    fn put_nullable_compact_string(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.put_compact_string(text),
            None => self.put_uvarint(0),
        }
    }

    fn put_no_tags(&mut self) {
        self.put_uvarint(0);
    }

    /// Writes tagged fields, which must be in the order of their tags.
    fn put_tags(&mut self, tags: &[(u32, Vec<u8>)]) {
        let size = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        self.put_uvarint(size(tags.len()));
        for (tag, field) in tags {
            self.put_uvarint(*tag);
            self.put_uvarint(size(field.len()));
            self.put(field);
        }
    }
}

impl PutWire for Vec<u8> {}

#[cfg(test)]
#[cfg(ottla_repository)]
mod tests;
