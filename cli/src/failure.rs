//! What goes wrong, as one sentence and an exit code.
//!
//! Knows nothing about verbs. The codes are documented in `docs/cli.md` and in `ottla --help`.

use std::fmt;
use std::io;
use std::io::Write as _;
use std::process::ExitCode;

use ottla::Error;

/// What was asked could not be done.
pub(crate) const FAILED: u8 = 1;
/// The command line makes no sense.
pub(crate) const USAGE: u8 = 2;
/// Another process has the directory open for writing.
pub(crate) const LOCKED: u8 = 3;
/// Bytes on the disk are damaged.
pub(crate) const DAMAGED: u8 = 4;
/// The disk is full.
pub(crate) const FULL: u8 = 5;
/// Ctrl-C, as a shell reports it.
pub(crate) const INTERRUPTED: u8 = 130;

/// The end of a verb that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    /// Empty: there is nothing to say.
    sentence: String,
}

/// What a verb and everything below it returns.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// Something that was asked for cannot be done.
    pub(crate) fn new(sentence: impl Into<String>) -> Self {
        Self::with_code(FAILED, sentence)
    }

    /// The command line makes no sense.
    pub(crate) fn usage(sentence: impl Into<String>) -> Self {
        Self::with_code(USAGE, sentence)
    }

    /// A failure with a code of its own.
    pub(crate) fn with_code(code: u8, sentence: impl Into<String>) -> Self {
        Self {
            code,
            sentence: sentence.into(),
        }
    }

    /// The reader of the output has gone: `ottla consume ... | head`.
    pub(crate) fn closed_pipe() -> Self {
        Self::with_code(0, "")
    }

    /// Whether the output has no reader any more.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        self.code == 0
    }

    /// The same failure with words in front that say where it happened.
    pub(crate) fn at(mut self, place: &str) -> Self {
        if !self.sentence.is_empty() {
            self.sentence = format!("{place}: {}", self.sentence);
        }
        self
    }

    /// The same failure with more words behind it.
    pub(crate) fn followed_by(mut self, words: &str) -> Self {
        self.sentence.push_str(words);
        self
    }

    /// Says the sentence and gives the code.
    pub(crate) fn report(&self) -> ExitCode {
        if !self.sentence.is_empty() {
            let line = format!("ottla: {}\n", self.sentence);
            // Nothing is left to do about a standard error that cannot be written.
            let _nobody_listens = io::stderr().write_all(line.as_bytes());
        }
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::Locked { .. } => LOCKED,
            Error::NoSpace { .. } => FULL,
            Error::Corrupt { .. } => DAMAGED,
            Error::InvalidConfig { .. } | Error::InvalidName { .. } => USAGE,
            _ => FAILED,
        };
        let sentence = match &error {
            Error::Io { .. } | Error::Poisoned { .. } => without_number(&error.to_string()),
            _ => error.to_string(),
        };
        Self::with_code(code, sentence)
    }
}

/// An error of the standard streams.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::closed_pipe(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::with_code(FULL, "cannot write the output: no space left on its disk")
            }
            _ => Self::new(format!(
                "cannot write the output: {}",
                without_number(&error.to_string())
            )),
        }
    }
}

/// An error about a file that the command line names.
pub(crate) fn file_failure(operation: &str, path: &std::path::Path, error: &io::Error) -> Failure {
    let code = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FULL,
        _ => FAILED,
    };
    let reason = without_number(&error.to_string());
    let sentence = format!("cannot {operation} {}: {reason}", path.display());
    Failure::with_code(code, sentence)
}

/// The system's answer without the number that Rust puts behind it.
fn without_number(text: &str) -> String {
    match text.rfind(" (os error ") {
        Some(at) => {
            let (before, after) = text.split_at(at);
            let rest = after.split_once(')').map_or("", |(_, rest)| rest);
            format!("{before}{rest}")
        }
        None => text.to_owned(),
    }
}

/// Says something on standard error that is no failure.
pub(crate) fn note(text: &str) {
    // A note that nobody can read is not worth a failure.
    let _nobody_listens = writeln!(io::stderr(), "{text}");
}
