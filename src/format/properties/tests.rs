//! Tests of `properties.rs`.

use super::*;

const ID: &str = "rvvf-yNvRcyXKPzGuhhMXA";

#[test]
fn partition_metadata_in_both_directions() {
    let text = format!("version: 0\ntopic_id: {ID}\n");
    let id = decode_partition(text.as_bytes()).unwrap();
    assert_eq!(encode_partition(id), text);
    assert_eq!(decode_partition(text.trim_end().as_bytes()), Ok(id));
}

#[test]
fn partition_metadata_without_a_usable_id_is_refused() {
    for text in [
        String::new(),
        format!("version: 1\ntopic_id: {ID}\n"),
        "version: 0\n".to_owned(),
        "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA\n".to_owned(),
        "version: 0\ntopic_id: short\n".to_owned(),
        format!("version: 0\ntopic_id: {ID}\nand more\n"),
    ] {
        assert!(decode_partition(text.as_bytes()).is_err(), "{text:?}");
    }
}

#[test]
fn meta_properties_in_both_directions() {
    let text = format!("version=1\ncluster.id={ID}\nnode.id=3\ndirectory.id={ID}\n");
    let parsed = MetaProperties::decode(text.as_bytes()).unwrap();
    assert_eq!(parsed.encode(), text);
    let as_java_writes_it = format!(
        "#\n#Fri Oct 25 10:00:00 UTC 2024\nnode.id=3\ndirectory.id={ID}\nversion=1\ncluster.\
            id={ID}\n"
    );
    assert_eq!(
        MetaProperties::decode(as_java_writes_it.as_bytes()),
        Ok(parsed)
    );
}

#[test]
fn an_identity_is_read_as_java_reads_it_and_written_back_as_it_was_read() {
    let text = format!(
        "#\n! comment\nversion : 1\ncluster.id=caf\\u00e9 \\\n    and\\ more\r\nnode.id 3\n\
         directory\\u002eid={ID}\nnode.id=4"
    );
    let parsed = MetaProperties::decode(text.as_bytes()).unwrap();
    let MetaProperties::Formatted(identity) = &parsed else {
        panic!("{parsed:?}");
    };
    assert_eq!(identity.cluster_id, "caf\u{e9} and more");
    assert_eq!(identity.node_id, 4);
    let written = parsed.encode();
    assert!(
        written.contains("cluster.id=caf\\u00E9 and more\n"),
        "{written}"
    );
    assert_eq!(MetaProperties::decode(written.as_bytes()), Ok(parsed));
}

#[test]
fn a_sentence_keeps_brokers_away_and_comes_back() {
    let sentence = "in use by Ottla: close it, or open and close it after a crash \\o/";
    let refusing = MetaProperties::Other {
        version: sentence.to_owned(),
    };
    let text = refusing.encode();
    assert_eq!(text.lines().count(), 1);
    assert_eq!(MetaProperties::decode(text.as_bytes()), Ok(refusing));
}

#[test]
fn meta_properties_that_lack_something_are_refused() {
    for text in [
        "",
        "cluster.id=x\nnode.id=1\n",
        "version=1\nnode.id=1\n",
        "version=1\ncluster.id=x\nnode.id=one\n",
        "version=1\ncluster.id=x\nnode.id=1\ndirectory.id=short\n",
    ] {
        assert!(MetaProperties::decode(text.as_bytes()).is_err(), "{text:?}");
    }
    assert!(MetaProperties::decode(&vec![b'#'; SIZE_MAX + 1]).is_err());
}

#[test]
fn the_clean_shutdown_file_in_both_directions() {
    assert_eq!(
        encode_clean_shutdown(17),
        "{\"version\":0,\"brokerEpoch\":17}"
    );
    assert_eq!(
        decode_clean_shutdown(encode_clean_shutdown(-1).as_bytes()),
        Some(-1)
    );
    assert_eq!(decode_clean_shutdown(b""), None);
    assert_eq!(decode_clean_shutdown(b"{\"brokerEpoch\":\"x\"}"), None);
}
