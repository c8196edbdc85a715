//! Kafka's messages before record batches (magic 0 and 1, written up to 0.10), as far as telling
//! them from damage.
//!
//! | offset | size | field |
//! | --- | --- | --- |
//! | 0 | 8 | offset |
//! | 8 | 4 | size of what follows |
//! | 12 | 4 | CRC-32 (IEEE) of what follows it |
//! | 16 | 1 | magic, 0 or 1 |
//! | 17 | | attributes, for magic 1 a timestamp, key and value, each behind its length |
//!
//! Knows nothing about what the messages say: they are not read, and must not be taken for damage.
//! Bytes are such a message if and only if the magic is 0 or 1, all bytes that the size claims are
//! there, and the CRC is right.

use super::cursor::Cursor;

/// Bytes of offset and size.
const PREFIX_LEN: usize = 12;
const CRC_LEN: usize = 4;

/// The bytes that [`old_message_len`] needs.
pub(crate) const OLD_HEADER_LEN: usize = PREFIX_LEN;

/// The length of a whole message in bytes; `None` when none begins there.
pub(crate) fn old_message_len(header: &[u8]) -> Option<usize> {
    let mut fields = Cursor::new(header);
    fields.i64().ok()?;
    let size = usize::try_from(fields.i32().ok()?).ok()?;
    (size > CRC_LEN).then(|| size.checked_add(PREFIX_LEN))?
}

pub(crate) fn is_old_message(bytes: &[u8]) -> bool {
    let message = old_message_len(bytes).and_then(|len| bytes.get(PREFIX_LEN..len));
    let Some((crc, body)) = message.and_then(|message| message.split_first_chunk::<CRC_LEN>())
    else {
        return false;
    };
    matches!(body.first(), Some(0 | 1)) && crc32fast::hash(body) == u32::from_be_bytes(*crc)
}

#[cfg(test)]
pub(crate) fn old_message(offset: u64, magic: u8, value: &[u8]) -> Vec<u8> {
    let mut body = vec![magic, 0];
    if magic == 1 {
        body.extend(1_300_000_000_000_i64.to_be_bytes());
    }
    body.extend((-1_i32).to_be_bytes());
    body.extend(i32::try_from(value.len()).unwrap().to_be_bytes());
    body.extend(value);
    let mut bytes = offset.to_be_bytes().to_vec();
    bytes.extend(u32::try_from(body.len() + CRC_LEN).unwrap().to_be_bytes());
    bytes.extend(crc32fast::hash(&body).to_be_bytes());
    bytes.extend(body);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_distinguished_from_damage_by_its_checksum() {
        for magic in [0, 1] {
            let message = old_message(7, magic, b"hello");
            assert_eq!(old_message_len(&message), Some(message.len()));
            assert!(is_old_message(&message));
            for bit in 64..message.len() * 8 {
                let mut bad = message.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert!(!is_old_message(&bad), "bit {bit}");
            }
            for len in 0..message.len() {
                assert!(!is_old_message(&message[..len]), "{len} bytes");
            }
        }
    }

    #[test]
    fn zeros_and_a_record_batch_are_no_old_messages() {
        assert!(!is_old_message(&[0; 100]));
        assert!(!is_old_message(&old_message(7, 2, b"hello")));
    }
}
