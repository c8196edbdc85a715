//! `log-dirs`: what every partition takes on the disk.
//!
//! Knows nothing about what is in the files. With `--json` it prints the document of
//! `kafka-log-dirs.sh`.

use std::path::Path;

use clap::Args;
use ottla::PartitionInfo;
use serde_json::json;

use crate::bytes;
use crate::failure::Result;
use crate::out::Out;
use crate::place::Place;
use crate::table::Table;

use super::select;

/// The flags of `log-dirs`.
#[derive(Args, Debug)]
pub(crate) struct LogDirs {
    #[arg(long, hide = true)]
    describe: bool,
    /// Topics or patterns, with commas between them; all when none are named
    #[arg(long, value_name = "NAMES", alias = "topic")]
    topic_list: Option<String>,
}

impl LogDirs {
    /// Prints the sizes.
    pub(crate) fn run(&self, place: &Place, out: &mut Out) -> Result<u8> {
        let broker = place.read()?;
        let names = match &self.topic_list {
            Some(list) => select::topics(&broker, list)?,
            None => broker.topic_names(),
        };
        let mut found: Vec<(String, PartitionInfo)> = Vec::new();
        for name in names {
            let Some(info) = select::described(&broker, &name)? else {
                continue;
            };
            found.extend(
                info.partitions
                    .into_iter()
                    .map(|partition| (name.clone(), partition)),
            );
        }
        if out.is_json() {
            as_json(place.dir(), &found, out)?;
        } else {
            as_table(place.dir(), &found, out)?;
        }
        Ok(0)
    }
}

fn as_table(dir: &Path, found: &[(String, PartitionInfo)], out: &mut Out) -> Result<()> {
    let mut table = Table::with_widths(&[
        ("TOPIC", 15),
        ("PARTITION", 10),
        ("SEGMENTS", 10),
        ("RECORDS", 12),
        ("BYTES", 15),
        ("ON-DISK", 15),
    ]);
    for (name, partition) in found {
        let on_disk = on_disk(&dir.join(format!("{name}-{}", partition.id)));
        let span = partition.end_offset.saturating_sub(partition.start_offset);
        table.row(vec![
            name.clone(),
            partition.id.to_string(),
            partition.segments.to_string(),
            span.to_string(),
            partition.size_bytes.to_string(),
            on_disk.to_string(),
        ]);
    }
    out.table(&table)?;
    let all = on_disk(dir);
    out.line(format!(
        "{}: {} on the disk",
        dir.display(),
        bytes::size(all)
    ))
}

fn as_json(dir: &Path, found: &[(String, PartitionInfo)], out: &mut Out) -> Result<()> {
    let partition = |(name, partition): &(String, PartitionInfo)| {
        json!({
            "partition": format!("{name}-{}", partition.id),
            "size": partition.size_bytes,
            "offsetLag": 0,
            "isFuture": false,
        })
    };
    let path = std::path::absolute(dir).unwrap_or_else(|_| dir.to_path_buf());
    out.json(&json!({
        "version": 1,
        "brokers": [{
            "broker": 1,
            "logDirs": [{
                "partitions": found.iter().map(partition).collect::<Vec<_>>(),
                "error": null,
                "logDir": path.display().to_string(),
            }],
        }],
    }))
}

/// Bytes that the files of a directory take on the disk. What goes away meanwhile takes none.
pub(crate) fn on_disk(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return 0;
    };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(found) if found.is_dir() => on_disk(&entry.path()),
        Ok(found) => allocated(&found),
        Err(_) => 0,
    };
    entries.flatten().map(size).fold(0, u64::saturating_add)
}

#[cfg(unix)]
fn allocated(found: &std::fs::Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    found.blocks().saturating_mul(512)
}

#[cfg(not(unix))]
fn allocated(found: &std::fs::Metadata) -> u64 {
    found.len()
}
