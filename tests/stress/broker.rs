//! A broker through many lives: topics that stay and topics that come and go, producers and
//! consumers, upkeep in the background, and a close under all of them.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use ottla::{
    Broker, BrokerConfig, CleanupPolicy, Durability, Error, LogRecord, Result, Start, Topic,
    TopicConfig,
};

use crate::dice::Dice;
use crate::outside::{self, number_of};
use crate::payload::{Said, record};
use crate::stage::Actor;

const STEADY: [&str; 3] = ["steady-os", "steady-always", "steady-compacted"];
const FLEETING: u64 = 4;

/// One life of a broker.
struct Scene<'a> {
    broker: Broker,
    closing: AtomicBool,
    writers: &'a AtomicU64,
}

type Goes = std::ops::ControlFlow<()>;

/// Lives of one broker until the run is over, and those who look at it meanwhile.
pub(crate) fn run(actor: &mut Actor<'_>, dir: &Path) {
    let stage = actor.stage;
    let writers = AtomicU64::new(0);
    stage.threads(|acts| {
        let ready = dir.join("ottla.catalog");
        let again = ready.clone();
        acts.start("read-only opener of a root", move |actor| {
            outside::await_dir(actor, &ready);
            outside::look_at_root(actor, dir);
        });
        acts.start("verifier of a root", move |actor| {
            outside::await_dir(actor, &again);
            outside::verify(actor, dir);
        });
        let mut life = 0;
        while !stage.is_over() {
            live(actor, dir, &writers, life);
            life += 1;
        }
    });
}

fn topic_config(dice: &mut Dice, name: &str) -> TopicConfig {
    let durability = match (name, dice.below(3)) {
        ("steady-always", _) | (_, 0) => Durability::Always,
        ("steady-os", _) | (_, 1) => Durability::Os,
        _ => Durability::Interval(Duration::from_millis(1 + dice.below(10))),
    };
    let config = TopicConfig::default()
        .durability(durability)
        .partitions(1 + u32::try_from(dice.below(3)).unwrap())
        .segment_bytes(1 << (10 + dice.below(4)))
        .retention_bytes(Some(30 << 10));
    if name == "steady-compacted" {
        config
            .cleanup_policy(CleanupPolicy::CompactAndDelete)
            .min_cleanable_dirty_ratio(0.1)
    } else {
        config
    }
}

fn live(actor: &mut Actor<'_>, dir: &Path, writers: &AtomicU64, life: u64) {
    let upkeep = Duration::from_millis(10 + actor.dice.below(40));
    let config = BrokerConfig::default().upkeep_interval(upkeep);
    actor.does("open a broker");
    let Some(broker) = actor.check(Broker::open_with(dir, config)) else {
        return;
    };
    let report = broker.open_report();
    if life > 0 && !(report.clean && report.events.is_empty()) {
        actor.fail(format!("life {life} does not begin clean: {report:?}"));
    }
    for name in STEADY {
        let config = topic_config(&mut actor.dice, name);
        actor.does("create a topic");
        actor.check(broker.create_topic_if_absent(name, config));
    }
    let scene = Scene {
        broker,
        closing: AtomicBool::new(false),
        writers,
    };
    actor.stage.threads(|acts| {
        let scene = &scene;
        acts.start("producer", |actor| produce(actor, scene));
        acts.start("producer", |actor| produce(actor, scene));
        acts.start("consumer", |actor| consume(actor, scene));
        acts.start("consumer", |actor| consume(actor, scene));
        acts.start("administrator", |actor| administrate(actor, scene));
        acts.start("administrator", |actor| administrate(actor, scene));
        for _ in 0..20 + actor.dice.below(60) {
            if actor.stage.is_over() {
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
        if let Some(round) = scene.broker.last_upkeep() {
            for problem in &round.problems {
                actor.fail(format!("upkeep: {problem:?}"));
            }
        }
        if actor.dice.once_in(2) {
            scene.closing.store(true, Ordering::Release);
        }
        actor.does("close a broker");
        let closed = scene.broker.close();
        scene.closing.store(true, Ordering::Release);
        actor.check(closed);
    });
}

fn goes_on(actor: &Actor<'_>, scene: &Scene<'_>) -> bool {
    !actor.stage.is_over() && !scene.closing.load(Ordering::Acquire)
}

/// What an answer means; topics may come and go.
fn judge<T>(actor: &Actor<'_>, outcome: Result<T>) -> Goes {
    match outcome {
        Ok(_) | Err(Error::UnknownTopic { .. } | Error::TopicExists { .. }) => Goes::Continue(()),
        Err(Error::Closed) => Goes::Break(()),
        Err(error) if outside::moved_on(&error) => Goes::Continue(()),
        Err(error) => {
            actor.fail(format!("{error:?}"));
            Goes::Break(())
        }
    }
}

fn any_name(dice: &mut Dice) -> String {
    if dice.once_in(2) {
        STEADY[usize::try_from(dice.below(3)).unwrap()].to_owned()
    } else {
        fleeting_name(dice)
    }
}

fn fleeting_name(dice: &mut Dice) -> String {
    format!("fleeting-{}", dice.below(FLEETING))
}

fn produce(actor: &mut Actor<'_>, scene: &Scene<'_>) {
    let writer = scene.writers.fetch_add(1, Ordering::Relaxed);
    let mut sequence = 0;
    while goes_on(actor, scene) {
        let name = any_name(&mut actor.dice);
        actor.does("find a topic");
        let outcome = scene.broker.topic(&name).and_then(|topic| {
            for _ in 0..=actor.dice.below(20) {
                actor.does("append to a topic");
                let said = Said {
                    log: number_of(Path::new(&name)),
                    writer,
                    sequence,
                };
                sequence += 1;
                append(&topic, said)?;
            }
            Ok(())
        });
        if judge(actor, outcome).is_break() {
            return;
        }
    }
}

fn append(topic: &Topic, said: Said) -> Result<()> {
    let (key, value) = (said.key(), said.value());
    let at = topic.append(record(Some(&key), &value))?;
    let log = topic.partition(at.partition)?;
    match log.read(at.offset) {
        Ok(_) | Err(Error::OffsetOutOfRange { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

fn consume(actor: &mut Actor<'_>, scene: &Scene<'_>) {
    while goes_on(actor, scene) {
        actor.does("join a group");
        let joined = scene
            .broker
            .group("readers")
            .and_then(|group| group.join(STEADY));
        let mut consumer = match joined {
            Ok(consumer) => consumer,
            Err(error) => {
                if judge::<()>(actor, Err(error)).is_break() {
                    return;
                }
                continue;
            }
        };
        for _ in 0..5 + actor.dice.below(20) {
            actor.does("poll");
            let polled = consumer
                .poll(Duration::from_millis(20))
                .and_then(|records| {
                    for found in &records {
                        check(actor, found, &found.topic);
                    }
                    if actor.dice.once_in(2) {
                        actor.does("commit");
                        consumer.commit()?;
                    }
                    Ok(())
                });
            if judge(actor, polled).is_break() {
                return;
            }
        }
        actor.does("leave a group");
        if judge(actor, consumer.leave()).is_break() {
            return;
        }
    }
}

fn check(actor: &Actor<'_>, record: &LogRecord, topic: &str) {
    if let Some(said) = actor.check(Said::of(record))
        && said.log != number_of(Path::new(topic))
    {
        actor.fail(format!("{topic} holds a record of log {}", said.log));
    }
}

/// Makes, changes and deletes topics, and looks at all of them.
fn administrate(actor: &mut Actor<'_>, scene: &Scene<'_>) {
    let broker = &scene.broker;
    while goes_on(actor, scene) {
        actor.rest(Duration::from_millis(10));
        let name = fleeting_name(&mut actor.dice);
        let outcome = match actor.dice.below(8) {
            0 | 1 => {
                let config = topic_config(&mut actor.dice, &name);
                actor.does("create a topic");
                broker.create_topic(&name, config).map(drop)
            }
            2 | 3 => {
                actor.does("delete a topic");
                broker.delete_topic(&name)
            }
            4 => alter(actor, broker),
            5 => {
                actor.does("flush a broker");
                broker.flush()
            }
            6 => {
                actor.does("upkeep");
                broker.upkeep().map(|round| {
                    for problem in &round.problems {
                        actor.fail(format!("upkeep: {problem:?}"));
                    }
                })
            }
            _ => describe(actor, broker, &name),
        };
        if judge(actor, outcome).is_break() {
            return;
        }
    }
}

fn alter(actor: &mut Actor<'_>, broker: &Broker) -> Result<()> {
    let name = any_name(&mut actor.dice);
    let wanted = topic_config(&mut actor.dice, &name);
    let before = broker.topic(&name)?;
    actor.does("alter a topic");
    broker.alter_topic(&name, |config| {
        let partitions = config.partitions.max(wanted.partitions);
        wanted.partitions(partitions)
    })?;
    drop(before);
    Ok(())
}

fn describe(actor: &mut Actor<'_>, broker: &Broker, name: &str) -> Result<()> {
    actor.does("describe topics");
    drop(broker.topics());
    broker.groups()?;
    let log = broker.topic(name)?.partition(0)?;
    let before = log.high_watermark();
    for record in log.reader(Start::Earliest)? {
        check(actor, &record?, name);
    }
    if log.high_watermark() < before {
        let after = log.high_watermark();
        actor.fail(format!(
            "the high watermark went from {before} back to {after}"
        ));
    }
    Ok(())
}
