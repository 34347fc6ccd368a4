//! `kld-base`: a served setting beside a base file of llama-perplexity, over HTTP on the same tokens.

use std::fs::File;
use std::io::BufReader;

#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use super::output::{print, print_json};
use super::setup::{attached_client, runtime};
use crate::cli::{Global, KldBaseArgs};
use crate::console;
use crate::error::{EXIT_OK, Error, Kind, Result};
use crate::import::kld_base::{self, BaseFile, Compared, Shape};
use crate::judge::report::plain;
use crate::judge::stats::{Part, nested_mean_draws, percentile_interval, quantile, rng};
use crate::measure::client::{Client, check_address};
use crate::measure::engine::Engine;
use crate::measure::engine::ik_llama::IkLlama;
use crate::measure::engine::llama_cpp::LlamaCpp;
use crate::measure::runner::Interrupt;

/// Bootstrap draws of the mean.
const DRAWS: u32 = 10_000;
/// Confidence of its interval.
const CONFIDENCE: f64 = 0.95;
/// Fewest chunks that an interval is drawn from.
const FEWEST_CHUNKS: u32 = 5;
/// A model that finds the text so much less probable (nat a token) reads other tokens, or is broken.
const OTHER_TEXT: f64 = 5.0;
/// Engines that list token ids with their probabilities one decode step at a time, each in its own way.
const ENGINES: [&dyn Engine; 2] = [&LlamaCpp, &IkLlama];
/// Where servers list their models.
const MODELS: &str = "/v1/models";

/// A base file whose rows are read from disk.
type Base = BaseFile<BufReader<File>>;
/// Token ids and log-probabilities, most probable first.
type TopList = Vec<(u32, f32)>;

pub(super) fn kld_base(args: &KldBaseArgs, global: &Global) -> Result<u8> {
    check_address(&args.url)?;
    let mut base = kld_base::open(&args.file)?;
    let chunks = chunks(base.shape(), args.chunks)?;
    let figures = runtime()?.block_on(async {
        let interrupt = Interrupt::listen()?;
        let server = Server::look(args, base.shape()).await?;
        tokio::select! {
            done = walk(&server, &mut base, chunks, args.top_k as usize, global.quiet) => {
                done.map(|compared| KldBase::of(args, &server, base.shape(), &compared))
            }
            () = interrupt.asked(1) => Err(Error::new(Kind::Interrupted, "stopped")),
        }
    })?;
    if args.json {
        print_json(&figures)?
    } else {
        print(&figures.text())?
    };
    Ok(EXIT_OK)
}

/// How many chunks are read.
fn chunks(shape: Shape, wanted: Option<u32>) -> Result<u32> {
    let Shape { whole, chunks, .. } = shape;
    match wanted {
        Some(wanted) if wanted <= whole => Ok(wanted),
        Some(wanted) => Err(Error::usage(format!("--chunks {wanted}: the file holds {whole} whole chunks"))),
        None if whole == chunks => Ok(whole),
        None => Err(Error::usage(format!("the file was cut off: it holds {whole} of its {chunks} chunks"))
            .hint(format!("`--chunks {whole}` compares those"))),
    }
}

/// The server that is compared.
struct Server {
    client: Client,
    model: Option<String>,
    /// What it puts in front of every prompt, as llama-perplexity puts it in the place of each chunk's first token.
    begins: Option<u32>,
}

impl Server {
    /// Asks a server what it is, and whether the base can be compared with it.
    async fn look(args: &KldBaseArgs, shape: Shape) -> Result<Self> {
        let client = client(args, ENGINES[0])?;
        let listed = client.get_json(MODELS).await.map_err(|error| {
            Error::new(Kind::EngineStart, format!("the server at {} does not answer", args.url))
                .with_source(error)
                .hint("is it running, and is --url its address?")
        })?;
        let named = |entry: &&serde_json::Value| {
            args.served_model.as_deref().is_none_or(|model| entry["id"].as_str() == Some(model))
        };
        let entry = listed["data"].as_array().and_then(|all| all.iter().find(named));
        // llama-server names a model by its path, which is nobody's business.
        let last = |id: &str| console::shown(id.rsplit('/').next().unwrap_or(id));
        let model = entry.and_then(|entry| entry["id"].as_str()).map(last);
        same_vocabulary(entry.and_then(|entry| entry.pointer("/meta/n_vocab")?.as_u64()), shape)?;
        let props = client.get_json("/props").await.unwrap_or_default();
        has_room(
            props.pointer("/default_generation_settings/n_ctx").and_then(serde_json::Value::as_u64),
            shape,
        )?;
        let begins = match client.tokenize("", true).await?.as_slice() {
            [token] => Some(*token),
            _ => None,
        };
        Ok(Self { client: listing(args).await?, model, begins })
    }
}

fn client(args: &KldBaseArgs, engine: &dyn Engine) -> Result<Client> {
    attached_client(engine, &args.url, args.served_model.as_deref(), args.api_key_env.as_deref())
}

/// The client of the engine in whose way the server lists token ids.
async fn listing(args: &KldBaseArgs) -> Result<Client> {
    let mut reasons = Vec::new();
    for engine in ENGINES {
        let client = client(args, engine)?;
        match client.distributions(&[1, 1], &[1], 1).await {
            Ok(_) => return Ok(client),
            Err(failure) => reasons.push(format!("as {}: {}", engine.name(), failure.message)),
        }
    }
    Err(Error::runtime(format!("the server at {} lists no token ids with its probabilities", args.url))
        .hint(reasons.join("; ")))
}

fn same_vocabulary(served: Option<u64>, shape: Shape) -> Result<()> {
    match served {
        Some(served) if served != u64::from(shape.vocabulary) => Err(Error::usage(format!(
            "the base is of another vocabulary: {} tokens, the served model has {served}",
            shape.vocabulary
        ))
        .hint("serve a quant of the model that the base was made of")),
        _ => Ok(()),
    }
}

fn has_room(context: Option<u64>, shape: Shape) -> Result<()> {
    let needed = u64::from(shape.chunk) + 1;
    match context {
        Some(context) if context < needed => Err(Error::usage(format!(
            "the server's context has {context} tokens, chunks of {} need {needed}",
            shape.chunk
        ))
        .hint(format!(
            "start it with a context of {} tokens (-c, times the slots)",
            needed.next_multiple_of(256)
        ))),
        _ => Ok(()),
    }
}

/// Every position of some chunks, a list for each chunk.
async fn walk(
    server: &Server,
    base: &mut Base,
    chunks: u32,
    top_k: usize,
    quiet: bool,
) -> Result<Vec<Vec<Compared>>> {
    let mut all = Vec::new();
    for chunk in 0..chunks {
        let compared = one_chunk(server, base, chunk, top_k).await?;
        if compared.is_empty() {
            return Err(Error::runtime(format!("chunk {chunk}: the server could list no position")));
        }
        if !quiet {
            let mean = mean(compared.iter().map(|at| at.kld));
            console::note(&format!("chunk {} of {chunks}: at least {mean:.4} nat", chunk + 1));
        }
        all.push(compared);
    }
    Ok(all)
}

async fn one_chunk(server: &Server, base: &mut Base, chunk: u32, top_k: usize) -> Result<Vec<Compared>> {
    let shape = base.shape();
    let text = base.tokens(chunk).to_vec();
    let mut sent = text.clone();
    if let (Some(begins), Some(first)) = (server.begins, sent.first_mut()) {
        *first = begins;
    }
    let positions: Vec<usize> = (shape.first() as usize..shape.chunk as usize).collect();
    let failed = |what: String| Error::runtime(format!("chunk {chunk}: {what}"));
    let lists = lists(server, &sent, &positions, top_k).await.map_err(failed)?;
    let mut compared = Vec::with_capacity(lists.len());
    for (position, listed) in positions.iter().zip(&lists) {
        let row = base.next_row().map_err(failed)?;
        let Some(listed) = listed else { continue };
        let at = row.against(listed, text[*position]).ok_or_else(|| {
            Error::usage(format!(
                "the server lists a token beyond the base's vocabulary of {}: it serves another model",
                shape.vocabulary
            ))
        })?;
        compared.push(at);
    }
    Ok(compared)
}

/// What the server lists at each position; `None` where it cannot: behind a piece of a character ik_llama.cpp (8337e4cd3) may
/// answer HTTP 500, as other pieces are no text that JSON can hold. Those are found by halves.
async fn lists(
    server: &Server,
    sent: &[u32],
    positions: &[usize],
    top_k: usize,
) -> Result<Vec<Option<TopList>>, String> {
    let failure = match server.client.distributions(sent, positions, top_k).await {
        Ok(answered) => {
            let packed = answered.reply.distributions.ok_or("the server lists no probabilities")?;
            return Ok(packed.unpack()?.into_iter().map(Some).collect());
        }
        Err(failure) => failure,
    };
    match positions {
        _ if !failure.cannot_be_written() => Err(failure.message),
        [] | [_] => Ok(vec![None; positions.len()]),
        _ => {
            let (first, second) = positions.split_at(positions.len() / 2);
            let mut listed = Box::pin(lists(server, sent, first, top_k)).await?;
            listed.extend(Box::pin(lists(server, sent, second, top_k)).await?);
            Ok(listed)
        }
    }
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len().max(1) as f64;
    values.sum::<f64>() / count
}

/// What `kld-base --json` prints.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(super) struct KldBase {
    /// Version of this form.
    pub schema_version: u32,
    /// The base file.
    pub file: String,
    /// Address of the server.
    pub url: String,
    /// What the server calls its model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Tokens of the vocabulary.
    pub vocabulary: u32,
    /// Tokens of a chunk; the positions of its second half are compared.
    pub chunk_tokens: u32,
    /// Chunks that were compared.
    pub chunks: usize,
    /// Positions that were compared.
    pub positions: usize,
    /// Positions that the server could not list, and that are in no figure.
    pub unlistable: usize,
    /// Most probable tokens that the server listed for each.
    pub top_k: u32,
    /// Mean Kullback-Leibler divergence of the served distributions from the base's (nat), at least: over the listed tokens
    /// and one outcome for all others.
    pub kld: f64,
    /// Its 95% interval over chunks; absent with fewer than five.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kld_interval: Option<(f64, f64)>,
    /// Median over positions (nat), at least.
    pub kld_median: f64,
    /// 99th percentile over positions (nat), at least.
    pub kld_p99: f64,
    /// Largest (nat), at least.
    pub kld_max: f64,
    /// Mean probability that the base gives to what the server did not list (0..1): the part that `kld` sees as one outcome.
    pub unlisted: f64,
    /// Share of positions at which both have the same most probable token (0..1).
    pub same_top: f64,
    /// Perplexity of the text by the base.
    pub base_perplexity: f64,
    /// Perplexity of the text as served; at least, where tokens of the text were not listed.
    pub perplexity: f64,
    /// Positions whose next token in the text was not listed.
    pub outside: usize,
    /// What weakens the figures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl KldBase {
    fn of(args: &KldBaseArgs, server: &Server, shape: Shape, chunks: &[Vec<Compared>]) -> Self {
        let all: Vec<Compared> = chunks.concat();
        let of = |figure: fn(&Compared) -> f64| mean(all.iter().map(figure));
        let mut klds: Vec<f64> = all.iter().map(|at| at.kld).collect();
        klds.sort_by(f64::total_cmp);
        let at = |q: f64| quantile(&klds, q).unwrap_or_default();
        let (nll, base_nll) = (of(|at| at.nll), of(|at| at.base_nll));
        let unlistable = (chunks.len() * shape.rows() as usize).saturating_sub(all.len());
        Self {
            schema_version: 1,
            file: args.file.display().to_string(),
            url: args.url.clone(),
            model: server.model.clone(),
            vocabulary: shape.vocabulary,
            chunk_tokens: shape.chunk,
            chunks: chunks.len(),
            positions: all.len(),
            unlistable,
            top_k: args.top_k,
            kld: of(|at| at.kld),
            kld_interval: interval(chunks),
            kld_median: at(0.5),
            kld_p99: at(0.99),
            kld_max: klds.last().copied().unwrap_or_default(),
            unlisted: of(|at| at.unlisted),
            same_top: of(|at| f64::from(u8::from(at.same_top))),
            base_perplexity: base_nll.exp(),
            perplexity: nll.exp(),
            outside: all.iter().filter(|at| at.outside).count(),
            notes: notes(nll > base_nll + OTHER_TEXT, unlistable),
        }
    }

    fn text(&self) -> String {
        let model = self.model.as_ref().map_or(String::new(), |model| format!(" ({})", plain(model)));
        let interval = self
            .kld_interval
            .map_or(String::new(), |(low, high)| format!(" [{low:.5}, {high:.5}] over chunks"));
        let least = if self.outside > 0 { "at least " } else { "" };
        let notes: String = self.notes.iter().map(|note| format!("\nnote: {note}")).collect();
        format!(
            "{} at {}{model}\n\
             {} chunks of {} tokens, {} positions, {} tokens listed at each\n\n\
             KLD             at least {:.5} nat{interval}\n\
             \x20 median        at least {:.5}, 99%: {:.5}, largest {:.3}\n\
             \x20 not listed    {:.3}% of the base's probability, which the bound takes as one outcome\n\
             same top token  {:.2}%\n\
             perplexity      {:.4} by the base, {least}{:.4} as served\n{notes}",
            plain(&self.file),
            plain(&self.url),
            self.chunks,
            self.chunk_tokens,
            self.positions,
            self.top_k,
            self.kld,
            self.kld_median,
            self.kld_p99,
            self.kld_max,
            self.unlisted * 100.0,
            self.same_top * 100.0,
            self.base_perplexity,
            self.perplexity,
        )
    }
}

fn notes(is_far: bool, unlistable: usize) -> Vec<String> {
    let far =
        "the served model finds the text far less probable than the base: is it a quant of the same model?";
    let mut notes = Vec::new();
    if is_far {
        notes.push(far.to_owned());
    }
    if unlistable > 0 {
        notes.push(format!(
            "left out, as the server cannot list what follows a piece of a character: {unlistable} of all positions"
        ));
    }
    notes
}

/// Neighbouring positions are not independent, chunks nearly are: whole chunks are drawn.
fn interval(chunks: &[Vec<Compared>]) -> Option<(f64, f64)> {
    if chunks.len() < FEWEST_CHUNKS as usize {
        return None;
    }
    let part =
        |chunk: &Vec<Compared>| Part { mean: mean(chunk.iter().map(|at| at.kld)), count: chunk.len() as f64 };
    let parts = vec![chunks.iter().map(part).collect::<Vec<_>>()];
    percentile_interval(nested_mean_draws(&parts, DRAWS, &mut rng(1, "kld-base")), CONFIDENCE)
}
