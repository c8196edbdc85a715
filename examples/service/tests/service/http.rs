//! As much of HTTP as the tests need: requests on a connection that stays, and events out of a
//! response that does not end.
//!
//! Knows nothing about the service.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

/// A client that waits for each answer.
pub(crate) struct Client {
    connection: BufReader<TcpStream>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// In lower case, one header a line.
    pub(crate) headers: String,
    pub(crate) body: String,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let connection = TcpStream::connect(address).unwrap();
        connection.set_nodelay(true).unwrap();
        Self {
            connection: BufReader::new(connection),
        }
    }

    /// Sends a request and reads the answer, of one without an end the headers alone; `None` when
    /// the connection was closed first.
    pub(crate) fn ask(&mut self, what: &str, headers: &str, body: &[u8]) -> Option<Answer> {
        let length = body.len();
        let head = format!("{what} HTTP/1.1\r\nhost: t\r\ncontent-length: {length}\r\n{headers}");
        let request = [head.as_bytes(), b"\r\n", body].concat();
        self.connection.get_mut().write_all(&request).ok()?;
        let mut line = String::new();
        if self.connection.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let status = line.split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = String::new();
        while !headers.ends_with("\r\n\r\n") {
            assert!(self.connection.read_line(&mut headers).unwrap() > 0);
        }
        headers.make_ascii_lowercase();
        let length = headers.split("content-length: ").nth(1);
        let length = length.map_or(0, |rest| {
            rest.split("\r\n").next().unwrap().parse().unwrap()
        });
        let mut body = vec![0; length];
        self.connection.read_exact(&mut body).unwrap();
        Some(Answer {
            status,
            headers,
            body: String::from_utf8(body).unwrap(),
        })
    }

    /// Posts a record: its offset, or the answer where that is another one.
    pub(crate) fn post(&mut self, topic: &str, value: &str) -> Result<u64, Option<Answer>> {
        let answer = self.ask(&format!("POST /topics/{topic}"), "", value.as_bytes());
        let Some(answer) = answer.filter(|answer| answer.status == 201) else {
            return Err(None);
        };
        let offset = answer.body.split("\"offset\":").nth(1).unwrap();
        Ok(offset.trim_end_matches('}').parse().unwrap())
    }

    /// The next so many events of an answer without an end.
    pub(crate) fn events(&mut self, count: usize, decoder: &mut Events) -> Vec<Event> {
        let mut events = Vec::new();
        while events.len() < count {
            let bytes = self.connection.fill_buf().unwrap();
            assert!(!bytes.is_empty(), "the stream ended");
            let length = bytes.len();
            events.append(&mut decoder.feed(bytes));
            self.connection.consume(length);
        }
        assert_eq!(events.len(), count, "{events:?}");
        events
    }
}

/// An event that has an id.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) id: u64,
    /// The JSON text.
    pub(crate) data: String,
}

impl Event {
    /// The value of a record that has no character which JSON escapes.
    pub(crate) fn value(&self) -> &str {
        let value = self.data.split("\"value\":\"").nth(1).unwrap();
        value.split('"').next().unwrap()
    }
}

/// Takes events out of a body in chunks.
#[derive(Debug, Default)]
pub(crate) struct Events {
    chunks: Vec<u8>,
    text: String,
    /// The body was ended as it should be, and not cut off.
    pub(crate) ended: bool,
}

impl Events {
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<Event> {
        self.chunks.extend_from_slice(bytes);
        while let Some(chunk) = self.next_chunk() {
            self.ended |= chunk.is_empty();
            self.text.push_str(&chunk);
        }
        let mut events = Vec::new();
        while let Some(end) = self.text.find("\n\n") {
            let text: String = self.text.drain(..end + 2).collect();
            let field = |name| text.lines().find_map(|line| line.strip_prefix(name));
            if let (Some(id), Some(data)) = (field("id: "), field("data: ")) {
                let (id, data) = (id.parse().unwrap(), data.to_owned());
                events.push(Event { id, data });
            }
        }
        events
    }

    fn next_chunk(&mut self) -> Option<String> {
        let line_end = self.chunks.windows(2).position(|pair| pair == b"\r\n")?;
        let length = std::str::from_utf8(&self.chunks[..line_end]).unwrap();
        let length = usize::from_str_radix(length, 16).unwrap();
        let begin = line_end + 2;
        if self.chunks.len() < begin + length + 2 {
            return None;
        }
        let chunk = self.chunks[begin..begin + length].to_vec();
        self.chunks.drain(..begin + length + 2);
        Some(String::from_utf8(chunk).unwrap())
    }
}
