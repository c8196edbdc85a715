//! Futures and streams, driven by hand and by an executor of two threads.
//!
//! It is a test of its own because it counts what waiting costs, and an allocator belongs to a
//! whole program.

#![expect(
    unsafe_code,
    reason = "an allocator is an unsafe trait; this one only counts"
)]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and has a clock of its own"
)]

mod consumers;
mod deliveries;
mod runtimes;
mod streams;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures_core::Stream;
use ottla::{
    Appended, Broker, BrokerConfig, Consumer, ConsumerConfig, Delivery, Durability, Error, Log,
    LogConfig, Offset, ProducerConfig, Record, RecordStream, Result, Start, TestClock, Topic,
    TopicConfig, TopicStream,
};
use pollster::block_on;

const MINUTE: Duration = Duration::from_secs(60);
/// How long a test waits for what should come at once.
const PATIENCE: Duration = Duration::from_secs(600);

// What this thread has allocated and not freed, in bytes.
struct Counting;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: usize, sign: isize) {
    LIVE.set(LIVE.get() + sign * isize::try_from(bytes).unwrap());
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(layout.size(), -1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(layout.size(), -1);
        count(size, 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Counts how often a task is woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Wakes {
    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    /// Nobody else has a waker of it.
    fn is_left(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) == 1
    }

    fn poll<F: Future + ?Sized>(self: &Arc<Self>, future: Pin<&mut F>) -> Poll<F::Output> {
        let waker = Waker::from(Arc::clone(self));
        future.poll(&mut Context::from_waker(&waker))
    }

    fn next<S: Stream + Unpin>(self: &Arc<Self>, stream: &mut S) -> Poll<Option<S::Item>> {
        self.poll(pin!(next(stream)))
    }
}

fn next<S: Stream + Unpin>(stream: &mut S) -> impl Future<Output = Option<S::Item>> {
    poll_fn(move |cx| Pin::new(&mut *stream).poll_next(cx))
}

/// Waits on this thread for a wake that must come.
/// Waits until nobody else has a waker: who wakes may still have it for a moment.
fn await_left(wakes: &Arc<Wakes>) {
    let began = Instant::now();
    while !wakes.is_left() {
        assert!(began.elapsed() < PATIENCE, "a waker is left behind");
        std::thread::yield_now();
    }
}

fn await_wake(wakes: &Wakes, wanted: usize) {
    let began = Instant::now();
    while wakes.count() < wanted {
        assert!(began.elapsed() < PATIENCE, "the wake never came");
        std::thread::yield_now();
    }
}

fn log(durability: Durability) -> (tempfile::TempDir, Log) {
    let scratch = tempfile::tempdir().unwrap();
    let config = LogConfig::default().durability(durability);
    let log = Log::open(scratch.path().join("log"), config).unwrap();
    (scratch, log)
}

fn always(partitions: u32) -> (tempfile::TempDir, Broker, Topic) {
    let scratch = tempfile::tempdir().unwrap();
    let config = BrokerConfig::default().durability(Durability::Always);
    let broker = Broker::open_with(scratch.path().join("data"), config).unwrap();
    let config = TopicConfig::default().partitions(partitions);
    let topic = broker.create_topic("t", config).unwrap();
    (scratch, broker, topic)
}

fn in_memory(partitions: u32) -> (Broker, Topic) {
    let broker = Broker::temporary().unwrap();
    let config = TopicConfig::default().partitions(partitions);
    let topic = broker.create_topic("t", config).unwrap();
    (broker, topic)
}

type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// An executor of a few threads.
#[derive(Default)]
struct Queue {
    ready: Mutex<(VecDeque<Arc<Task>>, bool)>,
    wake: Condvar,
}

struct Task {
    job: Mutex<Option<Job>>,
    queued: AtomicBool,
    queue: Arc<Queue>,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::SeqCst) {
            let queue = Arc::clone(&self.queue);
            let mut ready = queue.ready.lock().unwrap();
            // Once it is shut down the task goes, and its future with it: here, in a wake.
            if ready.1 {
                drop(ready);
                drop(self);
            } else {
                ready.0.push_back(self);
                drop(ready);
                queue.wake.notify_one();
            }
        }
    }
}

impl Queue {
    fn spawn(self: &Arc<Self>, job: impl Future<Output = ()> + Send + 'static) {
        let task = Task {
            job: Mutex::new(Some(Box::pin(job))),
            queued: AtomicBool::new(false),
            queue: Arc::clone(self),
        };
        Arc::new(task).wake();
    }

    fn start(self: &Arc<Self>, threads: usize) -> Vec<JoinHandle<()>> {
        let start = |_| {
            let queue = Arc::clone(self);
            std::thread::spawn(move || queue.run())
        };
        (0..threads).map(start).collect()
    }

    fn run(&self) {
        let mut ready = self.ready.lock().unwrap();
        loop {
            if let Some(task) = ready.0.pop_front() {
                drop(ready);
                task.queued.store(false, Ordering::SeqCst);
                let waker = Waker::from(Arc::clone(&task));
                let mut job = task.job.lock().unwrap();
                if let Some(running) = job.as_mut()
                    && running
                        .as_mut()
                        .poll(&mut Context::from_waker(&waker))
                        .is_ready()
                {
                    *job = None;
                }
                drop(job);
                ready = self.ready.lock().unwrap();
            } else if ready.1 {
                return;
            } else {
                ready = self.wake.wait(ready).unwrap();
            }
        }
    }

    /// Ends the threads. Tasks that wait are dropped with their wakers.
    fn shut_down(&self, threads: Vec<JoinHandle<()>>) {
        self.ready.lock().unwrap().1 = true;
        self.wake.notify_all();
        for thread in threads {
            thread.join().unwrap();
        }
    }
}
