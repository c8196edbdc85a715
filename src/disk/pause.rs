//! A pause of random length before a call of the system, in builds for `tests/stress` alone
//! (`RUSTFLAGS="--cfg ottla_pauses"`): threads then meet in rare orders.
//!
//! Knows nothing about the calls. In every other build it is nothing.

#[cfg(not(ottla_pauses))]
#[inline]
pub(super) const fn pause() {}

#[cfg(ottla_pauses)]
pub(super) use paused::pause;

#[cfg(ottla_pauses)]
mod paused {
    use std::cell::Cell;
    use std::time::Duration;

    use crate::clock;
    use crate::sync::{AtomicU64, Ordering};

    static THREADS: AtomicU64 = AtomicU64::new(1);

    thread_local! {
        static DICE: Cell<u64> = Cell::new(
            THREADS.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9_7F4A_7C15)
        );
    }

    /// Often none at all, sometimes a moment, rarely long.
    pub(in crate::disk) fn pause() {
        // The thread may be ending: then there is no dice any more, and no pause.
        let Ok(dice) = DICE.try_with(|dice| {
            let next = dice
                .get()
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            dice.set(next);
            next >> 32
        }) else {
            return;
        };
        let length = dice >> 8;
        match dice % 256 {
            0 => clock::sleep(Duration::from_micros(length % 5_000)),
            1..=15 => clock::sleep(Duration::from_micros(length % 200)),
            16..=79 => std::thread::yield_now(),
            _ => {}
        }
    }
}
