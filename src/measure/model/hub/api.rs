//! What the Hub is asked: the files of a revision, and a file.

use std::path::Path;
use std::time::Duration;
use std::{fs, io};

use reqwest::header::{ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, HeaderValue, IF_RANGE, LOCATION, RANGE};
use reqwest::{Client, Response, StatusCode, Url};
use serde::{Deserialize, Serialize};

use super::place::Hub;
use super::reference::{Reference, is_path};
use crate::error::{Context, Error, Result, chain};
use crate::files;

/// Bytes that a list of files may have.
const MAX_LISTING: usize = 64 << 20;
/// Redirects that are followed.
const MAX_HOPS: usize = 8;
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(15);
/// How long a Hub may say nothing.
const SILENCE: Duration = Duration::from_secs(60);

/// Why the Hub gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// No answer came, or it broke off.
    #[error("{host} cannot be reached: {why}")]
    Unreachable {
        /// Where it should be.
        host: String,
        /// What happened.
        why: String,
    },
    /// 401 or 403.
    #[error("the hub denied access ({status})")]
    Denied {
        /// HTTP status.
        status: u16,
    },
    /// 404.
    #[error("the hub has no such repository, revision or file")]
    Missing,
    /// Any other status that is no success.
    #[error("the hub answers {status}")]
    Status {
        /// HTTP status.
        status: u16,
    },
    /// The address is none, or leads where it may not.
    #[error("{0}")]
    Address(String),
    /// An answer that makes no sense.
    #[error("the hub's answer makes no sense: {0}")]
    Answer(String),
    /// What came is not what the hub said.
    #[error("{0}")]
    Content(String),
    /// The cache cannot be written.
    #[error("cannot write {file}")]
    Write {
        /// The file.
        file: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl HubError {
    /// Whether trying again may help.
    pub(super) fn passes(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Status { status } => *status == 429 || *status >= 500,
            _ => false,
        }
    }

    /// For the user: what was wanted, and what to try.
    pub(super) fn explain(self, reference: &Reference, hub: &Hub) -> Error {
        let error = Error::runtime(format!("cannot fetch {reference}: {}", chain(&self)));
        match (&self, hub.has_token()) {
            (Self::Unreachable { .. }, _) => error
                .hint("is this machine online? what was fetched already is kept: the same command goes on there")
                .hint("HF_ENDPOINT names another hub"),
            (Self::Denied { .. } | Self::Missing, false) => error
                .hint("check the name; private and gated models need a token: set HF_TOKEN")
                .hint("a gated model's terms are to be accepted on its page first"),
            (Self::Denied { .. } | Self::Missing, true) => error
                .hint("check the name, and whether the token may read it")
                .hint("a gated model's terms are to be accepted on its page first"),
            (Self::Status { status: 429 }, false) => error.hint("wait, or set HF_TOKEN: more is allowed with one"),
            (Self::Status { .. }, _) => error.hint("try again later"),
            (Self::Address(_), _) => error.hint("HF_ENDPOINT is to be like https://HOST"),
            (Self::Answer(_), _) => error.hint("is HF_ENDPOINT a hub?"),
            (Self::Content(_), _) => error.hint("it was deleted; run the command again"),
            (Self::Write { .. }, _) => error.hint("is the disk full? KNEEPOINT_CACHE_DIR names another folder"),
        }
    }
}

/// The files of a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Listing {
    /// 40 hex digits.
    pub commit: String,
    /// Every file.
    pub files: Vec<RepoFile>,
}

/// A file of a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RepoFile {
    /// Path within the repository.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Of large files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Git's id of a small file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob: Option<String>,
}

impl RepoFile {
    /// Tells one content from another.
    pub(super) fn id(&self) -> &str {
        self.sha256.as_deref().or(self.blob.as_deref()).unwrap_or("unknown")
    }
}

impl Listing {
    /// What an earlier run remembered.
    pub(super) fn load(path: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }

    pub(super) fn save(&self, path: &Path) -> Result<()> {
        let bytes = serde_json::to_vec(self).context(|| "cannot write JSON".into())?;
        files::write(path, &bytes)
    }

    fn read(bytes: &[u8]) -> Result<Self, HubError> {
        #[derive(Deserialize)]
        struct Info {
            sha: String,
            #[serde(default)]
            siblings: Vec<Sibling>,
        }
        #[derive(Deserialize)]
        struct Sibling {
            rfilename: String,
            size: Option<u64>,
            #[serde(rename = "blobId")]
            blob_id: Option<String>,
            lfs: Option<Lfs>,
        }
        #[derive(Deserialize)]
        struct Lfs {
            sha256: String,
            size: u64,
        }
        let info: Info =
            serde_json::from_slice(bytes).map_err(|error| HubError::Answer(error.to_string()))?;
        if !is_hex(&info.sha, 40) {
            return Err(HubError::Answer("the commit is none".to_owned()));
        }
        let file = |sibling: Sibling| {
            let lfs = sibling.lfs.filter(|lfs| is_hex(&lfs.sha256, 64));
            Some(RepoFile {
                size: lfs.as_ref().map(|lfs| lfs.size).or(sibling.size)?,
                sha256: lfs.map(|lfs| lfs.sha256),
                blob: sibling.blob_id.filter(|id| is_hex(id, 40)),
                path: sibling.rfilename,
            })
        };
        // What has no size or leads out of its folder is no file to fetch.
        let files: Vec<RepoFile> = info
            .siblings
            .into_iter()
            .filter(|sibling| is_path(&sibling.rfilename))
            .filter_map(file)
            .collect();
        Ok(Self { commit: info.sha, files })
    }
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// A file from where a download broke off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resume {
    /// Bytes that are here.
    pub offset: u64,
    /// What the server called the content.
    pub etag: Option<String>,
}

/// Which bytes of a file are asked for.
#[derive(Debug, Clone, Copy)]
enum Wanted<'a> {
    /// All of them.
    Whole,
    /// From where a download broke off.
    Rest(&'a Resume),
    /// From one offset to another, which is not wanted any more.
    Span(u64, u64),
}

/// Asks a Hub.
pub(super) struct Api<'a> {
    hub: &'a Hub,
    endpoint: Url,
    client: Client,
}

impl<'a> Api<'a> {
    pub(super) fn new(hub: &'a Hub) -> Result<Self> {
        let wrong = |why: &str| {
            Error::usage(format!("HF_ENDPOINT is not the address of a hub: {why}"))
                .hint("give it one like https://HOST, or unset it")
        };
        let endpoint = Url::parse(&hub.endpoint).map_err(|error| wrong(&error.to_string()))?;
        if !matches!(endpoint.scheme(), "http" | "https") {
            return Err(wrong("it is neither http nor https"));
        }
        if !endpoint.username().is_empty() || endpoint.password().is_some() {
            return Err(wrong("it holds a user name or a password, and origins are written into journals"));
        }
        let client = client(&endpoint).context(|| "the HTTP client could not be set up".to_owned())?;
        Ok(Self { hub, endpoint, client })
    }

    pub(super) fn pause(&self) -> Duration {
        self.hub.pause
    }

    /// The commit of a revision and its files.
    pub(super) async fn listing(&self, reference: &Reference) -> Result<Listing, HubError> {
        let mut url = self.url(["api", "models"].into_iter().chain(reference.repo.split('/')))?;
        if let Ok(mut path) = url.path_segments_mut() {
            path.extend(["revision", &reference.revision]);
        }
        url.set_query(Some("blobs=true"));
        let mut response = self.get(url, Wanted::Whole).await?;
        if !response.status().is_success() {
            return Err(refusal(response.status()));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            if chunk.len() > MAX_LISTING - bytes.len() {
                return Err(HubError::Answer(format!("its list is larger than {MAX_LISTING} bytes")));
            }
            bytes.extend_from_slice(&chunk);
        }
        Listing::read(&bytes)
    }

    /// A file of a commit, from where a download broke off.
    pub(super) async fn file(
        &self,
        reference: &Reference,
        commit: &str,
        path: &str,
        from: Option<&Resume>,
    ) -> Result<Response, HubError> {
        self.get(self.place(reference, commit, path)?, from.map_or(Wanted::Whole, Wanted::Rest)).await
    }

    /// The bytes of a file of a commit from one offset up to another; what a server without ranges sends before them
    /// is thrown away.
    pub(super) async fn span(
        &self,
        reference: &Reference,
        commit: &str,
        path: &str,
        span: (u64, u64),
    ) -> Result<Vec<u8>, HubError> {
        let (from, to) = span;
        let mut response = self.get(self.place(reference, commit, path)?, Wanted::Span(from, to)).await?;
        let mut before = match response.status() {
            StatusCode::PARTIAL_CONTENT => 0,
            StatusCode::OK => from,
            status => return Err(refusal(status)),
        };
        let wanted = usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX);
        let mut bytes = Vec::new();
        while bytes.len() < wanted {
            let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(&error))? else {
                break;
            };
            let skipped = before.min(chunk.len() as u64);
            before -= skipped;
            let rest = &chunk[skipped as usize..];
            bytes.extend_from_slice(&rest[..rest.len().min(wanted - bytes.len())]);
        }
        if bytes.len() < wanted {
            let why = format!("it stopped at {} of {wanted} bytes", bytes.len());
            return Err(HubError::Unreachable { host: self.host(), why });
        }
        Ok(bytes)
    }

    fn place(&self, reference: &Reference, commit: &str, path: &str) -> Result<Url, HubError> {
        self.url(reference.repo.split('/').chain(["resolve", commit]).chain(path.split('/')))
    }

    fn host(&self) -> String {
        self.endpoint.host_str().unwrap_or("the hub").to_owned()
    }

    fn url<'s>(&self, segments: impl Iterator<Item = &'s str>) -> Result<Url, HubError> {
        let mut url = self.endpoint.clone();
        url.path_segments_mut()
            .map_err(|()| HubError::Address("the endpoint takes no path".to_owned()))?
            .pop_if_empty()
            .extend(segments);
        Ok(url)
    }

    /// Follows redirects by itself: files lie on other hosts, and the token is for the endpoint alone.
    async fn get(&self, mut url: Url, wanted: Wanted<'_>) -> Result<Response, HubError> {
        for _ in 0..MAX_HOPS {
            let request = self.client.get(url.clone()).headers(self.headers(&url, wanted)?);
            let response = request.send().await.map_err(|error| self.unreachable(&error))?;
            if !response.status().is_redirection() || response.status() == StatusCode::NOT_MODIFIED {
                return Ok(response);
            }
            let next = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let next = next.and_then(|place| url.join(place).ok());
            url = match next {
                Some(next) if url.scheme() == "https" && next.scheme() != "https" => {
                    return Err(HubError::Address("the hub redirects to an address without TLS".to_owned()));
                }
                Some(next) if matches!(next.scheme(), "http" | "https") => next,
                _ => return Err(HubError::Address("the hub redirects to no address".to_owned())),
            };
        }
        Err(HubError::Address(format!("the hub redirects more than {MAX_HOPS} times")))
    }

    fn headers(&self, url: &Url, wanted: Wanted<'_>) -> Result<HeaderMap, HubError> {
        let value = |text: &str| {
            HeaderValue::from_str(text).map_err(|_| HubError::Address("a header cannot be sent".to_owned()))
        };
        let mut headers = HeaderMap::new();
        // Sizes and ranges count bytes of the file itself.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(token) = self.hub.token.as_ref().filter(|_| url.origin() == self.endpoint.origin()) {
            let mut bearer = value(&format!("Bearer {}", token.0))
                .map_err(|_| HubError::Address("the token has characters that no token has".to_owned()))?;
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
        }
        if let Wanted::Span(from, to) = wanted {
            headers.insert(RANGE, value(&format!("bytes={from}-{}", to.saturating_sub(1)))?);
        }
        if let Wanted::Rest(from) = wanted {
            headers.insert(RANGE, value(&format!("bytes={}-", from.offset))?);
            // A weak tag may not be used for ranges (RFC 9110, 13.1.5).
            if let Some(etag) = from.etag.as_deref().filter(|etag| !etag.starts_with("W/")) {
                headers.insert(IF_RANGE, value(etag)?);
            }
        }
        Ok(headers)
    }

    /// The address is left out of what is shown: those of files are signed.
    pub(super) fn unreachable(&self, error: &reqwest::Error) -> HubError {
        let why = std::error::Error::source(error).map_or_else(
            || if error.is_timeout() { "no answer in time" } else { "the connection broke" }.to_owned(),
            chain,
        );
        HubError::Unreachable { host: self.host(), why }
    }
}

pub(super) fn refusal(status: StatusCode) -> HubError {
    match status.as_u16() {
        status @ (401 | 403) => HubError::Denied { status },
        404 => HubError::Missing,
        status => HubError::Status { status },
    }
}

fn client(endpoint: &Url) -> reqwest::Result<Client> {
    // reqwest wants a provider even where no TLS is spoken; a second installation is refused, harmlessly.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = || {
        let builder = Client::builder()
            .user_agent(concat!("kneepoint/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE);
        match endpoint.host_str() {
            Some("127.0.0.1" | "localhost" | "[::1]") => builder.no_proxy(),
            _ => builder,
        }
    };
    match builder().build() {
        // A machine without certificates can still ask a mirror that needs none.
        Err(_) if endpoint.scheme() == "http" => builder().tls_certs_only([]).build(),
        built => built,
    }
}
