//! `schema`: the JSON Schemas of everything that is read or printed. `docs/schema/` holds the same files.

use schemars::{JsonSchema, schema_for};

use super::output::print;
use crate::cli::{Schema, SchemaArgs};
use crate::error::{Context, Result};

pub(super) fn schema(args: &SchemaArgs) -> Result<u8> {
    print(&text_of(args.of)?)
}

/// A schema as pretty JSON.
fn text_of(of: Schema) -> Result<String> {
    match of {
        Schema::Suite => text::<crate::suite::raw::RawSuite>(),
        Schema::Journal => text::<crate::record::journal::Line>(),
        Schema::Summary => text::<crate::judge::analysis::summary::Summary>(),
        Schema::Plan => text::<super::dry_run::DryRun>(),
        Schema::List => text::<super::list::Listing>(),
        Schema::Doctor => text::<super::doctor::Checkup>(),
        Schema::Validate => text::<super::validate::Validated>(),
        Schema::Score => text::<super::score::ScoreLine>(),
        Schema::Case => text::<crate::record::Case>(),
        Schema::History => text::<super::history::History>(),
        Schema::Trends => text::<super::history::Trends>(),
        Schema::Pilot => text::<super::pilot::Pilot>(),
        Schema::Fit => text::<super::fit::FitTable>(),
        Schema::Choose => text::<super::chosen::Choice>(),
        Schema::Pick => text::<crate::judge::analysis::pick::Pick>(),
        Schema::Compare => text::<crate::judge::analysis::compare::Comparison>(),
        Schema::Reference => text::<super::reference::Exported>(),
        Schema::SchemaCheck => text::<super::schema_check::SchemaCheck>(),
        Schema::KldBase => text::<super::kld_base::KldBase>(),
        Schema::Route => text::<crate::judge::analysis::route::Route>(),
    }
}

fn text<T: JsonSchema>() -> Result<String> {
    let schema =
        serde_json::to_string_pretty(&schema_for!(T)).context(|| "cannot write the schema".into())?;
    Ok(format!("{schema}\n"))
}
