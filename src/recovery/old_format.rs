//! Messages in Kafka's old formats, from before 0.11: not damage, but not readable here.
//!
//! Knows nothing about what they hold. A log of an old broker may begin with them after any number
//! of upgrades; as a torn tail, they and everything behind them would be quarantined.

use crate::disk::File;
use crate::error::{Error, IoContext, Result};
use crate::format::{Corruption, OLD_HEADER_LEN, is_old_message, old_message_len};
use crate::segment::Segment;
use crate::types::{Position, to_usize};

/// Refuses a segment whose batches end, for the reason `stopped`, at such a message.
pub(crate) fn refuse_old_format(
    segment: &Segment,
    file: &File,
    at: Position,
    stopped: Option<&Corruption>,
) -> Result<()> {
    let Some(Corruption::Magic {
        found: magic @ 0..=1,
    }) = stopped
    else {
        return Ok(());
    };
    let path = segment.log_path();
    let rest = to_usize(segment.end().since(at));
    let mut header = [0; OLD_HEADER_LEN];
    if rest < OLD_HEADER_LEN || file.read_at(at.0, &mut header).at(&path, "read")? < OLD_HEADER_LEN
    {
        return Ok(());
    }
    let Some(len) = old_message_len(&header).filter(|len| *len <= rest) else {
        return Ok(());
    };
    let mut message = vec![0; len];
    let read = file.read_at(at.0, &mut message).at(&path, "read")?;
    message.truncate(read);
    // It has a checksum of its own, so a batch with a damaged format version does not pass for one.
    if !is_old_message(&message) {
        return Ok(());
    }
    Err(Error::Unsupported {
        what: format!(
            "{} holds messages of format version {magic} at position {}, from a Kafka before 0.11: \
             copy the topic to a new one with a Kafka of 3.x, or let its retention remove them, \
             then open the directory again",
            path.display(),
            at.0,
        ),
    })
}
