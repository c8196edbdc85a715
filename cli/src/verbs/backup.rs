//! `backup`: a copy of everything in another directory.
//!
//! Knows nothing about how it is made: the library reports, and this prints the report.

use std::path::PathBuf;

use clap::Args;
use ottla::BackupOptions;
use serde_json::json;

use crate::bytes::size;
use crate::failure::Result;
use crate::out::Out;
use crate::place::Place;
use crate::progress::{self, Done};

use super::log_dirs::on_disk;

/// The flags of `backup`.
#[derive(Args, Debug)]
pub(crate) struct Backup {
    /// The directory to copy into: missing, empty, or an earlier backup of the same directory
    #[arg(value_name = "DEST")]
    dest: PathBuf,
    /// Give full segments a second name in place of a copy, where both are on one file system
    #[arg(long)]
    hard_links: bool,
}

impl Backup {
    /// Copies, and prints how much there was to copy.
    pub(crate) fn run(&self, place: &Place, out: &mut Out) -> Result<u8> {
        let options = BackupOptions::default().hard_links(self.hard_links);
        // Beside a writer, for it may run; nothing of the directory is changed.
        let broker = place.read()?;
        let total = on_disk(place.dir());
        // What an earlier backup has left there counts: it need not be copied again.
        let measure = || {
            let bytes = on_disk(&self.dest);
            Some(Done { bytes, of: total })
        };
        let copy = || broker.backup_with(&self.dest, options);
        let report = progress::beside("backup", measure, copy)?;
        if out.is_json() {
            out.json(&json!({
                "partitions": report.partitions,
                "segments": report.segments,
                "bytes": report.bytes,
                "segmentsCopied": report.segments_copied,
                "bytesCopied": report.bytes_copied,
                "segmentsLinked": report.segments_linked,
                "elapsedMs": u64::try_from(report.elapsed.as_millis()).unwrap_or(u64::MAX),
            }))?;
        } else {
            out.line(format!(
                "{} partitions, {} segments, {} in {}: {} were new and copied, in {:.1?}",
                report.partitions,
                report.segments,
                size(report.bytes),
                self.dest.display(),
                size(report.bytes_copied),
                report.elapsed,
            ))?;
            if report.segments_linked > 0 {
                out.line(format!(
                    "{} segments are hard links.",
                    report.segments_linked
                ))?;
            }
        }
        Ok(0)
    }
}
