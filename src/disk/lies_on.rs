//! The file system that a file lies on.
//!
//! Knows nothing about how to ask: `os/calls.rs` does that.

/// A file system, as far as writes differ. Stores into a mapped window over reserved space are safe
/// on ext4 and tmpfs, also on a full disk (tested on both). A copy-on-write file system needs new
/// blocks for every store, which on a full disk raises SIGBUS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(any(target_os = "linux", all(test, ottla_repository), ottla_sim)),
    expect(dead_code, reason = "only on Linux the system is asked")
)]
pub(crate) enum LiesOn {
    Ext4,
    Tmpfs,
    /// Another machine's disk, by name.
    Network(&'static str),
    /// A full disk refuses even overwriting.
    CopyOnWrite,
    Another,
}
