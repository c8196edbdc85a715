//! Tests of `surroundings.rs`.

use super::*;
use crate::broker::Broker;
use crate::clock::Clock;
use crate::disk::sim::Sim;

#[test]
fn a_network_file_system_is_reported_by_the_open_report() {
    let sim = Sim::new();
    for network in [false, true] {
        if network {
            sim.set_network("NFS");
        }
        let config = BrokerConfig::default().manual_upkeep(true);
        let dir = Path::new("/data");
        let broker = Broker::open_on(sim.disk(), Clock::System, dir, config).unwrap();
        let told =
            |event: &OpenEvent| matches!(event, OpenEvent::NetworkFileSystem { kind: "NFS", .. });
        assert_eq!(broker.open_report().events.iter().any(told), network);
        broker.close().unwrap();
    }
}
