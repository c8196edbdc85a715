//! Flushing and closing a broker as a task.
//!
//! Knows nothing about how that is done: a short-lived thread calls the core.

use std::sync::Arc;

use crate::delivery::Delivery;
use crate::error::{Error, Result};
use crate::host::Worker;
use crate::sync::Mutex;

use super::Broker;
use super::core::Core;

impl Broker {
    /// [`flush`](Self::flush) as a task, on a thread of its own; with
    /// [`manual_upkeep`](crate::BrokerConfig::manual_upkeep) in line.
    ///
    /// It begins at the first poll. Dropped after that, it continues to its end.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush).
    ///
    /// # Examples
    ///
    /// ```
    /// use ottla::{Broker, TopicConfig};
    ///
    /// # let scratch = tempfile::tempdir()?;
    /// let broker = Broker::open(scratch.path().join("data"))?;
    /// let topic = broker.create_topic("flights", TopicConfig::default())?;
    /// topic.append("departed EWR")?;
    /// # pollster::block_on(async {
    /// broker.flush_async().await?;
    /// assert_eq!(topic.partition(0)?.flushed_offset(), 1);
    /// broker.close_async().await
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn flush_async(&self) -> Result<()> {
        self.core.on_a_thread("ottla-flush", Core::flush).await
    }

    /// [`close`](Self::close) as a task, run as [`flush_async`](Self::flush_async) is, also when it
    /// is dropped.
    ///
    /// Everything that waits for the broker is woken: streams are over, polls return
    /// [`Error::Closed`], deliveries are done.
    ///
    /// # Errors
    ///
    /// As [`close`](Self::close).
    ///
    /// # Examples
    ///
    /// See [`flush_async`](Self::flush_async).
    pub async fn close_async(&self) -> Result<()> {
        self.core.on_a_thread("ottla-close", Core::close).await
    }
}

impl Core {
    fn on_a_thread(self: &Arc<Self>, name: &str, run: fn(&Self) -> Result<()>) -> Delivery<()> {
        let host = &self.root.host;
        let (delivery, promise) = Delivery::promised(&host.clock, 0, |_, _| ());
        let call = Arc::new(Mutex::new(Some((Arc::clone(self), promise))));
        let answer = move |call: &Mutex<Option<(Arc<Self>, _)>>| {
            let taken = call.lock().take();
            if let Some((core, promise)) = taken {
                let done: Result<(), Error> = run(&core);
                // Dropped first: the task that has the result may want to hold the last handle.
                drop(core);
                crate::delivery::Promise::keep(promise, done.map(|()| 0..0));
            }
        };
        let there = Arc::clone(&call);
        let started =
            !host.flusher.is_manual() && Worker::start(name, move || answer(&there)).is_some();
        if !started {
            answer(&call);
        }
        delivery
    }
}
