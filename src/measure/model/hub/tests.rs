//! Against a local server that plays the Hub: lists, redirects to another host for large files, breaks off.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path as UrlPath, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::place::Token;
use super::*;
use crate::measure::model::gguf::tests::{Builder, small};
use crate::measure::model::store::Silent;
use crate::measure::model::{locate_weights, weights};
use crate::record::hex;
use crate::record::suite::{ModelSpec, QuantFile};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const TOKEN: &str = "hf_secret";

/// What goes wrong with one request for a file.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// The connection breaks after so many bytes.
    CutAfter(usize),
    /// Another content of the same size.
    OtherBytes,
    /// The whole file, whatever was asked for.
    NoRanges,
    /// 416, whatever was asked for.
    Unsatisfiable,
    /// A status.
    Status(u16),
    /// A range of a content with another ETag.
    OtherEtag,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    host: &'static str,
    path: String,
    authorised: bool,
    range: Option<String>,
    if_range: Option<String>,
}

#[derive(Default)]
struct Play {
    files: BTreeMap<String, Vec<u8>>,
    /// Files that are listed with another hash than they have.
    wrong_hash: Vec<String>,
    needs_token: bool,
    faults: VecDeque<Fault>,
    seen: Vec<Seen>,
    store_host: Option<SocketAddr>,
}

type Shared = Arc<Mutex<Play>>;

/// A Hub and its host of large files, on a thread of their own.
struct Player {
    play: Shared,
    hub: SocketAddr,
    _stop: tokio::sync::oneshot::Sender<()>,
}

impl Player {
    fn new(files: &[(&str, Vec<u8>)]) -> Self {
        let play = Shared::default();
        play.lock().unwrap().files =
            files.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.clone())).collect();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let shared = play.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let bind = || tokio::net::TcpListener::bind("127.0.0.1:0");
                let (hub, large) = (bind().await.unwrap(), bind().await.unwrap());
                shared.lock().unwrap().store_host = Some(large.local_addr().unwrap());
                tell.send(hub.local_addr().unwrap()).unwrap();
                let hub_routes = Router::new()
                    .route("/api/models/{owner}/{repo}/revision/{revision}", get(list))
                    .route("/{owner}/{repo}/resolve/{commit}/{*path}", get(resolve))
                    .with_state(shared.clone());
                let large_routes = Router::new().route("/blob/{*path}", get(blob)).with_state(shared);
                tokio::select! {
                    _ = axum::serve(hub, hub_routes).into_future() => {}
                    _ = axum::serve(large, large_routes).into_future() => {}
                    _ = stopped => {}
                }
            });
        });
        Self { play, hub: told.recv().unwrap(), _stop: stop }
    }

    fn with(files: &[(&str, Vec<u8>)], faults: &[Fault]) -> Self {
        let player = Self::new(files);
        player.play.lock().unwrap().faults = faults.iter().copied().collect();
        player
    }

    fn hub(&self, token: Option<&str>) -> Hub {
        Hub {
            endpoint: format!("http://{}", self.hub),
            token: token.map(|token| Token(token.to_owned())),
            pause: Duration::ZERO,
            ..Hub::default()
        }
    }

    fn store<'a>(&self, folder: &TempDir) -> Store<'a> {
        Store::at(folder.path().join("cache"), "/no/python", &Silent).with_hub(self.hub(None))
    }

    fn seen(&self) -> Vec<Seen> {
        self.play.lock().unwrap().seen.clone()
    }

    /// Requests for the content of files: (host, range).
    fn fetched(&self) -> Vec<(&'static str, Option<String>)> {
        let content = |seen: &Seen| {
            !seen.path.starts_with("/api") && (seen.host == "large" || !seen.path.ends_with(".gguf"))
        };
        self.seen().into_iter().filter(content).map(|seen| (seen.host, seen.range)).collect()
    }
}

fn note(play: &Shared, host: &'static str, path: String, headers: &HeaderMap) {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let authorised = text(header::AUTHORIZATION) == Some(format!("Bearer {TOKEN}"));
    let (range, if_range) = (text(header::RANGE), text(header::IF_RANGE));
    play.lock().unwrap().seen.push(Seen { host, path, authorised, range, if_range });
}

fn refused(play: &Shared, headers: &HeaderMap) -> bool {
    let authorised =
        headers.get(header::AUTHORIZATION).is_some_and(|value| *value == format!("Bearer {TOKEN}"));
    play.lock().unwrap().needs_token && !authorised
}

fn is_large(path: &str) -> bool {
    path.ends_with(".gguf") || path.ends_with(".safetensors")
}

async fn list(
    State(play): State<Shared>,
    UrlPath((owner, repo, revision)): UrlPath<(String, String, String)>,
    headers: HeaderMap,
) -> Response {
    note(&play, "hub", format!("/api/{owner}/{repo}/{revision}"), &headers);
    if refused(&play, &headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    if repo != "repo" || !["main", "pr/1", COMMIT].contains(&revision.as_str()) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let play = play.lock().unwrap();
    let sibling = |(path, bytes): (&String, &Vec<u8>)| -> Value {
        let hash = if play.wrong_hash.contains(path) { "0".repeat(64) } else { hex(&Sha256::digest(bytes)) };
        let lfs = json!({"sha256": hash, "size": bytes.len(), "pointerSize": 134});
        let blob = &hash[..40];
        match is_large(path) {
            true => json!({"rfilename": path, "size": bytes.len(), "blobId": blob, "lfs": lfs}),
            false => json!({"rfilename": path, "size": bytes.len(), "blobId": blob}),
        }
    };
    let mut siblings: Vec<Value> = play.files.iter().map(sibling).collect();
    siblings.push(json!({"rfilename": "../../escape-Q2_K.gguf", "size": 3, "blobId": "0".repeat(40)}));
    json!({"id": "owner/repo", "sha": COMMIT, "siblings": siblings}).to_string().into_response()
}

async fn resolve(
    State(play): State<Shared>,
    UrlPath((_, _, commit, path)): UrlPath<(String, String, String, String)>,
    headers: HeaderMap,
) -> Response {
    note(&play, "hub", format!("/{path}"), &headers);
    assert_eq!(commit, COMMIT, "files are asked for by commit");
    if refused(&play, &headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    if is_large(&path) {
        let host = play.lock().unwrap().store_host.unwrap();
        return (StatusCode::FOUND, [(header::LOCATION, format!("http://{host}/blob/{path}?signed=1"))])
            .into_response();
    }
    content(&play, &path, &headers)
}

async fn blob(State(play): State<Shared>, UrlPath(path): UrlPath<String>, headers: HeaderMap) -> Response {
    note(&play, "large", format!("/{path}"), &headers);
    content(&play, &path, &headers)
}

fn content(play: &Shared, path: &str, headers: &HeaderMap) -> Response {
    let mut play = play.lock().unwrap();
    let Some(mut bytes) = play.files.get(path).cloned() else { return StatusCode::NOT_FOUND.into_response() };
    let fault = play.faults.pop_front();
    let mut etag = format!("\"{}\"", hex(&Sha256::digest(&bytes)));
    let mut cut = None;
    let range = headers.get(header::RANGE).and_then(|value| {
        value.to_str().ok()?.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok()
    });
    let mut start = range;
    match fault {
        Some(Fault::CutAfter(count)) => cut = Some(count),
        Some(Fault::OtherBytes) => bytes.iter_mut().for_each(|byte| *byte ^= 1),
        Some(Fault::NoRanges) => start = None,
        Some(Fault::Unsatisfiable) => return StatusCode::RANGE_NOT_SATISFIABLE.into_response(),
        Some(Fault::Status(status)) => return StatusCode::from_u16(status).unwrap().into_response(),
        Some(Fault::OtherEtag) => etag = "\"other\"".to_owned(),
        None => {}
    }
    if start.is_some_and(|start| start >= bytes.len()) {
        return StatusCode::RANGE_NOT_SATISFIABLE.into_response();
    }
    let total = bytes.len();
    let rest = bytes.split_off(start.unwrap_or(0));
    let status = if start.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let mut response = Response::builder()
        .status(status)
        .header(header::ETAG, etag)
        .header(header::CONTENT_LENGTH, rest.len());
    if let Some(start) = start {
        response = response.header(header::CONTENT_RANGE, format!("bytes {start}-{}/{total}", total - 1));
    }
    let body = match cut {
        None => Body::from(rest),
        Some(count) => {
            let piece = Bytes::copy_from_slice(&rest[..count]);
            // What was written has to leave before the connection breaks.
            let pieces = stream::unfold(Some(piece), async |piece| match piece {
                Some(piece) => Some((Ok(piece), None)),
                None => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    Some((Err(std::io::Error::other("cut")), None))
                }
            });
            Body::from_stream(pieces)
        }
    };
    response.body(body).unwrap()
}

/// A GGUF file of Q4_1 with some length to it.
fn q4_1() -> Vec<u8> {
    [small(3), (0..50_000_u32).flat_map(u32::to_le_bytes).collect()].concat()
}

fn spec(from: &str, quant: &str) -> ModelSpec {
    ModelSpec { name: "m".into(), from: Some(from.into()), weights: quant.into(), ..ModelSpec::default() }
}

fn folder_of(store: &Store<'_>) -> PathBuf {
    store.root().join("hub/owner--repo").join(COMMIT)
}

#[test]
fn a_quant_is_listed_fetched_checked_and_named_by_its_commit() {
    let player =
        Player::new(&[("m-Q4_1.gguf", q4_1()), ("m-Q8_0.gguf", small(7)), ("README.md", b"x".to_vec())]);
    let folder = tempfile::tempdir().unwrap();
    let store = player.store(&folder);
    let spec = spec("hf:owner/repo:q4_1", "Q4_1");
    let bytes = q4_1().len() as u64;
    let Location::WouldFetch { what, bytes: would } = locate_weights(&spec, "Q4_1", &store).unwrap() else {
        panic!("nothing is here yet");
    };
    assert_eq!(would, bytes);
    assert!(
        what.starts_with(&format!("hf:owner/repo@{COMMIT}, m-Q4_1.gguf from http://127.0.0.1")),
        "{what}"
    );
    assert!(!store.root().exists(), "looking fetches and writes nothing");

    let file = weights(&spec, "Q4_1", &store).unwrap();
    assert_eq!(file.path, folder_of(&store).join("m-Q4_1.gguf"));
    assert_eq!(fs::read(&file.path).unwrap(), q4_1());
    assert_eq!((file.bytes, file.sha256.as_str()), (bytes, hex(&Sha256::digest(q4_1())).as_str()));
    assert_eq!(file.origin, what);
    assert_eq!(player.fetched(), [("large", None)]);
    assert_eq!(weights(&spec, "Q4_1", &store).unwrap(), file);
    assert_eq!(player.fetched().len(), 1, "it is here");
    let names: Vec<String> = fs::read_dir(folder_of(&store))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names, ["m-Q4_1.gguf"], "no part and no ETag are left");
    // A further quant by name, from the same repository.
    let more = ModelSpec { quants: vec![QuantFile { weights: "Q8_0".into(), path: None }], ..spec };
    assert!(weights(&more, "Q8_0", &store).unwrap().path.ends_with("m-Q8_0.gguf"));
}

#[test]
fn the_token_goes_to_the_hub_and_nowhere_else() {
    let player = Player::new(&[("m-Q4_1.gguf", q4_1())]);
    player.play.lock().unwrap().needs_token = true;
    let folder = tempfile::tempdir().unwrap();
    let error = weights(&spec("hf:owner/repo", "Q4_1"), "Q4_1", &player.store(&folder)).unwrap_err();
    assert!(error.to_string().contains("401") && error.hints()[0].contains("HF_TOKEN"), "{error}");
    let hub = player.hub(Some(TOKEN));
    assert!(!format!("{hub:?}").contains(TOKEN), "it cannot be shown");
    let store = player.store(&folder).with_hub(hub);
    weights(&spec("hf:owner/repo", "Q4_1"), "Q4_1", &store).unwrap();
    let seen: Vec<(&str, bool)> =
        player.seen().iter().skip(1).map(|seen| (seen.host, seen.authorised)).collect();
    assert_eq!(seen, [("hub", true), ("hub", true), ("large", false)]);
    player.play.lock().unwrap().needs_token = true;
    let wrong = player.store(&folder).with_hub(player.hub(Some("hf_other")));
    let error = weights(&spec("hf:owner/repo@pr/1", "Q4_1"), "Q4_1", &wrong).unwrap_err();
    assert!(error.hints()[0].contains("whether the token may read it"), "{:?}", error.hints());
    assert!(!format!("{error:?}").contains("hf_other"));
}

#[test]
fn what_is_not_there_is_said() {
    let player = Player::new(&[("m-Q4_1.gguf", q4_1())]);
    let folder = tempfile::tempdir().unwrap();
    let store = player.store(&folder);
    let get = |from: &str, quant: &str| weights(&spec(from, quant), quant, &store).unwrap_err();
    assert!(get("hf:owner/other", "Q4_1").to_string().contains("no such repository"));
    assert!(get("hf:owner/repo@gone", "Q4_1").to_string().contains("no such repository"));
    let error = get("hf:owner/repo", "Q4_0");
    assert!(error.hints().concat().contains("Q4_1"), "{:?}", error.hints());
    assert!(
        get("hf:owner/repo", "Q2_K").to_string().contains("no file or quant"),
        "a path that leads out is no file"
    );
    assert!(player.fetched().is_empty());
}

#[test]
fn a_broken_off_download_goes_on_where_it_was() {
    let player = Player::with(
        &[("m-Q4_1.gguf", q4_1())],
        &[Fault::CutAfter(70_000), Fault::CutAfter(30_000), Fault::Status(503)],
    );
    let folder = tempfile::tempdir().unwrap();
    let store = player.store(&folder);
    let file = weights(&spec("hf:owner/repo", "Q4_1"), "Q4_1", &store).unwrap();
    assert_eq!(fs::read(&file.path).unwrap(), q4_1());
    let large: Vec<Seen> = player.seen().into_iter().filter(|seen| seen.host == "large").collect();
    let ranges: Vec<Option<&str>> = large.iter().map(|seen| seen.range.as_deref()).collect();
    assert_eq!(ranges[0], None);
    assert!(ranges[1..].iter().all(Option::is_some) && ranges.len() == 4, "{ranges:?}");
    let etag = format!("\"{}\"", hex(&Sha256::digest(q4_1())));
    assert_eq!(large[1].if_range, Some(etag), "a changed content would come whole");
}

#[test]
fn a_part_of_an_earlier_run_is_continued_and_one_of_other_content_is_not() {
    let player = Player::new(&[("m-Q4_1.gguf", q4_1())]);
    let folder = tempfile::tempdir().unwrap();
    let store = player.store(&folder);
    let id = &hex(&Sha256::digest(q4_1()))[..16];
    fs::create_dir_all(folder_of(&store)).unwrap();
    fs::write(folder_of(&store).join(format!("m-Q4_1.gguf.{id}.part")), &q4_1()[..1000]).unwrap();
    let old = folder_of(&store).join("m-Q4_1.gguf.ffffffffffffffff.part");
    fs::write(&old, b"of another commit").unwrap();
    let file = weights(&spec("hf:owner/repo", "Q4_1"), "Q4_1", &store).unwrap();
    assert_eq!(fs::read(&file.path).unwrap(), q4_1());
    assert_eq!(player.fetched(), [("large", Some("bytes=1000-".to_owned()))]);
    assert!(!old.exists());
}

/// Each of these makes what is here useless: it starts again and ends well.
#[test]
fn a_server_that_cannot_go_on_sends_the_whole_file() {
    for fault in [Fault::NoRanges, Fault::Unsatisfiable, Fault::OtherEtag] {
        let player = Player::with(&[("m-Q4_1.gguf", q4_1())], &[Fault::CutAfter(70_000), fault]);
        let folder = tempfile::tempdir().unwrap();
        let file = weights(&spec("hf:owner/repo", "Q4_1"), "Q4_1", &player.store(&folder)).unwrap();
        assert_eq!(fs::read(&file.path).unwrap(), q4_1(), "{fault:?}");
    }
}

#[test]
fn a_part_that_is_too_long_is_thrown_away() {
    let player = Player::new(&[("m-Q4_1.gguf", q4_1())]);
    let folder = tempfile::tempdir().unwrap();
    let store = player.store(&folder);
    let id = &hex(&Sha256::digest(q4_1()))[..16];
    fs::create_dir_all(folder_of(&store)).unwrap();
    fs::write(folder_of(&store).join(format!("m-Q4_1.gguf.{id}.part")), [q4_1(), q4_1()].concat()).unwrap();
    let file = weights(&spec("hf:owner/repo", "Q4_1"), "Q4_1", &store).unwrap();
    assert_eq!(fs::read(&file.path).unwrap(), q4_1());
}

#[test]
fn content_that_is_not_the_listed_one_is_deleted() {
    let player = Player::with(&[("m-Q4_1.gguf", q4_1())], &[Fault::OtherBytes]);
    let folder = tempfile::tempdir().unwrap();
    let store = player.store(&folder);
    let error = weights(&spec("hf:owner/repo", "Q4_1"), "Q4_1", &store).unwrap_err();
    assert!(error.to_string().contains("its SHA-256 is"), "{error}");
    assert_eq!(fs::read_dir(folder_of(&store)).unwrap().count(), 0, "neither the file nor its part is left");
    weights(&spec("hf:owner/repo", "Q4_1"), "Q4_1", &store).unwrap();
}

#[test]
fn a_hub_that_only_breaks_off_is_given_up_and_what_came_is_kept() {
    let cut = [
        Fault::CutAfter(1000),
        Fault::CutAfter(0),
        Fault::CutAfter(0),
        Fault::CutAfter(0),
        Fault::CutAfter(0),
    ];
    let player = Player::with(&[("m-Q4_1.gguf", q4_1())], &cut);
    let folder = tempfile::tempdir().unwrap();
    let store = player.store(&folder);
    let error = weights(&spec("hf:owner/repo", "Q4_1"), "Q4_1", &store).unwrap_err();
    assert!(error.hints()[0].contains("goes on there"), "{error}: {:?}", error.hints());
    weights(&spec("hf:owner/repo", "Q4_1"), "Q4_1", &store).unwrap();
    assert_eq!(player.fetched().last(), Some(&("large", Some("bytes=1000-".to_owned()))));
}

#[test]
fn all_parts_of_a_split_model_are_fetched() {
    let part = |number: u16| Builder::default().u16("split.no", number).u16("split.count", 2).bytes();
    let first = Builder::of(small(3)).u16("split.no", 0).u16("split.count", 2).bytes();
    let player = Player::new(&[
        ("Q4_1/m-Q4_1-00001-of-00002.gguf", first.clone()),
        ("Q4_1/m-Q4_1-00002-of-00002.gguf", part(1)),
    ]);
    let folder = tempfile::tempdir().unwrap();
    let file = weights(&spec("hf:owner/repo", "Q4_1"), "Q4_1", &player.store(&folder)).unwrap();
    assert!(file.path.ends_with("Q4_1/m-Q4_1-00001-of-00002.gguf"));
    assert_eq!(file.bytes, (first.len() + part(1).len()) as u64);
    assert!(file.origin.contains("and 1 more parts"), "{}", file.origin);
}

#[test]
fn a_whole_repository_becomes_a_folder() {
    let player = Player::new(&[
        ("config.json", br#"{"torch_dtype": "bfloat16", "num_hidden_layers": 2, "num_attention_heads": 2, "head_dim": 64}"#.to_vec()),
        ("model.safetensors", vec![7; 5000]),
        ("tokenizer.json", b"{}".to_vec()),
        ("pytorch_model.bin", vec![1; 10]),
    ]);
    let folder = tempfile::tempdir().unwrap();
    let store = player.store(&folder);
    let file = weights(&spec("hf:owner/repo", "BF16"), "BF16", &store).unwrap();
    assert_eq!(file.path, folder_of(&store));
    assert!(file.origin.contains("3 files"), "{}", file.origin);
    assert!(!file.path.join("pytorch_model.bin").exists());
    assert_eq!(crate::measure::model::kv_shape(&file.path).unwrap().groups.len(), 1);
    let error = weights(&spec("hf:owner/repo", "F16"), "F16", &store).unwrap_err();
    assert!(
        error.to_string().contains("no file or quant") || error.to_string().contains("holds BF16"),
        "{error}"
    );
}

#[test]
fn a_finished_file_in_the_tools_cache_is_used() {
    let player = Player::new(&[("m-Q4_1.gguf", q4_1()), ("m-Q8_0.gguf", small(7))]);
    let folder = tempfile::tempdir().unwrap();
    let tools = folder.path().join("tools");
    let blobs = tools.join("models--owner--repo/blobs");
    fs::create_dir_all(&blobs).unwrap();
    fs::write(blobs.join(hex(&Sha256::digest(q4_1()))), q4_1()).unwrap();
    let damaged: Vec<u8> = small(7).iter().map(|byte| byte ^ 1).collect();
    fs::write(blobs.join(hex(&Sha256::digest(small(7)))), damaged).unwrap();
    let hub = Hub { tools_cache: Some(tools), ..player.hub(None) };
    let store = player.store(&folder).with_hub(hub);
    let spec = spec("hf:owner/repo", "Q4_1");
    assert!(matches!(locate_weights(&spec, "Q4_1", &store).unwrap(), Location::Present(_)));
    assert_eq!(fs::read(weights(&spec, "Q4_1", &store).unwrap().path).unwrap(), q4_1());
    assert!(player.fetched().is_empty(), "no second download");
    let other = ModelSpec { weights: "Q8_0".into(), ..spec };
    assert_eq!(fs::read(weights(&other, "Q8_0", &store).unwrap().path).unwrap(), small(7));
    assert_eq!(player.fetched(), [("large", None)], "a damaged one is not used");
}

#[test]
fn without_a_network_what_was_fetched_is_used() {
    let player = Player::new(&[("m-Q4_1.gguf", q4_1())]);
    let folder = tempfile::tempdir().unwrap();
    let store = player.store(&folder);
    let spec = spec("hf:owner/repo", "Q4_1");
    let file = weights(&spec, "Q4_1", &store).unwrap();
    let asked = player.seen().len();
    let pinned = ModelSpec { from: Some(format!("hf:owner/repo@{COMMIT}")), ..spec.clone() };
    assert_eq!(weights(&pinned, "Q4_1", &store).unwrap(), file);
    let offline = player.store(&folder).with_hub(Hub { offline: true, ..player.hub(None) });
    assert_eq!(weights(&spec, "Q4_1", &offline).unwrap(), file);
    assert_eq!(player.seen().len(), asked, "a commit's files are known, and offline nothing is asked");
    let unknown = ModelSpec { from: Some("hf:owner/other".into()), ..spec.clone() };
    assert!(weights(&unknown, "Q4_1", &offline).unwrap_err().to_string().contains("HF_HUB_OFFLINE"));
    // Nobody listens on a port that was just given back.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let away = player.store(&folder).with_hub(Hub { endpoint: format!("http://{gone}"), ..player.hub(None) });
    assert_eq!(weights(&spec, "Q4_1", &away).unwrap().path, file.path);
    let error = weights(&unknown, "Q4_1", &away).unwrap_err();
    assert!(error.to_string().contains("cannot be reached"), "{error}");
}

#[test]
fn two_at_once_fetch_once() {
    let player = Player::new(&[("m-Q4_1.gguf", q4_1())]);
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| weights(&spec("hf:owner/repo", "Q4_1"), "Q4_1", &player.store(&folder)).unwrap());
        }
    });
    assert_eq!(player.fetched().len(), 1);
}

#[test]
fn the_environment_is_read_as_the_hubs_tools_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().to_owned();
    let from = |vars: Vec<(&'static str, String)>| {
        Hub::from_env(&move |name| {
            vars.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone().into())
        })
    };
    let at = |name: &str| home.join(name).display().to_string();
    let plain = from(vec![("HOME", at(""))]);
    assert_eq!((plain.endpoint(), plain.has_token(), plain.is_offline()), (DEFAULT_ENDPOINT, false, false));
    assert_eq!(plain.tools_cache, Some(home.join(".cache/huggingface/hub")));
    fs::write(home.join("token"), format!("{TOKEN}\n")).unwrap();
    let set = from(vec![
        ("HF_HOME", at("")),
        ("HF_ENDPOINT", "https://mirror.example/".into()),
        ("HF_HUB_OFFLINE", "true".into()),
        ("HF_HUB_CACHE", at("elsewhere")),
    ]);
    assert_eq!(set.token, Some(Token(TOKEN.into())), "from the file in HF_HOME");
    assert_eq!((set.endpoint(), set.is_offline()), ("https://mirror.example", true));
    assert_eq!(set.tools_cache, Some(home.join("elsewhere")));
    let named = from(vec![("HF_HOME", at("")), ("HF_TOKEN", "other".into())]);
    assert_eq!(named.token, Some(Token("other".into())));
    for wrong in ["mirror", "ftp://mirror", "https://user:word@mirror"] {
        assert!(Api::new(&Hub { endpoint: wrong.into(), ..Hub::default() }).is_err(), "{wrong}");
    }
}
