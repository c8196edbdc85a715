//! Files that look as if a compaction had left them: of zero bytes, of garbage, with names that
//! nothing has, alone and in every combination. Nothing of the live segments is lost for them.

use super::*;

/// Something that lies in the directory and should not.
#[derive(Clone, Copy, Debug)]
struct Junk {
    name: &'static str,
    bytes: &'static [u8],
}

const EMPTY: &[u8] = b"";
const GARBAGE: &[u8] = &[0xA5; 300];
const ZEROS: &[u8] = &[0; 300];

/// The atoms of the combinations: each ending with each kind of content, on the names of a live
/// segment, and on names that no segment has.
const JUNK: [Junk; 12] = [
    junk("00000000000000000000.log.cleaned", EMPTY),
    junk("00000000000000000004.log.cleaned", GARBAGE),
    junk("00000000000000000004.index.cleaned", GARBAGE),
    junk("99999999999999999999.log.cleaned", GARBAGE),
    junk("00000000000000000000.log.swap", EMPTY),
    junk("00000000000000000004.log.swap", GARBAGE),
    junk("00000000000000000004.timeindex.swap", ZEROS),
    junk("abc.log.swap", GARBAGE),
    junk("00000000000000000000.log.deleted", GARBAGE),
    junk("00000000000000000004.log.deleted", EMPTY),
    junk("4.log.deleted", GARBAGE),
    junk("00000000000000000003.txnindex.swap", GARBAGE),
];

const fn junk(name: &'static str, bytes: &'static [u8]) -> Junk {
    Junk { name, bytes }
}

/// A closed log of two sealed segments and an active one.
fn closed() -> Sim {
    let mut bench = Bench::new();
    let batch = |base| data(base, ANYBODY, &[("a", Some("1")), ("b", Some("2"))]);
    bench.put(0, &[batch(0), batch(2)]);
    bench.put(4, &[batch(4), batch(6)]);
    bench.put(8, &[batch(8)]);
    bench.open();
    bench.reopen();
    bench.log.take().unwrap().close().unwrap();
    bench.sim
}

/// Opens a copy of a disk with some junk on it, to look only and to write.
fn check(closed: &Sim, junk: &[Junk], go_on: bool) {
    let mut bench = Bench::new();
    bench.sim = closed.process_crash();
    for Junk { name, bytes } in junk {
        bench
            .sim
            .write_raw(Path::new(DIR).join(name), bytes)
            .unwrap();
    }
    let before = bench.sim.files();
    let clock = Clock::Manual(Arc::clone(&bench.clock));
    let (disk, dir, config) = (bench.sim.disk(), Path::new(DIR), bench.config.clone());
    let only_looking = open_alone_on(&disk, &clock, dir, config, OpenMode::Read, true);
    bench.log = Some(only_looking.unwrap());
    assert_eq!(
        bench.offsets(),
        (0..10).collect::<Vec<_>>(),
        "{junk:?}, only looking"
    );
    assert_eq!(bench.sim.files(), before, "{junk:?}");

    bench.open();
    let report = bench.log().open_report().clone();
    assert_eq!(
        bench.offsets(),
        (0..10).collect::<Vec<_>>(),
        "{junk:?}: {report:?}"
    );
    for suffix in [".cleaned", ".swap", ".deleted"] {
        let names_of_segments = bench.files(suffix).into_iter().filter(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            let stem = name.split('.').next().unwrap();
            stem.len() == 20 && stem.parse::<i64>().is_ok()
        });
        assert_eq!(
            names_of_segments.count(),
            0,
            "{junk:?}: {:?}",
            bench.sim.files()
        );
    }
    if !go_on {
        return bench.log.take().unwrap().abandon();
    }
    bench.log().compact().unwrap();
    assert_eq!(bench.offsets(), [8, 9], "{junk:?}");
    assert_eq!(bench.log().append(Record::keyed("c", "3")).unwrap(), 10);
    bench.reopen();
    assert_eq!(bench.offsets(), [8, 9, 10], "{junk:?}");
}

#[test]
fn every_combination_of_what_a_compaction_might_leave_behind_harms_nothing() {
    let closed = closed();
    let mut combinations = 0;
    for chosen in 0..1_u32 << JUNK.len() {
        let some = (0..).zip(JUNK).filter(|(bit, _)| chosen >> bit & 1 == 1);
        let some: Vec<_> = some.map(|(_, junk)| junk).collect();
        check(&closed, &some, chosen % 8 == 0);
        combinations += 1;
    }
    assert_eq!(combinations, 4096);
}

#[test]
fn a_swap_that_holds_garbage_is_set_aside_and_never_deleted() {
    let mut bench = Bench::new();
    bench.sim = closed();
    let name = "00000000000000000004.log.swap";
    bench
        .sim
        .write_raw(Path::new(DIR).join(name), GARBAGE)
        .unwrap();
    bench.open();
    let aside = bench.files(".quarantine");
    assert_eq!(aside.len(), 1, "{:?}", bench.sim.files());
    assert_eq!(bench.sim.read(&aside[0]).unwrap(), GARBAGE);
}

#[test]
fn a_swap_that_a_broker_began_is_finished() {
    let mut bench = Bench::new();
    bench.sim = closed();
    // What a broker's cleaner makes of the two sealed segments: the newest of each key, and the
    // end of the second one.
    let output = data(6, ANYBODY, &[("a", Some("1")), ("b", Some("2"))]);
    let name = "00000000000000000000.log.swap";
    bench
        .sim
        .write_raw(Path::new(DIR).join(name), &output)
        .unwrap();
    let clock = Clock::Manual(Arc::clone(&bench.clock));
    let (disk, dir, config) = (bench.sim.disk(), Path::new(DIR), bench.config.clone());
    let only_looking = open_alone_on(&disk, &clock, dir, config, OpenMode::Read, true);
    bench.log = Some(only_looking.unwrap());
    assert_eq!(bench.offsets(), [6, 7, 8, 9]);
    assert_eq!(bench.log().read(3).unwrap(), None);
    bench.open();
    assert_eq!(bench.offsets(), [6, 7, 8, 9]);
    let logs: Vec<_> = bench.files(".log");
    assert_eq!(logs.len(), 2, "{logs:?}");
    // While a `.cleaned` at or below it is there, it was not complete: it counts for nothing.
    bench.sim = closed();
    bench
        .sim
        .write_raw(Path::new(DIR).join(name), &output)
        .unwrap();
    let cleaned = "00000000000000000000.timeindex.cleaned";
    bench
        .sim
        .write_raw(Path::new(DIR).join(cleaned), EMPTY)
        .unwrap();
    bench.open();
    assert_eq!(bench.offsets(), (0..10).collect::<Vec<_>>());
}
