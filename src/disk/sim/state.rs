//! The simulated disk behind its lock: nodes and names, the count of operations, and the gate
//! where faults strike and the power goes.
//!
//! Knows nothing about which states a power cut may leave; `crash` does.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::fault::{Failure, Fault, Kind, Operation, Repeat, SyncFailure, Violation};
use super::node::{Change, DirNode, FileNode, NameChange, Node, NodeId, Promise};
use crate::types::Timestamp;

/// The directory that is always there.
pub(super) const ROOT: NodeId = 0;

/// Everything that a simulated disk is.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) nodes: Vec<Option<Arc<Node>>>,
    /// The nodes that a power cut could change.
    pub(super) unsettled: BTreeSet<NodeId>,
    pub(super) locks: BTreeSet<NodeId>,
    pub(super) operations: u64,
    by_kind: [u64; Kind::ALL.len()],
    /// The last place given to a change.
    pub(super) sequence: u64,
    pub(super) power_off_at: Option<u64>,
    pub(super) faults: Vec<Fault>,
    pub(super) sync_failure: SyncFailure,
    pub(super) capacity: Option<u64>,
    pub(super) used: u64,
    pub(super) window_safe: bool,
    pub(super) network: Option<&'static str>,
    pub(super) can_reserve: bool,
    /// Overwriting takes space, too, until the old bytes are let go.
    pub(super) copies_on_write: bool,
    pub(super) trace: Option<Vec<Operation>>,
    pub(super) violations: Option<Vec<Violation>>,
    pub(super) promises: BTreeMap<NodeId, Promise>,
    pub(super) now: Timestamp,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            nodes: vec![Some(Arc::new(Node::Dir(DirNode::default())))],
            unsettled: BTreeSet::new(),
            locks: BTreeSet::new(),
            operations: 0,
            by_kind: [0; Kind::ALL.len()],
            sequence: 0,
            power_off_at: None,
            faults: Vec::new(),
            sync_failure: SyncFailure::default(),
            capacity: None,
            used: 0,
            window_safe: true,
            network: None,
            can_reserve: true,
            copies_on_write: false,
            trace: None,
            violations: None,
            promises: BTreeMap::new(),
            now: Timestamp::from_millis(0),
        }
    }

    /// A disk with these nodes that was just switched on.
    pub(super) fn restarted(&self, nodes: Vec<Option<Arc<Node>>>) -> Self {
        let mut state = Self {
            nodes,
            capacity: self.capacity,
            sync_failure: self.sync_failure,
            window_safe: self.window_safe,
            can_reserve: self.can_reserve,
            copies_on_write: self.copies_on_write,
            now: self.now,
            ..Self::new()
        };
        state.forget_nameless();
        state.used = state.count_used();
        state
    }

    /// Frees the nodes that no name leads to.
    fn forget_nameless(&mut self) {
        let mut named = vec![false; self.nodes.len()];
        let mut found = vec![ROOT];
        while let Some(id) = found.pop() {
            if let Some(seen) = named.get_mut(id).filter(|seen| !**seen) {
                *seen = true;
                if let Ok(dir) = self.dir(id) {
                    found.extend(dir.cached.values());
                }
            }
        }
        for (node, _) in self.nodes.iter_mut().zip(named).filter(|(_, named)| !named) {
            *node = None;
        }
    }

    fn count_used(&self) -> u64 {
        let nodes = self.nodes.iter().flatten();
        nodes.fold(0, |used, node| match &**node {
            Node::File(file) => used.saturating_add(file.allocated),
            Node::Dir(_) => used,
        })
    }

    /// Counts an operation, and decides whether the power is still on and which fault strikes.
    pub(super) fn gate(&mut self, kind: Kind, path: &Path) -> io::Result<Option<Failure>> {
        let number = self.operations;
        if self.power_off_at.is_some_and(|at| number >= at) {
            return Err(power_is_off());
        }
        self.operations += 1;
        let mut nth = 0;
        let kinds = Kind::ALL.iter().zip(&mut self.by_kind);
        for (_, count) in kinds.filter(|(of, _)| **of == kind) {
            nth = *count;
            *count += 1;
        }
        if let Some(trace) = &mut self.trace {
            trace.push(Operation {
                number,
                kind,
                path: path.to_path_buf(),
            });
        }
        let struck = self
            .faults
            .iter()
            .find(|fault| fault.strikes(number, kind, nth));
        Ok(struck
            .filter(|fault| (fault.error, fault.repeat) != (Failure::Eintr, Repeat::Once))
            .map(|fault| fault.error))
    }

    pub(super) fn file(&self, id: NodeId) -> &FileNode {
        match self.nodes.get(id).and_then(Option::as_deref) {
            Some(Node::File(file)) => file,
            other => panic!("node {id} is {other:?}, not a file"),
        }
    }

    /// A file that is about to be changed.
    pub(super) fn file_mut(&mut self, id: NodeId) -> &mut FileNode {
        match self.nodes.get_mut(id).and_then(Option::as_mut) {
            Some(node) => match Arc::make_mut(node) {
                Node::File(file) => file,
                Node::Dir(_) => panic!("node {id} is a directory"),
            },
            None => panic!("there is no node {id}"),
        }
    }

    pub(super) fn dir(&self, id: NodeId) -> io::Result<&DirNode> {
        match self.nodes.get(id).and_then(Option::as_deref) {
            Some(Node::Dir(dir)) => Ok(dir),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    pub(super) fn dir_mut(&mut self, id: NodeId) -> io::Result<&mut DirNode> {
        match self.nodes.get_mut(id).and_then(Option::as_mut) {
            Some(node) => match Arc::make_mut(node) {
                Node::Dir(dir) => Ok(dir),
                Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
            },
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn is_dir(&self, id: NodeId) -> bool {
        self.dir(id).is_ok()
    }

    /// The node that a path names.
    pub(super) fn lookup(&self, path: &Path) -> io::Result<NodeId> {
        let mut node = ROOT;
        for component in path.components() {
            match component {
                Component::RootDir | Component::CurDir => {}
                Component::Normal(name) => {
                    let names = &self.dir(node)?.cached;
                    let found = name.to_str().and_then(|name| names.get(name));
                    node = *found.ok_or(io::ErrorKind::NotFound)?;
                }
                Component::ParentDir | Component::Prefix(_) => {
                    return Err(io::ErrorKind::InvalidInput.into());
                }
            }
        }
        Ok(node)
    }

    /// The node that a path names and that no power cut takes the name from.
    pub(super) fn lookup_durable(&self, path: &Path) -> Option<NodeId> {
        let names = path.components().filter_map(|component| match component {
            Component::Normal(name) => Some(name),
            _ => None,
        });
        let mut node = ROOT;
        for name in names {
            node = *self.dir(node).ok()?.durable.get(name.to_str()?)?;
        }
        Some(node)
    }

    /// The node that a directory has under a name.
    pub(super) fn lookup_in(&self, dir: NodeId, name: &str) -> Option<NodeId> {
        self.dir(dir).ok()?.cached.get(name).copied()
    }

    /// Every file with its length, by path.
    pub(super) fn files(&self) -> Vec<(PathBuf, u64)> {
        let mut found = Vec::new();
        let mut dirs = vec![(ROOT, PathBuf::from("/"))];
        while let Some((dir, path)) = dirs.pop() {
            let names = self.dir(dir).map(|dir| Arc::clone(&dir.cached));
            for (name, node) in names.iter().flat_map(|names| names.iter()) {
                let path = path.join(&**name);
                if self.is_dir(*node) {
                    dirs.push((*node, path));
                } else {
                    found.push((path, self.file(*node).cached.len()));
                }
            }
        }
        found.sort();
        found
    }

    /// The directory that a path lies in, and its last name.
    pub(super) fn place(&self, path: &Path) -> io::Result<(NodeId, Arc<str>)> {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or(io::ErrorKind::InvalidInput)?;
        let dir = self.lookup(path.parent().unwrap_or(Path::new("")))?;
        self.dir(dir)?;
        Ok((dir, Arc::from(name)))
    }

    /// Gives a new node a name that must be free.
    pub(super) fn link(&mut self, path: &Path, node: Node) -> io::Result<NodeId> {
        let (dir, name) = self.place(path)?;
        if self.dir(dir)?.cached.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let id = self.nodes.len();
        self.nodes.push(Some(Arc::new(node)));
        self.change_names(dir, NameChange::Link { name, node: id })?;
        Ok(id)
    }

    pub(super) fn change_names(&mut self, dir: NodeId, change: NameChange) -> io::Result<()> {
        let mut sequence = self.sequence;
        self.dir_mut(dir)?.change(change, &mut sequence);
        self.sequence = sequence;
        self.unsettled.insert(dir);
        Ok(())
    }

    /// Writes what there is room for; an error when that is not all.
    pub(super) fn write(&mut self, id: NodeId, position: u64, bytes: &[u8]) -> io::Result<()> {
        let end = super::advance(position, bytes.len());
        let room_end = if self.copies_on_write && !self.may_overwrite(id, position, end) {
            position
        } else {
            self.allocate(id, end)
        };
        let fits = super::to_usize(room_end.saturating_sub(position)).min(bytes.len());
        let (written, refused) = bytes.split_at(fits);
        let (mut sequence, now) = (self.sequence, self.now);
        let file = self.file_mut(id);
        file.write(position, written, &mut sequence);
        file.modified = now;
        self.sequence = sequence;
        self.unsettled.insert(id);
        if refused.is_empty() {
            Ok(())
        } else {
            Err(Failure::Enospc.error())
        }
    }

    /// Whether there is space for a copy of what a write goes over.
    fn may_overwrite(&self, id: NodeId, position: u64, end: u64) -> bool {
        let over = self.file(id).allocated.min(end).saturating_sub(position);
        let free = |capacity: u64| capacity.saturating_sub(self.used);
        self.capacity.is_none_or(|capacity| over <= free(capacity))
    }

    /// Allocates space up to `end`, as far as there is any; gives up to where there is now.
    pub(super) fn allocate(&mut self, id: NodeId, end: u64) -> u64 {
        let allocated = self.file(id).allocated;
        let wanted = end.saturating_sub(allocated);
        let free = self
            .capacity
            .map_or(u64::MAX, |capacity| capacity.saturating_sub(self.used));
        let granted = wanted.min(free);
        if granted > 0 {
            self.used = self.used.saturating_add(granted);
            self.file_mut(id).allocated = allocated.saturating_add(granted);
        }
        allocated.saturating_add(granted)
    }

    /// Gives back the space from `end` on.
    pub(super) fn release(&mut self, id: NodeId, end: u64) {
        let allocated = self.file(id).allocated;
        if allocated > end {
            self.used = self.used.saturating_sub(allocated - end);
            self.file_mut(id).allocated = end;
        }
    }

    /// Changes the length.
    pub(super) fn resize(&mut self, id: NodeId, change: Change) {
        let (mut sequence, now) = (self.sequence, self.now);
        let file = self.file_mut(id);
        file.resize(change, &mut sequence);
        file.modified = now;
        self.sequence = sequence;
        self.unsettled.insert(id);
    }

    /// Makes a file's content, or a directory's names, durable.
    pub(super) fn settle(&mut self, id: NodeId) {
        let settled = match self.nodes.get_mut(id).and_then(Option::as_mut) {
            _ if !self.unsettled.contains(&id) => return,
            Some(node) => match Arc::make_mut(node) {
                Node::File(file) => {
                    file.settle();
                    file.is_settled()
                }
                Node::Dir(dir) => {
                    dir.settle();
                    dir.is_settled()
                }
            },
            None => return,
        };
        if settled {
            self.unsettled.remove(&id);
        }
    }

    /// What a failed sync does to what it was to make durable.
    pub(super) fn fail_sync(&mut self, id: NodeId) {
        let model = self.sync_failure;
        let node = self.nodes.get_mut(id).and_then(Option::as_mut);
        match (node.map(Arc::make_mut), model) {
            // Names go through a journal: a file system that cannot write it stops altogether, and
            // none shows names for ever that it will never write.
            (None, _)
            | (_, SyncFailure::KeptDirty)
            | (Some(Node::Dir(_)), SyncFailure::LostKept) => {}
            (Some(Node::File(file)), SyncFailure::LostKept) => file.pending.clear(),
            (Some(Node::File(file)), SyncFailure::LostReverted) => {
                file.pending.clear();
                file.cached = file.durable.clone();
            }
            (Some(Node::Dir(dir)), SyncFailure::LostReverted) => {
                dir.pending.clear();
                dir.cached = Arc::clone(&dir.durable);
            }
        }
    }
}

/// What every call answers once the power is off.
pub(super) fn power_is_off() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the power is off")
}
