//! Tests of `quarantine.rs`.

use super::*;
use crate::dir::files::CHUNK_BYTES;
use crate::disk::Access;
use crate::disk::sim::Sim;

#[test]
fn a_copy_of_a_file_that_ends_early_is_an_error_and_leaves_nothing() {
    let (sim, dir) = (Sim::new(), Path::new("/log"));
    let disk = sim.disk();
    disk.create_dir(dir).unwrap();
    let path = dir.join(file_name::log(0));
    let length = CHUNK_BYTES + 100;
    sim.write_raw(&path, &vec![7; length]).unwrap();
    let file = disk.open(&path, Access::Read).unwrap();
    for missing in [1, 100, CHUNK_BYTES] {
        let range = Position(10)..Position::ZERO.plus(length + missing);
        let error = copy_aside(&disk, dir, 0, &file, range).unwrap_err();
        let short = matches!(
            &error,
            Error::Io { source, .. } if source.kind() == ErrorKind::UnexpectedEof
        );
        assert!(short, "{error:?}");
        assert_eq!(sim.files().len(), 1, "{:?}", sim.files());
    }
    let range = Position(10)..Position::ZERO.plus(length);
    let copy = copy_aside(&disk, dir, 0, &file, range).unwrap();
    assert_eq!(sim.read(copy).unwrap().len(), length - 10);
}
