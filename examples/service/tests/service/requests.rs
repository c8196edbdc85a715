//! One client: what it is answered.

use ottla::{Broker, BrokerConfig, TopicConfig};

use crate::Running;
use crate::http::{Client, Event, Events};

fn start(config: BrokerConfig) -> (Broker, Running) {
    let broker = Broker::temporary_with(config, None).unwrap();
    let small = TopicConfig::default().segment_bytes(1 << 20);
    broker.create_topic("orders", small).unwrap();
    let running = Running::start(broker.clone());
    (broker, running)
}

fn listen(running: &Running, query: &str, headers: &str) -> (Client, Events) {
    let mut client = Client::connect(running.address);
    let what = format!("GET /topics/orders/0{query}");
    let answer = client.ask(&what, headers, b"").unwrap();
    assert_eq!(answer.status, 200);
    assert!(answer.headers.contains("content-type: text/event-stream"));
    (client, Events::default())
}

fn ids(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.id).collect()
}

#[test]
fn what_is_posted_is_streamed_with_its_offset_and_resumed_behind_the_last_event() {
    let (_broker, running) = start(BrokerConfig::default());
    let mut poster = Client::connect(running.address);
    for offset in 0..3 {
        assert_eq!(poster.post("orders", "a tea").unwrap(), offset);
    }
    let (mut all, mut from_all) = listen(&running, "?from=1", "");
    let (mut new, mut from_new) = listen(&running, "", "");
    assert_eq!(ids(&all.events(2, &mut from_all)), [1, 2]);

    let with_key = "POST /topics/orders?key=table%207";
    let answer = poster.ask(with_key, "", b"two\r\nlines").unwrap();
    assert_eq!(answer.body, r#"{"partition":0,"offset":3}"#);
    for (client, decoder) in [(&mut all, &mut from_all), (&mut new, &mut from_new)] {
        let events = client.events(1, decoder);
        assert_eq!(ids(&events), [3]);
        let data = r#""key":"table 7","value":"two\r\nlines"}"#;
        assert!(events[0].data.ends_with(data), "{events:?}");
    }

    // The header counts where a client connects again by the address that it had at first.
    let (mut again, mut from_again) = listen(&running, "?from=0", "last-event-id: 1\r\n");
    assert_eq!(ids(&again.events(2, &mut from_again)), [2, 3]);
    running.stop();
}

#[test]
fn a_bad_request_is_answered_with_the_status_that_says_whose_fault_it_is() {
    let (broker, running) = start(BrokerConfig::default());
    let long = "a".repeat(250);
    let large = vec![b'a'; (1 << 20) + 1];
    let requests: [(u16, &str, &str, &[u8]); 13] = [
        (400, "POST /topics/no%20name", "", b"a tea"),
        (400, "POST /topics/..", "", b"a tea"),
        (400, &format!("POST /topics/{long}"), "", b"a tea"),
        (400, "POST /topics/orders", "", b"\xff"),
        (400, "GET /topics/orders/0?from=first", "", b""),
        (400, "GET /topics/orders/first", "", b""),
        (400, "GET /topics/orders/0", "last-event-id: x\r\n", b""),
        (404, "POST /topics/unknown", "", b"a tea"),
        (404, "GET /topics/unknown/0", "", b""),
        (404, "GET /topics/orders/1", "", b""),
        (413, "POST /topics/orders", "", &large),
        (416, "GET /topics/orders/0?from=1", "", b""),
        (405, "GET /topics/orders", "", b""),
    ];
    for (status, what, headers, body) in requests {
        let answer = Client::connect(running.address).ask(what, headers, body);
        assert_eq!(answer.map(|answer| answer.status), Some(status), "{what}");
    }
    assert_eq!(
        broker
            .topic("orders")
            .unwrap()
            .partition(0)
            .unwrap()
            .end_offset(),
        0
    );
    running.stop();
}

#[test]
fn a_full_disk_and_a_closed_broker_are_try_again_later() {
    let (broker, running) = start(BrokerConfig::default().max_total_bytes(4 << 20));
    let mut client = Client::connect(running.address);
    let value = "a".repeat(100_000);
    let refused = loop {
        let answer = client
            .ask("POST /topics/orders", "", value.as_bytes())
            .unwrap();
        if answer.status != 201 {
            break answer;
        }
    };
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.headers.contains("retry-after: "));
    assert!(!refused.body.contains('/'), "no path: {}", refused.body);
    let (mut listening, mut events) = listen(&running, "?from=0", "");
    assert_eq!(ids(&listening.events(1, &mut events)), [0]);

    broker.close().unwrap();
    let refused = client.ask("POST /topics/orders", "", b"a tea").unwrap();
    assert_eq!(refused.status, 503, "{refused:?}");
    running.stop();
}
