//! When to look at a log that another process writes, for callers that wait.
//!
//! Knows nothing about the look itself (`follow.rs`).
//!
//! 1. A thread looks only while a caller waits, with longer and longer pauses. Every log that is
//!    waited for makes them longer for all.
//! 2. A log is polled as if there were no bell until its writer's bell has rung for it once
//!    (`host/listener.rs`). From then on the polls are far apart, until one finds something new:
//!    then the bell cannot be relied on.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::clock::{self, Until, Waited};
use crate::host::{Chore, Ear, Heard, Host, Listening, Rung};
use crate::sync::Ordering;
use crate::types::Sabotage;

use super::shared::Shared;
use super::state::{HeardBy, Looks, Outside};

const LATE: Sabotage = Sabotage::ListenedLate;

/// The first pause between two looks, and the longest.
const PAUSE: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(10);

/// The pause between looks at topics, which list a directory.
const TOPICS_PAUSE: Duration = Duration::from_millis(50);

/// The pause where a bell rings for the log.
const PAUSE_HEARD: Duration = Duration::from_millis(50);

/// Every other log that is waited for adds this to the pause.
const LOOK: Duration = Duration::from_micros(100);

impl Looks {
    /// Whether a caller waits that does not wait for the bell itself.
    fn is_to_be_heard_for(&self, log: &Shared) -> bool {
        let direct = self.direct.load(Ordering::SeqCst);
        log.watchers.is_watched() || log.signal.waiting() > direct
    }

    fn want_the_ear(&self) {
        if let Some(ear) = self.heard_by.lock().ear.upgrade() {
            ear.want();
        }
    }

    fn listen(&self, log: &Shared, me: &Arc<dyn Listening>) {
        let ear = log.host.listener.ear(&log.host);
        let mut heard_by = self.heard_by.lock();
        let Some(ear) = ear else {
            self.heard.store(false, Ordering::Relaxed);
            *heard_by = HeardBy::default();
            return;
        };
        if !std::ptr::eq(heard_by.ear.as_ptr(), Arc::as_ptr(&ear)) {
            self.heard.store(false, Ordering::Relaxed);
            ear.add(me);
            *heard_by = HeardBy {
                ear: Arc::downgrade(&ear),
                ..HeardBy::default()
            };
        }
        if heard_by.slot.is_none() {
            heard_by.slot = ear.slot_of(log.mark_key());
        }
        if !self.heard.load(Ordering::Relaxed) {
            ear.want();
        }
    }

    /// The bell as it is now, if it rings for the log.
    fn bell(&self, log: &Shared) -> Option<Heard> {
        if !self.heard.load(Ordering::Relaxed) || !log.host.clock.is_of_system() {
            return None;
        }
        let (ear, slot) = {
            let heard_by = self.heard_by.lock();
            (heard_by.ear.upgrade()?, heard_by.slot?)
        };
        ear.heard(log.mark_key(), slot)
    }

    fn pause(&self) -> Duration {
        if self.heard.load(Ordering::Relaxed) {
            return PAUSE_HEARD;
        }
        let doubled = self.idle.load(Ordering::Relaxed).min(16);
        PAUSE.saturating_mul(1 << doubled).min(PAUSE_MAX)
    }

    fn note_idle(&self) {
        self.idle.fetch_add(1, Ordering::Relaxed);
    }

    fn ask(&self, host: &Host, chore: &Arc<dyn Chore>) {
        if self.asked.swap(true, Ordering::SeqCst) {
            return;
        }
        // A look takes about 10 us: all of them take no more than a tenth of a processor.
        let others = u32::try_from(host.looker.waiting()).unwrap_or(u32::MAX);
        let pause = self.pause().saturating_add(LOOK.saturating_mul(others));
        let now = host.clock.instant();
        let at = now.checked_add(pause).unwrap_or(now);
        if !host.looker.schedule(at, Arc::downgrade(chore)) {
            // A waiting thread looks by itself, if less often.
            self.asked.store(false, Ordering::SeqCst);
        }
    }

    fn hear(&self, log: &Shared, ear: &Ear) {
        if !self.is_to_be_heard_for(log) {
            // All waiting threads are awake by now, and look themselves.
            return;
        }
        let standing;
        {
            let mut heard_by = self.heard_by.lock();
            let key = log.mark_key();
            let Some(slot) = heard_by.slot.or_else(|| ear.slot_of(key)) else {
                // The log has no slot: it is polled.
                return;
            };
            heard_by.slot = Some(slot);
            let figures = ear.figures(key, slot);
            standing = figures.and_then(|figures| ear.standing(&figures));
            if figures.is_none() {
                ear.forget_slots();
                heard_by.slot = None;
            } else if std::mem::replace(&mut heard_by.figures, figures) == figures {
                return;
            }
        }
        self.heard.store(true, Ordering::Relaxed);
        match log.follow_from(standing) {
            Ok(true) => self.idle.store(0, Ordering::Relaxed),
            Ok(false) => {}
            // The waiting thread looks, and gets the error.
            Err(_) => log.raise(),
        }
    }
}

#[derive(Debug)]
pub(super) struct Looker {
    log: Weak<Shared>,
}

impl Looker {
    pub(super) fn of(log: &Arc<Shared>) -> Arc<Self> {
        let log = Arc::downgrade(log);
        Arc::new(Self { log })
    }

    fn if_waited_for<T>(&self, call: impl FnOnce(&Shared, &Looks) -> T) -> Option<T> {
        let log = self.log.upgrade().filter(|log| log.is_waited_for())?;
        let outside = log.outside.get()?;
        Some(call(&log, &outside.looks))
    }
}

impl Listening for Looker {
    fn is_waited_for(&self) -> bool {
        self.if_waited_for(|_, _| ()).is_some()
    }

    fn needs_the_ear(&self) -> bool {
        let needs = self.if_waited_for(|log, looks| {
            let heard = looks.heard.load(Ordering::Relaxed);
            !heard || looks.is_to_be_heard_for(log)
        });
        needs.unwrap_or(false)
    }

    fn hear(&self, ear: &Ear) {
        self.if_waited_for(|log, looks| looks.hear(log, ear));
    }
}

impl Chore for Looker {
    fn run(&self) {
        if let Some(log) = self.log.upgrade()
            && let Some(outside) = log.outside.get()
        {
            log.look_by_the_clock(outside);
        }
    }
}

impl Shared {
    fn look_by_the_clock(&self, outside: &Outside) {
        let looks = &outside.looks;
        let waited_for = self.is_waited_for();
        if waited_for && !LATE.is_on() {
            looks.listen(self, &outside.by_bell);
        }
        // Before the check for waiting callers: one that comes later asks again.
        looks.asked.store(false, Ordering::SeqCst);
        self.host.check_topics_every(TOPICS_PAUSE);
        match self.follow() {
            Ok(true) => {
                looks.idle.store(0, Ordering::Relaxed);
                // The bell did not ring for that.
                looks.heard.store(false, Ordering::Relaxed);
            }
            Ok(false) => looks.note_idle(),
            Err(_) => {
                looks.note_idle();
                // The waiting thread looks, and gets the error.
                self.raise();
            }
        }
        if waited_for && LATE.is_on() {
            looks.listen(self, &outside.by_bell);
        }
        if self.is_waited_for() && self.life.can_read().is_ok() {
            self.ask_for_looks();
        } else {
            looks.idle.store(0, Ordering::Relaxed);
        }
    }

    /// When a waiting thread looks by itself, in case `ottla-follower` could not be started.
    pub(super) fn next_look(&self) -> Option<Instant> {
        let pause = self.outside.get()?.looks.pause().max(PAUSE_MAX);
        self.host.clock.instant().checked_add(pause)
    }

    /// The bell, to be taken before a look: a change that the look does not see changes its word.
    pub(super) fn bell(&self) -> Option<Heard> {
        self.outside.get()?.looks.bell(self)
    }

    /// Waiting for the bell itself spares waking one thread after the other. Returns the bell for
    /// the next look if it has rung.
    pub(super) fn wait_for_bell(
        &self,
        bell: Heard,
        until: Until,
        is_there: impl Fn() -> bool,
    ) -> (Waited, Option<Heard>) {
        let direct = self.outside.get().map(|outside| &outside.looks.direct);
        direct.map(|direct| direct.fetch_add(1, Ordering::SeqCst));
        let waited = self.wait_directly(bell, until, is_there);
        direct.map(|direct| direct.fetch_sub(1, Ordering::SeqCst));
        waited
    }

    fn wait_directly(
        &self,
        mut bell: Heard,
        until: Until,
        is_there: impl Fn() -> bool,
    ) -> (Waited, Option<Heard>) {
        let clock = &self.host.clock;
        let begun = clock.instant();
        let due = begun.checked_add(PAUSE_HEARD).unwrap_or(begun);
        let end = until.shown().map_or(due, |until| until.min(due));
        loop {
            // Before the wait too: a close wakes those that it sees wait.
            if is_there() || self.life.can_grow().is_err() {
                return (Waited::Raised, None);
            }
            let now = clock.instant();
            if now >= end {
                let over = clock.is_over(until);
                return (if over { Waited::Over } else { Waited::Due(now) }, None);
            }
            match bell.wait(end.saturating_duration_since(now)) {
                Rung::Not => {}
                Rung::ForTheLog => return (Waited::Raised, Some(bell)),
                Rung::NoMore => return (Waited::Raised, None),
            }
        }
    }

    pub(crate) fn is_waited_for(&self) -> bool {
        self.signal.is_waited_for() || self.watchers.is_watched()
    }

    /// Has `ottla-bell` wake a caller that does not wait for the bell itself.
    pub(super) fn want_the_ear(&self) {
        if let Some(outside) = self.outside.get() {
            outside.looks.want_the_ear();
        }
    }

    /// Wakes threads that wait for the bell, until all are awake: one may have been about to wait.
    pub(super) fn wake_from_bell(&self) {
        if let Some(outside) = self.outside.get() {
            let is_over = || outside.looks.direct.load(Ordering::SeqCst) == 0;
            clock::repeat_until(is_over, || self.host.listener.stir());
        }
    }

    /// Has the log looked at while a caller waits (I1).
    pub(super) fn ask_for_looks(&self) {
        if let Some(outside) = self.outside.get() {
            outside.looks.ask(&self.host, &outside.by_clock);
        }
    }
}

#[cfg(all(test, ottla_shuttle))]
impl super::shared::Log {
    /// Returns whether the present writer is listened to.
    pub(crate) fn look_by_the_clock(&self) -> bool {
        let shared = &self.shared;
        let now = shared.host.clock.instant();
        shared.host.clock.pass_to(now + TOPICS_PAUSE);
        let _waits = shared.signal.ticket();
        let outside = shared.outside.get().unwrap();
        outside.by_clock.run();
        let heard_by = outside.looks.heard_by.lock();
        heard_by.ear.upgrade().is_some_and(|ear| ear.hears())
    }
}
