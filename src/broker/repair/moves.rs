//! Directories of partitions that changed places: each goes back to where its flushed mark fits.
//!
//! Knows nothing about why they moved. After a crash, another repair continues.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::EntryKind;
use crate::doctor::{ProblemKind, Severity, fits_mark};
use crate::error::{IoContext, Result};
use crate::format::{DirName, MarkKey, file_name};
use crate::host::Host;

use super::super::state::CatalogState;
use super::RootRepair;

/// Marks a directory on the way to its place.
const MOVED_SUFFIX: &str = ".moved";

/// With more damaged directories, none is moved.
const CANDIDATES_MAX: usize = 64;

struct Destination {
    path: PathBuf,
    key: MarkKey,
}

impl RootRepair<'_> {
    pub(super) fn put_back_dirs(&mut self, host: &Arc<Host>, state: &CatalogState) -> Result<()> {
        self.finish_moves()?;
        let places = self.doubtful_places(state)?;
        let dirs = self.doubtful_dirs()?;
        if places.len() > CANDIDATES_MAX || dirs.len() > CANDIDATES_MAX {
            return Ok(());
        }
        let mut moves: Vec<(PathBuf, PathBuf)> = Vec::new();
        for dir in &dirs {
            let own = places.iter().find(|place| place.path == *dir);
            if own.is_some_and(|own| fits_mark(host, dir, own.key)) {
                continue;
            }
            let free = |place: &&Destination| !moves.iter().any(|(_, to)| *to == place.path);
            let mut other = places.iter().filter(|place| place.path != *dir);
            let found = other.find(|place| free(place) && fits_mark(host, dir, place.key));
            if let Some(place) = found {
                moves.push((dir.clone(), place.path.clone()));
            }
        }
        self.move_all(possible(moves, |path| {
            self.disk.exists(path).unwrap_or(true)
        }))?;
        // A move of an interrupted repair may have had to wait for its place.
        self.finish_moves()
    }

    /// Moves directories with the suffix to free places.
    fn finish_moves(&mut self) -> Result<()> {
        for entry in self.disk.list(self.root).at(self.root, "list")? {
            let Some(name) = entry.name.strip_suffix(MOVED_SUFFIX) else {
                continue;
            };
            let to = self.root.join(name);
            let is_ours = matches!(DirName::parse(name), DirName::Partition { .. });
            if is_ours && !self.disk.exists(&to).at(&to, "access")? {
                let from = self.root.join(&entry.name);
                self.disk.rename(&from, &to).at(&from, "rename")?;
                self.disk.sync_dir(self.root).at(self.root, "sync")?;
            }
        }
        Ok(())
    }

    /// Whether something in a directory, or the directory itself, is damaged.
    fn is_doubtful(&self, dir: &Path) -> bool {
        let damage = self.report.found.problems.iter().filter(|problem| {
            problem.severity == Severity::Damage && problem.kind != ProblemKind::Foreign
        });
        damage
            .into_iter()
            .any(|problem| problem.path.starts_with(dir))
    }

    fn doubtful_places(&self, state: &CatalogState) -> Result<Vec<Destination>> {
        let mut places = Vec::new();
        for entry in state.topics() {
            for partition in 0..entry.partitions {
                let name = file_name::partition_dir(entry.name.as_str(), partition);
                let path = self.root.join(name);
                let there = self.disk.exists(&path).at(&path, "access")?;
                if !there || self.is_doubtful(&path) {
                    let key = MarkKey {
                        topic: entry.id,
                        partition,
                    };
                    places.push(Destination { path, key });
                }
            }
        }
        Ok(places)
    }

    fn doubtful_dirs(&self) -> Result<Vec<PathBuf>> {
        let mut dirs = Vec::new();
        for entry in self.disk.list(self.root).at(self.root, "list")? {
            let path = self.root.join(&entry.name);
            let is_one = matches!(DirName::parse(&entry.name), DirName::Partition { .. });
            if entry.kind == EntryKind::Dir && is_one && self.is_doubtful(&path) {
                dirs.push(path);
            }
        }
        Ok(dirs)
    }

    fn move_all(&mut self, moves: Vec<(PathBuf, PathBuf)>) -> Result<()> {
        let on_the_way = |to: &Path| {
            let name = to.file_name().unwrap_or_default().to_string_lossy();
            to.with_file_name(format!("{name}{MOVED_SUFFIX}"))
        };
        for (from, to) in &moves {
            self.disk.rename(from, &on_the_way(to)).at(from, "rename")?;
        }
        self.disk.sync_dir(self.root).at(self.root, "sync")?;
        for (_, to) in &moves {
            let from = on_the_way(to);
            self.disk.rename(&from, to).at(&from, "rename")?;
        }
        self.disk.sync_dir(self.root).at(self.root, "sync")?;
        self.report.put_back.extend(moves);
        Ok(())
    }
}

/// The moves to places that are free, or become free by other moves.
fn possible(
    mut moves: Vec<(PathBuf, PathBuf)>,
    is_taken: impl Fn(&Path) -> bool,
) -> Vec<(PathBuf, PathBuf)> {
    loop {
        let blocked = |(_, to): &(PathBuf, PathBuf)| {
            is_taken(to) && !moves.iter().any(|(from, _)| from == to)
        };
        match moves.iter().position(blocked) {
            Some(index) => drop(moves.remove(index)),
            None => return moves,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_moves_to_free_places_are_possible() {
        let path = |name: &str| PathBuf::from(name);
        let step = |from: &str, to: &str| (path(from), path(to));
        let there = |path: &Path| path != Path::new("gone");
        let swap = vec![step("a", "b"), step("b", "a")];
        assert_eq!(possible(swap.clone(), there), swap);
        let renamed = vec![step("c", "gone")];
        assert_eq!(possible(renamed.clone(), there), renamed);
        let chain = vec![step("a", "b"), step("b", "c")];
        assert_eq!(possible(chain, there), []);
    }
}
