//! `ottla.backup`: what the directory of a backup says of itself.
//!
//! Knows nothing about how a backup is made. Text, one item a line:
//!
//! ```text
//! ottla.backup=1
//! whole=true
//! id=Zk5R2nDGSWy4gD0v2q9lXA            which run wrote it
//! source=6a1b...                       what it is a backup of, in one line
//! file=4096 2049 77 1700000000000 1700000000500 orders-0/00000000000000000000.log
//! crc=1234abcd                         CRC-32 of the lines above
//! ```
//!
//! A `file` line has length, device, inode number, time of birth and last write of the source, and
//! the path of the copy. While the source is still the same, it is not copied again.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Corruption, uuid};

/// Room for a million files.
pub(crate) const SIZE_MAX: usize = 256 << 20;

const FIRST: &str = "ottla.backup=1";
const CRC: &str = "crc=";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BackupNote {
    /// Whether the backup was finished.
    pub(crate) whole: bool,
    pub(crate) id: uuid::Uuid,
    pub(crate) source: String,
    /// The finished copies, by path.
    pub(crate) files: BTreeMap<String, CopiedFile>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CopiedFile {
    pub(crate) len: u64,
    /// Device, inode number and time of birth of the source.
    pub(crate) source: (u64, u64, i64),
    /// Last write of the source; the copy has the same time.
    pub(crate) modified: i64,
}

impl BackupNote {
    pub(crate) fn encode(&self) -> String {
        let mut text = format!(
            "{FIRST}\nwhole={}\nid={}\nsource={}\n",
            self.whole,
            uuid::encode(self.id),
            self.source
        );
        let mut written = Ok(());
        for (path, file) in &self.files {
            let CopiedFile {
                len,
                source: (device, number, made),
                modified,
            } = file;
            let line = writeln!(
                text,
                "file={len} {device} {number} {made} {modified} {path}"
            );
            written = written.and(line);
        }
        let crc = crc32fast::hash(text.as_bytes());
        written = written.and(writeln!(text, "{CRC}{crc:08x}"));
        debug_assert!(written.is_ok(), "writing to a string cannot fail");
        text
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Corruption> {
        let malformed = || Corruption::malformed("ottla.backup is not as Ottla writes it");
        let text = std::str::from_utf8(bytes).map_err(|_| malformed())?;
        let at = text.rfind(CRC).ok_or_else(malformed)?;
        let (body, crc) = text.split_at(at);
        let said = crc.strip_prefix(CRC).map(str::trim_end);
        let said = said.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        if said != Some(crc32fast::hash(body.as_bytes())) {
            return Err(malformed());
        }
        let mut lines = body.lines();
        if lines.next() != Some(FIRST) {
            return Err(malformed());
        }
        let mut note = Self::default();
        for line in lines {
            let (name, value) = line.split_once('=').ok_or_else(malformed)?;
            match name {
                "whole" => note.whole = value == "true",
                "id" => note.id = uuid::decode(value).ok_or_else(malformed)?,
                "source" => value.clone_into(&mut note.source),
                "file" => {
                    let (path, file) = copied_file(value).ok_or_else(malformed)?;
                    note.files.insert(path, file);
                }
                // Of a newer version.
                _ => {}
            }
        }
        Ok(note)
    }
}

fn copied_file(line: &str) -> Option<(String, CopiedFile)> {
    let mut fields = line.splitn(6, ' ');
    let file = CopiedFile {
        len: fields.next()?.parse().ok()?,
        source: (
            fields.next()?.parse().ok()?,
            fields.next()?.parse().ok()?,
            fields.next()?.parse().ok()?,
        ),
        modified: fields.next()?.parse().ok()?,
    };
    Some((fields.next()?.to_owned(), file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_comes_back_and_every_flipped_bit_is_seen() {
        let mut note = BackupNote {
            whole: true,
            id: [7; 16],
            source: "a cluster, and a directory".to_owned(),
            ..BackupNote::default()
        };
        let file = CopiedFile {
            len: 4096,
            source: (1, 2, -3),
            modified: i64::MIN,
        };
        note.files.insert("a b-0/1.log".to_owned(), file);
        let bytes = note.encode().into_bytes();
        assert_eq!(BackupNote::decode(&bytes), Ok(note.clone()));
        for at in 0..bytes.len() - 1 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            // A digit of the checksum in capitals is the same digit.
            assert_ne!(BackupNote::decode(&flipped), Ok(note.clone()), "byte {at}");
        }
        assert!(BackupNote::decode(b"").is_err());
    }
}
