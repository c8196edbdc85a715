//! Waking those in other processes who wait for what is appended here.
//!
//! Knows nothing about what they do then: they look at the files, as those do that nobody wakes
//! (`listener.rs`). So what goes wrong here costs them time and nothing else.
//!
//! 1. An append pays one load. Nobody listens: then the first append in a while has a thread look
//!    for listeners, at most every [`LOOK_EVERY`], and no other append does anything.
//! 2. Somebody listens: an append rings at once if nobody has rung a moment ago. Otherwise it notes
//!    that the bell is to be rung, and a thread rings for all of them at the end of a window, which
//!    grows while appends keep coming.
//! 3. In `LOOKING`, `RUNG` and `DUE` exactly one run of the chore is scheduled, in the other states
//!    none.
//! 4. What is published of a log is published before the bell rings for it.
//! 5. The file is made when the directory is opened to be written, by the holder of its lock, and
//!    removed by a close. A close makes it say first that nobody publishes any more.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::disk::{Disk, LiveFile, boot};
use crate::format::{LIVE_HEADER_LEN, LiveFigures, LiveHeader, file_name, live_slot_at};
use crate::sync::{AtomicU32, Mutex, OnceLock, Ordering};

use crate::types::to_usize;

use super::host::{Chore, Flusher};
use super::{Host, Shared, run_id};

/// How many logs a root publishes; more of them are followed without.
pub(crate) const SLOTS_OF_ROOT: u32 = 1023;
/// The same for a log alone.
pub(crate) const SLOTS_ALONE: u32 = 1;

/// How often somebody looks for listeners, at most.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How soon the bell rings again, at first and while appends keep coming.
const WINDOW: Duration = Duration::from_micros(20);
const WINDOW_MAX: Duration = Duration::from_millis(1);

/// Nobody can listen.
const OFF: u32 = 0;
/// Somebody is about to look for listeners.
const LOOKING: u32 = 1;
/// The bell is to be rung at the end of the window.
const DUE: u32 = 2;
// An append has something to do in those that follow.
/// Nobody listened when somebody looked last.
pub(super) const IDLE: u32 = 3;
/// Somebody listens.
const LISTENED: u32 = 4;
/// The bell has been rung in this window.
const RUNG: u32 = 5;

/// The bell of a root, or of a log alone.
#[derive(Debug)]
pub(crate) struct Bell {
    pub(super) state: AtomicU32,
    live: Mutex<Option<Live>>,
}

/// What is published, and where.
#[derive(Debug)]
struct Live {
    file: LiveFile,
    path: PathBuf,
    header: LiveHeader,
    word: u32,
    slots: Vec<Slot>,
    looked: Option<Instant>,
    window: Duration,
}

#[derive(Debug)]
struct Slot {
    log: Weak<Shared>,
    published: Option<LiveFigures>,
}

/// What a log keeps for the bell.
#[derive(Debug, Default)]
pub(super) struct Published {
    /// Where it is published.
    slot: OnceLock<u32>,
    /// Odd while segments are removed or replaced.
    generation: AtomicU32,
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
        // Before the header says that they are this writer's.
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
            window: WINDOW,
        };
        live.file.write_at(0, &header.encode(live.word)).ok()?;
        // Those who waited for the writer before.
        live.file.stir();
        Some(live)
    }

    /// Publishes a log, if something has changed in it.
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
        let now = log.live_figures();
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

    fn ring(&mut self) {
        self.word = self.word.wrapping_add(1);
        self.file.ring(self.word);
    }

    /// Whether somebody listens, as far as it was looked within [`LOOK_EVERY`].
    fn is_listened_to(&mut self, now: Instant) -> bool {
        let fresh = |at: Instant| now.saturating_duration_since(at) < LOOK_EVERY;
        if self.looked.is_some_and(fresh) {
            return true;
        }
        self.looked = Some(now);
        self.file.is_listened_to()
    }
}

impl Bell {
    /// Makes the file in a directory whose lock the caller holds; where it cannot be made, nobody
    /// is woken.
    pub(crate) fn open(&self, disk: &Disk, home: &Path, slots: u32) {
        let live = Live::open(disk, home, slots);
        if live.is_some() {
            *self.live.lock() = live;
            self.state.store(IDLE, Ordering::Release);
        }
    }

    /// Publishes a log from now on, while there is a slot for it.
    pub(super) fn add(&self, log: &Arc<Shared>) {
        let mut live = self.live.lock();
        let Some(live) = live.as_mut() else {
            return;
        };
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
        log.tally.published.slot.get_or_init(|| number);
        live.publish(number);
    }

    /// Whether an append has something to do for listeners (1).
    #[inline]
    pub(super) fn is_to_be_told(&self) -> bool {
        self.state.load(Ordering::Relaxed) > DUE
    }

    fn moves(&self, from: u32, to: u32) -> bool {
        let moved = self
            .state
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed);
        moved.is_ok()
    }

    /// Something has changed in a log for those who read it.
    #[cold]
    pub(super) fn tell(&self, host: &Arc<Host>, log: &Shared) {
        if log.tally.published.slot.get().is_none()
            && let Some(log) = log.me.upgrade()
        {
            // It was opened before there was a file, or when all slots were taken.
            self.add(&log);
        }
        match self.state.load(Ordering::Acquire) {
            IDLE if self.moves(IDLE, LOOKING) => {
                let live = self.live.lock();
                let looked = live.as_ref().and_then(|live| live.looked);
                drop(live);
                let now = host.clock.instant();
                let next = looked.and_then(|at| at.checked_add(LOOK_EVERY));
                // Two threads that stay are enough for a writer that nobody follows. This one may
                // be waiting for the disk; those who wait look by themselves meanwhile.
                let at = next.map_or(now, |next| next.max(now));
                self.run_at(host, &host.flusher, at);
            }
            LISTENED if self.moves(LISTENED, RUNG) => {
                if let Some(live) = self.live.lock().as_mut() {
                    if let Some(slot) = log.tally.published.slot.get() {
                        live.publish(*slot);
                    }
                    live.ring();
                    live.window = WINDOW;
                }
                self.run_after(host, WINDOW);
            }
            RUNG => drop(self.moves(RUNG, DUE)),
            _ => {}
        }
    }

    /// Publishes what has changed in a log, while somebody may be following it.
    pub(super) fn publish(&self, log: &Shared) {
        if let Some(slot) = log.tally.published.slot.get()
            && let Some(live) = self.live.lock().as_mut()
        {
            live.publish(*slot);
        }
    }

    fn run_after(&self, host: &Arc<Host>, time: Duration) {
        let now = host.clock.instant();
        self.run_at(host, &host.lingers, now.checked_add(time).unwrap_or(now));
    }

    /// Has the chore run; without a thread for it the next append asks again.
    fn run_at(&self, host: &Arc<Host>, thread: &Flusher, at: Instant) {
        let chore: Weak<Host> = Arc::downgrade(host);
        if !thread.schedule(at, chore) {
            for state in [LOOKING, RUNG, DUE] {
                self.moves(state, IDLE);
            }
        }
    }

    /// What there is to do at the end of a window, or when somebody is to look for listeners.
    fn run(&self, host: &Arc<Host>) {
        let mut live = self.live.lock();
        let Some(live) = live.as_mut() else {
            return;
        };
        let now = host.clock.instant();
        let state = self.state.load(Ordering::Acquire);
        if state == OFF {
            return;
        }
        if !live.is_listened_to(now) {
            // Those who begin to listen now look by themselves until they are woken.
            for state in [LOOKING, RUNG, DUE] {
                self.moves(state, IDLE);
            }
            return;
        }
        if state == RUNG && self.moves(RUNG, LISTENED) {
            return;
        }
        live.window = match state {
            LOOKING => WINDOW,
            _ => live.window.saturating_mul(2).min(WINDOW_MAX),
        };
        // First, so that what is appended from here on is noted.
        if !self.moves(LOOKING, RUNG) {
            self.moves(DUE, RUNG);
        }
        live.publish_all();
        live.ring();
        self.run_after(host, live.window);
    }

    /// Says that nobody publishes any more, and removes the file (5).
    pub(crate) fn close(&self, disk: &Disk) {
        self.state.store(OFF, Ordering::Release);
        let Some(mut live) = self.live.lock().take() else {
            return;
        };
        live.file.write_at(0, &[0; LIVE_HEADER_LEN]).ok();
        live.ring();
        let own = live.file.id().ok();
        if own.is_some() && disk.file_id(&live.path).ok() == own {
            disk.remove_file(&live.path).ok();
        }
    }
}

impl Chore for Host {
    fn run(&self) {
        if let Some(host) = self.me() {
            host.bell.run(&host);
        }
    }
}

impl Shared {
    /// What followers in other processes are told of the log.
    fn live_figures(&self) -> LiveFigures {
        let truncations = self.truncations.load(Ordering::Acquire);
        let low = |number: u64| u32::try_from(number & u64::from(u32::MAX)).unwrap_or(0);
        LiveFigures {
            start: self.start_offset(),
            high_watermark: self.high_watermark(),
            last_stable: self.last_stable_known(),
            end: self.end_offset(),
            generation: self.tally.published.generation.load(Ordering::Acquire),
            epoch: low(truncations.div_ceil(2)),
        }
    }

    /// Has followers in other processes look at the whole directory while segments come and go.
    pub(super) fn begin_exchange(&self) {
        self.turn_generation();
    }

    /// Segments have come and gone.
    pub(super) fn end_exchange(&self) {
        self.turn_generation();
        self.tell_followers();
    }

    fn turn_generation(&self) {
        self.tally
            .published
            .generation
            .fetch_add(1, Ordering::AcqRel);
        self.host.bell.publish(self);
    }

    /// Has those woken who wait in other processes.
    #[inline]
    pub(super) fn tell_followers(&self) {
        if self.host.bell.is_to_be_told() {
            self.host.bell.tell(&self.host, self);
        }
    }
}
