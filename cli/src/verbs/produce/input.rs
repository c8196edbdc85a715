//! Where lines come from: files or standard input, in chunks of whole lines.
//!
//! Knows nothing about records. Invariant: a chunk is what one read brought, so that a line that
//! somebody typed does not wait for the next one.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read, Write as _};
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Result, file_failure};
use crate::out::Out;

/// One file, or standard input.
pub(super) struct Input {
    path: Option<PathBuf>,
    source: Option<File>,
    prompts: bool,
    buffer: Vec<u8>,
    /// Bytes of the buffer that were handed out with the last chunk.
    used: usize,
    /// Bytes of the buffer that were read.
    filled: usize,
    line_bytes_max: usize,
    /// The next read may have to wait for somebody.
    may_wait: bool,
    ended: bool,
}

impl Input {
    /// The inputs of a command line, one after the other.
    pub(super) fn all(
        files: &[PathBuf],
        line_bytes_max: usize,
        chunk_bytes: usize,
    ) -> impl Iterator<Item = Self> + use<> {
        let mut paths: Vec<Option<PathBuf>> = files
            .iter()
            .map(|path| (path != Path::new("-")).then(|| path.clone()))
            .collect();
        if paths.is_empty() {
            paths.push(None);
        }
        paths.into_iter().map(move |path| Self {
            path,
            source: None,
            prompts: false,
            buffer: vec![0; chunk_bytes.max(4096)],
            used: 0,
            filled: 0,
            line_bytes_max,
            may_wait: true,
            ended: false,
        })
    }

    /// What it is called in a sentence.
    pub(super) fn name(&self) -> String {
        match &self.path {
            Some(path) => path.display().to_string(),
            None => "standard input".to_owned(),
        }
    }

    fn source(&mut self) -> Result<&mut File> {
        if self.source.is_none() {
            let opened = match &self.path {
                Some(path) => File::open(path),
                None => standard_input(),
            };
            let path = self.path.as_deref().unwrap_or(Path::new("standard input"));
            let opened = opened.map_err(|error| file_failure("open", path, &error))?;
            self.prompts =
                self.path.is_none() && io::stdin().is_terminal() && io::stdout().is_terminal();
            self.may_wait = !opened.metadata().is_ok_and(|found| found.is_file());
            self.source = Some(opened);
        }
        self.source
            .as_mut()
            .ok_or_else(|| Failure::new("there is no input"))
    }

    /// Whether the next read may have to wait: that of a file has not.
    pub(super) fn may_wait(&mut self) -> Result<bool> {
        self.source()?;
        Ok(self.may_wait)
    }

    /// Asks a person for the next line.
    pub(super) fn prompt(&mut self, out: &mut Out) -> Result<()> {
        self.source()?;
        if self.prompts && !self.ended {
            out.buffer().push(b'>');
            out.flush()?;
        }
        Ok(())
    }

    /// The next whole lines, with their ends (the last one of a file may have none).
    pub(super) fn next_chunk(&mut self, lines_before: u64) -> Result<Option<&[u8]>> {
        self.buffer.copy_within(self.used..self.filled, 0);
        self.filled -= self.used;
        self.used = 0;
        while !self.ended {
            if self.filled == self.buffer.len() {
                self.grow(lines_before)?;
            }
            let before = self.filled;
            self.read_more()?;
            let new = self.buffer.get(before..self.filled).unwrap_or_default();
            if let Some(last) = memchr::memrchr(b'\n', new) {
                self.used = before + last + 1;
                return Ok(self.buffer.get(..self.used));
            }
        }
        self.used = self.filled;
        Ok(self.buffer.get(..self.used).filter(|rest| !rest.is_empty()))
    }

    fn read_more(&mut self) -> Result<()> {
        let filled = self.filled;
        self.source()?;
        let (Some(source), Some(room)) = (self.source.as_mut(), self.buffer.get_mut(filled..))
        else {
            return Ok(());
        };
        let read = loop {
            match source.read(room) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        match read {
            Ok(0) => self.end(),
            Ok(count) => self.filled += count,
            Err(error) => {
                let path = self.path.as_deref().unwrap_or(Path::new("standard input"));
                return Err(file_failure("read", path, &error));
            }
        }
        Ok(())
    }

    fn end(&mut self) {
        self.ended = true;
        if self.prompts {
            // Ctrl-D leaves the cursor behind the prompt.
            let _nobody_looks = io::stdout().write_all(b"\n");
        }
    }

    /// Makes room for a line that is longer than the buffer, as far as a record may be.
    fn grow(&mut self, lines_before: u64) -> Result<()> {
        if self.buffer.len() > self.line_bytes_max {
            return Err(Failure::new(format!(
                "{}: line {} is longer than the {} bytes that a record of the topic may have \
                 (max.message.bytes); the lines before it are stored",
                self.name(),
                lines_before + 1,
                self.line_bytes_max
            )));
        }
        let larger = self.buffer.len().saturating_mul(2);
        self.buffer.resize(larger, 0);
        Ok(())
    }
}

/// Standard input without the buffer of the standard library, which is smaller than ours.
#[cfg(unix)]
fn standard_input() -> io::Result<File> {
    use std::os::fd::AsFd as _;
    Ok(File::from(io::stdin().as_fd().try_clone_to_owned()?))
}

#[cfg(windows)]
fn standard_input() -> io::Result<File> {
    use std::os::windows::io::AsHandle as _;
    Ok(File::from(io::stdin().as_handle().try_clone_to_owned()?))
}
