//! `schema`: the JSON Schemas of everything that is read or printed. They are derived from the types when the tests are built, kept
//! in `docs/schema/`, and carried from there: deriving them in every build made each of some 250 types dearer to compile.

use super::output::print;
use crate::cli::{Schema, SchemaArgs};
use crate::error::Result;

pub(super) fn schema(args: &SchemaArgs) -> Result<u8> {
    print(kept(args.of))
}

/// The file of a schema in `docs/schema`.
macro_rules! file {
    ($name:literal) => {
        include_str!(concat!("../../docs/schema/", $name, ".schema.json"))
    };
}

/// A schema as pretty JSON.
fn kept(of: Schema) -> &'static str {
    match of {
        Schema::Suite => file!("suite"),
        Schema::Journal => file!("journal"),
        Schema::Summary => file!("summary"),
        Schema::Plan => file!("plan"),
        Schema::List => file!("list"),
        Schema::Doctor => file!("doctor"),
        Schema::Validate => file!("validate"),
        Schema::Score => file!("score"),
        Schema::Case => file!("case"),
        Schema::History => file!("history"),
        Schema::Trends => file!("trends"),
        Schema::Pilot => file!("pilot"),
        Schema::Fit => file!("fit"),
        Schema::Choose => file!("choose"),
        Schema::Pick => file!("pick"),
        Schema::Compare => file!("compare"),
        Schema::Beside => file!("beside"),
        Schema::Reference => file!("reference"),
        Schema::SchemaCheck => file!("schema-check"),
        Schema::KldBase => file!("kld-base"),
        Schema::Route => file!("route"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::ValueEnum;
    use schemars::schema_for;

    use super::*;

    fn derived(of: Schema) -> String {
        let schema = match of {
            Schema::Suite => schema_for!(crate::suite::raw::RawSuite),
            Schema::Journal => schema_for!(crate::record::journal::Line),
            Schema::Summary => schema_for!(crate::judge::analysis::summary::Summary),
            Schema::Plan => schema_for!(crate::commands::dry_run::DryRun),
            Schema::List => schema_for!(crate::commands::list::Listing),
            Schema::Doctor => schema_for!(crate::commands::doctor::Checkup),
            Schema::Validate => schema_for!(crate::commands::validate::Validated),
            Schema::Score => schema_for!(crate::commands::score::ScoreLine),
            Schema::Case => schema_for!(crate::record::Case),
            Schema::History => schema_for!(crate::commands::history::History),
            Schema::Trends => schema_for!(crate::commands::history::Trends),
            Schema::Pilot => schema_for!(crate::commands::pilot::Pilot),
            Schema::Fit => schema_for!(crate::commands::fit::FitTable),
            Schema::Choose => schema_for!(crate::commands::chosen::Choice),
            Schema::Pick => schema_for!(crate::judge::analysis::pick::Pick),
            Schema::Compare => schema_for!(crate::judge::analysis::compare::Comparison),
            Schema::Beside => schema_for!(crate::judge::analysis::compare::Beside),
            Schema::Reference => schema_for!(crate::commands::reference::Exported),
            Schema::SchemaCheck => schema_for!(crate::commands::schema_check::SchemaCheck),
            Schema::KldBase => schema_for!(crate::commands::kld_base::KldBase),
            Schema::Route => schema_for!(crate::judge::analysis::route::Route),
        };
        serde_json::to_string_pretty(&schema).unwrap() + "\n"
    }

    /// Remakes the files where `KNEEPOINT_UPDATE_DOCS` is set; the next build carries them.
    #[test]
    fn the_schemas_kept_are_those_of_the_types() {
        let update = std::env::var_os("KNEEPOINT_UPDATE_DOCS").is_some();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema");
        for of in Schema::value_variants() {
            let name = format!("{}.schema.json", of.to_possible_value().unwrap().get_name());
            let derived = derived(*of);
            if update {
                std::fs::write(folder.join(&name), &derived).unwrap();
            } else {
                let hint = "KNEEPOINT_UPDATE_DOCS=1 cargo test --lib schemas_kept";
                assert!(kept(*of) == derived, "docs/schema/{name} is out of date: {hint}");
            }
        }
    }
}
