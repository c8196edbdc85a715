//! Tests of `root_file.rs`.

use super::*;

fn root() -> RootFile {
    RootFile {
        identity: RootIdentity {
            cluster_id: "rvvf-yNvRcyXKPzGuhhMXA".to_owned(),
            node_id: 3,
            directory_id: Some([7; 16]),
        },
        importing: false,
        metadata: vec![
            MetadataFile {
                name: "00000000000000000000.log".to_owned(),
                length: 12_345,
            },
            MetadataFile {
                name: "00000000000000000012-0000000003.checkpoint".to_owned(),
                length: 9,
            },
        ],
    }
}

#[test]
fn a_root_in_both_directions() {
    let empty = RootFile {
        importing: true,
        metadata: Vec::new(),
        ..root()
    };
    for root in [root(), empty] {
        let text = root.encode();
        assert_eq!(RootFile::decode(text.as_bytes()), Ok(root), "{text}");
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    let text = root().encode();
    for at in 0..text.len() - 1 {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1;
        assert_ne!(RootFile::decode(&bytes), Ok(root()), "{at}");
    }
    assert!(RootFile::decode(b"").is_err());
    assert!(RootFile::decode(b"crc32=00000000\n").is_err());
}
