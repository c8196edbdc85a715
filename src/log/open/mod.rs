//! Opening: from a directory listing to a running log, whatever the last use left.
//!
//! Knows nothing about locks and roots (`alone.rs`, `dir/`), topics, or how a directory is judged
//! and mended (`recovery/`). A log is brought to the state that a close leaves before it is handed
//! out.

mod finish;

use std::sync::Arc;

use crate::error::Result;
use crate::format::DigestBuilder;
use crate::host::Host;
use crate::recovery::{LogSource, OpenMode, Opening, Tail, unreadable_marks};
use crate::segment::Segment;
use crate::sync::{
    AtomicBool, AtomicU32, AtomicU64, Condvar, Mutex, OnceLock, RwLock, Signal, Watchers,
};
use crate::types::LogConfig;

use super::digest::Digester;
use super::life::LifeCell;
use super::segments::Segments;
use super::shared::Shared;
use super::state::{AppendState, Charge, HotSettings, TurnState};
use super::usher::Usher;

pub(super) fn open(
    host: &Arc<Host>,
    source: LogSource,
    config: LogConfig,
    mode: OpenMode,
) -> Result<Arc<Shared>> {
    let began = host.clock.instant();
    let mut opening = Opening::begin(host.tools(), &source.dir, source.mark_key, mode)?;
    opening.strict = config.strict_recovery;
    if !source.managed {
        // The marks of a root are reported by its broker.
        let events = unreadable_marks(&host.marks);
        opening.report.events.extend(events);
    }
    let mut segments = opening.check_and_finish()?;
    let tail = opening.recover(&mut segments)?;
    if tail.plain {
        host.note_plain(source.mark_key);
    }
    opening.report.elapsed = host.clock.instant().duration_since(began);
    finish(opening, host, source, config, segments, tail)
}

fn finish(
    mut opening: Opening<'_>,
    host: &Arc<Host>,
    source: LogSource,
    config: LogConfig,
    mut segments: Vec<Arc<Segment>>,
    tail: Tail,
) -> Result<Arc<Shared>> {
    let end = opening.end_of(&tail.active, &tail.scanned);
    let first = segments.first().unwrap_or(&tail.active).base_offset();
    let noted_start = opening.mark.map_or(0, |mark| mark.log_start_offset);
    let start = noted_start.max(first).min(end);
    let epochs = opening.find_epochs(&segments, &tail, start..end)?;
    let Tail {
        active,
        scanned,
        index_written,
        ..
    } = tail;
    segments.pop();
    active.publish(scanned.end, end);
    active.set_index(scanned.index, scanned.newest);
    active.set_grows(true);
    let state = AppendState {
        progress: scanned.progress,
        index_written,
        made_at: host.clock.now(),
        leader_epoch: epochs.newest(),
        names_unsynced: true,
        ..AppendState::at_end(Arc::clone(&active), end)
    };
    let mark = opening.mark_to_go_on_from(source.mark_key, start);
    let clean = opening.report.clean && opening.mark.is_some();
    let untrue = opening.is_mark_untrue();
    let log = Arc::new_cyclic(|me| Shared {
        me: me.clone(),
        host: Arc::clone(host),
        dir: opening.dir,
        mark_place: host.marks.place(source.mark_key),
        life: LifeCell::new(opening.mode),
        managed: source.managed,
        hot: HotSettings::of(&config, host.budget.is_limited()),
        config: RwLock::new(Arc::new(config)),
        append: Mutex::new(state),
        segments: RwLock::new(Segments::new(segments, active)),
        start: AtomicU64::new(start),
        end: AtomicU64::new(end),
        flushed: AtomicU64::new(end),
        shown: AtomicU64::new(0),
        truncations: AtomicU64::new(0),
        epochs: RwLock::new(epochs),
        turn: Mutex::new(TurnState::opened(mark, clean, index_written)),
        turn_over: Condvar::new(),
        company_came: Condvar::new(),
        flush_asked: AtomicU32::new(0),
        flush_due: Mutex::new(None),
        digests: Mutex::default(),
        digester: Digester::of(me.clone()),
        signal: Signal::default(),
        usher: Usher::of(me.clone()),
        transactions: Mutex::new(None),
        watchers: Watchers::default(),
        charge: Charge::default(),
        tally: Box::default(),
        cleaning: Mutex::new(()),
        layout: Mutex::new(()),
        lock: Mutex::new(source.lock),
        unfinished: AtomicBool::new(false),
        outside: OnceLock::new(),
        report: opening.report,
    });
    // Before the log is handed out: a second crash must find the end that this opening found, and
    // appends may follow at once.
    if opening.mode == OpenMode::Write {
        if !clean {
            make_durable(&log, scanned.digest, untrue)?;
        }
        begin_to_write(&log, opening.undigested);
    }
    Ok(log)
}

fn make_durable(log: &Shared, digest: Option<DigestBuilder>, untrue: bool) -> Result<()> {
    if log.managed && !log.epochs.read().are_saved() {
        // The epoch has risen, for records that groups have committed may be gone. The opening of
        // the root looks at the commits, as far as it can, and ends this.
        log.hold_appends_back();
    }
    log.make_opening_durable(digest, untrue)
}

/// Notes in the mark what followers must know before the first append, and asks for missing
/// digests.
fn begin_to_write(log: &Shared, undigested: Vec<Arc<Segment>>) {
    log.note_durability();
    for segment in undigested {
        let active = log.append.lock().active.base_offset();
        if segment.base_offset() < active && !segment.is_gone() {
            log.digest_later(segment, None);
        }
    }
}
