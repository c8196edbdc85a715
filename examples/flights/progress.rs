//! A progress bar, on a terminal only.
//!
//! Knows nothing about what is counted.

use std::io::{IsTerminal, Write, stderr};
use std::sync::{Mutex, PoisonError};

const WIDTH: u64 = 40;

/// Counts up to a total and draws itself when a step is gained.
#[derive(Debug)]
pub(crate) struct Progress {
    total: u64,
    shown: bool,
    done: Mutex<u64>,
}

impl Progress {
    pub(crate) fn new(total: u64) -> Self {
        Self {
            total,
            shown: total > 0 && stderr().is_terminal(),
            done: Mutex::new(0),
        }
    }

    /// `count` more are done.
    pub(crate) fn add(&self, count: usize) {
        if !self.shown {
            return;
        }
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.steps(*done);
        *done = done.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        if self.steps(*done) > before {
            self.draw(*done);
        }
    }

    /// Leaves the line to the next print.
    pub(crate) fn finish(&self) {
        if self.shown {
            eprint!("\r{:width$}\r", "", width = 70);
        }
    }

    fn steps(&self, done: u64) -> u64 {
        done.saturating_mul(WIDTH)
            .checked_div(self.total)
            .unwrap_or(WIDTH)
            .min(WIDTH)
    }

    fn draw(&self, done: u64) {
        let full = self.steps(done);
        let bar: String = (0..WIDTH)
            .map(|step| if step < full { '#' } else { '.' })
            .collect();
        eprint!("\r[{bar}] {done} of {} events", self.total);
        // A bar that cannot be shown is no reason to stop.
        drop(stderr().flush());
    }
}
