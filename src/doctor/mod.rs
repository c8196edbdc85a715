//! Floor 8: the doctor scans a segment, verifies or repairs a log, and inspects the files of a
//! root.
//!
//! Knows nothing about topics: a root is a directory of logs with one lock and one file of marks.
//! The rules of opening decide what is damage (`recovery/rules.rs`).

pub(crate) mod repair;
pub(crate) mod scan;
pub(crate) mod verify;

pub use repair::{RepairReport, SetAside};
pub(crate) use repair::{rename_whole, repair_alone, repair_log, set_odd_aside};
pub(crate) use verify::{
    Beside, Watch, fits_mark, look_for_damage, problem, verify_alone, verify_partitions,
    verify_root_files,
};
pub use verify::{LogCondition, Problem, ProblemKind, Severity, VerifyReport};
