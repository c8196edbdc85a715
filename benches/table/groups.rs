//! What groups, producers and many topics cost those who do not use them, and those who do.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use ottla::{
    Assignor, Broker, BrokerConfig, Consumer, ConsumerConfig, Durability, Log, LogConfig,
    ProducerConfig, TopicConfig,
};

use crate::rows::{Figure, Rows, timed};
use crate::tools::{VALUE_BYTES, Values, scratch, width_of};

/// Prints the rows.
pub(crate) fn rows(rows: &Rows) {
    beside_idle_consumers(rows);
    conditional(rows);
    producer(rows);
    durable_commits(rows);
    opening_with_commits(rows);
    sticky_join(rows);
    topics(rows);
}

/// Appends while so many consumers are there that wait for nothing.
fn append_beside(consumers: u64, records: u64) -> f64 {
    let dir = scratch();
    let broker = Broker::open(dir.path()).unwrap();
    let topic = broker
        .create_topic("flights", TopicConfig::default())
        .unwrap();
    let idle: Vec<Consumer> = (0..consumers)
        .map(|number| {
            let group = broker.group(&format!("g{number}")).unwrap();
            let mut consumer = group.join(["flights"]).unwrap();
            assert!(consumer.poll(Duration::ZERO).unwrap().is_empty());
            consumer
        })
        .collect();
    let mut values = Values::new(1, VALUE_BYTES);
    let took = timed(records, || {
        for _ in 0..records {
            black_box(topic.append(values.next()).unwrap());
        }
    });
    drop(idle);
    took
}

fn beside_idle_consumers(rows: &Rows) {
    let records = rows.effort.pick(50_000, 200_000);
    Rows::compare(
        "Topic::append beside 3,000 idle consumers, ns | beside: with none",
        "<= 2",
        rows.effort.pick(1, 3),
        [
            Box::new(move || append_beside(3_000, records)),
            Box::new(move || append_beside(0, records)),
        ],
    );
}

fn conditional(rows: &Rows) {
    let records: u64 = rows.effort.pick(200_000, 600_000);
    let append = |at_end: bool| {
        let dir = scratch();
        let log = Log::open(dir.path(), LogConfig::default()).unwrap();
        let mut values = Values::new(1, VALUE_BYTES);
        timed(records, || {
            for end in 0..records {
                let value = values.next();
                if at_end {
                    log.append_at(end, value).unwrap();
                } else {
                    log.append(value).unwrap();
                }
            }
        })
    };
    Rows::compare(
        "Log::append_at, ns | beside: Log::append",
        "<= 1.03",
        rows.effort.pick(7, 21),
        [Box::new(|| append(true)), Box::new(|| append(false))],
    );
}

fn producer(rows: &Rows) {
    let records: u64 = rows.effort.pick(200_000, 600_000);
    let through = |sends: bool| {
        let dir = scratch();
        let broker = Broker::open(dir.path()).unwrap();
        let topic = broker
            .create_topic("flights", TopicConfig::default())
            .unwrap();
        let producer = topic.producer(ProducerConfig::default()).unwrap();
        let mut values = Values::new(1, VALUE_BYTES);
        timed(records, || {
            for _ in 0..records {
                let value = values.next();
                if sends {
                    drop(black_box(producer.send(value).unwrap()));
                } else {
                    black_box(topic.append(value).unwrap());
                }
            }
            producer.flush().unwrap();
        })
    };
    Rows::compare(
        "Producer::send and one flush, ns | beside: Topic::append",
        "<= 0.5",
        rows.effort.pick(5, 11),
        [Box::new(|| through(true)), Box::new(|| through(false))],
    );
}

/// Commits per second of 16 threads, each with a consumer, in so many groups.
fn commits_per_second(groups: u64, lasting: Duration) -> f64 {
    const MEMBERS: u32 = 16;
    let dir = scratch();
    let config = BrokerConfig::default().durability(Durability::Always);
    let broker = Broker::open_with(dir.path(), config).unwrap();
    let config = TopicConfig::default()
        .partitions(MEMBERS)
        .durability(Durability::Os);
    let topic = broker.create_topic("flights", config).unwrap();
    for partition in 0..MEMBERS {
        for _ in 0..2 {
            topic.append_to(partition, "a record").unwrap();
        }
    }
    let mut members: Vec<_> = (0..u64::from(MEMBERS))
        .map(|number| {
            let group = broker.group(&format!("g{}", number % groups)).unwrap();
            group.join(["flights"]).unwrap()
        })
        .collect();
    // Two rounds: the shares settle, and everybody has something to commit.
    for _ in 0..2 {
        for member in &mut members {
            drop(member.poll(Duration::ZERO).unwrap());
        }
    }
    let began = Instant::now();
    let count: u64 = std::thread::scope(|scope| {
        let workers: Vec<_> = members
            .into_iter()
            .map(|mut member| {
                scope.spawn(move || {
                    let own = member.assignment().first().unwrap().1;
                    let mut count = 0;
                    while began.elapsed() < lasting {
                        member.commit_to("flights", own, count % 2 + 1).unwrap();
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap())
            .sum()
    });
    count as f64 / began.elapsed().as_secs_f64()
}

fn durable_commits(rows: &Rows) {
    let lasting = Duration::from_millis(rows.effort.pick(400, 1_500));
    Rows::compare(
        "durable commits/s, 16 members of one group | beside: 16 groups",
        ">= 0.5",
        rows.effort.pick(3, 5),
        [
            Box::new(move || commits_per_second(1, lasting)),
            Box::new(move || commits_per_second(16, lasting)),
        ],
    );
}

/// Milliseconds of opening and closing.
fn cycle(dir: &Path) -> f64 {
    let began = Instant::now();
    Broker::open(dir).unwrap().close().unwrap();
    began.elapsed().as_secs_f64() * 1e3
}

/// A directory in which `groups` groups have committed `commits` times in all.
fn with_commits(dir: &Path, groups: u64, commits: u64) {
    let broker = Broker::open(dir).unwrap();
    let topic = broker
        .create_topic("flights", TopicConfig::default())
        .unwrap();
    topic.append("a record").unwrap();
    let mut members: Vec<_> = (0..groups)
        .map(|number| {
            let group = broker.group(&format!("g{number}")).unwrap();
            let mut member = group.join(["flights"]).unwrap();
            assert_eq!(member.poll(Duration::ZERO).unwrap().len(), 1);
            member
        })
        .collect();
    for commit in 0..commits {
        let at = usize::try_from(commit % groups).unwrap();
        let member = members.get_mut(at).unwrap();
        member.commit_to("flights", 0, commit / groups % 2).unwrap();
    }
    drop(members);
    broker.close().unwrap();
}

fn opening_with_commits(rows: &Rows) {
    let commits = rows.effort.pick(100_000, 2_000_000);
    for (groups, commits) in [(2_000, 2_000), (1, commits)] {
        let (many, none) = (scratch(), scratch());
        with_commits(many.path(), groups, commits);
        with_commits(none.path(), 1, 1);
        let row = format!("open and close after {commits} commits of {groups} groups, ms | of one");
        Rows::compare(
            &row,
            "",
            rows.effort.pick(3, 7),
            [
                Box::new(|| cycle(many.path())),
                Box::new(|| cycle(none.path())),
            ],
        );
    }
}

/// The join of the last of 32 members that each subscribe to another half of 100 topics.
fn sticky_join(rows: &Rows) {
    const TOPICS: usize = 100;
    let dir = scratch();
    let broker = Broker::open(dir.path()).unwrap();
    let names: Vec<_> = (0..TOPICS).map(|number| format!("t{number:02}")).collect();
    for name in &names {
        let config = TopicConfig::default().partitions(60);
        broker.create_topic(name, config).unwrap();
    }
    let group = broker.group("board").unwrap();
    let join = |member: usize| {
        let config = ConsumerConfig::default().assignor(Assignor::Sticky);
        let own = names.iter().cycle().skip(member * 3).take(TOPICS / 2);
        let mut consumer = group.join_with(own, config).unwrap();
        drop(consumer.poll(Duration::ZERO).unwrap());
        consumer
    };
    let members: Vec<_> = (0..31).map(join).collect();
    let figures = (0..rows.effort.pick(3, 9)).map(|_| {
        let began = Instant::now();
        let consumer = join(31);
        let took = began.elapsed().as_secs_f64() * 1e3;
        drop(consumer);
        took
    });
    let figure = Figure::of(figures.collect());
    drop(members);
    Rows::line(
        "sticky: one of 32 members joins and polls, 6,000 partitions, ms",
        "<= 10",
        figure,
        None,
    );
}

/// Creating, listing, closing and deleting many topics.
fn topics(rows: &Rows) {
    let count: u64 = rows.effort.pick(200, 1_000);
    let mut took = [const { Vec::new() }; 4];
    for _ in 0..rows.effort.pick(1, 3) {
        let dir = scratch();
        let names: Vec<_> = (0..count).map(|number| format!("t{number}")).collect();
        let broker = Broker::open(dir.path()).unwrap();
        let mut note = |row: usize, work: &mut dyn FnMut()| {
            let began = Instant::now();
            work();
            let millis = began.elapsed().as_secs_f64() * 1e3;
            took.get_mut(row).unwrap().push(millis);
        };
        note(0, &mut || {
            for name in &names {
                broker.create_topic(name, TopicConfig::default()).unwrap();
            }
        });
        note(1, &mut || {
            assert_eq!(width_of(broker.topics().len()), count);
        });
        for name in &names {
            broker.topic(name).unwrap().append("a record").unwrap();
        }
        note(2, &mut || broker.close().unwrap());
        let broker = Broker::open(dir.path()).unwrap();
        note(3, &mut || {
            for name in &names {
                broker.delete_topic(name).unwrap();
            }
        });
    }
    let rows = [
        "create",
        "list",
        "close, all with an unsynced record,",
        "delete",
    ];
    for (row, millis) in rows.into_iter().zip(took) {
        Rows::line(
            &format!("{row} {count} topics of one partition, ms"),
            "",
            Figure::of(millis),
            None,
        );
    }
}
