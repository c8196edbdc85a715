//! Standard output: lines, tables and JSON, buffered.
//!
//! Knows nothing about verbs. Invariant: nothing that was printed is lost without an error, and a
//! reader that has gone is told apart from an error.

use std::io::{IsTerminal as _, StdoutLock, Write as _};

use serde_json::Value;

use crate::args::{Color, Globals};
use crate::failure::Result;
use crate::table::Table;

/// Bytes that are gathered before they are written.
const BUFFER: usize = 128 << 10;

/// Where a verb prints.
#[derive(Debug)]
pub(crate) struct Out {
    stdout: StdoutLock<'static>,
    buffer: Vec<u8>,
    json: bool,
    styled: bool,
    width: Option<usize>,
}

impl Out {
    /// Standard output, as the command line wants it.
    pub(crate) fn new(globals: &Globals) -> Self {
        let stdout = std::io::stdout().lock();
        let terminal = stdout.is_terminal();
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            styled: match globals.color {
                Color::Always => true,
                Color::Never => false,
                Color::Auto => terminal && !plain,
            },
            width: terminal.then(terminal_width).flatten(),
            stdout,
            buffer: Vec::with_capacity(BUFFER),
            json: globals.json,
        }
    }

    /// Whether JSON is wanted.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Whether a person looks at it.
    pub(crate) fn is_terminal(&self) -> bool {
        self.width.is_some()
    }

    /// One line.
    pub(crate) fn line(&mut self, text: impl AsRef<[u8]>) -> Result<()> {
        self.buffer.extend_from_slice(text.as_ref());
        self.buffer.push(b'\n');
        self.written()
    }

    /// One line where JSON is not wanted.
    pub(crate) fn say(&mut self, text: impl AsRef<[u8]>) -> Result<()> {
        if self.json { Ok(()) } else { self.line(text) }
    }

    /// One JSON value, as a document of its own.
    pub(crate) fn json(&mut self, value: &Value) -> Result<()> {
        let text = if self.is_terminal() {
            serde_json::to_string_pretty(value)
        } else {
            serde_json::to_string(value)
        };
        match text {
            Ok(text) => self.line(text),
            Err(error) => Err(std::io::Error::from(error).into()),
        }
    }

    /// A table, its head in bold on a terminal.
    pub(crate) fn table(&mut self, table: &Table) -> Result<()> {
        for line in table.lines(self.width, self.styled) {
            self.line(line)?;
        }
        Ok(())
    }

    /// The buffer, for a verb that prints many records; [`Self::written`] afterwards.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Writes the buffer out when it is full.
    pub(crate) fn written(&mut self) -> Result<()> {
        if self.buffer.len() < BUFFER / 2 {
            return Ok(());
        }
        self.flush()
    }

    /// Writes everything out.
    pub(crate) fn flush(&mut self) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let written = self.stdout.write_all(&self.buffer);
        self.buffer.clear();
        written?;
        Ok(self.stdout.flush()?)
    }
}

fn terminal_width() -> Option<usize> {
    let (width, _) = terminal_size::terminal_size()?;
    Some(usize::from(width.0).max(20))
}
