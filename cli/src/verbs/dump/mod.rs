//! `dump`: the files of a directory in words, as `kafka-dump-log.sh` prints them.
//!
//! Knows nothing about topics but where their files lie. It reads bytes and not logs: what the
//! library would refuse is shown.

mod batch;
mod cursor;
mod index;
mod log;
mod schema;
mod small;
mod unpack;

use std::path::{Path, PathBuf};

use clap::Args;
use ottla::PartitionId;

use crate::failure::{DAMAGED, Failure, Result, file_failure, note};
use crate::kafka_flags;
use crate::out::Out;
use crate::place::Place;

use self::index::Wish;
use self::log::What;
use self::schema::Decoder;
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
    /// Records are those of `__consumer_offsets`: print them as JSON
    #[arg(long, group = "decoder")]
    offsets_decoder: bool,
    /// Records are those of `__transaction_state`: print them as JSON
    #[arg(long, group = "decoder")]
    transaction_log_decoder: bool,
    /// Records are those of `__cluster_metadata`: print them as JSON
    #[arg(long, group = "decoder")]
    cluster_metadata_decoder: bool,
    /// Records are those of `__share_group_state`: print them as JSON
    #[arg(long, group = "decoder")]
    share_group_state_decoder: bool,
    /// Of records print keys and values alone
    #[arg(long)]
    skip_record_metadata: bool,
    /// Check indexes as a broker does when it starts, and print no entries
    #[arg(long)]
    index_sanity_check: bool,
    /// Compare indexes with their logs, and print no entries
    #[arg(long)]
    verify_index_only: bool,
    /// Leave out batches that end behind so many bytes of a log
    #[arg(long, value_name = "BYTES")]
    max_bytes: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "StringDecoder")]
    value_decoder_class: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "StringDecoder")]
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
        let what = self.what()?;
        let (mut sound, mut gaps) = (true, Vec::new());
        for path in paths {
            out.say(format!("Dumping {}", path.display()))?;
            match kind_of(&path) {
                Kind::Batches => {
                    let found = log::dump(&path, what, out)?;
                    gaps.extend((!found.is_empty()).then_some((path, found)));
                }
                Kind::Unknown => {
                    check_is_file(&path)?;
                    note(&format!("Ignoring unknown file {}", path.display()));
                }
                kind @ (Kind::OffsetIndex | Kind::TimeIndex) => {
                    sound &= index::dump(&path, kind, self.wish(), out)?;
                }
                kind => small::dump(&path, kind, out)?,
            }
        }
        for (path, pairs) in gaps {
            let whole = std::path::absolute(&path).unwrap_or(path);
            note(&format!("Non-consecutive offsets in {}", whole.display()));
            for (before, offset) in pairs {
                note(&format!("  {before} is followed by {offset}"));
            }
        }
        Ok(if sound || !self.verify_index_only {
            0
        } else {
            DAMAGED
        })
    }

    fn wish(&self) -> Wish {
        if self.index_sanity_check {
            Wish::Sanity
        } else if self.verify_index_only {
            Wish::Verify
        } else {
            Wish::Print
        }
    }

    fn what(&self) -> Result<What> {
        let classes = [
            ("--value-decoder-class", &self.value_decoder_class),
            ("--key-decoder-class", &self.key_decoder_class),
        ];
        for (flag, class) in classes {
            check_class(flag, class.as_deref())?;
        }
        let decoder = [
            (self.offsets_decoder, Decoder::Offsets),
            (self.transaction_log_decoder, Decoder::Transactions),
            (self.cluster_metadata_decoder, Decoder::Metadata),
            (self.share_group_state_decoder, Decoder::ShareGroups),
        ];
        let decoder = decoder.into_iter().find(|(wanted, _)| *wanted);
        let contents = self.print_data_log
            || decoder.is_some()
            || classes.iter().any(|(_, class)| class.is_some());
        Ok(What {
            records: self.deep_iteration || contents,
            contents,
            decoder: decoder.map(|(_, decoder)| decoder),
            bare: self.skip_record_metadata,
            bytes_max: log::bytes_max(self.max_bytes.as_deref())?,
        })
    }

    /// The files of the topic, or the root's own.
    fn found(&self, place: &Place) -> Result<Vec<PathBuf>> {
        place.check_is_there()?;
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

/// A file of an unknown kind is passed over; what is no file at all is a mistake.
fn check_is_file(path: &Path) -> Result<()> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(Failure::new(format!(
            "{} is a directory: name its files with --files, or a topic with --topic",
            path.display()
        ))),
        Ok(_) => Ok(()),
        Err(error) => Err(file_failure("open", path, &error)),
    }
}

/// Keys and values are text, or what a decoder says: no class of Java can be loaded.
fn check_class(flag: &str, class: Option<&str>) -> Result<()> {
    let instead = "keys and values are printed as text, and with --json all their bytes";
    kafka_flags::check_class(flag, class, &["StringDecoder"], instead)
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
