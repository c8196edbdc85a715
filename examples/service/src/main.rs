//! An HTTP service on Ottla: what is posted is answered once it is safe on the disk, and streamed
//! to everybody who listens.
//!
//! ```console
//! $ cargo run --release -p ottla-service -- data 127.0.0.1:8080 orders
//! listening on http://127.0.0.1:8080
//! ```
//!
//! ```console
//! $ curl --data 'two coffees' http://127.0.0.1:8080/topics/orders
//! {"partition":0,"offset":0}
//! $ curl --data 'a tea' 'http://127.0.0.1:8080/topics/orders?key=table-7'
//! {"partition":0,"offset":1}
//! $ curl --no-buffer 'http://127.0.0.1:8080/topics/orders/0?from=0'
//! id: 0
//! data: {"timestamp":1764336000000,"key":null,"value":"two coffees"}
//!
//! id: 1
//! data: {"timestamp":1764336004000,"key":"table-7","value":"a tea"}
//!
//! ```
//!
//! The second one goes on with what is posted until the client or the service ends it. An
//! `EventSource` in a browser sends `Last-Event-ID` when it connects again, and continues behind
//! the last event that it saw; so does `curl --header 'Last-Event-ID: 1'`. Without an offset a
//! stream begins with the next record to come.
//!
//! Ctrl-C or SIGTERM ends it: no new connections, POSTs that wait are answered, streams end, and
//! the directory is closed. For 10,000 streams it needs as many descriptors: `ulimit -n 20000`.
//!
//! `lib.rs` has the service, `failure.rs` which error gets which status. This file knows the
//! command line and the signals.

use std::env;
use std::error::Error;

use ottla::{Broker, BrokerConfig, Durability, TopicConfig};
use tokio::net::TcpListener;
use tokio::signal;

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    ottla_service::runtime().build()?.block_on(run())
}

async fn run() -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut args = env::args().skip(1);
    let (Some(dir), Some(address)) = (args.next(), args.next()) else {
        return Err("usage: ottla-service DIRECTORY ADDRESS [TOPIC]...".into());
    };
    // For every topic that does not say otherwise.
    let config = BrokerConfig::default().durability(Durability::Always);
    let broker = Broker::open_with(dir, config)?;
    for topic in args {
        broker.create_topic_if_absent(&topic, TopicConfig::default())?;
    }
    let listener = TcpListener::bind(&address).await?;
    eprintln!("listening on http://{}", listener.local_addr()?);
    ottla_service::serve(listener, broker, asked_to_stop()).await
}

/// Waits for Ctrl-C, or for what a supervisor sends.
async fn asked_to_stop() {
    #[cfg(unix)]
    if let Ok(mut terminate) = signal::unix::signal(signal::unix::SignalKind::terminate()) {
        tokio::select! {
            _ = signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        return;
    }
    // Where there is no handler for it, Ctrl-C ends the process without a word; the next opening
    // recovers.
    if signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
