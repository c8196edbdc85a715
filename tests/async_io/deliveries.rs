//! Appends that are not waited for, and what becomes of them.

use super::*;

#[test]
fn appends_have_the_order_of_their_calls_whatever_is_awaited() {
    let (_scratch, log) = log(Durability::Always);
    let mut deliveries: Vec<_> = (0..100)
        .map(|number| log.append_async(&format!("{number}")).unwrap())
        .collect();
    assert_eq!(log.end_offset(), 100, "appended in the call");
    for offset in (0..100).rev() {
        let delivery = deliveries.pop().unwrap();
        if offset % 2 == 0 {
            assert_eq!(block_on(delivery).unwrap(), offset);
            assert!(log.flushed_offset() > offset, "done when it is safe");
        }
    }
    let values: Vec<_> = log
        .reader(0)
        .unwrap()
        .map(|record| record.unwrap())
        .collect();
    for (number, record) in values.iter().enumerate() {
        assert_eq!(record.value(), Some(number.to_string().as_bytes()));
    }
    assert_eq!(values.len(), 100);
}

#[test]
fn a_delivery_answers_as_often_as_it_is_asked_by_whichever_way() {
    let (_scratch, _broker, topic) = always(3);
    let mut delivery = topic.append_async(Record::keyed("k", "v")).unwrap();
    let partition = topic.partition_for_key(b"k");
    let appended = delivery.wait().unwrap();
    assert_eq!((appended.partition, appended.offset), (partition, 0));
    assert!(delivery.is_settled());
    let bounded = delivery.wait_timeout(Duration::ZERO).unwrap();
    let polled: [Appended; 2] = [(); 2].map(|()| block_on(&mut delivery).unwrap());
    assert_eq!((bounded, polled), (Some(appended), [appended; 2]));
}

#[test]
fn a_delivery_that_needs_no_sync_is_done_at_once() {
    for durability in [Durability::Os, Durability::Interval(MINUTE)] {
        let (_scratch, log) = log(durability);
        let wakes = Arc::new(Wakes::default());
        let delivery = log.append_async("a record").unwrap();
        assert!(matches!(wakes.poll(pin!(delivery)), Poll::Ready(Ok(0))));
        assert_eq!(log.flushed_offset(), 0);
    }
}

#[test]
fn without_threads_an_append_is_safe_when_the_call_returns() {
    let scratch = tempfile::tempdir().unwrap();
    let config = BrokerConfig::default()
        .durability(Durability::Always)
        .manual_upkeep(true);
    let broker = Broker::open_with(scratch.path(), config).unwrap();
    let topic = broker.create_topic("t", TopicConfig::default()).unwrap();
    let delivery = topic.append_async("a record").unwrap();
    assert_eq!(topic.partition(0).unwrap().flushed_offset(), 1);
    assert!(delivery.is_settled());
    let wakes = Arc::new(Wakes::default());
    assert!(wakes.poll(pin!(broker.flush_async())).is_ready());
    assert!(wakes.poll(pin!(broker.close_async())).is_ready());
}

#[test]
fn a_delivery_that_is_dropped_keeps_its_record_and_leaves_no_waker() {
    let (scratch, log) = log(Durability::Always);
    let wakes = Arc::new(Wakes::default());
    for _ in 0..50 {
        let mut delivery = log.append_async("a record").unwrap();
        let _ready_or_not = wakes.poll(Pin::new(&mut delivery)).is_ready();
        drop(delivery);
    }
    await_left(&wakes);
    log.close().unwrap();
    let log = Log::open(scratch.path().join("log"), LogConfig::default()).unwrap();
    assert_eq!(log.end_offset(), 50);
}

#[test]
fn flushed_asks_for_a_sync_of_what_is_there() {
    let (_scratch, log) = log(Durability::Os);
    assert_eq!(block_on(log.flushed(0)).unwrap(), 0, "there is nothing yet");
    for _ in 0..3 {
        log.append("a record").unwrap();
    }
    assert!(block_on(log.flushed(1)).unwrap() >= 2);
    log.append("a record").unwrap();
    assert_eq!(block_on(log.flushed(Offset::MAX)).unwrap(), 4);
    assert_eq!(log.flushed_offset(), 4);
    log.close().unwrap();
    assert!(matches!(block_on(log.flushed(0)), Err(Error::Closed)));
}

#[test]
fn a_delivery_outlives_its_log() {
    let (_scratch, log) = log(Durability::Always);
    let deliveries: Vec<_> = (0..10)
        .map(|_| log.append_async("a record").unwrap())
        .collect();
    drop(log);
    for (offset, delivery) in (0..).zip(deliveries) {
        assert_eq!(block_on(delivery).unwrap(), offset);
    }
}

#[test]
fn a_producers_delivery_is_a_future_too() {
    let (_scratch, _broker, topic) = always(1);
    let linger = ProducerConfig::default().linger(Duration::from_millis(1));
    let producer = topic.producer(linger).unwrap();
    let sent = [(); 3].map(|()| producer.send("a record").unwrap());
    for (offset, delivery) in (0..).zip(sent) {
        assert_eq!(block_on(delivery).unwrap().offset, offset);
    }
}

#[test]
fn where_no_thread_ends_lingers_the_first_poll_does() {
    let config = BrokerConfig::default().manual_upkeep(true);
    let broker = Broker::temporary_with(config, Some(TestClock::new())).unwrap();
    let topic = broker.create_topic("t", TopicConfig::default()).unwrap();
    let producer = topic.producer(ProducerConfig::default()).unwrap();
    let delivery = producer.send("a record").unwrap();
    let wakes = Arc::new(Wakes::default());
    assert!(matches!(wakes.poll(pin!(delivery)), Poll::Ready(Ok(_))));
}

/// Notes that it was woken.
struct Named(&'static str, Arc<Mutex<Vec<&'static str>>>);

impl Wake for Named {
    fn wake(self: Arc<Self>) {
        self.1.lock().unwrap().push(self.0);
    }
}

/// With the many first, a client that appends would wait until an executor has served all of them.
#[test]
fn the_task_that_waits_for_its_append_is_woken_before_the_many_that_follow_the_log() {
    let (_scratch, log) = log(Durability::Always);
    let woken = Arc::default();
    let waker = |name| Waker::from(Arc::new(Named(name, Arc::clone(&woken))));
    let (follows, waits) = (waker("follows"), waker("waits"));
    let await_wakes = |wanted| {
        let began = Instant::now();
        while woken.lock().unwrap().len() < wanted {
            assert!(began.elapsed() < PATIENCE, "a wake never came");
            std::thread::yield_now();
        }
    };
    let mut streams = [(); 100].map(|()| log.reader(0).unwrap().into_stream());
    for round in 0.. {
        assert!(round < 1_000, "every sync was over before the first poll");
        for stream in &mut streams {
            let mut cx = Context::from_waker(&follows);
            while Pin::new(&mut *stream).poll_next(&mut cx).is_ready() {}
        }
        let mut delivery = log.append_async("a record").unwrap();
        let polled = Pin::new(&mut delivery).poll(&mut Context::from_waker(&waits));
        if polled.is_pending() {
            await_wakes(101);
            break;
        }
        await_wakes(100);
        woken.lock().unwrap().clear();
    }
    assert_eq!(woken.lock().unwrap()[0], "waits");
}
