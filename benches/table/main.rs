//! What everything costs, one line a row: ours, the floor that no log can go below, the ratio.
//!
//! ```text
//! cargo bench --bench table                     every row, under ten minutes
//! cargo bench --bench table -- --quick          every row, about a minute
//! cargo bench --bench table -- read commit      the groups of rows with these names
//! OTTLA_BENCH_DIR=/dev/shm cargo bench ...      on another file system
//! ```
//!
//! Ours and its floor take turns in one process, on the same file system, and the median of the
//! rounds is shown with the fastest and the slowest one: an absolute figure is worth little on a
//! shared machine, a ratio of neighbours a lot. Values are random bytes, data sets are larger than
//! the last-level cache where the row is about memory, and results are consumed.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::as_conversions,
    reason = "a bench times by the real clock, fails by panicking, and prints its figures"
)]

mod append;
mod commit;
mod compact;
mod flow;
mod groups;
mod open;
mod read;
mod rows;
mod tools;

use rows::{Effort, Rows};

/// Prints some rows.
type Group = fn(&Rows);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(dir) = std::env::var_os(open::CRASH) {
        open::append_and_die(std::path::Path::new(&dir));
    }
    if let Some(dir) = std::env::var_os(open::IDLE) {
        return open::open_and_tell(std::path::Path::new(&dir));
    }
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let effort = if quick { Effort::Quick } else { Effort::Full };
    let wanted: Vec<&str> = arguments
        .iter()
        .map(String::as_str)
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    let groups: [(&str, Group); 9] = [
        ("append", append::rows),
        ("read", read::rows),
        ("commit", commit::rows),
        ("topic", flow::rows),
        ("groups", groups::rows),
        ("open", open::rows),
        ("idle", open::idle_rows),
        ("stall", compact::stall_rows),
        ("compact", compact::rows),
    ];
    let rows = Rows::begin(effort);
    for (name, run) in groups {
        if wanted.is_empty() || wanted.contains(&name) {
            run(&rows);
        }
    }
    rows.end();
}
