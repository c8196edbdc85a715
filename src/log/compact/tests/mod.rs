//! Compaction from inside.
