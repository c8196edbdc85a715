//! Waits for the writer of a root in another process, while a reader here waits for its logs.
//!
//! Knows nothing about how a log is looked at (`log/follow.rs`).
//!
//! 1. What the writer publishes is trusted for when to look, and at which log; and, until the next
//!    poll, that no segments were removed, exchanged or cut. Everything else is found in the files.
//!    So a live file of garbage, of a dead writer or of another version can delay a change by the
//!    pause between two polls, and can neither show nor hide a record.
//! 2. While a reader waits, and [`LINGER`] longer, the file is open and locked. A file that was
//!    replaced, or in which another opening of the writer publishes, is dropped.
//! 3. No thread joins this one while it holds a lock that a look takes.
//! 4. Threads that wait for a log wait for the bell themselves, once it has rung for that log. The
//!    thread here waits for it only for others: with few processors, it would run in the place of
//!    the one that waits for the record.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::clock::Clock;
use crate::disk::{Disk, LiveFile, Owner, boot};
use crate::format::{
    LIVE_HEADER_LEN, LIVE_SLOT_LEN, LiveFigures, LiveHeader, MarkKey, file_name, live_slot_at,
};
use crate::sync::{AtomicBool, Mutex, Ordering, Signal};
use crate::types::{to_u64, to_usize};

use super::Host;
use super::bell::SLOTS_OF_ROOT;
use super::threads::Worker;

/// The file is looked for, and all its slots are read, at most this often.
const TRY_EVERY: Duration = Duration::from_millis(50);

/// How long a thread waits before it checks that the file is still the right one.
const WAIT: Duration = Duration::from_millis(100);

/// The slots that are read together with the header: enough for a log alone, and for small roots.
const SLOTS_NEAR: u32 = 15;
const NEAR_LEN: usize = LIVE_HEADER_LEN + 15 * LIVE_SLOT_LEN;

const LINGER: Duration = Duration::from_secs(1);

pub(crate) trait Listening: Send + Sync + std::fmt::Debug {
    fn is_waited_for(&self) -> bool;

    /// Whether the thread here must wait for the bell for this log (4).
    fn needs_the_ear(&self) -> bool;

    /// Looks at the log, if the bell has rung for it.
    fn hear(&self, ear: &Ear);
}

#[derive(Debug)]
pub(crate) struct Listener {
    owner: Owner,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    ear: Option<Arc<Ear>>,
    thread: Option<Worker>,
    tried: Option<Instant>,
    stopped: bool,
}

/// One open live file, and the logs that are listened for.
#[derive(Debug)]
pub(crate) struct Ear {
    file: LiveFile,
    path: PathBuf,
    disk: Disk,
    clock: Clock,
    header: LiveHeader,
    /// The word when the file was opened: the thread has yet to hear what has rung since.
    first: u32,
    over: AtomicBool,
    /// Raised when a caller waits that needs the thread (4).
    wanted: Signal,
    looks: Mutex<Vec<Weak<dyn Listening>>>,
    slots: Mutex<Slots>,
}

#[derive(Debug, Default)]
struct Slots {
    read: Option<Instant>,
    of: BTreeMap<MarkKey, u32>,
}

impl Ear {
    pub(crate) fn standing(&self, figures: &LiveFigures) -> Option<Standing> {
        figures.generation.is_multiple_of(2).then_some(Standing {
            incarnation: self.header.incarnation,
            generation: figures.generation,
            epoch: figures.epoch,
        })
    }

    pub(crate) fn heard(self: Arc<Self>, key: MarkKey, slot: u32) -> Option<Heard> {
        let (word, figures) = self.look(key, slot)?;
        let figures = figures?;
        Some(Heard {
            ear: self,
            key,
            slot,
            word,
            figures,
        })
    }

    fn open(host: &Host, home: &Path) -> Option<Self> {
        let path = home.join(file_name::LIVE);
        let file = LiveFile::follow(&host.disk, &path).ok()?;
        let (header, first) = read_header(&file)?;
        if header.boot != boot(&host.disk)? {
            return None;
        }
        file.listen().ok()?;
        Some(Self {
            file,
            path,
            disk: host.disk.clone(),
            clock: host.clock.clone(),
            header,
            first,
            over: AtomicBool::new(false),
            wanted: Signal::default(),
            looks: Mutex::default(),
            slots: Mutex::default(),
        })
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    fn stop(&self) {
        self.over.store(true, Ordering::Release);
        self.wanted.raise();
        self.file.stir();
    }

    pub(crate) fn want(&self) {
        self.wanted.raise();
    }

    /// `None` if the file is not that of the same writer any more.
    fn word(&self) -> Option<u32> {
        self.own_word(read_header(&self.file)?)
    }

    /// The word, and what is published of a log if the slot is still its own: one read, if the slot
    /// is near. First the word: what is published later changes it.
    fn look(&self, key: MarkKey, slot: u32) -> Option<(u32, Option<LiveFigures>)> {
        if slot >= SLOTS_NEAR {
            return Some((self.word()?, self.figures(key, slot)));
        }
        let mut bytes = [0; NEAR_LEN];
        let at = to_usize(live_slot_at(slot));
        let to = at.saturating_add(LIVE_SLOT_LEN);
        let read = self.file.read_at(0, bytes.get_mut(..to)?).ok()?;
        let word = self.own_word(LiveHeader::decode(bytes.get(..read)?)?)?;
        Some((word, figures_of(key, bytes.get(at..read))))
    }

    fn own_word(&self, (header, word): (LiveHeader, u32)) -> Option<u32> {
        (header == self.header && !self.is_over()).then_some(word)
    }

    #[cfg(all(test, ottla_shuttle))]
    pub(crate) fn hears(&self) -> bool {
        self.word().is_some()
    }

    fn is_at_its_place(&self) -> bool {
        let id = self.file.id().ok();
        id.is_some() && self.disk.file_id(&self.path).ok() == id
    }

    /// Has logs look whenever the bell rings, until no reader waits or the file is not the right
    /// one (2).
    fn run(&self) {
        let mut word = self.first;
        let mut waited_for = self.clock.instant();
        let mut wanted = self.wanted.ticket();
        let mut is_needed = true;
        loop {
            if is_needed || !self.clock.is_of_system() {
                if self.file.wait(word, WAIT).is_err() {
                    return;
                }
            } else {
                self.clock.wait(&mut wanted, self.clock.until(WAIT), None);
            }
            let Some(now) = self.word() else {
                return;
            };
            let rung = std::mem::replace(&mut word, now) != now;
            let looks: Vec<_> = self.looks.lock().iter().filter_map(Weak::upgrade).collect();
            let mut waits = false;
            is_needed = false;
            for look in &looks {
                if self.is_over() {
                    return;
                }
                waits |= look.is_waited_for();
                if rung {
                    look.hear(self);
                }
                is_needed |= look.needs_the_ear();
            }
            drop(looks);
            let time = self.clock.instant();
            if waits {
                waited_for = time;
            } else if time.saturating_duration_since(waited_for) >= LINGER {
                return;
            }
            if !rung && !self.is_at_its_place() {
                return;
            }
        }
    }

    pub(crate) fn add(&self, looks: &Arc<dyn Listening>) {
        let mut known = self.looks.lock();
        known.retain(|looks| looks.strong_count() > 0);
        known.push(Arc::downgrade(looks));
    }

    pub(crate) fn slot_of(&self, key: MarkKey) -> Option<u32> {
        let mut slots = self.slots.lock();
        if let Some(slot) = slots.of.get(&key) {
            return Some(*slot);
        }
        let now = self.clock.instant();
        if !is_recent(slots.read, now) {
            slots.read = Some(now);
            slots.of = self.read_slots();
        }
        slots.of.get(&key).copied()
    }

    fn read_slots(&self) -> BTreeMap<MarkKey, u32> {
        let count = self.header.slots.min(SLOTS_OF_ROOT);
        let mut bytes = vec![0; to_usize(u64::from(count).saturating_mul(to_u64(LIVE_SLOT_LEN)))];
        let read = self.file.read_at(live_slot_at(0), &mut bytes).unwrap_or(0);
        bytes.truncate(read);
        let slots = (0..).zip(bytes.chunks_exact(LIVE_SLOT_LEN));
        let known = slots.filter_map(|(at, slot)| Some((LiveFigures::decode(slot)?.0, at)));
        known.collect()
    }

    pub(crate) fn figures(&self, key: MarkKey, slot: u32) -> Option<LiveFigures> {
        let mut bytes = [0; LIVE_SLOT_LEN];
        let read = self.file.read_at(live_slot_at(slot), &mut bytes).ok()?;
        figures_of(key, bytes.get(..read))
    }

    pub(crate) fn forget_slots(&self) {
        *self.slots.lock() = Slots::default();
    }
}

/// What its writer published of a log before a look; it changes when segments are removed,
/// exchanged or cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    incarnation: [u8; 16],
    generation: u32,
    epoch: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rung {
    /// The time is over, or it has rung for other logs.
    Not,
    ForTheLog,
    /// The writer no longer publishes here.
    NoMore,
}

#[derive(Debug)]
pub(crate) struct Heard {
    ear: Arc<Ear>,
    key: MarkKey,
    slot: u32,
    word: u32,
    figures: LiveFigures,
}

impl Heard {
    /// Says whether the whole directory must be read; `None` while segments are exchanged.
    pub(crate) fn standing(&self) -> Option<Standing> {
        self.ear.standing(&self.figures)
    }

    /// Waits until the bell rings for the log. Then this is the bell as it is before the next look.
    pub(crate) fn wait(&mut self, time: Duration) -> Rung {
        if self.ear.file.wait(self.word, time).is_err() {
            self.ear.stop();
        }
        let Some((word, figures)) = self.ear.look(self.key, self.slot) else {
            return Rung::NoMore;
        };
        if std::mem::replace(&mut self.word, word) == word {
            return Rung::Not;
        }
        // One read gives no order: with the new word it may have brought the slot as it was before.
        let read_before = figures.filter(|figures| *figures != self.figures);
        let Some(figures) = read_before.or_else(|| self.ear.figures(self.key, self.slot)) else {
            return Rung::NoMore;
        };
        if std::mem::replace(&mut self.figures, figures) == figures {
            return Rung::Not;
        }
        Rung::ForTheLog
    }
}

fn is_recent(tried: Option<Instant>, now: Instant) -> bool {
    tried.is_some_and(|at| now.saturating_duration_since(at) < TRY_EVERY)
}

fn figures_of(key: MarkKey, slot: Option<&[u8]>) -> Option<LiveFigures> {
    let (of, figures) = LiveFigures::decode(slot?)?;
    (of == key).then_some(figures)
}

fn read_header(file: &LiveFile) -> Option<(LiveHeader, u32)> {
    let mut bytes = [0; LIVE_HEADER_LEN];
    let read = file.read_at(0, &mut bytes).ok()?;
    LiveHeader::decode(bytes.get(..read)?)
}

impl Listener {
    pub(crate) fn new() -> Self {
        Self {
            owner: Owner::here(),
            state: Arc::default(),
        }
    }

    pub(crate) fn ear(&self, host: &Host) -> Option<Arc<Ear>> {
        let mut listening = self.state.lock();
        if let Some(ear) = listening.ear.as_ref().filter(|ear| !ear.is_over()) {
            return Some(Arc::clone(ear));
        }
        let now = host.clock.instant();
        if listening.stopped || is_recent(listening.tried, now) {
            return None;
        }
        listening.tried = Some(now);
        // It has ended, or is about to.
        drop(listening.thread.take());
        listening.ear = Ear::open(host, host.marks.home()).map(Arc::new);
        let ear = Arc::clone(listening.ear.as_ref()?);
        let (listens, of) = (Arc::clone(&ear), Arc::downgrade(&self.state));
        listening.thread = Worker::start("ottla-bell", move || {
            listens.run();
            listens.over.store(true, Ordering::Release);
            // With the last handle of it the file is closed, and the lock is given back.
            if let Some(of) = of.upgrade() {
                let ear = &mut of.lock().ear;
                drop(ear.take_if(|ear| Arc::ptr_eq(ear, &listens)));
            }
        });
        if listening.thread.is_none() {
            listening.ear = None;
        }
        listening.ear.clone()
    }

    /// Has threads that wait for the bell check whether their log is still open.
    pub(crate) fn stir(&self) {
        if let Some(ear) = &self.state.lock().ear {
            ear.file.stir();
        }
    }

    pub(crate) fn stop(&self) {
        let (ear, thread) = {
            let mut listening = self.state.lock();
            listening.stopped = true;
            (listening.ear.take(), listening.thread.take())
        };
        if let Some(ear) = &ear {
            ear.stop();
        }
        if let Some(thread) = thread {
            thread.wake_and_join(|| ear.iter().for_each(|ear| ear.file.stir()));
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if !self.owner.is_here() {
            // The thread is not here, and may have had the lock at the fork.
            return;
        }
        // Without a wait: the last handle may have been dropped by the thread itself.
        if let Some(ear) = self.state.lock().ear.take() {
            ear.stop();
        }
    }
}
