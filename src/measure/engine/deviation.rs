//! What a server runs beside what was asked of it, a line for each difference. What it does not say is no difference.

use std::collections::BTreeMap;

use super::option;
use crate::record::Effective;
use crate::record::suite::Cell;

/// The differences found so far.
pub(super) struct Deviations<'a> {
    cell: &'a Cell,
    effective: &'a Effective,
    lines: Vec<String>,
}

impl<'a> Deviations<'a> {
    /// Nothing is compared yet.
    pub(super) const fn of(cell: &'a Cell, effective: &'a Effective) -> Self {
        Self { cell, effective, lines: Vec::new() }
    }

    /// A difference in words.
    pub(super) fn differs(&mut self, what: &str, asked: &str, got: &str) {
        self.lines.push(format!("{what}: asked for {asked}, the server runs {got}"));
    }

    /// The types of K and of V, of an engine that has two.
    pub(super) fn cache_sides(&mut self) {
        let (setting, effective) = (&self.cell.setting, self.effective);
        for (what, asked, runs) in
            [("K cache type", &setting.k, &effective.k), ("V cache type", &setting.v, &effective.v)]
        {
            if let Some(runs) = runs.as_deref().filter(|runs| runs != asked) {
                self.differs(what, asked, runs);
            }
        }
    }

    /// The type of the whole cache, of an engine that has one; `is_same`: two names of one type. `auto` asks for none.
    pub(super) fn cache(&mut self, is_same: impl Fn(&str, &str) -> bool) {
        let asked = self.cell.setting.k.as_str();
        let runs = self.effective.k.as_deref().filter(|runs| asked != "auto" && !is_same(asked, runs));
        if let Some(runs) = runs {
            self.differs("KV cache type", asked, runs);
        }
    }

    /// A context shorter than the cell's.
    pub(super) fn context(&mut self, what: &str) {
        let asked = self.cell.context;
        if let Some(runs) = self.effective.context.filter(|context| *context < asked) {
            self.differs(what, &format!("{asked} tokens"), &format!("{runs} tokens"));
        }
    }

    /// The speculation; `is_same`: two names of one kind, `off` among those that are asked for.
    pub(super) fn speculation(&mut self, is_same: impl Fn(&str, &str) -> bool) {
        let asked = self.cell.setting.speculation.as_str();
        if let Some(runs) = self.effective.speculation.as_deref().filter(|runs| !is_same(asked, runs)) {
            self.differs("speculation", asked, runs);
        }
    }

    /// The options, as the server names them, and the end of it.
    pub(super) fn options(
        mut self,
        running: &BTreeMap<String, String>,
        renamed: &BTreeMap<String, String>,
    ) -> Vec<String> {
        self.lines.extend(option::deviations(&self.cell.setting, running, renamed));
        self.lines
    }
}

/// The speculation that is asked for, in the words of servers that call none `none`.
pub(super) fn or_none(asked: &str) -> &str {
    if asked == "off" { "none" } else { asked }
}
