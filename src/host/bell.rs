//! Wakes followers in other processes when something is appended here.
//!
//! Knows nothing about what they do then: they look at the files, as without a bell
//! (`listener.rs`). So what goes wrong here costs them time and nothing else.
//!
//! 1. An append pays one load. If no process listens, the first append in a while has a thread look
//!    for listeners, at most every [`LOOK_EVERY`]; the others do nothing.
//! 2. If a process listens, an append that comes [`APART`] from the last ring rings itself, and
//!    wakes no thread of this process. Faster appends leave it to a thread, which rings for all of
//!    them at the end of a window that grows while they keep coming: each window costs one of them
//!    a note.
//! 3. In `LOOKING`, `DUE` and `BUSY` exactly one run of the chore is scheduled, otherwise none.
//! 4. What is published of a log is published before the bell rings for it. Before that the state
//!    says that the next append has something to do again, and the thread synchronizes with the
//!    appends: one that has not seen that state is seen by the thread.
//! 5. Before a thread finds that no process listens, the state says so: an append meanwhile causes
//!    another look. A process that begins to listen later reads the files first.
//! 6. The holder of the directory's lock makes the file at an opening for writing. A close makes it
//!    say that there is no writer, and then removes it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::dir::run_id;
use crate::disk::{Disk, LiveFile, boot};
use crate::format::{LIVE_WORD_AT, LiveFigures, LiveHeader, MarkKey, file_name, live_slot_at};
use crate::sync::{AtomicU32, Mutex, OnceLock, Ordering, fence};
use crate::types::{Sabotage, to_usize};

use super::Host;
use super::threads::{Chore, Flusher};

/// How many logs a root publishes; more of them are followed without.
pub(crate) const SLOTS_OF_ROOT: u32 = 1023;
pub(crate) const SLOTS_ALONE: u32 = 1;

const LOOK_EVERY: Duration = Duration::from_millis(10);

/// An append that comes so soon after the last ring leaves the next one to a thread. Longer than
/// what several appends take on a slow machine, and under a tool that counts instructions.
const APART: Duration = Duration::from_micros(300);

/// How soon the thread rings again, at first and while appends keep coming.
const WINDOW: Duration = Duration::from_micros(20);
const WINDOW_MAX: Duration = Duration::from_millis(1);

/// There is no live file.
pub(crate) const OFF: u32 = 0;
/// A thread is about to look for listeners.
const LOOKING: u32 = 1;
/// A thread rings at the end of the window.
const DUE: u32 = 2;
// An append has something to do in those that follow.
/// No process listened at the last look.
pub(crate) const IDLE: u32 = 3;
/// A process listens, and there is nothing to ring for.
const LISTENED: u32 = 4;
/// A thread has just rung, and looks at the end of the window whether to ring again.
const BUSY: u32 = 5;

#[derive(Debug)]
pub(crate) struct Bell {
    pub(crate) state: AtomicU32,
    live: Mutex<Option<Live>>,
}

#[derive(Debug)]
struct Live {
    file: LiveFile,
    path: PathBuf,
    header: LiveHeader,
    word: u32,
    slots: Vec<Slot>,
    looked: Option<Instant>,
    rang: Option<Instant>,
    window: Duration,
}

#[derive(Debug)]
struct Slot {
    log: Weak<dyn Audible>,
    published: Option<LiveFigures>,
}

pub(crate) trait Audible: Send + Sync + std::fmt::Debug {
    /// `None` while the log is being dropped.
    fn me(&self) -> Option<Arc<dyn Audible>>;

    fn mark_key(&self) -> MarkKey;

    fn published(&self) -> &Published;

    fn figures(&self) -> LiveFigures;

    /// Whether no append is under way; the caller sees every append that has ended.
    fn is_between_appends(&self) -> bool;
}

#[derive(Debug, Default)]
pub(crate) struct Published {
    slot: OnceLock<u32>,
    /// Odd while segments are removed or replaced.
    generation: AtomicU32,
}

impl Published {
    pub(crate) fn generation(&self) -> u32 {
        self.generation.load(Ordering::Acquire)
    }

    pub(crate) fn turn_generation(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    #[cfg(all(test, target_os = "linux", not(ottla_shuttle)))]
    pub(crate) fn slot(&self) -> Option<u32> {
        self.slot.get().copied()
    }
}

impl Default for Bell {
    fn default() -> Self {
        Self {
            state: AtomicU32::new(OFF),
            live: Mutex::new(None),
        }
    }
}

impl Live {
    fn open(disk: &Disk, home: &Path, slots: u32) -> Option<Self> {
        let path = home.join(file_name::LIVE);
        let header = LiveHeader {
            slots,
            boot: boot(disk)?,
            incarnation: run_id(),
        };
        let file = LiveFile::publish(disk, &path, live_slot_at(slots)).ok()?;
        // Before the header says that the slots are this writer's.
        let empty = vec![0; to_usize(live_slot_at(slots).saturating_sub(live_slot_at(0)))];
        file.write_at(live_slot_at(0), &empty).ok()?;
        let [first, ..] = header.incarnation;
        let live = Self {
            file,
            path,
            header,
            word: u32::from(first),
            slots: Vec::new(),
            looked: None,
            rang: None,
            window: WINDOW,
        };
        live.file.write_at(0, &header.encode(live.word)).ok()?;
        // Wakes followers that waited for the previous writer.
        live.file.stir();
        Some(live)
    }

    fn publish(&mut self, slot: u32) {
        let at = live_slot_at(slot);
        let Some(slot) = usize::try_from(slot)
            .ok()
            .and_then(|at| self.slots.get_mut(at))
        else {
            return;
        };
        let Some(log) = slot.log.upgrade() else {
            return;
        };
        let now = log.figures();
        if slot.published != Some(now)
            && self.file.write_at(at, &now.encode(log.mark_key())).is_ok()
        {
            slot.published = Some(now);
        }
    }

    fn publish_all(&mut self) {
        for slot in (0..self.header.slots).take(self.slots.len()) {
            self.publish(slot);
        }
    }

    fn ring_for(&mut self, publish: impl FnOnce(&mut Self)) {
        if Sabotage::RungBeforePublished.is_on() {
            self.ring();
            return publish(self);
        }
        publish(self);
        self.ring();
    }

    /// Does not wait. Every append that has ended before sees the state as it was before this, or
    /// later; false if one may not have ended.
    fn synchronize_with_appends(&self) -> bool {
        // For threads that raise without the append lock of their log.
        fence(Ordering::SeqCst);
        let mut all = true;
        for log in self.slots.iter().filter_map(|slot| slot.log.upgrade()) {
            // Every one of them, also after one that has not ended.
            all &= log.is_between_appends();
        }
        all
    }

    fn ring(&mut self) {
        self.word = self.word.wrapping_add(1);
        self.file.ring(self.word);
    }

    fn is_to_be_looked_at(&self, now: Instant) -> bool {
        let stale = |at: Instant| now.saturating_duration_since(at) >= LOOK_EVERY;
        self.looked.is_none_or(stale)
    }
}

impl Bell {
    /// Makes the file in a directory whose lock the caller holds; if that fails, no follower is
    /// woken.
    pub(crate) fn open(&self, disk: &Disk, home: &Path, slots: u32) {
        let live = Live::open(disk, home, slots);
        if live.is_some() {
            *self.live.lock() = live;
            self.state.store(IDLE, Ordering::Release);
        }
    }

    /// Publishes a log from now on, if a slot is free.
    pub(crate) fn add(&self, log: &Arc<dyn Audible>) {
        let mut live = self.live.lock();
        let Some(live) = live.as_mut() else {
            return;
        };
        if log.published().slot.get().is_some() {
            // Another thread was faster.
            return;
        }
        let slot = Slot {
            log: Arc::downgrade(log),
            published: None,
        };
        let gone = live
            .slots
            .iter()
            .position(|slot| slot.log.strong_count() == 0);
        let at = gone.unwrap_or(live.slots.len());
        let Some(number) = u32::try_from(at).ok().filter(|at| *at < live.header.slots) else {
            return;
        };
        match live.slots.get_mut(at) {
            Some(left) => *left = slot,
            None => live.slots.push(slot),
        }
        log.published().slot.get_or_init(|| number);
        live.publish(number);
    }

    /// Whether an append has something to do for listeners (1).
    #[inline]
    pub(crate) fn needs_appends(&self) -> bool {
        self.state.load(Ordering::Relaxed) > DUE
    }

    fn moves(&self, from: u32, to: u32) -> bool {
        let moved = self
            .state
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed);
        moved.is_ok()
    }

    #[cold]
    pub(crate) fn tell(&self, host: &Arc<Host>, log: &dyn Audible) {
        if log.published().slot.get().is_none()
            && let Some(log) = log.me()
        {
            // It was opened before there was a file, or when all slots were taken.
            self.add(&log);
        }
        loop {
            let state = self.state.load(Ordering::Acquire);
            match state {
                IDLE if self.moves(IDLE, LOOKING) => {
                    let live = self.live.lock();
                    let looked = live.as_ref().and_then(|live| live.looked);
                    drop(live);
                    let now = host.clock.instant();
                    let next = looked.and_then(|at| at.checked_add(LOOK_EVERY));
                    // Two threads are enough for a writer without followers. This one may be
                    // waiting for the disk; waiting followers look by themselves meanwhile.
                    let at = next.map_or(now, |next| next.max(now));
                    return self.run_at(host, LOOKING, &host.flusher, at);
                }
                LISTENED => {
                    let now = host.clock.instant();
                    if self.rings_for(log, now) {
                        return;
                    }
                    if self.moves(LISTENED, DUE) {
                        return self.run_after(host, DUE, now, WINDOW);
                    }
                }
                BUSY if self.moves(BUSY, DUE) => return,
                // Another thread is faster.
                IDLE | BUSY => {}
                _ => return,
            }
        }
    }

    /// Rings for a log; false if that is left to a thread (2).
    fn rings_for(&self, log: &dyn Audible, now: Instant) -> bool {
        let Some(mut live) = self.live.try_lock() else {
            // Another thread rings, and may not have seen this change.
            return false;
        };
        let Some(live) = live.as_mut() else {
            // It was closed meanwhile.
            return true;
        };
        let is_close = |at: Instant| now.saturating_duration_since(at) < APART;
        if live.rang.is_some_and(is_close) {
            return false;
        }
        if live.is_to_be_looked_at(now) {
            if !live.file.is_listened_to() {
                // A thread makes sure of that.
                return false;
            }
            live.looked = Some(now);
        }
        let slot = log.published().slot.get();
        live.ring_for(|live| slot.into_iter().for_each(|slot| live.publish(*slot)));
        live.rang = Some(now);
        true
    }

    pub(crate) fn publish(&self, log: &dyn Audible) {
        if let Some(slot) = log.published().slot.get()
            && let Some(live) = self.live.lock().as_mut()
        {
            live.publish(*slot);
        }
    }

    fn run_after(&self, host: &Arc<Host>, from: u32, now: Instant, time: Duration) {
        let at = now.checked_add(time).unwrap_or(now);
        self.run_at(host, from, &host.lingers, at);
    }

    /// Schedules the chore; without a thread for it the next append asks again.
    fn run_at(&self, host: &Arc<Host>, from: u32, thread: &Flusher, at: Instant) {
        let chore: Weak<Host> = Arc::downgrade(host);
        if !thread.schedule(at, chore) {
            // The state that had it scheduled: another one has a run of its own.
            let _ = self.moves(from, IDLE) || from == BUSY && self.moves(DUE, IDLE);
        }
    }

    /// Rings at the end of a window, or looks for listeners.
    fn run(&self, host: &Arc<Host>) {
        let mut live = self.live.lock();
        let Some(live) = live.as_mut() else {
            return;
        };
        if self.moves(BUSY, LISTENED) {
            // Nothing was appended in the window.
            live.window = WINDOW;
            return;
        }
        let now = host.clock.instant();
        live.window = match self.state.load(Ordering::Acquire) {
            DUE => live.window.saturating_mul(2).min(WINDOW_MAX),
            LOOKING => WINDOW,
            _ => return,
        };
        if live.is_to_be_looked_at(now) && !self.finds_listeners(live, now) {
            return;
        }
        let early = !Sabotage::NotedAfterPublished.is_on();
        if early {
            self.enter(BUSY);
        }
        let all = live.synchronize_with_appends();
        live.ring_for(Live::publish_all);
        if !early {
            self.enter(BUSY);
        }
        if !all {
            // An append that has not ended may have taken the window for the last one.
            self.moves(BUSY, DUE);
        }
        live.rang = Some(now);
        self.run_after(host, BUSY, now, live.window);
    }

    /// Whether a process listens; if none does, the state says so (5).
    fn finds_listeners(&self, live: &mut Live, now: Instant) -> bool {
        live.looked = Some(now);
        if live.file.is_listened_to() {
            return true;
        }
        self.enter(IDLE);
        // Again: a process may have begun to listen since, and have read the files before an append
        // that still saw the old state. If an append has caused another look, that is enough.
        live.file.is_listened_to() && self.moves(IDLE, DUE)
    }

    /// Leaves the states in which a run of the chore is scheduled (3).
    fn enter(&self, state: u32) {
        for from in [LOOKING, DUE, BUSY] {
            self.moves(from, state);
        }
    }

    /// Makes the file say that there is no writer, and removes it (6).
    pub(crate) fn close(&self, disk: &Disk) {
        self.state.store(OFF, Ordering::Release);
        let Some(mut live) = self.live.lock().take() else {
            return;
        };
        // Not the word, on which followers wait: it keeps rising.
        let nobody = vec![0; to_usize(LIVE_WORD_AT)];
        live.file.write_at(0, &nobody).ok();
        if !Sabotage::ClosedUnheard.is_on() {
            live.ring();
        }
        let own = live.file.id().ok();
        if own.is_some() && disk.file_id(&live.path).ok() == own {
            disk.remove_file(&live.path).ok();
        }
    }
}

#[cfg(all(test, target_os = "linux", not(ottla_shuttle)))]
impl Bell {
    pub(crate) fn slot_count(&self) -> Option<usize> {
        self.live.lock().as_ref().map(|live| live.slots.len())
    }
}

impl Chore for Host {
    fn run(&self) {
        if let Some(host) = self.me() {
            host.bell.run(&host);
        }
    }
}
