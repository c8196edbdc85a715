//! Thousands of streams on two threads, with posts meanwhile, and a shutdown in the middle.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use ottla::{Broker, BrokerConfig, Durability, Start, Topic, TopicConfig};

use tower::ServiceExt as _;

use crate::http::Client;
use crate::listeners::{self, Listeners};
use crate::{Running, scale};

/// Descriptors that are left for the files of the broker and everything else of a process.
const OTHER_DESCRIPTORS: u64 = 1_000;
const POSTERS: usize = 4;
/// Posters and threads that append as fast as they can.
const CROWD: usize = 64;

fn open(dir: &Path) -> Broker {
    let config = BrokerConfig::default().durability(Durability::Always);
    Broker::open_with(dir, config).unwrap()
}

/// As many streams as are asked for and fit the limit of descriptors, of which each process needs
/// one a stream.
fn streams_that_fit() -> usize {
    let wanted = scale(500, 10_000, 10_000);
    let limit = rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let fit = usize::try_from(limit.saturating_sub(OTHER_DESCRIPTORS)).unwrap();
    if fit < wanted {
        println!("service: {fit} streams, {wanted} do not fit {limit} descriptors");
    }
    wanted.min(fit)
}

/// What was posted where, and how long each answer took.
#[derive(Default)]
struct Posts {
    values: BTreeMap<u64, String>,
    times: Vec<Duration>,
}

impl Posts {
    fn add(&mut self, offset: u64, value: String, time: Duration) {
        let known = self.values.insert(offset, value);
        assert_eq!(known, None, "one offset was answered twice");
        self.times.push(time);
    }

    fn print(&mut self, what: &str) {
        self.times.sort_unstable();
        let count = self.times.len();
        let at = |percent: usize| self.times[(count * percent / 100).min(count - 1)];
        let (half, most) = (at(50), at(99));
        println!("service: {count} posts {what}: p50 {half:.1?}, p99 {most:.1?}");
    }
}

/// Posts from a few clients, so many in all, one each `pace` on the average.
fn post(address: SocketAddr, topic: &str, count: usize, pace: Duration) -> Posts {
    let poster = |poster: usize| {
        move || {
            let mut posts = Posts::default();
            let mut client = Client::connect(address);
            for number in 0..count / POSTERS {
                // Spread by a ratio that never repeats.
                let parts = u32::try_from((poster * 389 + number * 618) % 1_000).unwrap();
                let pause = pace * 4 / 1_000 * 2 * parts;
                thread::sleep(pause);
                let value = format!("{topic} {poster} {number}");
                let began = Instant::now();
                let offset = client.post(topic, &value).unwrap();
                posts.add(offset, value, began.elapsed());
            }
            posts
        }
    };
    let mut all = Posts::default();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..POSTERS)
            .map(|number| scope.spawn(poster(number)))
            .collect();
        for thread in threads {
            let posts = thread.join().unwrap();
            for ((offset, value), time) in posts.values.into_iter().zip(posts.times) {
                all.add(offset, value, time);
            }
        }
    });
    all
}

/// How often a second something is done, by a crowd of threads of which each has its own.
fn rate<S>(each: impl Fn() -> S + Sync, work: impl Fn(&mut S) + Sync) -> usize {
    let lasts = Duration::from_millis(u64::try_from(scale(300, 1_000, 3_000)).unwrap());
    let began = Instant::now();
    let run = || {
        let mut state = each();
        let mut done = 0_u32;
        while began.elapsed() < lasts {
            work(&mut state);
            done += 1;
        }
        done
    };
    let done: u32 = thread::scope(|scope| {
        let threads: Vec<_> = (0..CROWD).map(|_| scope.spawn(run)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    let rate = f64::from(done) / began.elapsed().as_secs_f64();
    format!("{rate:.0}").parse().unwrap()
}

/// The same with tasks on the threads of the service.
fn rate_of_tasks<F>(running: &Running, work: impl Fn() -> F + Clone + Send + 'static) -> usize
where
    F: Future<Output = ()> + Send,
{
    let lasts = Duration::from_millis(u64::try_from(scale(300, 1_000, 3_000)).unwrap());
    let began = Instant::now();
    let tasks: Vec<_> = (0..CROWD)
        .map(|_| {
            let work = work.clone();
            running.runtime.spawn(async move {
                let mut done = 0_u32;
                while began.elapsed() < lasts {
                    work().await;
                    done += 1;
                }
                done
            })
        })
        .collect();
    let mut done: u32 = 0;
    for task in tasks {
        done += running.runtime.block_on(task).unwrap();
    }
    let rate = f64::from(done) / began.elapsed().as_secs_f64();
    format!("{rate:.0}").parse().unwrap()
}

/// What the service does for a POST, without a socket and a client, which take most of the time
/// where there are few processors.
async fn serve_post(router: Router) {
    let request = Request::post("/topics/rates").body(Body::from("a record"));
    let answer = router.oneshot(request.unwrap()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
}

/// How many durable appends a second a crowd reaches, in its ways.
fn measure_rates(running: &Running, router: &Router, topic: &Topic) {
    let threads = rate(
        || (),
        |()| {
            topic.append("a record").unwrap();
        },
    );
    let topic = topic.clone();
    let tasks = rate_of_tasks(running, move || {
        let topic = topic.clone();
        async move {
            topic.append_async("a record").unwrap().await.unwrap();
        }
    });
    let router = router.clone();
    let calls = rate_of_tasks(running, move || serve_post(router.clone()));
    let posts = rate(
        || Client::connect(running.address),
        |client| {
            client.post("rates", "a record").unwrap();
        },
    );
    println!(
        "service: durable appends a second by {CROWD}: {threads} threads, {tasks} tasks, \
         {calls} posts without a socket, {posts} posters"
    );
}

/// Posts until the service does not answer with an offset any more.
fn post_to_the_end(mut client: Client, number: usize) -> BTreeMap<u64, String> {
    let mut posted = BTreeMap::new();
    for count in 0.. {
        let value = format!("last {number} {count}");
        let Ok(offset) = client.post("orders", &value) else {
            break;
        };
        posted.insert(offset, value);
    }
    posted
}

#[test]
fn every_stream_sees_every_record_in_order_while_posts_are_answered_and_up_to_the_shutdown() {
    const NAME: &str = "many::every_stream_sees_every_record_in_order_while_posts_are_answered_and_\
                        up_to_the_shutdown";
    if listeners::run_if_asked() {
        return;
    }
    let streams = streams_that_fit();
    let scratch = tempfile::tempdir().unwrap();
    let broker = open(scratch.path());
    for topic in ["orders", "quiet", "rates"] {
        broker.create_topic(topic, TopicConfig::default()).unwrap();
    }
    let rates = broker.topic("rates").unwrap();
    let router = ottla_service::router(broker.clone());
    let running = Running::start(broker);
    let address = running.address;
    measure_rates(&running, &router, &rates);
    drop((router, rates));

    let count = scale(40, 40, 400);
    // A record costs the service and its clients some 20 microseconds a stream.
    let pace = Duration::from_micros(40) * u32::try_from(streams).unwrap();
    post(address, "quiet", count, pace).print("without streams");
    let mut listeners = Listeners::start(NAME, address, streams, count);
    let mut posted = post(address, "orders", count, pace);
    posted.print(&format!("that {streams} streams see"));
    listeners.await_records();
    post(address, "quiet", count, pace / 10).print(&format!("beside {streams} waiting streams"));

    // With posts under way.
    let clients = [(); POSTERS].map(|()| Client::connect(address));
    let (took, last) = thread::scope(|scope| {
        let post = |(poster, client)| scope.spawn(move || post_to_the_end(client, poster));
        let posters: Vec<_> = clients.into_iter().enumerate().map(post).collect();
        let took = running.stop();
        let last = posters.into_iter().map(|poster| poster.join().unwrap());
        (took, last.flatten().collect::<Vec<_>>())
    });
    let ended = listeners.await_end();
    println!("service: shut down in {took:.1?} with {streams} streams");
    for (offset, value) in last {
        posted.add(offset, value, Duration::ZERO);
    }

    let broker = open(scratch.path());
    assert!(broker.open_report().clean);
    let orders = broker.topic("orders").unwrap();
    let records = orders
        .partition(0)
        .unwrap()
        .reader(Start::Earliest)
        .unwrap();
    let records = records.map(|record| {
        let record = record.unwrap();
        let value = String::from_utf8(record.value().unwrap().to_vec()).unwrap();
        (record.offset, value)
    });
    // Each answer names its record, and no record is there whose poster was not answered.
    let stored: BTreeMap<u64, String> = records.collect();
    assert_eq!(stored, posted.values);
    let seen = stored.iter().take(ended.longest);
    let digest = listeners::digest(seen.map(|(offset, value)| (*offset, value.as_str())));
    assert_eq!((ended.streams, ended.digest), (streams, digest));
    assert!(ended.shortest >= count && ended.longest <= stored.len());
}
