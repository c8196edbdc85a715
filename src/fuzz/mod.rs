//! Beside the house: what the fuzz targets call, bytes in and nothing out.
//!
//! Compiled for the crate's own tests and for the fuzz crate alone. Whatever the bytes are, no
//! function here may panic: an assertion that fails is a bug of the crate. The seeds of the corpus
//! are replayed by a test, without a fuzzer.

mod batch;
mod group_ops;
mod index;
mod log_ops;
mod open_dir;

pub use batch::decode_batch;
pub use group_ops::group_ops;
pub use index::decode_index;
pub use log_ops::log_ops;
pub use open_dir::open_dir;

/// What must not fail, whatever the bytes are.
fn sure<T>(told: &str, result: crate::error::Result<T>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{told}: {error:?}"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::disk::Disk;

    /// No seed is larger than this.
    const SEED_BYTES_MAX: usize = 1 << 20;

    fn check(target: &str, door: fn(&[u8]), seeds_min: usize) {
        let seeds = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("src/fuzz/corpus")
            .join(target);
        let mut replayed = 0;
        for entry in Disk::os().list(&seeds).unwrap() {
            let seed = Disk::os().read_small(&seeds.join(&entry.name), SEED_BYTES_MAX);
            door(&seed.unwrap().unwrap());
            replayed += 1;
        }
        println!("{target}: {replayed} seeds");
        assert!(replayed >= seeds_min, "{target} has {replayed} seeds");
    }

    #[test]
    fn every_seed_of_a_batch_passes() {
        check("decode_batch", decode_batch, 10);
    }

    #[test]
    fn every_seed_of_an_index_passes() {
        check("decode_index", decode_index, 4);
    }

    #[test]
    fn every_seed_of_a_log_passes() {
        check("log_ops", log_ops, 8);
    }

    #[test]
    fn every_seed_of_a_group_passes() {
        check("group_ops", group_ops, 8);
    }

    #[test]
    fn every_seed_of_a_directory_passes() {
        check("open_dir", open_dir, 8);
    }
}
