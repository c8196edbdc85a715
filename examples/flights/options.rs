//! The command line.
//!
//! Knows nothing about flights.

use std::path::{Path, PathBuf};

use ottla::Timestamp;

use crate::flight;

/// The package, so that the example runs from anywhere in it.
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

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
    pub(crate) from: Begin,
}

/// Where the members begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    Committed,
    Beginning,
    Time(Timestamp),
}

impl Options {
    /// The options; `None` when help was asked for.
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut input = None;
        let mut data = None;
        let mut from = Begin::Committed;
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            let mut value = || {
                let value = arguments.next();
                value.ok_or_else(|| format!("{argument} needs a value"))
            };
            match argument.as_str() {
                "--input" => input = Some(PathBuf::from(value()?)),
                "--data" => data = Some(PathBuf::from(value()?)),
                "--from-beginning" => from = Begin::Beginning,
                "--at" => {
                    let day = value()?;
                    let start = flight::start_of_day(&day);
                    from = Begin::Time(start.ok_or_else(|| format!("{day} is not YYYY-MM-DD"))?);
                }
                "--help" | "-h" => return Ok(None),
                _ => return Err(format!("{argument} is not an option")),
            }
        }
        let slice = || Path::new(ROOT).join("examples/data/flights.csv.gz");
        let own = || Path::new(ROOT).join("target/flights/slice");
        let data = data.unwrap_or_else(|| input.as_deref().map_or_else(own, directory_for));
        let input = input.unwrap_or_else(slice);
        Ok(Some(Self { input, data, from }))
    }
}

/// A directory per input, so that one input never goes on where another left off.
fn directory_for(input: &Path) -> PathBuf {
    let name = input.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.split('.').next().unwrap_or_default();
    Path::new(ROOT).join("target/flights").join(stem)
}
