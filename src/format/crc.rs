//! Kafka's checksum: CRC-32C (Castagnoli, reflected, all ones in and out).
//!
//! Knows nothing about what is checked. Our own files use CRC-32 (IEEE), by `crc32fast`.

#[inline]
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_polynomial() {
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
        assert_eq!(crc32c(b""), 0);
    }
}
