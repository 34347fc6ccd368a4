//! The Markdown of a report as HTML. Our Markdown holds nobody's markup; here it is not trusted a second time: of HTML a
//! few tags pass, links nowhere, pictures only those of the report.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pulldown_cmark::{CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd, html};
use serde::Serialize;

use crate::console::is_unsafe;
use crate::judge::report::files::{FRONT_FILE, HEATMAP_FILE, LOAD_FILE};

/// Tags of a report's Markdown that pass; everything else is text.
const TAGS: &[&str] = &["<details>", "</details>", "<summary>", "</summary>", "<code>", "</code>", "<br>"];

/// A table of more rows is folded: browsers take seconds to lay some thousand rows out. (`content-visibility: auto` would leave
/// them unfolded and cost as little, but Chromium leaves what it skips so out of what a screen reader hears.)
const LONG_ROWS: usize = 50;

/// The section of a report that begins with its verdict, a paragraph.
const VERDICT_HEADING: &str = "Verdict";

/// The pictures of a report (SVG).
#[derive(Default)]
pub(super) struct Pictures {
    pub(super) front: Option<String>,
    pub(super) heatmap: Option<String>,
    pub(super) load: Option<String>,
}

/// A heading that the page's list of contents names.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Heading {
    id: String,
    text: String,
}

/// A report's body.
pub(super) struct Body {
    pub(super) html: String,
    pub(super) headings: Vec<Heading>,
}

/// Makes HTML of a report's Markdown, from its first section on: the page's first screen says what stands in front of it.
pub(super) fn of_report(markdown: &str, pictures: &Pictures) -> Body {
    made(markdown, pictures, true)
}

/// Makes HTML of any of our Markdown.
pub(super) fn of(markdown: &str) -> Body {
    made(markdown, &Pictures::default(), false)
}

fn made(markdown: &str, pictures: &Pictures, from_first_section: bool) -> Body {
    let mut writer =
        Writer { pictures, headings: Vec::new(), inside: Inside::Text, from_first_section, said_next: false };
    let events: Vec<Event<'_>> =
        Parser::new_ext(markdown, Options::ENABLE_TABLES).filter_map(|event| writer.take(event)).collect();
    let mut made = String::with_capacity(markdown.len() * 2);
    html::push_html(&mut made, events.into_iter());
    let mut made = scrolled(&made);
    // The page's policy allows no styles in the markup.
    for side in ["left", "center", "right"] {
        made = made.replace(&format!(" style=\"text-align: {side}\""), &format!(" class=\"{side}\""));
    }
    for heading in &writer.headings {
        made = made.replacen("<h2>", &format!("<h2 id=\"{}\">", heading.id), 1);
    }
    Body { html: made, headings: writer.headings }
}

/// Every table in a frame of its own to be scrolled sideways, a long one folded.
fn scrolled(html: &str) -> String {
    let mut made = String::with_capacity(html.len());
    let mut rest = html;
    while let Some((before, table)) = rest.split_once("<table>") {
        let (rows, after) = table.split_once("</table>").unwrap_or((table, ""));
        // The first row is the head.
        let count = rows.matches("<tr>").count().saturating_sub(1);
        let (open, close) = match count > LONG_ROWS {
            true => (format!("<details><summary>table of {count} rows</summary>\n"), "</details>"),
            false => (String::new(), ""),
        };
        made.push_str(&format!("{before}{open}<div class=\"scroll\"><table>{rows}</table></div>{close}"));
        rest = after;
    }
    made + rest
}

/// A picture within the page. As a picture its own styles hold, and nothing of it runs.
pub(super) fn inline(svg: &str) -> String {
    format!("data:image/svg+xml;base64,{}", STANDARD.encode(svg))
}

/// What is being read.
#[derive(PartialEq, Eq)]
enum Inside {
    Text,
    /// In front of the first section, or within the title, which stands in the page's head.
    Front,
    Heading,
    /// What the page's head says already.
    Said,
    /// A picture's description.
    Picture,
}

struct Writer<'a> {
    pictures: &'a Pictures,
    headings: Vec<Heading>,
    inside: Inside,
    from_first_section: bool,
    /// The next paragraph says what the page's head says.
    said_next: bool,
}

impl<'e> Writer<'_> {
    fn take(&mut self, event: Event<'e>) -> Option<Event<'e>> {
        match event {
            Event::Start(Tag::Heading { level: HeadingLevel::H1, .. }) => self.enter(Inside::Front),
            Event::End(TagEnd::Heading(HeadingLevel::H1)) if !self.from_first_section => {
                self.enter(Inside::Text)
            }
            Event::Start(Tag::Heading { level: HeadingLevel::H2, .. }) if self.inside == Inside::Front => {
                self.inside = Inside::Text;
                self.take(event)
            }
            _ if self.inside == Inside::Front => None,
            Event::Start(Tag::Paragraph) if self.said_next => {
                self.said_next = false;
                self.enter(Inside::Said)
            }
            Event::End(TagEnd::Paragraph) if self.inside == Inside::Said => self.enter(Inside::Text),
            _ if self.inside == Inside::Said => None,
            Event::End(TagEnd::Image) => self.enter(Inside::Text),
            _ if self.inside == Inside::Picture => None,
            Event::Start(Tag::Heading { level: HeadingLevel::H2, .. }) => {
                let id = format!("s{}", self.headings.len() + 1);
                self.headings.push(Heading { id, text: String::new() });
                self.inside = Inside::Heading;
                Some(plain_heading())
            }
            Event::End(TagEnd::Heading(HeadingLevel::H2)) => {
                self.inside = Inside::Text;
                Some(Event::End(TagEnd::Heading(HeadingLevel::H2)))
            }
            Event::Start(Tag::Image { dest_url, .. }) => {
                self.inside = Inside::Picture;
                self.picture(&dest_url)
            }
            Event::Start(Tag::Link { .. }) | Event::End(TagEnd::Link) => None,
            Event::Html(markup) | Event::InlineHtml(markup) => Some(Event::Html(guarded(&markup).into())),
            Event::Text(words) | Event::Code(words) if self.inside == Inside::Heading => {
                let words = self.heading(words);
                if let Some(heading) = self.headings.last_mut() {
                    heading.text.push_str(&words);
                }
                Some(Event::Text(words))
            }
            other => Some(other),
        }
    }

    /// The verdict stands in the page's head: what follows it is the results.
    fn heading(&mut self, words: CowStr<'e>) -> CowStr<'e> {
        if !self.from_first_section || &*words != VERDICT_HEADING {
            return words;
        }
        self.said_next = true;
        "Results".into()
    }

    fn enter(&mut self, inside: Inside) -> Option<Event<'e>> {
        self.inside = inside;
        None
    }

    fn picture(&self, name: &str) -> Option<Event<'e>> {
        let (drawn, described) = match name {
            FRONT_FILE => (&self.pictures.front, "Pareto front"),
            HEATMAP_FILE => (&self.pictures.heatmap, "Score by depth and context length"),
            LOAD_FILE => (&self.pictures.load, "Throughput against latency"),
            _ => return None,
        };
        let source = inline(drawn.as_deref()?);
        Some(Event::Html(CowStr::from(format!("<img alt=\"{described}\" src=\"{source}\">"))))
    }
}

fn plain_heading<'e>() -> Event<'e> {
    let level = HeadingLevel::H2;
    Event::Start(Tag::Heading { level, id: None, classes: Vec::new(), attrs: Vec::new() })
}

/// The tags that may pass, and everything else as text; entities stay what they are.
fn guarded(markup: &str) -> String {
    let mut passed = String::with_capacity(markup.len());
    let mut rest = markup;
    while let Some(at) = rest.find('<') {
        passed.push_str(&rest[..at]);
        rest = &rest[at..];
        match TAGS.iter().find(|tag| rest.starts_with(**tag)) {
            Some(tag) => {
                passed.push_str(tag);
                rest = &rest[tag.len()..];
            }
            None => {
                passed.push_str("&lt;");
                rest = &rest[1..];
            }
        }
    }
    passed.push_str(rest);
    passed
}

/// A text for HTML as it is, white space included; control characters are shown.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(c),
            c if is_unsafe(c) => escaped.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_headings_and_code_are_html() {
        let made = of("# Title\n\n## One `x`\n\n| a | b |\n|---|--:|\n| `c` | &lt;d&gt; |\n");
        assert_eq!(made.headings, [Heading { id: "s1".into(), text: "One x".into() }]);
        assert!(
            made.html.starts_with("<h2 id=\"s1\">One x</h2>\n<div class=\"scroll\"><table>"),
            "{}",
            made.html
        );
        assert!(made.html.contains("<th class=\"right\">b</th>"), "{}", made.html);
        assert!(made.html.contains("<code>c</code>") && made.html.contains("&lt;d&gt;"));
        assert!(!made.html.contains("Title"));
    }

    #[test]
    fn long_tables_are_folded() {
        let table = |rows: usize| format!("| a |\n|---|\n{}\n\n", "| b |\n".repeat(rows));
        let made = of(&format!("{}Between.\n\n{}Behind.\n", table(LONG_ROWS + 1), table(2))).html;
        let folded = "<details><summary>table of 51 rows</summary>\n<div class=\"scroll\"><table>";
        assert!(made.starts_with(folded) && made.contains("</table></div></details>"), "{made}");
        assert_eq!(made.matches("<details>").count(), 1);
        assert_eq!(
            (made.matches("</table></div>").count(), made.matches("<tr><td>").count()),
            (2, LONG_ROWS + 3)
        );
        assert!(made.contains("<p>Between.</p>") && made.ends_with("<p>Behind.</p>\n"), "{made}");
    }

    #[test]
    fn the_verdict_is_said_once() {
        let report = "# T\n\n## Verdict\n\nAll `a` is well.\n\n### Context 512 tokens\n\nMore.\n";
        let page = of_report(report, &Pictures::default());
        assert_eq!(page.html, "<h2 id=\"s1\">Results</h2>\n<h3>Context 512 tokens</h3>\n<p>More.</p>\n");
        assert_eq!(page.headings[0].text, "Results");
        assert!(of(report).html.contains("Verdict</h2>\n<p>All <code>a</code> is well.</p>"));
    }

    #[test]
    fn what_is_not_ours_is_text() {
        let made = of(
            "<details>\n<summary>s</summary>\n\n<script>x</script> [a](javascript:x) ![p](http://e/x.png) <a href=x>\n\n</details>\n",
        );
        assert!(made.html.contains("<details>") && made.html.contains("<summary>s</summary>"));
        assert!(
            !made.html.contains("<script") && !made.html.contains("<a") && !made.html.contains("<img"),
            "{}",
            made.html
        );
        let linked = of("[a](javascript:x) ![p](http://e/x.png) <a href=x>b</a>\n").html;
        assert_eq!(linked, "<p>a  &lt;a href=x>b&lt;/a></p>\n");
    }

    #[test]
    fn pictures_are_the_reports_own() {
        let pictures = Pictures { heatmap: Some("<svg/>".into()), ..Pictures::default() };
        let made =
            of_report("# T\n\nIn front.\n\n## S\n\n![Score](heatmap.svg)\n\n![Load](load.svg)\n", &pictures);
        assert!(!made.html.contains("In front") && of("# T\n\nIn front.\n").html.contains("In front"));
        assert_eq!(made.html.matches("<img").count(), 1);
        assert!(made.html.contains("src=\"data:image/svg+xml;base64,PHN2Zy8+\""), "{}", made.html);
    }
}
