//! Tests of this module.

use super::*;
use crate::broker::Broker;
use crate::disk::sim::{At, Failure, Fault, Repeat, Sim};
use crate::topic::TopicConfig;

fn open_broker(sim: &Sim, root: &Path) -> Broker {
    let config = BrokerConfig::default().manual_upkeep(true);
    Broker::open_on(sim.disk(), Clock::System, root, config).unwrap()
}

/// A root with a damaged record in its one partition.
fn damaged(root: &Path) -> Sim {
    let sim = Sim::new();
    let broker = open_broker(&sim, root);
    let config = TopicConfig::default().partitions(1);
    let topic = broker.create_topic("orders", config).unwrap();
    for number in 0..3 {
        topic.append(&format!("order {number}")).unwrap();
    }
    broker.close().unwrap();
    sim.flip(root.join("orders-0/00000000000000000000.log"), 65 * 8)
        .unwrap();
    sim
}

#[test]
fn a_repair_that_says_it_is_done_leaves_the_root_at_rest() {
    let root = Path::new("/data");
    let (mut told, mut done) = (0, 0);
    for operation in 0.. {
        let sim = damaged(root);
        let first = sim.operations();
        sim.fail(Fault {
            at: At::Operation(first + operation),
            error: Failure::Eio,
            repeat: Repeat::Once,
        });
        let repaired = repair_on(&sim.disk(), &Clock::System, root);
        let over = sim.operations() - first <= operation;
        sim.heal();
        match repaired {
            Err(_) => told += 1,
            Ok(report) if report.is_sound() => {
                done += 1;
                let broker = open_broker(&sim, root);
                assert!(broker.open_report().clean, "failure {operation}: {report}");
            }
            // What could not be read is reported as what remains.
            Ok(_) => {}
        }
        if over {
            break;
        }
    }
    assert!(told > 30 && done > 30, "{told} {done}");
}
