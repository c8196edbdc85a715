//! A topic that is deleted while something of it is still being made.

use std::path::Path;
use std::sync::Arc;

use crate::disk::sim::Sim;
use crate::format::file_name;
use crate::sync::{AtomicU64, Ordering};
use crate::topic::TopicConfig;

use super::tests::{ROOT, open};

/// The flusher found the log open, and creates the file only now: between any two steps of the
/// removal.
#[test]
fn a_topic_is_deleted_whole_while_the_flusher_makes_its_next_segment_ahead() {
    let sim = Sim::new();
    let broker = open(sim.disk()).unwrap();
    let topic = broker.create_topic("t", TopicConfig::default()).unwrap();
    topic.append("a record").unwrap();
    let log = topic.partition(0).unwrap();
    let dir = Path::new(ROOT).join("t-0");
    let segment = dir.join(file_name::log(0));
    let moments = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&moments);
    sim.on_change(move |sim| {
        // The log was closed before its first file went.
        if sim.files().iter().all(|(path, _)| *path != segment) {
            log.make_next_ahead();
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    broker.delete_topic("t").unwrap();
    sim.stop_watching();
    assert!(moments.load(Ordering::Relaxed) > 2, "{moments:?}");
    assert!(sim.disk().list(&dir).is_err(), "{:?}", sim.files());
    broker.create_topic("t", TopicConfig::default()).unwrap();
    broker.close().unwrap();
    let names = open(sim.disk()).unwrap().topic_names();
    assert_eq!(names, ["t"]);
}
