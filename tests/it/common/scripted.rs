//! A server that answers as a closure says: for what real servers do and the mock does not.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    /// Null for a request without a body.
    pub(crate) body: Value,
}

impl Request {
    pub(crate) fn is_chat(&self) -> bool {
        self.path == "/v1/chat/completions"
    }

    pub(crate) fn has_tools(&self) -> bool {
        self.body["tools"].as_array().is_some_and(|tools| !tools.is_empty())
    }

    /// The last message.
    pub(crate) fn asks(&self) -> &str {
        let messages = self.body["messages"].as_array();
        messages.and_then(|all| all.last()?["content"].as_str()).unwrap_or_default()
    }

    /// Words and signs of the messages and the tools: what this server takes for tokens.
    pub(crate) fn prompt_tokens(&self) -> u64 {
        words(&self.body["messages"].to_string()) + words(&self.body["tools"].to_string())
    }

    pub(crate) fn usage(&self, output: u64) -> Value {
        json!({ "prompt_tokens": self.prompt_tokens(), "completion_tokens": output })
    }
}

/// Words and signs of a text.
pub(crate) fn words(text: &str) -> u64 {
    let word = |c: &char| c.is_alphanumeric();
    let mut count = 0;
    let mut in_word = false;
    for c in text.chars() {
        count += u64::from(if word(&c) { !in_word } else { !c.is_whitespace() });
        in_word = word(&c);
    }
    count
}

/// What is answered.
pub(crate) enum Answer {
    /// A document with an HTTP status.
    Json(u16, Value),
    /// Events, each after a pause (ms). A stream without `[DONE]` ends like one that was cut off.
    Events(Vec<(u64, String)>),
}

impl Answer {
    pub(crate) fn ok(value: Value) -> Self {
        Self::Json(200, value)
    }

    pub(crate) fn not_found() -> Self {
        Self::Json(404, json!({ "error": { "message": "not found" } }))
    }

    /// The same events without a pause, `[DONE]` behind them.
    pub(crate) fn at_once(events: impl IntoIterator<Item = Value>) -> Self {
        let data = events.into_iter().map(|event| (0, event.to_string()));
        Self::Events(data.chain([(0, "[DONE]".to_owned())]).collect())
    }
}

/// An event of a streamed chat completion.
pub(crate) fn chunk(delta: &Value, finish: Option<&str>) -> Value {
    json!({ "choices": [{ "index": 0, "delta": delta, "finish_reason": finish }] })
}

/// A chat completion in one piece, or the same streamed in one event.
pub(crate) fn reply(request: &Request, message: Value, finish: &str, output: u64) -> Answer {
    let usage = request.usage(output);
    if request.body["stream"] == true {
        let end = json!({ "choices": [], "usage": usage });
        return Answer::at_once([chunk(&message, None), chunk(&json!({}), Some(finish)), end]);
    }
    let choice = json!({ "index": 0, "message": message, "finish_reason": finish });
    Answer::ok(json!({ "choices": [choice], "usage": usage }))
}

/// A list of models.
pub(crate) fn models(names: &[&str]) -> Answer {
    let entry = |name: &&str| json!({ "id": name, "object": "model" });
    Answer::ok(json!({ "object": "list", "data": names.iter().map(entry).collect::<Vec<_>>() }))
}

/// The running server; it ends with the test's process.
pub(crate) struct Scripted {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Scripted {
    pub(crate) fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Vec<Request>>> = Arc::default();
        let (log, answer) = (seen.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, answer) = (log.clone(), answer.clone());
                std::thread::spawn(move || {
                    let Some(request) = read(&stream) else { return };
                    log.lock().unwrap().push(request.clone());
                    // A client that is gone has seen enough.
                    let _ = write(&stream, answer(&request));
                });
            }
        });
        Self { url, seen }
    }

    /// What was asked so far.
    pub(crate) fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let target = line.split(' ').nth(1)?.to_owned();
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
        None => (target, None),
    };
    Some(Request { path, query, body: serde_json::from_slice(&body).unwrap_or_default() })
}

fn write(mut stream: &TcpStream, answer: Answer) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    match answer {
        Answer::Json(status, value) => {
            let body = value.to_string();
            write!(
                stream,
                "HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            )
        }
        Answer::Events(events) => {
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
            )?;
            for (pause, data) in events {
                std::thread::sleep(Duration::from_millis(pause));
                stream.write_all(format!("data: {data}\n\n").as_bytes())?;
            }
            Ok(())
        }
    }
}
