//! The calls of the disk floor, on the simulated disk.
//!
//! Knows nothing about power cuts: it only keeps what was written apart from what was synced.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::disk::LiesOn;

use super::fault::{Failure, Kind};
use super::node::{Change, DirNode, FileNode, NameChange, Node, NodeId};
use super::state::State;
use super::{Sim, to_usize};
use crate::disk::open_count::Opened;
use crate::disk::{Access, Entry, EntryKind, FileId, advance};
use crate::sync::MutexGuard;
use crate::types::{Timestamp, to_u64};

/// An open file of the simulation.
#[derive(Clone, Debug)]
pub(crate) struct SimFile {
    sim: Sim,
    node: NodeId,
    path: Arc<Path>,
    access: Access,
    /// The directory whose ballast is given up when a write finds no space.
    pub(in crate::disk) ballast: Option<Box<Path>>,
    _opened: Arc<Opened>,
}

/// An open directory of the simulation.
#[derive(Debug)]
pub(crate) struct SimDir {
    sim: Sim,
    path: Arc<Path>,
}

impl SimDir {
    pub(in crate::disk) fn sync(&self) -> io::Result<()> {
        self.sim.sync_dir(&self.path)
    }
}

/// A mapped window of the simulation.
#[derive(Debug)]
pub(crate) struct SimMap {
    file: SimFile,
    from: u64,
    len: usize,
}

/// A held lock of the simulation: on the file and on its directory.
#[derive(Debug)]
pub(crate) struct SimLock {
    sim: Sim,
    nodes: [NodeId; 2],
}

impl Sim {
    /// Counts the call and lets a fault strike it.
    fn enter(&self, kind: Kind, path: &Path) -> io::Result<MutexGuard<'_, State>> {
        match self.begin(kind, path)? {
            (state, None) => Ok(state),
            (_, Some(failure)) => Err(failure.error()),
        }
    }

    /// Counts the call; a fault that strikes it is the caller's to act out.
    fn begin(
        &self,
        kind: Kind,
        path: &Path,
    ) -> io::Result<(MutexGuard<'_, State>, Option<Failure>)> {
        self.watch(kind);
        let mut state = self.state();
        let failure = state.gate(kind, path)?;
        Ok((state, failure))
    }

    pub(in crate::disk) fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.enter(Kind::CreateDir, dir)?;
        match state.lookup(dir) {
            Ok(found) if state.is_dir(found) => Ok(()),
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(_) => state.link(dir, Node::Dir(DirNode::default())).map(drop),
        }
    }

    pub(in crate::disk) fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let state = self.enter(Kind::List, dir)?;
        let names = &state.dir(state.lookup(dir)?)?.cached;
        let entry = |(name, node): (&Arc<str>, &NodeId)| Entry {
            name: name.to_string(),
            kind: if state.is_dir(*node) {
                EntryKind::Dir
            } else {
                EntryKind::File
            },
        };
        Ok(names.iter().map(entry).collect())
    }

    pub(in crate::disk) fn open(&self, path: &Path, access: Access) -> io::Result<SimFile> {
        let state = self.enter(Kind::Open, path)?;
        let node = state.lookup(path)?;
        if state.is_dir(node) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(self.handle(node, path, access))
    }

    pub(in crate::disk) fn create(&self, path: &Path) -> io::Result<SimFile> {
        let mut state = self.enter(Kind::Create, path)?;
        let file = FileNode {
            modified: state.now,
            ..FileNode::default()
        };
        let node = state.link(path, Node::File(file))?;
        Ok(self.handle(node, path, Access::Write))
    }

    fn handle(&self, node: NodeId, path: &Path, access: Access) -> SimFile {
        SimFile {
            sim: self.clone(),
            node,
            path: Arc::from(path),
            access,
            ballast: None,
            _opened: Arc::new(self.open_count().opened()),
        }
    }

    /// Opening a directory is no operation: only its sync changes what a power cut leaves.
    pub(in crate::disk) fn open_dir(&self, dir: &Path) -> SimDir {
        SimDir {
            sim: self.clone(),
            path: Arc::from(dir),
        }
    }

    pub(in crate::disk) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.enter(Kind::Rename, from)?;
        let node = state.lookup(from)?;
        state.watch_rename(node, from);
        let (dir, from) = state.place(from)?;
        let (_, to) = state.place(to)?;
        if from == to {
            return Ok(());
        }
        match state.lookup_in(dir, &to) {
            Some(replaced) if state.is_dir(replaced) || state.is_dir(node) => {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            Some(replaced) => state.release(replaced, 0),
            None => {}
        }
        state.change_names(dir, NameChange::Rename { from, to, node })
    }

    pub(in crate::disk) fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.enter(Kind::RemoveFile, path)?;
        let node = state.lookup(path)?;
        if state.is_dir(node) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let (dir, name) = state.place(path)?;
        state.release(node, 0);
        state.change_names(dir, NameChange::Unlink { name })
    }

    pub(in crate::disk) fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.enter(Kind::RemoveDir, dir)?;
        let node = state.lookup(dir)?;
        if !state.dir(node)?.cached.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        let (parent, name) = state.place(dir)?;
        state.change_names(parent, NameChange::Unlink { name })
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let (mut state, failure) = self.begin(Kind::SyncDir, dir)?;
        let node = state.lookup(dir)?;
        state.dir(node)?;
        match failure {
            None => {
                state.settle(node);
                Ok(())
            }
            Some(failure) => {
                // Without a descriptor the directory was not even opened, so nothing was lost.
                if failure != Failure::Emfile {
                    state.fail_sync(node);
                }
                Err(failure.error())
            }
        }
    }

    pub(in crate::disk) fn exists(&self, path: &Path) -> io::Result<bool> {
        let state = self.enter(Kind::Exists, path)?;
        match state.lookup(path) {
            Ok(_) => Ok(true),
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(in crate::disk) fn file_len(&self, path: &Path) -> io::Result<u64> {
        let state = self.enter(Kind::Stat, path)?;
        let node = state.lookup(path)?;
        Ok(if state.is_dir(node) {
            0
        } else {
            state.file(node).cached.len()
        })
    }

    pub(in crate::disk) fn file_id(&self, path: &Path) -> io::Result<FileId> {
        let state = self.enter(Kind::Stat, path)?;
        state.lookup(path).map(id_of)
    }

    pub(in crate::disk) fn is_locked(&self, path: &Path) -> io::Result<bool> {
        let state = self.enter(Kind::Stat, path)?;
        let node = state.lookup(path);
        Ok(node.is_ok_and(|node| state.locks.contains(&node)))
    }

    pub(in crate::disk) fn modified(&self, path: &Path) -> io::Result<Timestamp> {
        let state = self.enter(Kind::Stat, path)?;
        let node = state.lookup(path)?;
        Ok(if state.is_dir(node) {
            state.now
        } else {
            state.file(node).modified
        })
    }

    pub(in crate::disk) fn set_modified(&self, path: &Path, time: Timestamp) -> io::Result<()> {
        let mut state = self.enter(Kind::SetModified, path)?;
        let node = state.lookup(path)?;
        if state.is_dir(node) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        state.file_mut(node).modified = time;
        Ok(())
    }

    pub(in crate::disk) fn lock(&self, path: &Path) -> io::Result<Option<SimLock>> {
        let mut state = self.enter(Kind::Lock, path)?;
        let node = match state.lookup(path) {
            Ok(node) if state.is_dir(node) => return Err(io::ErrorKind::InvalidInput.into()),
            Ok(node) => node,
            Err(_) => state.link(path, Node::File(FileNode::default()))?,
        };
        let (dir, _) = state.place(path)?;
        let nodes = [node, dir];
        if nodes.iter().any(|node| state.locks.contains(node)) {
            return Ok(None);
        }
        state.locks.extend(nodes);
        let sim = self.clone();
        Ok(Some(SimLock { sim, nodes }))
    }
}

fn id_of(node: NodeId) -> FileId {
    FileId {
        device: 0,
        number: to_u64(node),
        made: Timestamp::NONE,
    }
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.sim.state();
        for node in self.nodes {
            state.locks.remove(&node);
        }
    }
}

impl SimFile {
    pub(super) fn sim(&self) -> &Sim {
        &self.sim
    }

    pub(super) fn node(&self) -> NodeId {
        self.node
    }

    pub(in crate::disk) fn read_at(&self, position: u64, buf: &mut [u8]) -> io::Result<usize> {
        let (state, failure) = self.sim.begin(Kind::Read, &self.path)?;
        let file = state.file(self.node);
        match failure {
            None => Ok(file.cached.read(position, buf)),
            Some(failure) => {
                // What a failed read leaves in the buffer must not be looked at.
                let half = buf.len() / 2;
                buf.split_at_mut(half).0.fill(0xEE);
                Err(failure.error())
            }
        }
    }

    pub(in crate::disk) fn write_at(&self, position: u64, bytes: &[u8]) -> io::Result<()> {
        let outcome = self.write_once(position, bytes);
        if !outcome.as_ref().is_err_and(crate::disk::is_full) {
            return outcome;
        }
        let dirs = self.ballast.iter();
        let mut ballasts = dirs.flat_map(|dir| crate::disk::ballasts_of(dir));
        if ballasts.any(|path| self.sim.remove_file(&path).is_ok()) {
            return self.write_once(position, bytes);
        }
        outcome
    }

    fn write_once(&self, position: u64, bytes: &[u8]) -> io::Result<()> {
        let (mut state, failure) = self.sim.begin(Kind::Write, &self.path)?;
        self.writable()?;
        state.watch_write(self.node, position, &self.path);
        state.watch_marks(self.node, position, bytes, &self.path);
        match failure {
            None => state.write(self.node, position, bytes),
            Some(Failure::ShortWrite) => {
                let (half, _) = bytes.split_at(bytes.len() / 2);
                state.write(self.node, position, half)?;
                Err(Failure::ShortWrite.error())
            }
            Some(failure) => Err(failure.error()),
        }
    }

    fn writable(&self) -> io::Result<()> {
        match self.access {
            Access::Write => Ok(()),
            Access::Read => Err(io::Error::from_raw_os_error(libc::EBADF)),
        }
    }

    pub(in crate::disk) fn id(&self) -> io::Result<FileId> {
        let _state = self.sim.enter(Kind::Stat, &self.path)?;
        Ok(id_of(self.node))
    }

    pub(in crate::disk) fn len(&self) -> io::Result<u64> {
        let state = self.sim.enter(Kind::Len, &self.path)?;
        Ok(state.file(self.node).cached.len())
    }

    pub(in crate::disk) fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.sim.enter(Kind::SetLen, &self.path)?;
        self.writable()?;
        state.release(self.node, len);
        state.resize(self.node, Change::SetLen(len));
        Ok(())
    }

    /// See [`File::sync_begins`](crate::disk::File::sync_begins).
    pub(in crate::disk) fn sync_begins(&self) {
        self.sim.state().begin_promise(self.node);
    }

    /// See [`File::sync_ended`](crate::disk::File::sync_ended).
    pub(in crate::disk) fn sync_ended(&self) {
        self.sim.state().end_promise(self.node);
    }

    pub(in crate::disk) fn sync_data(&self) -> io::Result<()> {
        #[cfg(test)]
        self.sim.wait_if_held(&self.path);
        let (mut state, failure) = self.sim.begin(Kind::SyncData, &self.path)?;
        let stored_badly = state.file(self.node).failed_store;
        let failure = failure.or(stored_badly.then_some(Failure::Eio));
        let Some(failure) = failure else {
            state.settle(self.node);
            return Ok(());
        };
        state.file_mut(self.node).failed_store = false;
        state.fail_sync(self.node);
        Err(failure.error())
    }

    /// It does not know: the caller has to read.
    #[expect(
        clippy::unnecessary_wraps,
        reason = "the same call as where it can fail"
    )]
    pub(in crate::disk) fn data_end(&self, from: u64) -> io::Result<u64> {
        let state = self.sim.state();
        Ok(state.file(self.node).cached.len().max(from))
    }

    pub(in crate::disk) fn reserve(&self, from: u64, len: u64) -> io::Result<()> {
        let mut state = self.sim.enter(Kind::Reserve, &self.path)?;
        self.writable()?;
        if !state.can_reserve {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let before = state.file(self.node).allocated;
        let end = from.saturating_add(len);
        if state.allocate(self.node, end) < end {
            state.release(self.node, before);
            return Err(Failure::Enospc.error());
        }
        if state.file(self.node).cached.len() < end {
            state.resize(self.node, Change::Grow(end));
        }
        Ok(())
    }

    /// Forgets the cached copy, as a system under pressure does: reads show what the disk has.
    #[cfg(test)]
    pub(in crate::disk) fn drop_cache(&self) {
        let mut state = self.sim.state();
        let file = state.file_mut(self.node);
        file.cached = file.written_back();
    }

    pub(in crate::disk) fn lies_on(&self) -> LiesOn {
        if let Some(name) = self.sim.state().network {
            LiesOn::Network(name)
        } else if self.sim.state().copies_on_write {
            LiesOn::CopyOnWrite
        } else if self.sim.state().window_safe {
            LiesOn::Ext4
        } else {
            LiesOn::Another
        }
    }

    pub(in crate::disk) fn map(&self, from: u64, len: usize) -> io::Result<SimMap> {
        let _state = self.sim.enter(Kind::Map, &self.path)?;
        self.writable()?;
        let file = self.clone();
        Ok(SimMap { file, from, len })
    }
}

impl SimMap {
    pub(in crate::disk) fn len(&self) -> usize {
        self.len
    }

    /// Stores bytes, unseen by faults: a store has no way to answer one. A failing disk is told by
    /// the next sync, and a disk whose power is off forgets.
    pub(in crate::disk) fn store(&mut self, at: usize, bytes: &[u8]) -> bool {
        if at.saturating_add(bytes.len()) > self.len {
            return false;
        }
        let file = &self.file;
        let Ok((mut state, failure)) = file.sim.begin(Kind::Store, &file.path) else {
            return true;
        };
        let position = advance(self.from, at);
        let end = advance(position, bytes.len());
        assert!(
            end <= state.file(file.node).cached.len(),
            "SIGBUS: a store past the end of {}",
            file.path.display()
        );
        assert!(
            to_usize(state.allocate(file.node, end)) >= to_usize(end),
            "SIGBUS: a store into space that was never reserved, on a full disk, in {}",
            file.path.display()
        );
        if failure.is_some_and(|failure| matches!(failure, Failure::Eio | Failure::Enospc)) {
            state.file_mut(file.node).failed_store = true;
        }
        state.write(file.node, position, bytes).is_ok_and(|()| true)
    }
}
