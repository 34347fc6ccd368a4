use proptest::prelude::*;

use super::super::gguf::Metadata;
use super::is_known;
use crate::record::kv::*;

const MIB: f64 = 1024.0 * 1024.0;

/// The metadata of SmolLM2-135M-Instruct's GGUF file.
fn smollm2() -> Metadata {
    Metadata {
        architecture: Some("llama".into()),
        block_count: Some(30),
        embedding_length: Some(576),
        head_count: vec![9],
        head_count_kv: vec![3],
        ..Metadata::default()
    }
}

/// The metadata of Qwen2.5-Coder-0.5B-Instruct's GGUF file.
fn qwen() -> Metadata {
    Metadata {
        architecture: Some("qwen2".into()),
        block_count: Some(24),
        embedding_length: Some(896),
        head_count: vec![14],
        head_count_kv: vec![2],
        ..Metadata::default()
    }
}

/// Made-up metadata in the form of a Gemma 3 file with 26 layers.
fn gemma_like() -> Metadata {
    Metadata {
        architecture: Some("gemma3".into()),
        block_count: Some(26),
        embedding_length: Some(1152),
        head_count: vec![4],
        head_count_kv: vec![1],
        key_length: Some(256),
        value_length: Some(256),
        sliding_window: Some(512),
        ..Metadata::default()
    }
}

fn bytes(metadata: &Metadata, context: u32, k: &str, v: &str) -> KvBytes {
    KvShape::of(metadata).unwrap().bytes(KvUse::new(context, k, v)).unwrap()
}

/// The log has two decimals of a MiB: the true figure lies within half of the last one.
fn assert_logged(bytes: u64, logged_mib: f64) {
    let off = (bytes as f64 / MIB - logged_mib).abs();
    assert!(off <= 0.005 + 1e-9, "{bytes} bytes are not the {logged_mib} MiB of the log");
}

#[test]
fn smollm2_takes_what_llama_server_logs() {
    // `llama_kv_cache: size = ..` of build 10068; 2048 tokens: tests/fixtures/llama-server-b10068, the
    // others: the journal of tests/fixtures/runs/quickstart.
    for (context, k, v, k_mib, v_mib) in [
        (512, "f16", "f16", 5.62, 5.62),
        (1024, "f16", "f16", 11.25, 11.25),
        (2048, "f16", "f16", 22.50, 22.50),
        (512, "q8_0", "q8_0", 2.99, 2.99),
        (1024, "q8_0", "q8_0", 5.98, 5.98),
        (512, "q4_0", "q4_0", 1.58, 1.58),
        (1024, "q4_0", "q4_0", 3.16, 3.16),
        (2048, "q8_0", "q4_0", 11.95, 6.33),
    ] {
        let bytes = bytes(&smollm2(), context, k, v);
        assert_logged(bytes.k, k_mib);
        assert_logged(bytes.v, v_mib);
    }
    // To the byte where the MiB are whole quarters.
    assert_eq!(bytes(&smollm2(), 2048, "f16", "f16"), KvBytes { k: 23_592_960, v: 23_592_960, state: 0 });
}

#[test]
fn qwen_coder_takes_what_its_metadata_say() {
    // V in q8_0 at 8192 tokens: 25.50 MiB in a log of ik_llama.cpp; the others are by formula alone.
    assert_logged(bytes(&qwen(), 8192, "f16", "q8_0").v, 25.50);
    assert_eq!(bytes(&qwen(), 8192, "f16", "q8_0").v, 26_738_688);
    assert_eq!(bytes(&qwen(), 2048, "f16", "f16").total(), 2 * 24 * 128 * 2048 * 2);
    assert_eq!(bytes(&qwen(), 2048, "q4_0", "q4_0").total(), 2 * 24 * 2048 * (128 / 32 * 18));
}

#[test]
fn windowed_layers_keep_the_window_and_one_batch() {
    // 26 layers, every sixth sees everything: 4 do. The real server does the same (tests/it/real_kv.rs).
    let shape = KvShape::of(&gemma_like()).unwrap();
    let layers = |window| shape.groups.iter().find(|g| g.window == window).map(|g| g.layers);
    assert_eq!((layers(None), layers(Some(512))), (Some(4), Some(22)));
    let row = 256 * 2;
    let f16 = |context| shape.bytes(KvUse::new(context, "f16", "f16")).unwrap().k;
    assert_eq!(f16(32_768), 4 * 32_768 * row + 22 * 1024 * row);
    assert_eq!(f16(512), 26 * 512 * row, "a context shorter than the window is no larger for it");
    let full = KvUse { full_window: true, ..KvUse::new(32_768, "f16", "f16") };
    assert_eq!(shape.bytes(full).unwrap().k, 26 * 32_768 * row);
    let odd = KvUse { ubatch: 100, ..KvUse::new(32_768, "q8_0", "q8_0") };
    let q8 = 256 / 32 * 34;
    assert_eq!(shape.bytes(odd).unwrap().k, 4 * 32_768 * q8 + 22 * 768 * q8, "512 + 100, padded");
}

#[test]
fn cells_are_padded() {
    let at = |context| bytes(&qwen(), context, "f16", "f16").k;
    assert_eq!(at(1000), at(1024));
    assert_eq!(at(1), at(256));
    assert!(at(1025) > at(1024));
}

#[test]
fn a_pattern_in_the_file_comes_before_what_is_known_of_the_architecture() {
    let mut metadata = gemma_like();
    metadata.sliding_window_pattern = vec![2];
    let windows = |metadata: &Metadata| {
        let shape = KvShape::of(metadata).unwrap();
        shape.groups.iter().filter(|g| g.window.is_some()).map(|g| g.layers).sum::<u32>()
    };
    assert_eq!(windows(&metadata), 13);
    metadata.sliding_window_pattern = (0..26).map(|layer| u64::from(layer != 0)).collect();
    assert_eq!(windows(&metadata), 25);
    metadata.shared_kv_layers = Some(10);
    assert_eq!(windows(&metadata), 15, "the last ten use the cache of others");
}

#[test]
fn what_is_not_known_is_said() {
    let mut unknown = gemma_like();
    unknown.architecture = Some("newmodel".into());
    assert_eq!(KvShape::of(&unknown), Err(KvError::Pattern("newmodel".into())));
    let recurrent = Metadata { state_size: Some(128), ..smollm2() };
    let indexed = Metadata { indexer_key_length: Some(128), ..smollm2() };
    assert!(matches!(KvShape::of(&indexed), Err(KvError::NotCovered(_))));
    let compressed = Metadata { architecture: Some("deepseek4".into()), ..smollm2() };
    assert!(matches!(KvShape::of(&compressed), Err(KvError::NotCovered(_))));
    assert!(matches!(KvShape::of(&recurrent), Err(KvError::NotCovered(_))));
    let latent = Metadata { kv_lora_rank: Some(512), ..smollm2() };
    assert!(matches!(KvShape::of(&latent), Err(KvError::NotCovered(_))));
    assert!(matches!(KvShape::of(&Metadata::default()), Err(KvError::Missing(_))));
    assert_eq!(row_bytes(64, "q9_9"), Err(KvError::Type("q9_9".into())));
    assert!(matches!(row_bytes(40, "q8_0"), Err(KvError::Row { .. })));
}

#[test]
fn layers_without_kv_heads_take_nothing() {
    let mut hybrid = qwen();
    hybrid.head_count_kv = (0..24).map(|layer| if layer % 4 == 3 { 2 } else { 0 }).collect();
    let shape = KvShape::of(&hybrid).unwrap();
    assert_eq!(shape.groups, [KvGroup { layers: 6, k_values: 128, v_values: 128, k_heads: 2, window: None }]);
}

/// A model of equal layers of 8 KV heads of 128.
fn plain(architecture: &str, layers: u64) -> Metadata {
    Metadata {
        architecture: Some(architecture.into()),
        block_count: Some(layers),
        embedding_length: Some(5120),
        head_count: vec![40],
        head_count_kv: vec![8],
        key_length: Some(128),
        value_length: Some(128),
        ..Metadata::default()
    }
}

/// Layers by window, those without first.
fn layers(metadata: &Metadata) -> Vec<(Option<u32>, u32)> {
    let mut layers: Vec<_> =
        KvShape::of(metadata).unwrap().groups.iter().map(|g| (g.window, g.layers)).collect();
    layers.sort_unstable();
    layers
}

#[test]
fn layers_for_multi_token_prediction_have_no_cache() {
    // GLM-4.5-Air: 47 blocks, the last of which predicts. DeepSeek V3, MiMo and others name theirs alike.
    for architecture in ["glm4moe", "mimo", "deepseek2", "exaone-moe", "bailingmoe2", "ernie4_5-moe"] {
        let metadata = Metadata { nextn_layers: Some(1), ..plain(architecture, 47) };
        let metadata = if architecture == "exaone-moe" {
            Metadata { sliding_window: Some(0), ..metadata }
        } else {
            metadata
        };
        assert_eq!(layers(&metadata), [(None, 46)], "{architecture}");
    }
    let glm = Metadata { nextn_layers: Some(1), ..plain("glm4moe", 47) };
    assert_eq!(bytes(&glm, 1024, "f16", "f16").total(), 46 * 1024 * 2 * 2048, "184 MiB, as the server logs");
    let only_prediction = Metadata { nextn_layers: Some(2), ..plain("glm4moe", 2) };
    assert_eq!(layers(&only_prediction), [(None, 2)], "a draft model of nothing else");
}

#[test]
fn llama_4_has_chunks_without_a_key_in_the_file() {
    let scout = plain("llama4", 48);
    assert_eq!(layers(&scout), [(None, 12), (Some(8192), 36)]);
    let total = bytes(&scout, 131_072, "f16", "f16").total();
    // 12 layers keep 131,072 cells, 36 keep 8192 + 512: 7.195 GiB.
    assert_eq!(total, (12 * 131_072 + 36 * 8704) * 4096);
    let off = Metadata { sliding_window: Some(0), ..scout };
    assert_eq!(layers(&off), [(None, 48)], "a file that says 0 has none");
}

#[test]
fn families_with_windows_follow_the_engines_rules() {
    let with = |architecture: &str, window: Option<u64>, count: u64| {
        layers(&Metadata { sliding_window: window, ..plain(architecture, count) })
    };
    assert_eq!(with("gpt-oss", Some(128), 24), [(None, 12), (Some(128), 12)]);
    assert_eq!(with("olmo2", Some(4096), 32), [(None, 8), (Some(4096), 24)]);
    assert_eq!(with("olmo2", None, 32), [(None, 32)], "the second generation has none");
    assert_eq!(with("gemma2", None, 26), [(None, 13), (Some(4096), 13)], "the width is the engine's");
    assert_eq!(with("exaone4", None, 64), [(None, 16), (Some(4096), 48)]);
    assert_eq!(with("exaone4", Some(4096), 30), [(None, 30)], "the small one has none");
    assert_eq!(with("exaone-moe", None, 8), [(None, 2), (Some(128), 6)]);
    assert_eq!(with("smallthinker", Some(100), 8), [(None, 2), (Some(4096), 6)]);
    assert_eq!(
        with("cohere2moe", Some(4096), 6),
        [(None, 2), (Some(4096), 4)],
        "the first of four sees everything"
    );
    assert_eq!(with("laguna", Some(512), 4), [(None, 1), (Some(512), 3)]);
    assert_eq!(with("plamo3", Some(2048), 16), [(None, 2), (Some(2048), 14)]);
    for ignored in ["llama", "phi3", "qwen2", "starcoder2"] {
        assert_eq!(with(ignored, Some(4096), 32), [(None, 32)], "{ignored} files name one that is not used");
    }
    let shared = Metadata { sliding_window: Some(512), ..plain("gemma3n", 30) };
    assert_eq!(layers(&shared), [(None, 4), (Some(512), 16)], "the first twenty");
}

#[test]
fn layers_with_linear_attention_keep_a_state_and_no_tokens() {
    let minimax = Metadata { head_count: vec![64], ..plain("minimax-01", 80) };
    let shape = KvShape::of(&minimax).unwrap();
    assert_eq!(layers(&minimax), [(None, 10)], "one of eight attends, without a key that says so");
    assert_eq!(shape.state_bytes, 70 * 64 * 128 * 128 * 4, "280 MiB");
    let bytes = shape.bytes(KvUse::new(131_072, "f16", "f16")).unwrap();
    assert_eq!(bytes.total(), 10 * 131_072 * 4096 + shape.state_bytes);
    let listed =
        Metadata { recurrent_layers: (0..80).map(|layer| u64::from(layer >= 20)).collect(), ..minimax };
    assert_eq!(layers(&listed), [(None, 20)], "a list in the file comes first");
}

#[test]
fn hybrids_of_a_state_space_and_attention_are_covered() {
    let state = |metadata: Metadata| Metadata {
        state_size: Some(128),
        state_inner_size: Some(4096),
        state_groups: Some(16),
        conv_kernel: Some(4),
        ..metadata
    };
    // Qwen3-Next's file: 3 tokens of the convolution over 4096 + 2 x 16 x 128, and 128 x 4096 of state.
    let qwen3next = Metadata { nextn_layers: Some(1), ..state(plain("qwen3next", 49)) };
    assert_eq!(layers(&qwen3next), [(None, 12)]);
    assert_eq!(KvShape::of(&qwen3next).unwrap().state_bytes, 36 * 4 * (3 * 8192 + 128 * 4096));
    let kv_heads =
        |every: u64| (0..8).map(|layer| if layer % every == 0 { 8 } else { 0 }).collect::<Vec<_>>();
    let jamba = Metadata { head_count_kv: kv_heads(4), ..state(plain("jamba", 8)) };
    assert_eq!(layers(&jamba), [(None, 2)]);
    let nemotron = Metadata {
        head_count_kv: kv_heads(4),
        feed_forward: vec![0, 0, 64, 64, 0, 0, 64, 64],
        ..state(plain("nemotron_h", 8))
    };
    let shape = KvShape::of(&nemotron).unwrap();
    assert_eq!(shape.groups[0].layers, 2);
    assert_eq!(shape.state_bytes, 2 * 4 * (3 * 8192 + 128 * 4096), "layers of a network alone keep nothing");
    let falcon = KvShape::of(&state(plain("falcon-h1", 3))).unwrap();
    assert_eq!((falcon.groups[0].layers, falcon.state_bytes), (3, 3 * 4 * (3 * 8192 + 128 * 4096)));
    let lfm2 = Metadata { head_count_kv: kv_heads(4), short_conv: Some(3), ..plain("lfm2", 8) };
    assert_eq!(KvShape::of(&lfm2).unwrap().state_bytes, 6 * 4 * 2 * 5120);
    let mamba = KvShape::of(&state(plain("mamba2", 2))).unwrap();
    assert!(mamba.groups.is_empty() && mamba.state_bytes > 0);
    let without_width = Metadata { state_inner_size: None, ..state(plain("jamba", 8)) };
    assert!(KvShape::of(&without_width).is_ok(), "no layer of it is recurrent");
}

#[test]
fn latent_attention_keeps_one_compressed_row_and_an_indexer_its_keys() {
    let latent = |architecture: &str, count: u64| Metadata {
        head_count: vec![128],
        head_count_kv: vec![1],
        key_length: Some(576),
        value_length: Some(512),
        kv_lora_rank: Some(512),
        key_length_mla: Some(192),
        value_length_mla: Some(128),
        ..plain(architecture, count)
    };
    let v3 = Metadata { nextn_layers: Some(1), ..latent("deepseek2", 62) };
    assert!(KvShape::of(&v3).unwrap().is_latent());
    assert_eq!(bytes(&v3, 4096, "f16", "f16").total(), 61 * 4096 * 576 * 2);
    let old = Metadata {
        key_length: Some(192),
        value_length: Some(128),
        head_count_kv: vec![128],
        key_length_mla: None,
        value_length_mla: None,
        ..latent("deepseek2", 61)
    };
    assert_eq!(bytes(&old, 4096, "f16", "f16").total(), 61 * 4096 * 128 * (192 + 128) * 2, "an older file");
    let indexed = |metadata: Metadata| Metadata { indexer_key_length: Some(128), ..metadata };
    let v32 = indexed(latent("deepseek32", 61));
    assert_eq!(bytes(&v32, 4096, "f16", "f16").total(), 61 * 4096 * (576 + 128) * 2);
    let glm =
        Metadata { nextn_layers: Some(1), context_length: Some(202_752), ..indexed(latent("glm-dsa", 79)) };
    assert_eq!(bytes(&glm, 4096, "f16", "f16").total(), 78 * 4096 * (576 + 128) * 2);
    let few = Metadata { indexer_types: (0..78).map(|layer| u64::from(layer < 3)).collect(), ..glm };
    assert_eq!(bytes(&few, 4096, "f16", "f16").total(), 4096 * (78 * 576 + 3 * 128) * 2);
    let minimax = Metadata { leading_dense: Some(3), ..indexed(plain("minimax-m3", 60)) };
    assert_eq!(bytes(&minimax, 256, "f16", "f16").total(), 256 * 2 * (60 * 2 * 1024 + 57 * 2 * 128));
}

/// Models whose header and log were published together, and what the log said (K and V together, state; MiB).
///
/// The rows of docs/choosing.md, section "Families".
#[test]
fn what_published_logs_say_is_the_formula() {
    let qwen35 = |layers, inner| Metadata {
        architecture: Some("qwen35".into()),
        block_count: Some(layers),
        embedding_length: Some(5120),
        head_count: vec![24],
        head_count_kv: vec![4],
        key_length: Some(256),
        value_length: Some(256),
        full_attention_interval: Some(4),
        state_size: Some(128),
        state_inner_size: Some(inner),
        state_groups: Some(16),
        conv_kernel: Some(4),
        ..Metadata::default()
    };
    let qwen35moe =
        Metadata { architecture: Some("qwen35moe".into()), head_count_kv: vec![2], ..qwen35(40, 4096) };
    let gpt_oss = Metadata {
        architecture: Some("gpt-oss".into()),
        block_count: Some(24),
        embedding_length: Some(2880),
        head_count: vec![64],
        head_count_kv: vec![8],
        key_length: Some(64),
        value_length: Some(64),
        sliding_window: Some(128),
        ..Metadata::default()
    };
    let lfm2 = Metadata {
        architecture: Some("lfm2".into()),
        block_count: Some(16),
        embedding_length: Some(2048),
        head_count: vec![32],
        head_count_kv: vec![0, 0, 8, 0, 0, 8, 0, 0, 8, 0, 8, 0, 8, 0, 8, 0],
        short_conv: Some(3),
        ..Metadata::default()
    };
    let deepseek = Metadata {
        architecture: Some("deepseek2".into()),
        block_count: Some(61),
        embedding_length: Some(7168),
        head_count: vec![128],
        head_count_kv: vec![1],
        key_length: Some(576),
        value_length: Some(512),
        kv_lora_rank: Some(512),
        key_length_mla: Some(192),
        value_length_mla: Some(128),
        ..Metadata::default()
    };
    for (name, metadata, context, k, kv_mib, state_mib) in [
        ("Qwen3.5 27B", qwen35(64, 6144), 24_576, "f16", 1536.00, 149.62),
        ("Qwen3.5 9B", qwen35(32, 4096), 8192, "f16", 256.00, 50.25),
        ("Qwen3.5 35B-A3B", qwen35moe, 256, "f16", 5.00, 251.25 / 4.0),
        ("LFM2 1.2B", lfm2, 4096, "f16", 48.00, 0.16),
        ("gpt-oss 20B", gpt_oss, 131_072, "f16", 3072.00 + 18.00, 0.0),
        ("DeepSeek R1", deepseek, 32_768, "q8_0", 1166.62, 0.0),
    ] {
        let bytes = bytes(&metadata, context, k, k);
        let (kv, state) = ((bytes.k + bytes.v) as f64 / MIB, bytes.state as f64 / MIB);
        assert!((kv - kv_mib).abs() <= 0.006 && (state - state_mib).abs() <= 0.006, "{name}: {kv}, {state}");
    }
}

/// Qwen3.5 27B with a layer for prediction, 262,144 tokens: 16,384 MiB and, while it drafts, 1,024 MiB (a user's log).
#[test]
fn layers_that_predict_keep_k_and_v_when_they_draft() {
    let metadata = Metadata {
        head_count_kv: vec![4],
        key_length: Some(256),
        value_length: Some(256),
        full_attention_interval: Some(4),
        state_size: Some(128),
        state_inner_size: Some(6144),
        nextn_layers: Some(1),
        ..plain("qwen35", 65)
    };
    let at = |shape: KvShape| {
        let bytes = shape.bytes(KvUse::new(262_144, "f16", "f16")).unwrap();
        (bytes.k + bytes.v) >> 20
    };
    assert_eq!(at(KvShape::of(&metadata).unwrap()), 16_384);
    assert_eq!(at(KvShape::of_prediction(&metadata).unwrap().unwrap()), 1024);
    assert_eq!(KvShape::of_prediction(&qwen()), Ok(None));
}

#[test]
fn what_no_rule_names_is_not_known() {
    for known in ["llama", "qwen3", "gemma3", "qwen35moe", "deepseek2", "glm-dsa", "mamba2"] {
        assert!(is_known(known), "{known}");
    }
    assert!(!is_known("newmodel") && !is_known(""));
}

/// Gemma 4 E2B: 35 layers, of which the last 20 use the cache of others; every fifth sees everything, with wider heads.
#[test]
fn layers_that_share_a_cache_take_it_once() {
    let gemma4 = Metadata {
        architecture: Some("gemma4".into()),
        block_count: Some(35),
        embedding_length: Some(1536),
        head_count: vec![8],
        head_count_kv: vec![1],
        key_length: Some(512),
        value_length: Some(512),
        key_length_swa: Some(256),
        value_length_swa: Some(256),
        sliding_window: Some(512),
        sliding_window_pattern: (0..35).map(|layer| u64::from(layer % 5 != 4)).collect(),
        shared_kv_layers: Some(20),
        ..Metadata::default()
    };
    let shape = KvShape::of(&gemma4).unwrap();
    let full = KvUse { full_window: true, ..KvUse::new(2048, "f16", "f16") };
    // The log of 2048 tokens with full-size windows: 12 MiB for 3 layers, 24 MiB for 12.
    assert_eq!(shape.bytes(full).unwrap().total(), 36 << 20);
}

#[test]
fn types_with_a_head_before_each_row_count_it_for_every_head_of_k() {
    let shape = KvShape::of(&qwen()).unwrap();
    let bytes = shape.bytes(KvUse::new(1024, "q8_KV", "q8_KV")).unwrap();
    assert_eq!(bytes.k, 24 * 1024 * 2 * (64 + 8), "a row for each head and cell");
    assert_eq!(bytes.v, 24 * (1024 * 128 + 8), "one row");
    assert_eq!(shape.bytes(KvUse::new(1024, "q6_0", "q6_0")).unwrap().k, 24 * 1024 * (128 / 32 * 26));
    let unknown = KvShape { groups: vec![KvGroup { k_heads: 0, ..shape.groups[0] }], ..shape };
    assert!(matches!(unknown.bytes(KvUse::new(1024, "q8_KV", "f16")), Err(KvError::Missing(_))));
}

#[test]
fn pages_hold_whole_requests() {
    let pool = Pool { page: 16, value_bytes: 2, batch: Some(8192) };
    let shape = KvShape::of(&qwen()).unwrap();
    assert_eq!(shape.paged_bytes(1000, pool), 1008 * 24 * 256 * 2);
    let windowed = KvShape::of(&gemma_like()).unwrap();
    let kept = (511 + 8192_u64).div_ceil(16) + 1;
    assert_eq!(windowed.paged_bytes(131_072, pool), (4 * 131_072 + 22 * kept * 16) * 512 * 2);
    assert_eq!(windowed.paged_bytes(1024, pool), 26 * 1024 * 512 * 2);
    let whole = Pool { page: 1, batch: None, ..pool };
    assert_eq!(windowed.paged_bytes(131_072, whole), 26 * 131_072 * 512 * 2);
}

proptest! {
    #[test]
    fn no_metadata_make_it_panic(
        layers in any::<u64>(), heads in proptest::collection::vec(any::<u64>(), 0..4),
        kv in proptest::collection::vec(any::<u64>(), 0..4), width in any::<Option<u64>>(),
        embedding in any::<Option<u64>>(), window in any::<Option<u64>>(),
        pattern in proptest::collection::vec(any::<u64>(), 0..3), shared in any::<Option<u64>>(),
        context: u32,
    ) {
        let metadata = Metadata {
            block_count: Some(layers % 5000),
            head_count: heads,
            head_count_kv: kv,
            key_length: width,
            embedding_length: embedding,
            sliding_window: window,
            sliding_window_pattern: pattern,
            shared_kv_layers: shared,
            ..Metadata::default()
        };
        if let Ok(shape) = KvShape::of(&metadata) {
            let _ = shape.bytes(KvUse::new(context, "f16", "q8_0"));
        }
    }

    #[test]
    fn more_context_never_takes_less(context in 1_u32..200_000, more in 0_u32..50_000) {
        let shape = KvShape::of(&gemma_like()).unwrap();
        let at = |context| shape.bytes(KvUse::new(context, "q8_0", "q4_0")).unwrap().total();
        prop_assert!(at(context) <= at(context + more));
    }
}
