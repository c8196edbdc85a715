//! Executors of all kinds, and what happens when they or the broker go first.

use super::*;

#[test]
fn all_of_it_may_go_to_another_thread() {
    fn sent<T: Send>(_: &T) {}
    fn owned<T: Send + Unpin + 'static>() {}
    fn calls(consumer: &mut Consumer, broker: &Broker) {
        sent(&consumer.poll_async());
        sent(&consumer.commit_async());
        sent(&broker.flush_async());
        sent(&broker.close_async());
    }
    owned::<Delivery>();
    owned::<Delivery<Offset>>();
    owned::<RecordStream>();
    owned::<TopicStream>();
    let (broker, _) = in_memory(1);
    calls(
        &mut broker.group("g").unwrap().join(["t"]).unwrap(),
        &broker,
    );
}

#[test]
fn thousands_of_streams_wait_on_two_threads() {
    const STREAMS: usize = 5_000;
    const RECORDS: usize = 10;
    let (_scratch, log) = log(Durability::Os);
    let queue = Arc::<Queue>::default();
    let threads = queue.start(2);
    let (read, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    for _ in 0..STREAMS {
        let mut stream = log.reader(0).unwrap().into_stream();
        let (read, over) = (Arc::clone(&read), Arc::clone(&over));
        queue.spawn(async move {
            let mut expected = 0;
            while let Some(record) = next(&mut stream).await {
                assert_eq!(record.unwrap().offset, expected);
                expected += 1;
                read.fetch_add(1, Ordering::SeqCst);
            }
            over.fetch_add(1, Ordering::SeqCst);
        });
    }
    let began = Instant::now();
    let until = |count: &AtomicUsize, wanted: usize| {
        while count.load(Ordering::SeqCst) < wanted {
            assert!(began.elapsed() < PATIENCE, "a wake was missed");
            std::thread::yield_now();
        }
    };
    for round in 1..=RECORDS {
        log.append("a record").unwrap();
        if round % 3 == 0 {
            until(&read, round * STREAMS);
        }
    }
    until(&read, RECORDS * STREAMS);
    log.close().unwrap();
    until(&over, STREAMS);
    queue.shut_down(threads);
}

#[test]
fn a_runtime_that_is_shut_down_with_pending_futures_holds_nothing_up() {
    let (_scratch, broker, topic) = always(2);
    let queue = Arc::<Queue>::default();
    let threads = queue.start(2);
    let polled = Arc::new(AtomicUsize::new(0));
    for _ in 0..100 {
        let mut stream = topic.partition(0).unwrap().reader(0).unwrap().into_stream();
        let mut all = topic.reader(Start::Earliest).unwrap().into_stream();
        let polled = Arc::clone(&polled);
        queue.spawn(async move {
            polled.fetch_add(1, Ordering::SeqCst);
            let _record = next(&mut stream).await;
            let _record = next(&mut all).await;
        });
    }
    let mut consumer = broker.group("g").unwrap().join(["t"]).unwrap();
    queue.spawn(async move {
        let _records = consumer.poll_async().await;
    });
    let began = Instant::now();
    while polled.load(Ordering::SeqCst) < 100 {
        assert!(began.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
    queue.shut_down(threads);
    // The first wake drops the tasks, in the thread that wakes.
    let delivery = topic.append_async("a record").unwrap();
    block_on(delivery).unwrap();
    block_on(broker.close_async()).unwrap();
    assert!(matches!(topic.append("late"), Err(Error::Closed)));
}

#[test]
fn a_task_whose_wake_drops_the_last_handle_closes_the_log() {
    let (scratch, log) = log(Durability::Always);
    let queue = Arc::<Queue>::default();
    let mut stream = log.reader(0).unwrap().into_stream();
    queue.spawn(async move {
        let _record = next(&mut stream).await;
    });
    // It is polled once, and then the executor is gone: the waker keeps the task.
    queue.ready.lock().unwrap().1 = true;
    queue.run();
    let delivery = log.append_async("a record").unwrap();
    drop(log);
    assert_eq!(block_on(delivery).unwrap(), 0);
    let began = Instant::now();
    let dir = scratch.path().join("log");
    let open = || Log::open(&dir, LogConfig::default());
    let log = loop {
        match open() {
            Err(Error::Locked { .. }) => assert!(began.elapsed() < PATIENCE, "never closed"),
            opened => break opened.unwrap(),
        }
        std::thread::yield_now();
    };
    assert_eq!(log.end_offset(), 1);
}

/// Polls its stream within the wake, as a bare executor may.
struct InLine {
    stream: Mutex<Option<RecordStream>>,
    read: AtomicUsize,
    over: AtomicBool,
}

impl Wake for InLine {
    fn wake(self: Arc<Self>) {
        let waker = Waker::from(Arc::clone(&self));
        let mut stream = self.stream.lock().unwrap();
        let Some(reading) = stream.as_mut() else {
            return;
        };
        loop {
            match Pin::new(&mut *reading).poll_next(&mut Context::from_waker(&waker)) {
                Poll::Ready(Some(record)) => {
                    record.unwrap();
                    self.read.fetch_add(1, Ordering::SeqCst);
                }
                Poll::Ready(None) => {
                    self.over.store(true, Ordering::SeqCst);
                    *stream = None;
                    return;
                }
                Poll::Pending => return,
            }
        }
    }
}

#[test]
fn a_task_may_be_polled_within_its_wake() {
    for durability in [Durability::Os, Durability::Always] {
        let (_scratch, log) = log(durability);
        let task = Arc::new(InLine {
            stream: Mutex::new(Some(log.reader(0).unwrap().into_stream())),
            read: AtomicUsize::new(0),
            over: AtomicBool::new(false),
        });
        Arc::clone(&task).wake();
        for number in 1..=50 {
            log.append("a record").unwrap();
            assert_eq!(task.read.load(Ordering::SeqCst), number);
        }
        log.close().unwrap();
        assert!(task.over.load(Ordering::SeqCst));
        assert_eq!(Arc::strong_count(&task), 1);
    }
}

#[test]
fn a_flush_and_a_close_end_what_waits() {
    let (_scratch, broker, topic) = always(4);
    let deliveries: Vec<_> = (0..40)
        .map(|number: u32| topic.append_async(Record::keyed(&number.to_string(), "v")))
        .collect::<Result<_>>()
        .unwrap_or_else(|error| panic!("{error}"));
    block_on(broker.flush_async()).unwrap();
    for partition in 0..4 {
        let log = topic.partition(partition).unwrap();
        assert_eq!(log.flushed_offset(), log.end_offset());
    }
    let late = topic.append_async("v").unwrap();
    block_on(broker.close_async()).unwrap();
    block_on(broker.close_async()).unwrap();
    for delivery in deliveries.into_iter().chain([late]) {
        block_on(delivery).unwrap();
    }
    assert!(matches!(topic.append_async("v"), Err(Error::Closed)));
    assert!(matches!(block_on(broker.flush_async()), Err(Error::Closed)));
}

#[test]
fn a_close_that_is_dropped_closes_all_the_same() {
    let (_scratch, broker, topic) = always(1);
    let wakes = Arc::new(Wakes::default());
    let _ready_or_not = wakes.poll(pin!(broker.close_async())).is_ready();
    let began = Instant::now();
    while !matches!(topic.append("a record"), Err(Error::Closed)) {
        assert!(began.elapsed() < PATIENCE, "never closed");
    }
}
