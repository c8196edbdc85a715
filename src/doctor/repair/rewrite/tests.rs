//! Tests of `rewrite.rs`.

use super::*;
use crate::clock::Clock;
use crate::dir::Marks;
use crate::disk::sim::Sim;
use crate::doctor::repair::plan::Piece;
use crate::error::Error;
use crate::format::{MarkKey, file_name};
use crate::host::Host;

#[test]
fn a_repair_of_a_file_that_ends_early_is_an_error_and_changes_nothing() {
    let (sim, dir) = (Sim::new(), Path::new("/log"));
    let disk = sim.disk();
    disk.create_dir(dir).unwrap();
    sim.write_raw(dir.join(file_name::log(0)), &[7; 1000])
        .unwrap();
    let before = sim.files();
    let work = LogRepair {
        host: &Host::new(disk, Clock::System, Marks::none(dir), true),
        dir: dir.into(),
        key: MarkKey::default(),
    };
    // It was longer when it was examined.
    let source = Arc::new(Segment::sealed(dir.into(), 0, Position(1001), 10));
    let reason = Corruption::malformed("a test");
    let aside = Aside {
        source: 0,
        bytes: Position(100)..Position(200),
        offsets: 1..2,
        reason,
    };
    let piece = |bytes| Piece {
        bytes,
        prefix: None,
    };
    let output = Output {
        base_offset: 0,
        source: 0,
        source_base: 0,
        pieces: vec![
            piece(Position(0)..Position(100)),
            piece(Position(200)..Position(1001)),
        ],
        offsets: 0..10,
        untouched: false,
    };
    let plan = Plan {
        outputs: vec![output],
        aside: vec![aside],
    };
    let error = work.carry_out(&plan, &[source]).unwrap_err();
    let kind = std::io::ErrorKind::UnexpectedEof;
    assert!(
        matches!(&error, Error::Io { source, .. } if source.kind() == kind),
        "{error:?}"
    );
    assert_eq!(sim.files(), before);
}
