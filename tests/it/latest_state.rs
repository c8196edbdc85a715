//! The table of the example of that name, compared with the CSV itself.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use ottla::{Broker, CleanupPolicy, TopicConfig};

use crate::helpers::{scratch, text};

#[path = "../../examples/latest_state/table.rs"]
mod table;

use table::Table;

/// The aircraft in the slice that is shipped.
const AIRCRAFT: usize = 2_923;

fn slice() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/flights.csv.gz");
    let mut text = String::new();
    GzDecoder::new(std::fs::File::open(path).unwrap())
        .read_to_string(&mut text)
        .unwrap();
    text
}

#[test]
fn one_row_for_each_aircraft_and_it_is_the_last_one_written() {
    let slice = slice();
    let field = |line: &str| line.split(',').nth(11).unwrap().to_owned();
    let flown = slice.lines().skip(1).filter(|line| field(line) != "NA");
    let expected: BTreeMap<_, _> = flown
        .clone()
        .zip(0_u64..)
        .map(|(line, offset)| (field(line), (offset, line.to_owned())))
        .collect();
    assert_eq!(expected.len(), AIRCRAFT);
    let dir = scratch();
    let broker = Broker::open(dir.path()).unwrap();
    let config = TopicConfig::default()
        .cleanup_policy(CleanupPolicy::Compact)
        .segment_bytes(256 << 10);
    let topic = broker.create_topic("last-flight", config).unwrap();
    let log = topic.partition(0).unwrap();
    let mut table = Table::open(log.clone()).unwrap();
    for line in flown {
        table.put(&field(line), line, &[]).unwrap();
    }
    let check = |table: &Table| {
        assert_eq!(table.len(), AIRCRAFT);
        let rows: BTreeMap<_, _> = table
            .rows()
            .map(|row| (text(row.key()), (row.offset, text(row.value()))))
            .collect();
        assert_eq!(rows, expected);
    };
    check(&table);
    log.compact().unwrap();
    let rebuilt = Table::open(log.clone()).unwrap();
    check(&rebuilt);
    let records = log.reader(0).unwrap().count();
    assert_eq!(records, AIRCRAFT, "one record for each, and no more");
    let tail = "N14228";
    assert_eq!(text(rebuilt.get(tail).unwrap().value()), expected[tail].1);
    assert_eq!(rebuilt.log().end_offset(), log.end_offset());
    broker.close().unwrap();
    let broker = Broker::open(dir.path()).unwrap();
    let log = broker.topic("last-flight").unwrap().partition(0).unwrap();
    check(&Table::open(log).unwrap());
}
