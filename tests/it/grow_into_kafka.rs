//! The example that leaves a directory for a Kafka broker does what it says.

use ottla::Broker;

#[path = "../../examples/grow_into_kafka.rs"]
#[expect(dead_code, reason = "its main is not called")]
mod example;

#[test]
fn the_group_of_the_example_has_read_half_of_the_records_each_time_it_runs() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("data");
    for records in [100, 200, 300] {
        assert_eq!(example::fill(&dir).unwrap(), records);
        let broker = Broker::open(&dir).unwrap();
        let group = broker.group("departure-board").unwrap();
        let committed = (0..4).map(|partition| group.committed("flights", partition).unwrap());
        let read: u64 = committed.map(Option::unwrap_or_default).sum();
        assert_eq!(read, u64::try_from(records / 2).unwrap());
    }
}
