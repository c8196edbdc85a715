//! The storage engine alone: one directory, one log, no topics.
//!
//! Appends, reads by offset and by time, follows the end from another thread, forgets the oldest.

#![expect(clippy::print_stdout, reason = "a program for a terminal")]

use std::thread;
use std::time::Duration;

use ottla::{Durability, Log, LogConfig, Record, Start, Timestamp};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let config = LogConfig::default()
        .segment_bytes(64 << 10)
        .durability(Durability::Interval(Duration::from_millis(100)));
    let log = Log::open(dir.path(), config)?;

    // One record at a time, or many at once: all or nothing, in one batch.
    let morning = Timestamp::from_millis(1_370_073_600_000);
    let noon = Timestamp::from_millis(1_370_088_000_000);
    let first = log.append(Record::keyed("door", "opened").with_timestamp(morning))?;
    let later = log.append_batch([
        Record::keyed("door", "closed").with_timestamp(noon),
        Record::keyed("lamp", "on").with_timestamp(noon),
    ])?;
    println!("appended {first} and {later:?}");

    // A log is a handle that is cloned and shared; this thread waits for what is to come.
    let follower = log.clone();
    let reading = thread::spawn(move || -> ottla::Result<u64> {
        let mut reader = follower.reader(Start::Earliest)?;
        let mut count = 0;
        while count < 1_003 && reader.wait(Duration::from_secs(10))? {
            for record in reader.by_ref() {
                record?;
                count += 1;
            }
        }
        Ok(count)
    });
    for number in 0..1_000 {
        log.append(&format!("reading {number}"))?;
    }
    match reading.join() {
        Ok(count) => println!("another thread followed {} records", count?),
        Err(panic) => std::panic::resume_unwind(panic),
    }

    // By offset, by time.
    if let Some(record) = log.read(1)? {
        println!(
            "offset 1: {}",
            String::from_utf8_lossy(record.value().unwrap_or_default())
        );
    }
    println!(
        "first record of noon or later: {:?}",
        log.offset_for_time(noon)?
    );

    // Everything so far survives a power cut from here on.
    println!("flushed up to {}", log.flush()?);

    // The oldest records go when nobody needs them.
    log.truncate_prefix(500)?;
    println!("now {}..{}", log.start_offset(), log.end_offset());
    for segment in log.segments() {
        println!("{segment:?}");
    }
    log.close()?;
    Ok(())
}
