//! A request on a connection of its own, whose reply is stamped as it is read from the socket.
//!
//! Under load every layer between the socket and the stamp counts twice: it takes processor time for each token, and the
//! tokens of all other streams wait for it. So where there is neither TLS nor a proxy the reply is read here and not by the
//! HTTP library: its bytes are read, stamped, freed of their framing and kept.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use reqwest::header::HeaderValue;
use reqwest::{StatusCode, Url};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};

use super::exchange::Limits;
use super::framing::{Body, Head, Unframed};
use super::gather::OpenStream;
use super::timeline::Recording;

/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Most that is read at once (bytes).
const READ_BYTES: usize = 8 << 10;
/// Variables that name a proxy for plain HTTP.
const PROXIES: [&str; 4] = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];

thread_local! {
    /// What was read last, of whichever stream. All streams of a thread share it: it stays in the processor's cache, and one of
    /// each stream's own would be fetched from memory for every piece.
    static WIRE: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(READ_BYTES));
}

/// A server that is reached without TLS and without a proxy.
#[derive(Debug, Clone)]
pub(super) struct Target {
    host: Arc<str>,
    port: u16,
}

/// A reply, or the refusal of one.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    /// Value of `Content-Type`.
    pub(super) content_type: String,
    pub(super) recording: Recording,
    /// From opening the connection to the end of the reply.
    pub(super) total: Duration,
}

/// Why there is no reply.
#[derive(Debug)]
pub(super) enum Broken {
    /// No connection.
    Connect(String),
    /// The connection broke before the head of a reply.
    Before(String),
    /// It broke after so many bytes of the body.
    Within(usize, String),
    /// The reply was not whole in time.
    Late,
    /// Nothing came for too long, after so many bytes.
    Silent(usize),
    /// The reply is too large.
    TooLarge,
}

/// How much of a refusal is read, and for how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct RefusalLimits {
    pub(super) bytes: usize,
    pub(super) timeout: Duration,
}

impl Target {
    /// The server of this address; `None` where a library has to see to TLS or a proxy.
    pub(super) fn of(url: &Url) -> Option<Self> {
        let is_set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_direct = url.scheme() == "http" && (is_loopback(url) || !PROXIES.iter().any(is_set));
        let host = url.host_str().filter(|_| is_direct)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Some(Self { host: host.into(), port: url.port_or_known_default()? })
    }

    /// Sends a request and reads what comes back. The clock starts before the connection is opened.
    pub(super) async fn ask(
        &self,
        request: &[u8],
        limits: &Limits,
        refusals: RefusalLimits,
    ) -> Result<Reply, Broken> {
        let sent = Instant::now();
        let _open = OpenStream::new();
        let deadline = after(sent, limits.request_timeout);
        let opened = timeout_at(deadline.min(sent + CONNECT_TIMEOUT), self.connect()).await;
        let mut stream = match opened {
            Ok(opened) => opened.map_err(|error| Broken::Connect(format!("tcp connect error: {error}")))?,
            Err(_) if sent.elapsed() >= limits.request_timeout => return Err(Broken::Late),
            Err(_) => return Err(Broken::Connect("tcp connect error: it took too long".to_owned())),
        };
        let written = timeout_at(deadline, stream.write_all(request)).await;
        written.map_err(|_| Broken::Late)?.map_err(|error| Broken::Before(error.to_string()))?;
        let reader = Reader {
            sent,
            deadline,
            limits,
            refusals,
            head: None,
            front: Vec::new(),
            recording: Recording::default(),
        };
        reader.read(&mut stream).await
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect((&*self.host, self.port)).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// Whether this is an address of this machine alone.
pub(super) fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// `start + wait`; a wait that the clock cannot express is as good as a year.
pub(super) fn after(start: Instant, wait: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    start + wait.min(YEAR)
}

/// The bytes of a request whose connection is closed behind the reply.
pub(super) fn post(url: &Url, key: Option<&HeaderValue>, body: &[u8]) -> Vec<u8> {
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let mut request = format!(
        "POST {}{query} HTTP/1.1\r\nhost: {}{port}\r\naccept: */*\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n",
        url.path(),
        url.host_str().unwrap_or_default(),
        body.len(),
    )
    .into_bytes();
    if let Some(key) = key {
        request.extend_from_slice(b"authorization: ");
        request.extend_from_slice(key.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    request.extend_from_slice(body);
    request
}

/// Reads one reply.
struct Reader<'a> {
    sent: Instant,
    deadline: Instant,
    limits: &'a Limits,
    refusals: RefusalLimits,
    head: Option<Head>,
    /// What came of a head that is not whole yet.
    front: Vec<u8>,
    recording: Recording,
}

/// What came of waiting for bytes.
enum Came {
    /// So many; none: the connection has ended.
    Bytes(usize),
    /// The alarm.
    Alarm,
}

impl Reader<'_> {
    async fn read(mut self, stream: &mut TcpStream) -> Result<Reply, Broken> {
        // Set back only when it goes off too early: to do so with every piece would cost as much as to read the piece.
        let mut alarm = pin!(sleep_until(self.deadline));
        let mut last = None;
        loop {
            let (came, now) = poll_fn(|cx| self.poll(stream, alarm.as_mut(), cx)).await;
            match came? {
                Ok(Came::Bytes(0)) => return self.closed(now),
                Ok(Came::Bytes(_)) => {
                    if self.body().is_some_and(Body::has_ended) {
                        return Ok(self.reply(now));
                    }
                    last = (!self.recording.is_empty()).then_some(now);
                    let due = self.next_by(last);
                    if due < alarm.deadline() {
                        alarm.as_mut().reset(due);
                    }
                }
                Ok(Came::Alarm) if now < self.next_by(last) => alarm.as_mut().reset(self.next_by(last)),
                Ok(Came::Alarm) if self.is_refused() => return Ok(self.reply(now)),
                Ok(Came::Alarm) if now >= self.deadline => return Err(Broken::Late),
                Ok(Came::Alarm) => return Err(Broken::Silent(self.received())),
                Err(_) if self.is_refused() => return Ok(self.reply(now)),
                Err(error) => return Err(self.broken(error.to_string())),
            }
        }
    }

    /// Waits for bytes, and takes those that come; with the moment at which they were read.
    fn poll(
        &mut self,
        stream: &mut TcpStream,
        alarm: Pin<&mut Sleep>,
        cx: &mut Context<'_>,
    ) -> Poll<(Result<io::Result<Came>, Broken>, Instant)> {
        WIRE.with_borrow_mut(|wire| {
            wire.clear();
            let came = ready!(next_bytes(stream, wire, alarm, cx));
            let now = Instant::now();
            Poll::Ready((self.take(wire, now).map(|()| came), now))
        })
    }

    /// Until when the next bytes must be there; `last`: when the last of the body came.
    fn next_by(&self, last: Option<Instant>) -> Instant {
        last.map_or(self.deadline, |last| self.deadline.min(after(last, self.limits.idle_timeout)))
    }

    /// Takes what was read at this moment.
    fn take(&mut self, wire: &[u8], now: Instant) -> Result<(), Broken> {
        if self.head.is_some() || wire.is_empty() {
            return self.take_body(wire, now);
        }
        let mut front = std::mem::take(&mut self.front);
        front.extend_from_slice(wire);
        let Some((head, length)) = Head::read(&front).map_err(|unframed| self.unframed(&unframed))? else {
            self.front = front;
            return Ok(());
        };
        if !head.status.is_success() {
            self.deadline = self.deadline.min(now + self.refusals.timeout);
        }
        self.head = Some(head);
        self.take_body(&front[length..], now)
    }

    fn take_body(&mut self, wire: &[u8], now: Instant) -> Result<(), Broken> {
        let most = if self.is_refused() { self.refusals.bytes } else { self.limits.max_reply_bytes };
        let Some(head) = &mut self.head else { return Ok(()) };
        let (recording, at) = (&mut self.recording, now - self.sent);
        let mut is_too_large = false;
        let taken = head.body.take(wire, |piece| {
            is_too_large |= piece.len() > most - recording.bytes().len();
            if !is_too_large {
                recording.push(at, piece);
            }
        });
        match (taken, is_too_large) {
            // Enough of it is there for a message.
            (_, true) | (Err(_), _) if self.is_refused() => self.end(),
            (_, true) => return Err(Broken::TooLarge),
            (Err(unframed), _) => return Err(self.unframed(&unframed)),
            (Ok(()), false) => {}
        }
        Ok(())
    }

    /// Nothing more is wanted.
    fn end(&mut self) {
        if let Some(head) = &mut self.head {
            head.body = Body::Sized(0);
        }
    }

    fn body(&self) -> Option<&Body> {
        self.head.as_ref().map(|head| &head.body)
    }

    fn is_refused(&self) -> bool {
        self.head.as_ref().is_some_and(|head| !head.status.is_success())
    }

    fn received(&self) -> usize {
        self.recording.bytes().len()
    }

    /// The connection has ended.
    fn closed(self, now: Instant) -> Result<Reply, Broken> {
        if self.is_refused() || self.body().is_some_and(Body::may_end) {
            return Ok(self.reply(now));
        }
        Err(self.broken("the connection ended before the reply did".to_owned()))
    }

    fn broken(&self, words: String) -> Broken {
        match self.head {
            Some(_) => Broken::Within(self.received(), words),
            None => Broken::Before(words),
        }
    }

    fn unframed(&self, unframed: &Unframed) -> Broken {
        self.broken(unframed.to_string())
    }

    fn reply(self, now: Instant) -> Reply {
        let (status, content_type) = match self.head {
            Some(head) => (head.status, head.content_type),
            None => (StatusCode::default(), String::new()),
        };
        Reply { status, content_type, recording: self.recording, total: now - self.sent }
    }
}

fn next_bytes(
    stream: &mut TcpStream,
    wire: &mut Vec<u8>,
    alarm: Pin<&mut Sleep>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<Came>> {
    // What does not fill the room for it was all that there was: this is not asked of the system a second time, as
    // `try_read_buf` would for every piece.
    match pin!(stream.read_buf(wire)).poll(cx) {
        Poll::Ready(read) => Poll::Ready(read.map(Came::Bytes)),
        Poll::Pending => alarm.poll(cx).map(|()| Ok(Came::Alarm)),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio::time::sleep;

    use super::*;

    const REFUSALS: RefusalLimits = RefusalLimits { bytes: 100, timeout: Duration::from_secs(2) };

    fn limits() -> Limits {
        Limits {
            request_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(2),
            max_reply_bytes: 20,
            max_line_bytes: 20,
        }
    }

    /// What a reply in these pieces, 50 ms apart, comes to; the connection then ends, or stays open.
    fn read(pieces: &[&str], stays: bool) -> Result<Reply, Broken> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = Url::parse(&format!("http://{}/p?q=1", listener.local_addr().unwrap())).unwrap();
            let pieces: Vec<String> = pieces.iter().map(|piece| (*piece).to_owned()).collect();
            tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 1000];
                let length = stream.read(&mut request).await.unwrap();
                assert!(request[..length].starts_with(b"POST /p?q=1 HTTP/1.1\r\nhost: 127.0.0.1:"));
                assert!(request[..length].ends_with(b"content-length: 2\r\nconnection: close\r\n\r\n{}"));
                for piece in pieces {
                    sleep(Duration::from_millis(50)).await;
                    if stream.write_all(piece.as_bytes()).await.is_err() {
                        return;
                    }
                }
                if stays {
                    sleep(Duration::from_secs(60)).await;
                }
            });
            Target::of(&url).unwrap().ask(&post(&url, None, b"{}"), &limits(), REFUSALS).await
        })
    }

    fn body(pieces: &[&str], stays: bool) -> String {
        String::from_utf8(read(pieces, stays).unwrap().recording.bytes().to_vec()).unwrap()
    }

    const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: a/b\r\n";

    #[test]
    fn replies_are_read_however_they_end() {
        assert_eq!(body(&[OK, "Content-Length: 4\r\n\r\nab", "cd"], true), "abcd");
        assert_eq!(
            body(&[OK, "Transfer-Encoding: chunked\r\n\r\n2\r", "\nab\r\n2\r\nc", "d\r\n0\r\n\r\n"], true),
            "abcd"
        );
        assert_eq!(body(&[OK, "\r\nab", "cd"], false), "abcd");
        assert_eq!(body(&[OK, "Content-Length: 0\r\n\r\n"], true), "");
    }

    #[test]
    fn pieces_are_stamped_when_they_come() {
        let reply = read(&[OK, "\r\nab", "cd"], false).unwrap();
        assert_eq!((reply.status.as_u16(), reply.content_type.as_str()), (200, "a/b"));
        let at = |length| reply.recording.arrival(length).unwrap();
        assert!(
            at(2) >= Duration::from_millis(100) && at(3) >= at(2) + Duration::from_millis(25),
            "{reply:?}"
        );
        assert!(reply.total >= at(4));
    }

    #[test]
    fn broken_replies_say_where_they_broke() {
        assert!(matches!(read(&[], false), Err(Broken::Before(_))));
        assert!(matches!(read(&[OK], false), Err(Broken::Before(_))));
        assert!(matches!(read(&["SSH-2.0\r\n"], true), Err(Broken::Before(_))));
        assert!(matches!(read(&[OK, "Content-Length: 4\r\n\r\nab"], false), Err(Broken::Within(2, _))));
        let chunked = "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n";
        assert!(matches!(read(&[OK, chunked], false), Err(Broken::Within(2, _))));
        assert!(matches!(read(&[OK, chunked, "x"], true), Err(Broken::Within(2, _))));
        assert!(matches!(read(&[OK, chunked], true), Err(Broken::Silent(2))));
        let large = format!("\r\n{}", "x".repeat(21));
        assert!(matches!(read(&[OK, &large], true), Err(Broken::TooLarge)));
    }

    #[test]
    fn refusals_are_read_as_far_as_a_message_needs() {
        let refusal = "HTTP/1.1 500 No\r\nContent-Length: 1000\r\n\r\n";
        assert_eq!(body(&[refusal, "no", "!"], true), "no!", "until it takes too long");
        assert_eq!(body(&[refusal, "no"], false), "no");
        let long = "x".repeat(90);
        assert_eq!(body(&[refusal, &long, &long, &long], true), long, "until it is too long");
        assert_eq!(read(&[refusal, "no"], false).unwrap().status.as_u16(), 500);
    }

    #[test]
    fn only_plain_servers_without_a_proxy_are_read_directly() {
        let target = |text: &str| Target::of(&Url::parse(text).unwrap());
        assert!(target("https://127.0.0.1:1").is_none());
        let target = target("http://[::1]:8080").unwrap();
        assert_eq!((&*target.host, target.port), ("::1", 8080));
    }
}
