//! A progress bar for what takes long, on standard error, where a person looks at it.
//!
//! Knows nothing about the work: a thread of its own asks now and then how far it is. Invariants:
//! nothing is printed before [`QUIET`] is over, nor where standard error is no terminal, and the
//! line is cleared before the work's own words come.

use std::io::{IsTerminal as _, Write as _};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::bytes::size;

/// What ends sooner needs no bar.
const QUIET: Duration = Duration::from_millis(500);
const REFRESH: Duration = Duration::from_millis(100);
const WIDTH: u64 = 30;

/// How far a piece of work is, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) bytes: u64,
    pub(crate) of: u64,
}

/// Does the work, with a bar beside it where it takes long; `measure` says how far it is, as well
/// as that can be known.
pub(crate) fn beside<T>(
    what: &str,
    measure: impl Fn() -> Option<Done> + Send,
    work: impl FnOnce() -> T,
) -> T {
    if !std::io::stderr().is_terminal() {
        return work();
    }
    let (ended, end) = channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || draw(what, &measure, &end));
        let result = work();
        // The thread clears its line when this end of the channel is gone.
        drop(ended);
        result
    })
}

fn draw(what: &str, measure: &dyn Fn() -> Option<Done>, end: &Receiver<()>) {
    let began = Instant::now();
    let mut pause = QUIET;
    let mut drawn = false;
    while end.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        let line = line(what, measure(), began.elapsed());
        // A terminal that is gone is no reason to stop the work.
        drop(write!(std::io::stderr(), "\r\x1b[K{line}"));
        drawn = true;
        pause = REFRESH;
    }
    if drawn {
        drop(write!(std::io::stderr(), "\r\x1b[K"));
    }
}

fn line(what: &str, done: Option<Done>, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    let Some(Done { bytes, of }) = done.filter(|done| done.of > 0) else {
        return format!("{what}, {seconds} s");
    };
    // It is an estimate: all of it is done when the work says so.
    let bytes = bytes.min(of);
    let percent = (u128::from(bytes) * 100 / u128::from(of)).min(99);
    let full = u128::from(bytes) * u128::from(WIDTH) / u128::from(of);
    let bar: String = (0..u128::from(WIDTH))
        .map(|at| if at < full { '#' } else { '.' })
        .collect();
    format!("{what} [{bar}] {percent:>2} % of {}, {seconds} s", size(of))
}

/// How many bytes this process has read from files, where the system counts them.
pub(crate) fn bytes_read() -> Option<u64> {
    let counts = std::fs::read_to_string("/proc/self/io").ok()?;
    let count = counts
        .lines()
        .find_map(|line| line.strip_prefix("rchar: "))?;
    count.trim().parse().ok()
}

/// How far a piece of work is that reads all of a directory once, from now on.
pub(crate) fn reading(total: u64) -> impl Fn() -> Option<Done> + Send {
    let before = bytes_read();
    move || {
        let bytes = bytes_read()?.saturating_sub(before?);
        Some(Done { bytes, of: total })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_shows_the_share_and_never_says_that_all_is_done() {
        let half = Done {
            bytes: 512,
            of: 1024,
        };
        let shown = line("verify", Some(half), Duration::from_secs(3));
        assert!(
            shown.starts_with("verify [###############..............."),
            "{shown}"
        );
        assert!(shown.contains("50 % of 1.00 KiB, 3 s"), "{shown}");
        let over = Done {
            bytes: 4096,
            of: 1024,
        };
        let shown = line("verify", Some(over), Duration::ZERO);
        assert!(shown.contains("99 %"), "{shown}");
        assert_eq!(line("verify", None, Duration::ZERO), "verify, 0 s");
    }

    #[test]
    fn what_this_process_reads_is_counted() {
        if bytes_read().is_none() {
            return;
        }
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("file");
        std::fs::write(&path, vec![0; 1 << 20]).unwrap();
        let measure = reading(2 << 20);
        drop(std::fs::read(&path).unwrap());
        let done = measure().unwrap();
        assert!(done.bytes >= 1 << 20, "{done:?}");
        assert_eq!(done.of, 2 << 20);
    }
}
