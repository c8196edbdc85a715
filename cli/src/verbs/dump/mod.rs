//! `dump`: the files of a directory in words, as `kafka-dump-log.sh` prints them.
//!
//! Knows nothing about topics but where their files lie. It reads bytes and not logs: what the
//! library would refuse is shown.

mod batch;
mod cursor;
mod log;
mod offsets;
mod small;
mod unpack;

use std::path::{Path, PathBuf};

use clap::Args;
use ottla::PartitionId;

use crate::failure::{Failure, Result, file_failure};
use crate::out::Out;
use crate::place::Place;

use self::log::What;
use self::small::Kind;

/// The flags of `dump`.
#[derive(Args, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "Kafka's tool has so many switches"
)]
pub(crate) struct Dump {
    /// Files, with commas between them
    #[arg(long, value_name = "FILES")]
    files: Option<String>,
    /// All files of a topic
    #[arg(long, value_name = "NAME", conflicts_with = "files")]
    topic: Option<String>,
    /// Of one partition of it
    #[arg(long, value_name = "NUMBER", requires = "topic")]
    partition: Option<PartitionId>,
    /// Print a line for every record
    #[arg(long)]
    deep_iteration: bool,
    /// Print keys and values too
    #[arg(long)]
    print_data_log: bool,
    /// Records are the commits of groups: print them as JSON
    #[arg(long)]
    offsets_decoder: bool,
    /// Print keys and values alone
    #[arg(long)]
    skip_record_metadata: bool,
    /// Say whether indexes are sane, and no more
    #[arg(long, alias = "verify-index-only")]
    index_sanity_check: bool,
    /// Stop after so many bytes of a log
    #[arg(long, value_name = "BYTES")]
    max_bytes: Option<String>,
    #[arg(long, hide = true)]
    max_message_size: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1)]
    value_decoder_class: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1)]
    key_decoder_class: Option<String>,
}

impl Dump {
    /// Prints the files.
    pub(crate) fn run(&self, place: Result<Place>, out: &mut Out) -> Result<u8> {
        let paths = match &self.files {
            Some(list) => list
                .split(',')
                .map(|path| PathBuf::from(path.trim()))
                .collect(),
            None => self.found(&place?)?,
        };
        let contents =
            self.print_data_log || self.offsets_decoder || self.value_decoder_class.is_some();
        let what = What {
            records: self.deep_iteration || contents || self.skip_record_metadata,
            contents: contents || self.skip_record_metadata,
            commits: self.offsets_decoder,
            bare: self.skip_record_metadata,
            bytes_max: log::bytes_max(self.max_bytes.as_deref())?,
        };
        for path in paths {
            out.say(format!("Dumping {}", path.display()))?;
            match kind_of(&path) {
                Kind::Batches => log::dump(&path, what, out)?,
                Kind::Unknown => out.say(format!("Ignoring unknown file {}", path.display()))?,
                kind => small::dump(&path, kind, self.index_sanity_check, out)?,
            }
        }
        Ok(0)
    }

    /// The files of the topic, or the root's own.
    fn found(&self, place: &Place) -> Result<Vec<PathBuf>> {
        let Some(topic) = &self.topic else {
            let files = files_of(place.dir())?;
            return Ok(files
                .into_iter()
                .filter(|path| !matches!(kind_of(path), Kind::Unknown))
                .collect());
        };
        let mut found = Vec::new();
        if let Some(partition) = self.partition {
            found.extend(files_of(&place.dir().join(format!("{topic}-{partition}")))?);
        } else {
            let dir = |partition: PartitionId| place.dir().join(format!("{topic}-{partition}"));
            for dir in (0..).map(dir).take_while(|dir| dir.is_dir()) {
                found.extend(files_of(&dir)?);
            }
        }
        if found.is_empty() {
            return Err(Failure::new(format!("there are no files of topic {topic}")));
        }
        Ok(found)
    }
}

fn files_of(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(dir).map_err(|error| file_failure("list", dir, &error))?;
    let files = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_file());
    let mut files: Vec<_> = files.collect();
    files.sort();
    Ok(files)
}

/// What a file is by its name.
fn kind_of(path: &Path) -> Kind {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let numbered = name
        .split('.')
        .next()
        .is_some_and(|stem| stem.bytes().all(|b| b.is_ascii_digit()));
    let suffix = name.rsplit('.').next().unwrap_or_default();
    match (suffix, &*name) {
        (_, "ottla.catalog" | "bootstrap.checkpoint") => Kind::Batches,
        ("log" | "checkpoint", _) if numbered || name.contains('-') => Kind::Batches,
        ("index", _) => Kind::OffsetIndex,
        ("timeindex", _) => Kind::TimeIndex,
        ("snapshot", _) => Kind::Snapshot,
        ("txnindex", _) => Kind::TransactionIndex,
        ("digest", _) => Kind::Digest,
        (_, "ottla.marks") => Kind::Marks,
        (_, "ottla.root" | "ottla.producers" | "meta.properties" | "partition.metadata") => {
            Kind::Text
        }
        _ if name.ends_with("-checkpoint") => Kind::Text,
        ("log", _) => Kind::Batches,
        _ => Kind::Unknown,
    }
}
