//! The command line.
//!
//! Knows nothing about flights.

use std::path::{Path, PathBuf};

use ottla::Timestamp;

use crate::flight;

pub(crate) const HELP: &str = "\
flights: real flights through a topic and back

  --input FILE       a CSV of flights, plain or .gz (default: the slice in examples/data)
  --data DIR         where the topic is kept (default: target/flights/<name of the input>)
  --from-beginning   read every event again
  --at YYYY-MM-DD    read from the first event scheduled on that day (UTC) or later
  --help             this text";

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) input: PathBuf,
    pub(crate) data: PathBuf,
    pub(crate) from: From,
}

/// Where the members begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    Committed,
    Beginning,
    Time(Timestamp),
}

impl Options {
    /// The options; `None` when help was asked for.
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut input = here.join("examples/data/flights.csv.gz");
        let mut data = None;
        let mut from = From::Committed;
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            let mut value = || {
                let value = arguments.next();
                value.ok_or_else(|| format!("{argument} needs a value"))
            };
            match argument.as_str() {
                "--input" => input = PathBuf::from(value()?),
                "--data" => data = Some(PathBuf::from(value()?)),
                "--from-beginning" => from = From::Beginning,
                "--at" => {
                    let day = value()?;
                    let start = flight::start_of_day(&day);
                    from = From::Time(start.ok_or_else(|| format!("{day} is not YYYY-MM-DD"))?);
                }
                "--help" | "-h" => return Ok(None),
                _ => return Err(format!("{argument} is not an option")),
            }
        }
        let data = data.unwrap_or_else(|| default_data(here, &input));
        Ok(Some(Self { input, data, from }))
    }
}

/// A directory per input, so that one input never goes on where another left off.
fn default_data(here: &Path, input: &Path) -> PathBuf {
    let resolved = input.canonicalize().unwrap_or_else(|_| input.to_path_buf());
    let shipped = resolved.starts_with(here);
    let name = if shipped { "slice" } else { "input" };
    let stem = resolved.file_name().map(|file| {
        let file = file.to_string_lossy();
        file.split('.').next().unwrap_or_default().to_owned()
    });
    let stem = stem.unwrap_or_default();
    here.join("target")
        .join("flights")
        .join(format!("{name}-{stem}"))
}
