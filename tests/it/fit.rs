//! `kneepoint fit`: what fits into a memory, from headers alone; held against what the real server allocates.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path as UrlPath, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use kneepoint::measure::engine::Engine;
use kneepoint::measure::engine::llama_cpp::LlamaCpp;
use kneepoint::measure::engine::supervise::{Launcher, free_port};
use kneepoint::measure::model::packages::{SERVER, SMOLLM2};
use kneepoint::measure::model::{Silent, Store};
use kneepoint::record::{Argv, Effective};
use serde_json::{Value, json};

use crate::common::{KNEEPOINT, tiny_gguf};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const MIB: u64 = 1 << 20;

fn fit(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(KNEEPOINT);
    command.arg("fit").args(args).current_dir(folder).env("NO_COLOR", "1").stdin(Stdio::null());
    for name in ["HF_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE", "HUGGING_FACE_HUB_TOKEN"] {
        command.env_remove(name);
    }
    command.env("KNEEPOINT_CACHE_DIR", folder.join("cache")).env("HF_HOME", folder.join("home"));
    command
}

fn stdout(out: &Output) -> String {
    String::from_utf8(out.stdout.clone()).unwrap()
}

fn stderr(out: &Output) -> String {
    String::from_utf8(out.stderr.clone()).unwrap()
}

fn data(out: &Output) -> Value {
    serde_json::from_str(&stdout(out)).unwrap_or_else(|_| panic!("{}", stderr(out)))
}

/// A model of 4 layers with random weights in f16.
const TINY: tiny_gguf::Shape = tiny_gguf::Shape {
    architecture: "qwen2",
    layers: 4,
    embedding: 128,
    heads: 2,
    kv_heads: 2,
    head_width: 64,
    window: None,
};

fn tiny(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    tiny_gguf::write(TINY, &path);
    path
}

#[test]
fn every_quant_and_cache_type_is_a_row() {
    let folder = tempfile::tempdir().unwrap();
    tiny(folder.path(), "tiny-F16.gguf");
    let out = fit(folder.path(), &["tiny-F16.gguf", "--memory", "40MiB", "--context", "8k", "--cpu"])
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", stderr(&out));
    insta::assert_snapshot!(stdout(&out));
    let out =
        fit(folder.path(), &["tiny-F16.gguf", "--memory", "40MiB", "--context", "8k", "--cpu", "--json"])
            .output();
    let table = data(&out.unwrap());
    let rows = table["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 8);
    // 4 layers x 2 heads x 64 x 2 (K and V) x 8192 cells x 2 bytes.
    assert_eq!(rows[0]["kv_bytes"], 16 * MIB);
    assert_eq!(table["quants"][0]["made_of"][0]["name"], "f16");
    assert_eq!(table["schema_version"], 1);
    let schema = Command::new(KNEEPOINT).args(["schema", "fit"]).output().unwrap();
    let schema: Value = serde_json::from_slice(&schema.stdout).unwrap();
    assert!(jsonschema::draft202012::new(&schema).unwrap().is_valid(&table));
}

#[test]
fn a_card_that_is_too_small_takes_a_part_and_a_nearest_miss_is_named() {
    let folder = tempfile::tempdir().unwrap();
    tiny(folder.path(), "tiny-F16.gguf");
    let run = |args: &[&str]| fit(folder.path(), &[&["tiny-F16.gguf"], args].concat()).output().unwrap();
    let table = data(&run(&["--memory", "15MiB", "--context", "8k", "--kv", "f16", "--json"]));
    let row = &table["rows"][0];
    assert_eq!(row["fits"], "with_layers_in_main_memory", "{row}");
    assert!((1..=4).contains(&row["layers_in_main_memory"].as_u64().unwrap()), "{row}");
    assert!(row["longest_context"].as_u64().unwrap() < 8192);
    let out = run(&["--memory", "2MiB", "--context", "8k", "--cpu"]);
    assert_eq!(out.status.code(), Some(4), "nothing fits");
    assert!(stdout(&out).contains("nothing fits: nearest is F16 with q4_0"), "{}", stdout(&out));
    assert!(stdout(&out).contains("--memory "), "{}", stdout(&out));
    // What it says would make it fit does.
    let text = stdout(&out);
    let enough = text.split("--memory ").nth(1).unwrap().split(&[',', '\n'][..]).next().unwrap();
    let out = run(&["--memory", enough, "--context", "8k", "--cpu", "--kv", "q4_0"]);
    assert!(out.status.success(), "{enough}: {}", stdout(&out));
}

#[test]
fn what_cannot_be_used_says_what_where_and_what_to_try() {
    let folder = tempfile::tempdir().unwrap();
    let path = tiny(folder.path(), "tiny-F16.gguf");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let said = |args: &[&str]| {
        let out = fit(folder.path(), args).output().unwrap();
        assert!(!out.status.success());
        stderr(&out)
    };
    let cut = said(&["tiny-F16.gguf"]);
    assert!(cut.contains("only a part of it is there") && cut.contains("fetch it again"), "{cut}");
    let none = said(&["nothing-here.gguf"]);
    assert!(none.contains("there is no model nothing-here.gguf") && none.contains("hf:OWNER/REPO"), "{none}");
    assert!(said(&["smollm2-135m"]).contains("did you mean `smollm2-135m-instruct`"));
    std::fs::write(&path, &whole).unwrap();
    assert!(said(&["tiny-F16.gguf", "--kv", "q8_1"]).contains("did you mean `q8_0`"));
    assert!(said(&["tiny-F16.gguf", "--engine", "vllm"]).contains("--engine llama.cpp"));
    assert!(said(&["tiny-F16.gguf", "--memory", "24"]).contains("has no unit"));
}

#[test]
fn a_cut_file_beside_whole_ones_is_left_out_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read(tiny(folder.path(), "m-F16.gguf")).unwrap();
    std::fs::write(folder.path().join("m-UD-Q4_K_XL.gguf"), &whole[..whole.len() - 100]).unwrap();
    let table = data(&fit(folder.path(), &[".", "--memory", "1GiB", "--json"]).output().unwrap());
    assert_eq!(table["quants"].as_array().unwrap().len(), 1);
    assert!(table["unread"][0]["why"].as_str().unwrap().contains("only a part"), "{table}");
}

#[test]
fn an_unknown_architecture_has_weights_and_no_cache() {
    let folder = tempfile::tempdir().unwrap();
    let shape = tiny_gguf::Shape { architecture: "newmodel", window: Some(512), ..TINY };
    tiny_gguf::write(shape, &folder.path().join("new-F16.gguf"));
    let out = fit(folder.path(), &["new-F16.gguf", "--memory", "1GiB"]).output().unwrap();
    let text = stdout(&out);
    assert!(text.contains("the KV cache is not known (which layers of a `newmodel`"), "{text}");
    assert!(text.contains("not known") && text.contains("1 KiB") || text.contains("MiB"), "{text}");
}

#[test]
fn a_plain_file_of_an_unknown_architecture_is_not_taken_for_a_plain_model() {
    let folder = tempfile::tempdir().unwrap();
    let shape = tiny_gguf::Shape { architecture: "newmodel", ..TINY };
    tiny_gguf::write(shape, &folder.path().join("new-F16.gguf"));
    let table = data(&fit(folder.path(), &["new-F16.gguf", "--memory", "1GiB", "--json"]).output().unwrap());
    assert_eq!(table["kv_not_known"], "no rule names the architecture `newmodel`");
    assert!(
        table["rows"][0].get("kv_bytes").is_none() && table["rows"][0]["weights_bytes"].as_u64().unwrap() > 0
    );
}

#[test]
fn a_folder_is_counted_in_pages() {
    let folder = tempfile::tempdir().unwrap();
    let config = r#"{"model_type": "qwen2", "hidden_size": 896, "num_attention_heads": 14, "num_hidden_layers": 24,
        "num_key_value_heads": 2, "max_position_embeddings": 32768, "torch_dtype": "bfloat16"}"#;
    std::fs::write(folder.path().join("config.json"), config).unwrap();
    let head = r#"{"w":{"dtype":"BF16","shape":[512,1024],"data_offsets":[0,1048576]}}"#;
    let weights = [&(head.len() as u64).to_le_bytes(), head.as_bytes(), &vec![0; 1 << 20]].concat();
    std::fs::write(folder.path().join("model.safetensors"), weights).unwrap();
    let run = |args: &[&str]| {
        data(&fit(folder.path(), &[&[".", "--json", "--memory", "1GiB"], args].concat()).output().unwrap())
    };
    let table = run(&["--context", "1000"]);
    let rows = table["rows"].as_array().unwrap();
    let token = 2 * 24 * 128;
    // 63 pages of 16 tokens.
    assert_eq!(rows[0]["kv_bytes"], 1008 * token * 2, "{table}");
    assert_eq!(rows[1]["kv_bytes"], 1008 * token);
    assert_eq!(table["quants"][0]["bits_per_weight"], 16.0);
    let table = run(&["--context", "1000", "--engine", "sglang"]);
    assert_eq!(table["rows"][0]["kv_bytes"], 1000 * token * 2);
}

/// A Hub that sends ranges from another host, asks for a token, or wants less haste.
#[derive(Default)]
struct Hub {
    files: Vec<(String, Vec<u8>)>,
    token: Option<String>,
    /// Statuses that come before anything else.
    busy: usize,
    /// Bytes that were sent of files.
    sent: u64,
}

type Shared = Arc<Mutex<Hub>>;

fn start(hub: Hub) -> (Shared, String) {
    let hub = Arc::new(Mutex::new(hub));
    let shared = hub.clone();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            let routes = Router::new()
                .route("/api/models/{owner}/{repo}/revision/{revision}", get(list))
                .route("/{owner}/{repo}/resolve/{commit}/{*path}", get(resolve))
                .route("/blob/{*path}", get(blob))
                .with_state(shared);
            axum::serve(listener, routes).await.unwrap();
        });
    });
    (hub, format!("http://{}", told.recv().unwrap()))
}

fn is_refused(hub: &Hub, headers: &HeaderMap) -> bool {
    let said = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    hub.token.as_ref().is_some_and(|token| said != Some(&format!("Bearer {token}")))
}

async fn list(
    State(hub): State<Shared>,
    UrlPath((_, repo, _)): UrlPath<(String, String, String)>,
    headers: HeaderMap,
) -> Response {
    let hub = hub.lock().unwrap();
    if is_refused(&hub, &headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    if repo != "repo" {
        return StatusCode::NOT_FOUND.into_response();
    }
    let siblings: Vec<Value> =
        hub.files.iter().map(|(path, bytes)| json!({"rfilename": path, "size": bytes.len()})).collect();
    json!({"sha": COMMIT, "siblings": siblings}).to_string().into_response()
}

async fn resolve(
    State(hub): State<Shared>,
    UrlPath((_, _, _, path)): UrlPath<(String, String, String, String)>,
    headers: HeaderMap,
) -> Response {
    let mut hub = hub.lock().unwrap();
    if is_refused(&hub, &headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    if hub.busy > 0 {
        hub.busy -= 1;
        return StatusCode::TOO_MANY_REQUESTS.into_response();
    }
    (StatusCode::FOUND, [(header::LOCATION, format!("/blob/{path}?signed=1"))]).into_response()
}

async fn blob(State(hub): State<Shared>, UrlPath(path): UrlPath<String>, headers: HeaderMap) -> Response {
    let mut hub = hub.lock().unwrap();
    let bytes = hub.files.iter().find(|(name, _)| *name == path).map(|(_, bytes)| bytes.clone()).unwrap();
    let range = headers[header::RANGE].to_str().unwrap().trim_start_matches("bytes=");
    let (from, to) = range.split_once('-').unwrap();
    let part = bytes[from.parse().unwrap()..=to.parse().unwrap()].to_vec();
    hub.sent += part.len() as u64;
    (StatusCode::PARTIAL_CONTENT, part).into_response()
}

/// A file whose weights are larger than anything that is asked for.
fn large(folder: &Path) -> Vec<u8> {
    let shape = tiny_gguf::Shape { embedding: 1024, ..TINY };
    let path = folder.join("large.gguf");
    tiny_gguf::write(shape, &path);
    std::fs::read(path).unwrap()
}

#[test]
fn a_repository_is_read_by_its_headers_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = large(folder.path());
    let size = file.len() as u64;
    let files = vec![
        ("m-F16.gguf".to_owned(), file.clone()),
        ("m-UD-F16.gguf".to_owned(), file),
        ("README.md".to_owned(), vec![1]),
    ];
    let (hub, address) = start(Hub { files, busy: 1, ..Hub::default() });
    let out = fit(folder.path(), &["hf:owner/repo", "--memory", "1GiB", "--json"])
        .env("HF_ENDPOINT", &address)
        .output()
        .unwrap();
    let table = data(&out);
    assert_eq!(table["quants"].as_array().unwrap().len(), 2, "{table}");
    assert_eq!(table["quants"][0]["file_bytes"], size);
    let sent = hub.lock().unwrap().sent;
    assert!(sent < 2 * size / 3 && sent <= 2 * 256 * 1024, "{sent} of {size}");
    assert!(!folder.path().join("cache/hub").exists(), "nothing is kept");
    let one = fit(folder.path(), &["hf:owner/repo:m-UD-F16.gguf", "--memory", "1GiB", "--json"])
        .env("HF_ENDPOINT", &address)
        .output();
    assert_eq!(data(&one.unwrap())["quants"].as_array().unwrap().len(), 1);
}

#[test]
fn all_parts_of_a_split_model_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let file = large(folder.path());
    let name = |part| format!("F16/m-F16-0000{part}-of-00002.gguf");
    let files = vec![(name(1), file.clone()), (name(2), file.clone())];
    let (_hub, address) = start(Hub { files, ..Hub::default() });
    let run = |model: &str| {
        let args = [model, "--memory", "1GiB", "--cpu", "--json"];
        fit(folder.path(), &args).env("HF_ENDPOINT", &address).output().unwrap()
    };
    let table = data(&run("hf:owner/repo"));
    assert_eq!(table["quants"][0]["file_bytes"], 2 * file.len() as u64);
    assert!(table["quants"][0]["weights_bytes"].as_u64().unwrap() > 19 * file.len() as u64 / 10, "{table}");
    let (_hub, address) = start(Hub { files: vec![(name(1), file)], ..Hub::default() });
    let out = fit(folder.path(), &["hf:owner/repo", "--memory", "1GiB"])
        .env("HF_ENDPOINT", &address)
        .output()
        .unwrap();
    assert!(stderr(&out).contains("lacks part 2"), "{}", stderr(&out));
}

#[test]
fn a_repository_without_gguf_files_is_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let config = r#"{"model_type": "deepseek_v3", "num_hidden_layers": 61, "num_attention_heads": 128, "num_key_value_heads": 128,
        "hidden_size": 7168, "kv_lora_rank": 512, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128,
        "max_position_embeddings": 163840, "quantization_config": {"quant_method": "fp8"}, "torch_dtype": "bfloat16"}"#;
    let head = r#"{"w":{"dtype":"F8_E4M3","shape":[512,1024],"data_offsets":[0,524288]}}"#;
    let weights = [&(head.len() as u64).to_le_bytes(), head.as_bytes(), &vec![0; 1 << 19]].concat();
    let cut = weights[..weights.len() - 1].to_vec();
    let files =
        |weights| vec![("config.json".to_owned(), config.into()), ("model.safetensors".to_owned(), weights)];
    let run = |weights| {
        let (_hub, address) = start(Hub { files: files(weights), ..Hub::default() });
        let args = ["hf:owner/repo", "--memory", "1TiB", "--context", "16k", "--json"];
        fit(folder.path(), &args).env("HF_ENDPOINT", &address).output().unwrap()
    };
    let table = data(&run(weights));
    assert_eq!((&table["engine"], &table["quants"][0]["weights"]), (&json!("vLLM"), &json!("fp8")));
    assert_eq!(table["quants"][0]["bits_per_weight"], 8.0);
    assert_eq!(table["rows"][0]["kv_bytes"], 61 * 16_384 * 576 * 2, "compressed K and V, as one");
    let error = stderr(&run(cut));
    assert!(error.contains("it ends at") && error.contains("cut off"), "{error}");
}

#[test]
fn a_gated_or_missing_repository_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let files = vec![("m-F16.gguf".to_owned(), large(folder.path()))];
    let (_hub, address) = start(Hub { files, token: Some("hf_secret".to_owned()), ..Hub::default() });
    let run = |model: &str, token: Option<&str>| {
        let mut command = fit(folder.path(), &[model, "--memory", "1GiB"]);
        command.env("HF_ENDPOINT", &address);
        token.map(|token| command.env("HF_TOKEN", token));
        command.output().unwrap()
    };
    let gated = stderr(&run("hf:owner/repo", None));
    assert!(gated.contains("denied access (401)") && gated.contains("HF_TOKEN"), "{gated}");
    assert!(run("hf:owner/repo", Some("hf_secret")).status.success());
    let missing = stderr(&run("hf:owner/other", Some("hf_secret")));
    assert!(missing.contains("no such repository") && !missing.contains("hf_secret"), "{missing}");
}

/// Starts the server with everything in main memory, reads back what it set aside, and stops it.
async fn reported(binary: &Path, model: &Path, context: u32, k: &str, v: &str, folder: &Path) -> Effective {
    let port = free_port().unwrap();
    let model = model.display().to_string();
    let (port_text, context) = (port.to_string(), context.to_string());
    let args = [
        "-m",
        &model,
        "--host",
        "127.0.0.1",
        "--port",
        &port_text,
        "-c",
        &context,
        "-np",
        "1",
        "-fa",
        "on",
        "-ctk",
        k,
        "-ctv",
        v,
        "--device",
        "none",
        "--fit",
        "off",
        "--no-warmup",
        "--log-verbosity",
        "4",
    ];
    let libraries = binary.parent().unwrap().display().to_string();
    let argv = Argv {
        program: binary.to_owned(),
        args: args.map(str::to_owned).to_vec(),
        env: vec![("LD_LIBRARY_PATH".to_owned(), libraries)],
    };
    let launcher = Launcher { reexec: Some(KNEEPOINT.into()), ..Launcher::new(Duration::from_secs(120)) };
    let server = launcher.start(&argv, port, "/health", &folder.join("server.log")).await.unwrap();
    let effective = LlamaCpp.effective(&server.read_log().unwrap(), &Value::Null);
    server.stop().await.unwrap();
    effective
}

/// Within 2% or 16 MiB.
fn assert_near(what: &str, said: u64, real: u64) {
    let allowed = (real / 50).max(16 * MIB);
    assert!(said.abs_diff(real) <= allowed, "{what}: {said} bytes, the server sets aside {real}");
}

#[tokio::test]
async fn the_real_server_sets_aside_what_was_said() {
    let store = Store::open(&Silent).unwrap();
    let (binary, model) = (store.fetch(&SERVER).unwrap(), store.fetch(&SMOLLM2).unwrap());
    let folder = tempfile::tempdir().unwrap();
    for (context, k, v) in
        [(512, "f16", "f16"), (8192, "q8_0", "q8_0"), (4096, "q8_0", "q4_0"), (8192, "bf16", "bf16")]
    {
        let (tokens, kv) = (context.to_string(), format!("{k}/{v}"));
        let args = [
            model.to_str().unwrap(),
            "--cpu",
            "--memory",
            "1GiB",
            "--context",
            &tokens,
            "--kv",
            &kv,
            "--json",
        ];
        let row = data(&fit(folder.path(), &args).output().unwrap())["rows"][0].clone();
        let said = |name: &str| row[name].as_u64().unwrap();
        let real = reported(&binary, &model, context, k, v, folder.path()).await;
        let cache = real.k_bytes.unwrap() + real.v_bytes.unwrap();
        assert_near("weights", said("weights_bytes"), real.model_bytes.unwrap());
        assert!(said("kv_bytes").abs_diff(cache) <= MIB / 50, "{row}: {cache}");
        // The rule is exact here but for some KiB, and what is not rounded away in the log.
        assert!(
            said("compute_bytes").abs_diff(real.compute_bytes.unwrap()) <= MIB,
            "{row}: {:?}",
            real.compute_bytes
        );
        assert_near(
            "all",
            said("total_bytes"),
            real.model_bytes.unwrap() + cache + real.compute_bytes.unwrap(),
        );
    }
}
