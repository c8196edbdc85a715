//! The service, over real sockets.
//!
//! Knows nothing about the inside of the service: it speaks HTTP, and opens the directory when the
//! service has ended. Times are printed and never asserted. `OTTLA_PROOF=ci` takes 10,000 streams
//! in the place of 500, `OTTLA_PROOF=soak` measures them for longer.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod http;
mod listeners;
mod many;
mod requests;

use std::env;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ottla::Broker;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The service on a runtime of two threads.
struct Running {
    address: SocketAddr,
    runtime: Runtime,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<(), String>>,
}

impl Running {
    fn start(broker: Broker) -> Self {
        let runtime = ottla_service::runtime().worker_threads(2).build();
        let runtime = runtime.unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let served = runtime.spawn(async move {
            let stopped = async { stopped.await.unwrap() };
            let served = ottla_service::serve(listener, broker, stopped).await;
            served.map_err(|error| error.to_string())
        });
        Self {
            address,
            runtime,
            stop,
            served,
        }
    }

    /// Asks it to stop and waits for its end: how long that took.
    fn stop(self) -> Duration {
        let began = Instant::now();
        self.stop.send(()).unwrap();
        self.runtime.block_on(self.served).unwrap().unwrap();
        began.elapsed()
    }
}

/// The figure for what the environment asks for.
fn scale(plain: usize, ci: usize, soak: usize) -> usize {
    match env::var("OTTLA_PROOF").as_deref() {
        Ok("ci") => ci,
        Ok("soak") => soak,
        _ => plain,
    }
}
