//! Floor 3, beside `segment`: what a directory is before any log in it is opened.
//!
//! Knows nothing about batches. Contains the lock, the marks, the state of a root, a broker's
//! checkpoints, quarantine files, and the names of partitions.
//!
//! 1. Nothing that could be the only copy of a record is removed or replaced here: bytes are
//!    durable in quarantine before they are removed from their place.

mod backup;
mod checkpoints;
mod files;
mod home;
mod lock;
mod marks;
mod quarantine;
mod state;

pub(crate) use backup::{read_note, refuse_unfinished, run_id};
pub(crate) use checkpoints::{Checkpoints, LogFiles, mark_alone, read_offsets};
pub(crate) use files::{
    for_each_chunk, is_zero, parent_of, remove_if_present, rename_if_present, replace_if_other,
};
pub(crate) use home::{home_of, is_root, make_dir, partitions, seems_root};
pub(crate) use lock::take_lock;
pub(crate) use marks::{MarkPlace, Marks};
pub(crate) use quarantine::{
    copy_aside, copy_bytes_aside, move_aside, rename_aside, rename_whole_aside,
};
pub(crate) use state::{RootFacts, keep_brokers_away, metadata_files, write_rest};
