//! The directory that the verbs work on, and how it is opened.
//!
//! Knows nothing about verbs. Invariant: no verb but one that makes something makes a directory.

use std::path::{Path, PathBuf};

use ottla::{Broker, BrokerConfig, Error};

use crate::args::Globals;
use crate::failure::{Failure, Result, file_failure};

/// What one of these names stands in is a root.
const SIGNS: [&str; 2] = ["ottla.catalog", "meta.properties"];

/// A directory with topics.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    dir: PathBuf,
}

impl Place {
    /// The directory that the command line or the environment names.
    pub(crate) fn of(globals: &Globals) -> Result<Self> {
        let dir = globals
            .dir
            .clone()
            .filter(|dir| !dir.as_os_str().is_empty());
        let dir = dir.ok_or_else(|| {
            Failure::usage("say which directory: with --dir DIR, or in OTTLA_DIR")
        })?;
        Ok(Self { dir })
    }

    /// A directory that was named in another way.
    pub(crate) fn at(dir: &Path) -> Self {
        Self {
            dir: dir.to_path_buf(),
        }
    }

    /// The directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Opens it for reading: takes no lock, and works beside a writer.
    pub(crate) fn read(&self) -> Result<Broker> {
        self.check_is_there()?;
        Ok(Broker::open_read_only(&self.dir)?)
    }

    /// Opens it for writing.
    pub(crate) fn write(&self) -> Result<Broker> {
        self.check_is_there()?;
        self.write_with(BrokerConfig::default())
    }

    /// Opens it for writing where nobody else has; `Err` has who does.
    pub(crate) fn write_if_free(&self) -> Result<Result<Broker, Failure>> {
        self.check_is_there()?;
        match Broker::open(&self.dir) {
            Ok(broker) => Ok(Ok(broker)),
            Err(error @ Error::Locked { .. }) => Ok(Err(error.into())),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens it for writing, and makes it when it is not there.
    pub(crate) fn make(&self) -> Result<Broker> {
        match std::fs::metadata(&self.dir) {
            Ok(found) if !found.is_dir() => Err(self.is_no_directory()),
            _ => self.write_with(BrokerConfig::default()),
        }
    }

    fn write_with(&self, config: BrokerConfig) -> Result<Broker> {
        Ok(Broker::open_with(&self.dir, config)?)
    }

    /// Whether another process has it open for writing, as far as can be told from outside.
    pub(crate) fn is_written(&self) -> bool {
        is_locked(&self.dir.join(".lock")).unwrap_or(false)
    }

    /// What the system says about the directory, in one sentence.
    pub(crate) fn check_is_there(&self) -> Result<()> {
        match std::fs::metadata(&self.dir) {
            Ok(found) if found.is_dir() => self.check_what_it_holds(),
            Ok(_) => Err(self.is_no_directory()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(Failure::new(format!(
                    "there is no directory {}: `ottla topics --create` makes it",
                    self.dir.display()
                )))
            }
            Err(error) => Err(file_failure("look at", &self.dir, &error)),
        }
    }

    /// A directory of other things is a mistake, not one without topics.
    fn check_what_it_holds(&self) -> Result<()> {
        let entries = std::fs::read_dir(&self.dir)
            .map_err(|error| file_failure("list", &self.dir, &error))?;
        let mut names = entries.flatten().map(|entry| entry.file_name());
        if names.any(|name| SIGNS.iter().any(|sign| name == *sign)) {
            return Ok(());
        }
        Err(Failure::new(format!(
            "{} holds no topics: it is not a directory of Ottla or of a Kafka broker",
            self.dir.display()
        )))
    }

    fn is_no_directory(&self) -> Failure {
        Failure::new(format!("{} is not a directory", self.dir.display()))
    }
}

/// Whether somebody holds the lock that a file stands for. The kernel's list is read, so that
/// nobody who wants the lock meanwhile is kept from it.
#[cfg(target_os = "linux")]
fn is_locked(path: &Path) -> std::io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let file = format!(":{}", std::fs::metadata(path)?.ino());
    let locks = std::fs::read_to_string("/proc/locks")?;
    let holds = |line: &str| {
        let mut words = line.split_whitespace();
        words.any(|word| word == "WRITE") && words.any(|word| word.ends_with(&file))
    };
    Ok(locks.lines().any(holds))
}

#[cfg(not(target_os = "linux"))]
fn is_locked(_: &Path) -> std::io::Result<bool> {
    Ok(false)
}
