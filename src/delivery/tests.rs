//! Tests of `delivery.rs`.

use super::*;

struct Gone;

impl Lingering for Gone {
    #[cfg(feature = "async")]
    fn in_line(&self) -> bool {
        false
    }

    fn append_now(&self, _: &Arc<Batch>) {}
}

fn batch(linger: Duration) -> Arc<Batch> {
    let producer: Weak<Gone> = Weak::new();
    Arc::new(Batch::new(producer, 3, &Clock::System, linger))
}

#[test]
fn a_settled_delivery_takes_no_lock() {
    let batch = batch(Duration::ZERO);
    let delivery = Delivery::new(Arc::clone(&batch), 2);
    assert!(!delivery.is_settled());
    Promise::new(Arc::clone(&batch)).keep(Ok(40..50));
    let _held = batch.waiting.lock();
    assert!(delivery.is_settled());
    assert_eq!(delivery.wait().unwrap(), Appended::new(3, 42));
    assert!(batch.wait_until(batch.over));
}

#[test]
fn a_wait_with_a_timeout_ends_with_its_time_or_with_the_outcome() {
    let batch = batch(Duration::from_secs(3600));
    let delivery = Delivery::new(Arc::clone(&batch), 2);
    for timeout in [Duration::ZERO, Duration::from_millis(1)] {
        assert_eq!(delivery.wait_timeout(timeout).unwrap(), None);
    }
    Promise::new(batch).keep(Ok(40..50));
    let settled = delivery.wait_timeout(Duration::ZERO).unwrap();
    assert_eq!(settled, Some(Appended::new(3, 42)));
}
