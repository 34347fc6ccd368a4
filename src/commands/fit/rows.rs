//! Every quant with every cache type.

use super::advice;
use super::caches::Caches;
use super::data::{FitTable, Fits, Memory, Quant, Row, TensorKind, Unreadable};
use super::measured::Measured;
use super::shape::shape;
use crate::cli::FitArgs;
use crate::judge::analysis::summary::MemoryKind;
use crate::measure::model::{
    ComputeUse, Contents, Demand, Fit, Form, Offered, Offering, compute_bytes, is_checked, longest_context,
};
use crate::record::TrainedContext;
use crate::record::kv::{KvShape, KvUse};

/// The context where none is named (tokens).
const USUAL_CONTEXT: u32 = 32 << 10;
/// The longest context that is looked for where the model says none (tokens).
const ANY_CONTEXT: u32 = 16 << 20;

/// The whole answer.
pub(super) fn table(
    args: &FitArgs,
    offering: &Offering,
    caches: &Caches,
    memory: Memory,
    measured: &Measured,
) -> FitTable {
    let model = offering.offered.first().map(|offered| offered.metadata.clone()).unwrap_or_default();
    let trained = TrainedContext::of(&model).map(TrainedContext::longest);
    let longest = trained.and_then(|tokens| u32::try_from(tokens).ok()).unwrap_or(ANY_CONTEXT);
    let context = args.context.unwrap_or(USUAL_CONTEXT.min(longest));
    let sized = |offered| Sized { longest, ..Sized::new(offered, caches, &memory, measured) };
    let quants: Vec<Sized> = offering.offered.iter().map(sized).collect();
    let rows =
        quants.iter().flat_map(|quant| caches.types.iter().map(|(k, v)| quant.row(context, k, v))).collect();
    let mut table = FitTable {
        schema_version: 1,
        model: args.model.clone(),
        origin: offering.origin.clone(),
        compute_checked: !caches.is_paged() && model.architecture.as_deref().is_some_and(is_checked),
        architecture: model.architecture,
        layers: model.block_count,
        trained_context: trained,
        context,
        engine: caches.engine,
        kv_not_known: quants
            .first()
            .filter(|_| measured.source.is_none())
            .and_then(|quant| quant.shape.as_ref().err().cloned()),
        kv_measured: measured.source.clone(),
        memory,
        quants: offering.offered.iter().map(quant).collect(),
        rows,
        unread: offering
            .unread
            .iter()
            .map(|unread| Unreadable { file: unread.file.clone(), why: unread.why.clone() })
            .collect(),
        notes: Vec::new(),
    };
    table.notes = advice::notes(&table, offering, caches, measured);
    table
}

fn quant(offered: &Offered) -> Quant {
    let contents = &offered.contents;
    let total: u64 = contents.kinds.iter().map(|kind| kind.values).sum();
    let kinds = contents.kinds.iter().map(|kind| TensorKind {
        name: kind.name.clone(),
        bytes: kind.bytes,
        share: kind.values as f64 / total.max(1) as f64,
    });
    Quant {
        weights: offered.label.clone(),
        file: offered.file.clone(),
        file_bytes: offered.file_bytes,
        weights_bytes: contents.bytes,
        bits_per_weight: contents.bits_per_weight(),
        made_of: kinds.collect(),
        mostly: contents.is_rather(&offered.label).map(|mostly| mostly.kind),
    }
}

/// A quant, and what is known of its cache.
struct Sized<'a> {
    offered: &'a Offered,
    contents: &'a Contents,
    shape: Result<KvShape, String>,
    caches: &'a Caches,
    memory: &'a Memory,
    measured: &'a Measured,
    longest: u32,
}

/// What a context takes in a cache type.
struct Needed {
    kv: Result<u64, String>,
    compute: Option<u64>,
    measured: bool,
}

impl<'a> Sized<'a> {
    fn new(offered: &'a Offered, caches: &'a Caches, memory: &'a Memory, measured: &'a Measured) -> Self {
        let shape = shape(offered);
        Self { offered, contents: &offered.contents, shape, caches, memory, measured, longest: ANY_CONTEXT }
    }

    fn on_card(&self) -> bool {
        self.memory.kind != MemoryKind::Main
    }

    /// Bytes of the weights in that memory.
    fn weights(&self) -> u64 {
        match self.on_card() {
            true => self.contents.card_bytes(),
            false => self.contents.bytes.saturating_add(self.contents.repacked_bytes),
        }
    }

    fn needed(&self, context: u32, k: &str, v: &str) -> Needed {
        let kv = KvUse { full_window: self.caches.keeps_whole_windows(), ..KvUse::new(context, k, v) };
        let bytes = self.shape.as_ref().map_err(Clone::clone).and_then(|shape| {
            self.caches.bytes(shape, kv, &self.offered.label).map_err(|error| error.to_string())
        });
        let usage =
            ComputeUse { kv, slots: 1, on_card: self.on_card(), all_logits: self.caches.keeps_all_logits() };
        let vocabulary = self.contents.vocabulary;
        let compute = || compute_bytes(&self.offered.metadata, vocabulary, self.shape.as_ref().ok(), usage);
        let compute = (self.offered.form == Form::File).then(compute).flatten();
        match bytes {
            Ok(bytes) => Needed { kv: Ok(bytes), compute, measured: false },
            Err(why) => self.by_launch(kv).unwrap_or(Needed { kv: Err(why), compute, measured: false }),
        }
    }

    /// What a short launch showed, where there was one.
    fn by_launch(&self, kv: KvUse<'_>) -> Option<Needed> {
        // The results of one slot lie beside what is computed in.
        let results = self.contents.vocabulary.saturating_mul(4);
        Some(match self.measured.at(kv.context, kv.k, kv.v)? {
            Ok(taken) => Needed {
                kv: Ok(taken.kv),
                compute: Some(taken.compute.saturating_add(results)),
                measured: true,
            },
            Err(why) => Needed { kv: Err(why), compute: None, measured: false },
        })
    }

    fn fit(&self, demand: Demand) -> Fit {
        match self.on_card() && !self.caches.is_paged() {
            true => Fit::on_card(self.contents, demand, self.memory.bytes),
            false => Fit::whole(demand.total(), self.memory.bytes),
        }
    }

    fn demand(&self, needed: &Needed) -> Demand {
        let kv = needed.kv.as_ref().copied().unwrap_or_default();
        Demand { weights: self.weights(), kv, compute: needed.compute.unwrap_or_default() }
    }

    fn row(&self, context: u32, k: &str, v: &str) -> Row {
        let needed = self.needed(context, k, v);
        let demand = self.demand(&needed);
        let refused = (self.shape.is_ok() || self.measured.source.is_some()) && needed.kv.is_err();
        let longest = needed.kv.is_ok().then(|| {
            longest_context(self.longest, |context| {
                self.demand(&self.needed(context, k, v)).total() <= self.memory.bytes
            })
        });
        let mut row = Row {
            weights: self.offered.label.clone(),
            file: self.offered.file.clone(),
            k: k.to_owned(),
            v: v.to_owned(),
            weights_bytes: demand.weights,
            kv_bytes: needed.kv.as_ref().ok().copied(),
            kv_not_known: needed.kv.err(),
            measured: needed.measured,
            compute_bytes: needed.compute,
            total_bytes: demand.total(),
            fits: Fits::No,
            layers_in_main_memory: None,
            main_memory_bytes: None,
            short_bytes: None,
            longest_context: longest.flatten(),
        };
        if !refused {
            row.place(self.fit(demand));
        }
        row
    }
}

impl Row {
    fn place(&mut self, fit: Fit) {
        match fit {
            Fit::Whole => self.fits = Fits::Yes,
            Fit::Experts { layers, main } => {
                self.fits = Fits::WithExpertsInMainMemory;
                (self.layers_in_main_memory, self.main_memory_bytes) = (Some(layers), Some(main));
            }
            Fit::Layers { layers, main } => {
                self.fits = Fits::WithLayersInMainMemory;
                (self.layers_in_main_memory, self.main_memory_bytes) = (Some(layers), Some(main));
            }
            Fit::No { short } => self.short_bytes = Some(short),
        }
    }
}
