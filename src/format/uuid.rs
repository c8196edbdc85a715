//! Kafka's way to write 16 bytes: URL-safe base64 without padding, 22 characters.
//!
//! Knows nothing about what the ids name. A text is valid if and only if it is 22 characters of
//! `A-Z a-z 0-9 - _`, with or without `==` behind them. The lowest 4 bits of the last character
//! belong to no byte and are dropped, as Kafka drops them.

pub(crate) type Uuid = [u8; 16];

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const LENGTH: usize = 22;

pub(crate) fn encode(id: Uuid) -> String {
    // 128 bits are 21 digits of 6 bits and one of 2, written as if 4 zeros followed.
    let bits = u128::from_be_bytes(id);
    (0..LENGTH)
        .map(|digit| {
            let taken = u32::try_from(digit).unwrap_or(0).saturating_mul(6);
            let digit = match 122_u32.checked_sub(taken) {
                Some(shift) => bits.wrapping_shr(shift) & 0x3f,
                None => bits.wrapping_shl(4) & 0x3f,
            };
            let digit = usize::try_from(digit).unwrap_or(0);
            char::from(ALPHABET.get(digit).copied().unwrap_or(b'A'))
        })
        .collect()
}

pub(crate) fn decode(text: &str) -> Option<Uuid> {
    let digits = text.strip_suffix("==").unwrap_or(text);
    if digits.len() != LENGTH {
        return None;
    }
    let mut bits = 0_u128;
    let (head, last) = digits.split_at_checked(LENGTH.saturating_sub(1))?;
    for digit in head.bytes() {
        bits = bits.wrapping_shl(6) | value_of(digit)?;
    }
    let last = value_of(*last.as_bytes().first()?)?;
    Some((bits.wrapping_shl(2) | last.wrapping_shr(4)).to_be_bytes())
}

fn value_of(digit: u8) -> Option<u128> {
    let place = ALPHABET.iter().position(|known| *known == digit)?;
    u128::try_from(place).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, id: Uuid) {
        assert_eq!(decode(text), Some(id));
        assert_eq!(encode(id), text);
    }

    #[test]
    fn ids_in_both_directions() {
        check("AAAAAAAAAAAAAAAAAAAAAA", [0; 16]);
        check("_____________________w", [0xff; 16]);
        check("AAAAAAAAAAAAAAAAAAAAAQ", 1_u128.to_be_bytes());
        check(
            "rvvf-yNvRcyXKPzGuhhMXA",
            0xaefb_dffb_236f_45cc_9728_fcc6_ba18_4c5c_u128.to_be_bytes(),
        );
    }

    #[test]
    fn padding_is_taken_and_anything_else_refused() {
        assert!(decode("rvvf-yNvRcyXKPzGuhhMXA==").is_some());
        for text in [
            "",
            "rvvf",
            "rvvf-yNvRcyXKPzGuhhMX+",
            "rvvf-yNvRcyXKPzGuhhMXAA",
            "\u{e9}vvf-yNvRcyXKPzGuhhMX",
        ] {
            assert_eq!(decode(text), None, "{text}");
        }
    }

    #[test]
    fn every_bit_comes_back() {
        for bit in 0..128 {
            let id = 1_u128.wrapping_shl(bit).to_be_bytes();
            assert_eq!(decode(&encode(id)), Some(id));
        }
    }
}
