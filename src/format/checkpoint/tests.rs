//! Tests of `checkpoint.rs`.

use super::*;

#[test]
fn offset_checkpoints_in_both_directions() {
    let text = "0\n2\norders 0 12345\n__consumer_offsets 12 0\n";
    let items = decode_offsets(text.as_bytes()).unwrap();
    assert_eq!(items.len(), 2);
    assert_eq!(items[0].offset, 12_345);
    let again = encode_offsets(
        items
            .iter()
            .map(|item| (item.topic.as_str(), item.partition, item.offset)),
    );
    assert_eq!(again, text);
}

#[test]
fn leader_epochs_in_both_directions() {
    let text = "0\n2\n0 0\n3 1500\n";
    let epochs = decode_epochs(text.as_bytes()).unwrap();
    assert_eq!(epochs[1].start_offset, 1500);
    assert_eq!(encode_epochs(&epochs), text);
    assert_eq!(encode_epochs(&[]), "0\n0\n");
    assert_eq!(decode_epochs(b""), Ok(Vec::new()));
    assert_eq!(decode_epochs(b"0\n0\n"), Ok(Vec::new()));
}

#[test]
fn everything_else_is_refused() {
    for text in [
        "1\n0\n",
        "0\n",
        "0\n1\n",
        "0\n1\na 0 1\nb 0 1\n",
        "0\n1\na 0\n",
        "0\n1\na 0 1 2\n",
        "0\n1\na -1 2\n",
        "0\n1\na 0 -2\n",
        "0\n1\na 4294967296 2\n",
        "0\n1\na 0 9223372036854775808\n",
        "\n0\n",
    ] {
        assert!(decode_offsets(text.as_bytes()).is_err(), "{text:?}");
    }
    assert!(decode_offsets(&[0xff]).is_err());
    for text in ["0\n2\n3 0\n3 5\n", "0\n2\n3 5\n4 5\n", "0\n1\n-1 5\n"] {
        assert!(decode_epochs(text.as_bytes()).is_err(), "{text:?}");
    }
}
