//! Pages: one self-contained file each, with no network, no event handlers in the markup and a policy that allows its own
//! style and script alone. What is read without scripts is whole; a script makes it sortable and lets axes be chosen.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::filters;
use super::markdown::render_markdown;
use super::svg::{front, heatmap, load_curve};
use super::view::{Answer, answers};
use crate::error::{Error, Result};
use crate::judge::analysis::summary::Summary;
use crate::record::journal::Journal;

mod body;
mod cells;
mod data;
mod depths;
mod differing;
mod history;
mod site;

use body::{Body, Pictures};
use cells::CellPart;
pub use history::history_page;
pub use site::{SiteRun, site_page};

const TEMPLATE: &str = include_str!("../templates/page.html.j2");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// What the template shows.
#[derive(Serialize)]
struct Page<'a> {
    title: &'a str,
    /// Of what, in a line.
    subtitle: String,
    /// What the suite is for.
    description: &'a str,
    policy: String,
    style: &'static str,
    script: &'static str,
    /// Plain figures for the script; empty where there is nothing to choose.
    data: String,
    answers: Vec<Answer<'a>>,
    verdict: &'a str,
    /// The Pareto plot as a picture, for readers without scripts.
    plot: Option<String>,
    headings: &'a [body::Heading],
    body: &'a str,
    cells: Vec<CellPart<'a>>,
}

impl<'a> Page<'a> {
    /// A page with nothing in it.
    fn plain(title: &'a str) -> Self {
        Self {
            title,
            subtitle: String::new(),
            description: "",
            policy: policy(),
            style: STYLE,
            script: SCRIPT,
            data: String::new(),
            answers: Vec::new(),
            verdict: "",
            plot: None,
            headings: &[],
            body: "",
            cells: Vec::new(),
        }
    }
}

/// Renders the page of a run: its report, and what every setting replied beside the reference.
///
/// # Errors
/// When a template fails.
pub fn report_page(summary: &Summary, journal: &Journal) -> Result<String> {
    let report = render_markdown(summary, None)?;
    let pictures = Pictures { front: None, heatmap: heatmap(summary), load: load_curve(summary) };
    let Body { html, headings } = body::of_report(&report, &pictures);
    rendered(&Page {
        subtitle: subtitle(summary),
        description: &summary.description,
        data: data::json(summary)?,
        answers: answers(summary),
        verdict: &summary.verdict,
        plot: front(summary).map(|picture| body::inline(&picture)),
        headings: &headings,
        body: &html,
        cells: cells::parts(summary, journal),
        ..Page::plain(&summary.suite)
    })
}

/// Renders a page of any of our Markdown, such as a comparison.
///
/// # Errors
/// When the template fails.
pub fn page_of(title: &str, markdown: &str) -> Result<String> {
    let Body { html, headings } = body::of(markdown);
    rendered(&Page { headings: &headings, body: &html, ..Page::plain(title) })
}

fn subtitle(summary: &Summary) -> String {
    let engines: Vec<String> =
        summary.engines.iter().map(|engine| format!("{} {}", engine.name, engine.version)).collect();
    format!("{}, {}, {} of {} trials", summary.started, engines.join(", "), summary.done, summary.planned)
}

/// Nothing but the style and the script whose hashes are named, and pictures within the page.
fn policy() -> String {
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text.as_bytes())));
    format!(
        "default-src 'none'; style-src {}; script-src {}; img-src data:; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
}

fn failed(source: minijinja::Error) -> Error {
    Error::runtime(format!("cannot render a page: {source}"))
}

fn environment() -> Result<Environment<'static>> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(failed)?;
    environment.set_syntax(syntax);
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    filters::install(&mut environment, &filters::HTML);
    Ok(environment)
}

fn rendered(page: &Page<'_>) -> Result<String> {
    let environment = environment()?;
    let template = environment.template_from_named_str("page.html", TEMPLATE).map_err(failed)?;
    template.render(Serde(page)).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::analysis::summarise;
    use crate::judge::analysis::testing::{OTHER, Play, REFERENCE, right};
    use crate::record::{Conversion, HeldCase, HeldSchema, Outcome, Reply, Score, Trial};

    const HOSTILE: &str =
        "<script>alert(1)</script><img src=x onerror=alert(2)>\u{1b}[31m\u{202e}](javascript:alert(3))";

    fn page_with(hostile: &str) -> String {
        let wrong = |_: &str, _: u32| Outcome::Scored(Score::of(0.0).labelled(HOSTILE));
        let mut journal = Play::new("").reference().other(wrong).journal;
        for trial in &mut journal.trials {
            let content =
                if trial.key.setting == OTHER { format!("same {hostile}") } else { "same answer".into() };
            trial.reply = Some(Box::new(Reply { content, ..Reply::default() }));
        }
        let mut summary = summarise(&journal).unwrap();
        summary.suite = hostile.into();
        summary.verdict = hostile.into();
        report_page(&summary, &journal).unwrap()
    }

    /// Every tag that a page may hold: all others would be somebody's text.
    const TAGS: &[&str] = &[
        "!doctype", "a", "article", "body", "br", "button", "caption", "code", "details", "div", "em",
        "fieldset", "figure", "footer", "h1", "h2", "h3", "h4", "head", "header", "hr", "html", "img",
        "input", "label", "li", "main", "mark", "meta", "nav", "ol", "option", "output", "p", "pre",
        "script", "section", "select", "span", "strong", "style", "summary", "table", "tbody", "td", "th",
        "thead", "title", "tr", "ul",
    ];

    #[test]
    fn hostile_texts_make_no_markup() {
        let page = page_with(HOSTILE);
        let markup = page.replace(SCRIPT, "").replace(STYLE, "");
        assert!(!markup.contains("<script>alert") && !markup.contains("<img src=x"), "as text alone");
        assert!(!page.contains('\u{1b}') && !page.contains('\u{202e}'), "control characters are shown");
        assert!(!markup.contains("href=\"javascript"));
        let mut scripts = 0;
        for (at, _) in markup.match_indices('<') {
            let rest = markup[at + 1..].trim_start_matches('/');
            let name: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '!').collect();
            assert!(TAGS.contains(&name.to_ascii_lowercase().as_str()), "<{}", &rest[..rest.len().min(60)]);
            scripts += usize::from(name == "script");
            // What stands in quotes is a value.
            let bare: String = rest.split('>').next().unwrap().split('"').step_by(2).collect();
            assert!(!bare.contains(" on") && !bare.contains("style="), "no handlers, no styles: {bare}");
        }
        assert_eq!(scripts, 4, "the data and the script, each with its end");
    }

    #[test]
    fn the_policy_names_what_the_page_holds() {
        let page = page_with("x");
        assert!(page.contains("default-src 'none'") && page.contains(&format!("<style>{STYLE}</style>")));
        assert!(page.contains(&format!("<script>{SCRIPT}</script>")));
        let fetched = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!fetched.contains("http://") && !fetched.contains("https://"), "nothing is fetched");
    }

    #[test]
    fn replies_stand_beside_the_references() {
        let page = page_with("xyz");
        assert!(
            page.contains("same <mark>xyz</mark>") && page.contains("same <mark>answer</mark>"),
            "{page}"
        );
        assert!(page.contains(REFERENCE) && page.contains("marked: the first differing word"));
    }

    #[test]
    fn the_first_differing_token_is_marked_where_tokens_are_known_of_both() {
        let page = |known: &str| {
            let mut journal = Play::new("").reference().other(right).journal;
            for trial in &mut journal.trials {
                let is_other = trial.key.setting == OTHER;
                let (content, token_lengths) =
                    if is_other { ("<b>undone", "324") } else { ("<b>unfit", known) };
                let (content, token_lengths) = (content.to_owned(), token_lengths.to_owned());
                trial.reply = Some(Box::new(Reply { content, token_lengths, ..Reply::default() }));
            }
            report_page(&summarise(&journal).unwrap(), &journal).unwrap()
        };
        for (known, mark, rest, marked) in [
            ("323", "done", "", "the first differing token"),
            ("332", "un", "done", "the first differing token"),
            ("3203", "done", "", "tokens that came as one piece, the first differing one among them"),
            ("", "undone", "", "the first differing word"),
            // Not of this text.
            ("999", "undone", "", "the first differing word"),
        ] {
            let page = page(known);
            let shared = "&lt;b&gt;undone".strip_suffix(rest).unwrap().strip_suffix(mark).unwrap();
            assert!(
                page.contains(&format!("<pre>{shared}<mark>{mark}</mark>{rest}</pre>")),
                "{known}: {page}"
            );
            assert!(page.contains(&format!("marked: {marked}</p>")), "{known}");
        }
    }

    /// The section is the report's own, and each wrong reply has what the grammar would have allowed.
    #[test]
    fn what_the_server_holds_of_schemas_is_on_the_page_too() {
        let wrong = |_: &str, _: u32| Outcome::Scored(Score::of(0.0));
        let mut journal = Play::new("").reference().other(wrong).journal;
        for trial in &mut journal.trials {
            let content = trial.key.setting.to_string();
            trial.reply = Some(Box::new(Reply { content, ..Reply::default() }));
        }
        let reason = HOSTILE.to_owned();
        let unknown = HeldSchema::unknown("s".into(), "reply".into(), Conversion::Unknown { reason });
        journal.held.schemas.push(unknown);
        let others = journal.trials.iter().filter(|trial| trial.key.setting == OTHER);
        let held = |trial: &Trial| HeldCase {
            case: trial.case.to_string(),
            schemas: vec!["s".into()],
            answer: trial.key.index.is_multiple_of(2).then_some(true),
            right: None,
        };
        journal.held.cases = others.map(held).collect();
        let page = report_page(&summarise(&journal).unwrap(), &journal).unwrap();
        for words in [
            "What the server holds of schemas",
            "not known: 1 schema (",
            "the grammar allowed the right answer",
            "whether the grammar allowed a right reply is not known",
        ] {
            assert!(page.contains(words), "{words}: {page}");
        }
        let markup = page.replace(SCRIPT, "").replace(STYLE, "");
        assert!(
            !markup.contains("<script>alert") && !markup.contains("<img src=x") && !page.contains('\u{1b}')
        );
    }

    #[test]
    fn a_run_with_nothing_in_it_is_a_page_too() {
        let journal = Play::new("").journal;
        let page = report_page(&summarise(&journal).unwrap(), &journal).unwrap();
        assert!(page.contains("<main"), "{page}");
        let journal = Play::new("").reference().other(right).journal;
        assert!(report_page(&summarise(&journal).unwrap(), &journal).unwrap().len() < 200_000);
    }
}
