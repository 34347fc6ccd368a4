//! `[load.search]`.

use toml::Spanned;

use super::super::checker::Checker;
use crate::error::Result;
use crate::record::suite::{LoadSearch, SearchOver, bounds};
use crate::suite::raw::loadtest::{RawLoad, RawLoadSearch};

impl Checker {
    pub(super) fn load_search(&self, raw: &Spanned<RawLoadSearch>, load: &RawLoad) -> Result<LoadSearch> {
        if !load.concurrency.is_empty() || !load.rates.is_empty() {
            return Err(self
                .error(raw.span(), "[load.search] beside a list of steps", "this table")
                .hint("leave out `concurrency` and `rates`, or run the list as a suite of its own"));
        }
        let search = raw.get_ref();
        let over = *search.over.get_ref();
        let from = match (&search.from, over) {
            (Some(from), _) => self.searched(from, over, "from")?,
            (None, SearchOver::Streams) => 1.0,
            (None, SearchOver::Rate) => {
                return Err(self
                    .error(raw.span(), "[load.search] does not say at which rate it starts", "here")
                    .hint("give it from = 0.1: a rate that every setting bears (requests/s)"));
            }
        };
        let to = self.searched(&search.to, over, "to")?;
        if to <= from {
            let message = format!("[load.search] goes from {from} to {to}");
            return Err(self.error(search.to.span(), message, "must be above `from`"));
        }
        self.has_an_end(raw, over, load)?;
        Ok(LoadSearch {
            over,
            from,
            to,
            within: self.inside(&search.within, &bounds::WITHIN, "within (a share: 0.1 is 10%)")?,
            goal: self.goal(&search.goal, load)?,
        })
    }

    /// A number of streams, or a rate.
    fn searched(&self, load: &Spanned<f64>, over: SearchOver, what: &str) -> Result<f64> {
        let number = *load.get_ref();
        if over == SearchOver::Rate {
            return self.inside(load, &bounds::RATE, &format!("{what} (requests/s)"));
        }
        let (least, most) = (f64::from(*bounds::STREAMS.start()), f64::from(*bounds::STREAMS.end()));
        if number.fract() != 0.0 {
            let message = format!("{what} (streams) is {number}");
            return Err(self.error(load.span(), message, "must be a whole number"));
        }
        self.within_f64(load, least, most, &format!("{what} (streams)"))
    }

    /// Streams wait for each other's answers, so without limits any number of them is borne. A rate can be more than the
    /// server answers.
    fn has_an_end(&self, raw: &Spanned<RawLoadSearch>, over: SearchOver, load: &RawLoad) -> Result<()> {
        if over == SearchOver::Rate || load.limits.is_some() || load.quality.is_some() {
            return Ok(());
        }
        Err(self
            .error(raw.span(), "[load.search] has nothing that ends it", "this table")
            .hint("add [load.limits] with ttft_s, itl_s or e2e_s, or [load.quality]"))
    }

    /// A goal that a single request decides needs as many requests.
    fn goal(&self, goal: &Spanned<f64>, load: &RawLoad) -> Result<f64> {
        let share = self.inside(goal, &bounds::GOAL, "goal (a share: 0.95 is 95%)")?;
        let Some(requests) = &load.requests else { return Ok(share) };
        let needed = (1.0 / (1.0 - share) - 1e-6).ceil();
        if share < 1.0 && f64::from(*requests.get_ref()) < needed {
            let message = format!("{} requests a step cannot tell {share} from 1", requests.get_ref());
            return Err(self
                .error(requests.span(), message, format!("a goal of {share} takes {needed}"))
                .hint(format!("give it requests = {needed}, or goal = 1 in [load.search]")));
        }
        Ok(share)
    }
}
