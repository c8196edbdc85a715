//! Verifies beside a writer: what seems wrong is checked again before it is reported.
//!
//! Knows nothing about what is checked. A writer changes files between two steps of a check, so a
//! healthy directory can seem damaged for a moment. Real damage stays:
//!
//! 1. Damage found while no process was writing is damage.
//! 2. Beside a writer, damage is what every look has found.

use std::mem::discriminant;
use std::path::Path;

use crate::clock::Clock;
use crate::disk::{Disk, SMALL_FILE_BYTES_MAX};
use crate::error::Result;
use crate::format::file_name;
use crate::log::{Signs, is_live, pause};

use super::report::{Problem, Severity};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beside {
    /// Any process that takes its lock.
    Anybody,
    /// The caller holds the lock, so findings count at once.
    Nobody,
}

impl Beside {
    pub(crate) fn signs<S>(self, signs: impl FnOnce() -> Option<S>) -> Option<S> {
        match self {
            Self::Anybody => signs(),
            Self::Nobody => None,
        }
    }
}

const LOOKS_MAX: u32 = 8;

/// Repeats the look until no damage is left or the damage counts. Damage that not every
/// look found is left out.
pub(crate) fn look_for_damage<S: Signs, T>(
    clock: &Clock,
    signs: impl Fn() -> Option<S>,
    mut look: impl FnMut() -> Result<T>,
    problems: impl Fn(&mut T) -> &mut Vec<Problem>,
) -> Result<T> {
    let mut stays: Option<Vec<Problem>> = None;
    let mut looks = 0_u32;
    loop {
        // Equal signs on both sides of the look and a free lock mean that no process wrote in
        // between, so what was found was there (1).
        let before = signs();
        let mut found = look()?;
        let after = signs();
        let counts = before == after && !after.is_some_and(|after| after.is_live());
        looks = looks.saturating_add(1);
        let all = problems(&mut found);
        if let Some(stays) = &stays {
            // Damage that only this look has found is a writer's step that was seen half-way (2).
            let seen = |problem: &Problem| stays.iter().any(|other| is_same(problem, other));
            all.retain(|problem| problem.severity != Severity::Damage || counts || seen(problem));
        }
        let damage = all.iter().filter(|it| it.severity == Severity::Damage);
        let damage: Vec<_> = damage.cloned().collect();
        if damage.is_empty() || counts || looks >= LOOKS_MAX {
            return Ok(found);
        }
        stays = Some(damage);
        pause(clock, looks);
    }
}

/// Whether two looks found the same problem. Its length may differ while the log grows.
fn is_same(one: &Problem, other: &Problem) -> bool {
    one.path == other.path
        && one.position == other.position
        && discriminant(&one.kind) == discriminant(&other.kind)
}

#[derive(Debug)]
pub(crate) struct Watch<'a> {
    disk: &'a Disk,
    home: &'a Path,
    beside: Beside,
    locked: bool,
    marks: Option<u32>,
}

impl<'a> Watch<'a> {
    /// `home` is the directory with the lock and the marks.
    pub(crate) fn begin(disk: &'a Disk, home: &'a Path, beside: Beside) -> Self {
        Self {
            disk,
            home,
            beside,
            locked: is_live(disk, home),
            marks: checksum_of_marks(disk, home),
        }
    }

    pub(crate) fn is_live(&self) -> bool {
        self.beside == Beside::Anybody
            && (self.locked
                || is_live(self.disk, self.home)
                || checksum_of_marks(self.disk, self.home) != self.marks)
    }
}

fn checksum_of_marks(disk: &Disk, home: &Path) -> Option<u32> {
    let path = home.join(file_name::MARKS);
    let read = disk.read_small(&path, SMALL_FILE_BYTES_MAX);
    read.ok().flatten().map(|bytes| crc32fast::hash(&bytes))
}

#[cfg(test)]
mod tests {
    use super::super::problem;
    use super::super::report::ProblemKind;
    use super::*;

    /// Another process holds the lock.
    #[derive(PartialEq)]
    struct Live;

    impl Signs for Live {
        fn hold_in(&self, _later: &Self) -> bool {
            true
        }

        fn is_live(&self) -> bool {
            true
        }
    }

    fn looks_at_damage(beside: Beside) -> u32 {
        let mut looks = 0;
        let look = || {
            looks += 1;
            let kind = ProblemKind::Unfinished;
            Ok(vec![problem(Severity::Damage, Path::new("log"), kind)])
        };
        let found = look_for_damage(
            &Clock::System,
            || beside.signs(|| Some(Live)),
            look,
            |all| all,
        );
        assert_eq!(found.unwrap().len(), 1);
        looks
    }

    #[test]
    fn damage_counts_at_once_while_the_caller_holds_the_lock() {
        assert_eq!(looks_at_damage(Beside::Anybody), LOOKS_MAX);
        assert_eq!(looks_at_damage(Beside::Nobody), 1);
    }
}
