//! The KV-cache formula against what the real server reports, byte by byte as far as its log goes: that has two
//! decimals of a MiB a cache.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::common::tiny_gguf;
use kneepoint::measure::engine::Engine;
use kneepoint::measure::engine::llama_cpp::LlamaCpp;
use kneepoint::measure::engine::supervise::{Launcher, free_port};
use kneepoint::measure::model::packages::{SERVER, SMOLLM2};
use kneepoint::measure::model::{Silent, Store, kv_shape};
use kneepoint::record::kv::{KvShape, KvUse};
use kneepoint::record::{Argv, Effective};

const MIB: u64 = 1 << 20;

/// Qwen2.5-Coder-0.5B's cache: 24 layers, 2 KV heads of 64. With the real model's file the server reports for f16
/// K and V together 24, 48, 96 and 192 MiB at 2K, 4K, 8K and 16K.
const QWEN: tiny_gguf::Shape = tiny_gguf::Shape {
    architecture: "qwen2",
    layers: 24,
    embedding: 128,
    heads: 2,
    kv_heads: 2,
    head_width: 64,
    window: None,
};

/// In the form of a Gemma 3 model: of six layers one sees everything. The widths make every size a whole number of
/// hundredths of a MiB.
const WINDOWED: tiny_gguf::Shape = tiny_gguf::Shape {
    architecture: "gemma3",
    layers: 24,
    embedding: 32,
    heads: 4,
    kv_heads: 4,
    head_width: 256,
    window: Some(512),
};

struct Real {
    binary: PathBuf,
    folder: tempfile::TempDir,
}

impl Real {
    fn new() -> Self {
        let binary = Store::open(&Silent).unwrap().fetch(&SERVER).unwrap();
        Self { binary, folder: tempfile::tempdir().unwrap() }
    }

    fn tiny(&self, shape: tiny_gguf::Shape) -> PathBuf {
        let path = self.folder.path().join("tiny.gguf");
        tiny_gguf::write(shape, &path);
        path
    }

    /// Starts the server, reads back what it runs, and stops it.
    async fn reported(&self, model: &Path, usage: KvUse<'_>) -> Effective {
        let port = free_port().unwrap();
        let text = |number: u64| number.to_string();
        let mut args: Vec<String> = [
            "-m",
            &model.to_string_lossy(),
            "--host",
            "127.0.0.1",
            "--port",
            &text(port.into()),
            "-c",
            &text(usage.context.into()),
            "-np",
            "1",
            "-fa",
            "on",
            "-ctk",
            usage.k,
            "-ctv",
            usage.v,
            "-ub",
            &text(usage.ubatch),
            "--device",
            "none",
            "--fit",
            "off",
            "--log-verbosity",
            "4",
        ]
        .map(str::to_owned)
        .to_vec();
        args.extend(usage.full_window.then(|| "--swa-full".to_owned()));
        let libraries = self.binary.parent().unwrap().display().to_string();
        let argv =
            Argv { program: self.binary.clone(), args, env: vec![("LD_LIBRARY_PATH".to_owned(), libraries)] };
        let launcher = Launcher {
            reexec: Some(env!("CARGO_BIN_EXE_kneepoint").into()),
            ..Launcher::new(Duration::from_secs(120))
        };
        let log = self.folder.path().join("server.log");
        let server = launcher.start(&argv, port, "/health", &log).await.unwrap();
        let effective = LlamaCpp.effective(&server.read_log().unwrap(), &serde_json::Value::Null);
        server.stop().await.unwrap();
        assert_eq!((effective.k.as_deref(), effective.v.as_deref()), (Some(usage.k), Some(usage.v)));
        effective
    }

    /// What the server reports is the formula: exactly where the formula is a whole number of hundredths of a MiB,
    /// else within the rounding of the log's lines (one for each cache).
    async fn assert_formula(&self, model: &Path, usage: KvUse<'_>) {
        let shape: KvShape = kv_shape(model).unwrap();
        let caches = 1 + u64::from(shape.groups.len() > 1);
        let formula = shape.bytes(usage).unwrap();
        let effective = self.reported(model, usage).await;
        for (formula, reported) in [(formula.k, effective.k_bytes), (formula.v, effective.v_bytes)] {
            let reported = reported.unwrap();
            let whole = (formula * 100).is_multiple_of(MIB);
            let off = if whole { 0 } else { caches * (MIB / 200 + 1) };
            assert!(formula.abs_diff(reported) <= off, "{usage:?}: formula {formula}, reported {reported}");
        }
    }
}

fn usage<'a>(context: u32, k: &'a str, v: &'a str) -> KvUse<'a> {
    KvUse::new(context, k, v)
}

#[tokio::test]
async fn the_real_models_cache_is_the_formula() {
    let real = Real::new();
    let model = Store::open(&Silent).unwrap().fetch(&SMOLLM2).unwrap();
    for context in [2048, 4096] {
        for (k, v) in [("f16", "f16"), ("q8_0", "q8_0"), ("q4_0", "q4_0")] {
            real.assert_formula(&model, usage(context, k, v)).await;
        }
    }
    // f16 comes out even: 22.5 and 45 MiB each of K and V.
    let bytes = kv_shape(&model).unwrap().bytes(usage(4096, "f16", "f16")).unwrap();
    assert_eq!(bytes.k, 45 * MIB);
}

#[tokio::test]
async fn a_cache_of_few_heads_is_the_formula() {
    let real = Real::new();
    let model = real.tiny(QWEN);
    let shape = kv_shape(&model).unwrap();
    for (context, mib) in [(2048, 24), (4096, 48), (8192, 96), (16_384, 192)] {
        assert_eq!(shape.bytes(usage(context, "f16", "f16")).unwrap().total(), mib * MIB);
        real.assert_formula(&model, usage(context, "f16", "f16")).await;
    }
    for (context, k, v) in
        [(4096, "q8_0", "q4_0"), (8192, "q4_0", "q5_1"), (2048, "q8_0", "q8_0"), (1000, "f16", "q8_0")]
    {
        real.assert_formula(&model, usage(context, k, v)).await;
    }
}

#[tokio::test]
async fn layers_with_a_window_take_what_the_formula_says_to_the_byte() {
    let real = Real::new();
    let model = real.tiny(WINDOWED);
    let shape = kv_shape(&model).unwrap();
    let layers: Vec<(u32, Option<u32>)> =
        shape.groups.iter().map(|group| (group.layers, group.window)).collect();
    assert_eq!(layers, [(20, Some(512)), (4, None)]);
    for (context, k, v) in
        [(4096, "f16", "f16"), (4096, "q8_0", "q4_0"), (2048, "q4_0", "q8_0"), (512, "f16", "f16")]
    {
        let usage = usage(context, k, v);
        let bytes = shape.bytes(usage).unwrap();
        assert!(
            (bytes.k * 100).is_multiple_of(MIB) && (bytes.v * 100).is_multiple_of(MIB),
            "so that it is exact"
        );
        real.assert_formula(&model, usage).await;
    }
    // The window and one batch, padded to 256 cells: 512 + 256 are 768.
    real.assert_formula(&model, KvUse { ubatch: 256, ..usage(4096, "f16", "f16") }).await;
    real.assert_formula(&model, KvUse { full_window: true, ..usage(4096, "q8_0", "q8_0") }).await;
}
