//! Pages in a real browser: Debian's Chromium, driven through its WebDriver. They need the packages `chromium` and
//! `chromium-driver`, so they run when asked for: `.ci/run` does.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::common::{MOCK_SUITE, MockBench};
use crate::large_pages::made_up::{CELLS, Size, journal};
use kneepoint::judge::analysis::summarise;
use kneepoint::judge::report::report_page;
use kneepoint::measure::engine::supervise::free_port;

const KNEEPOINT: &str = env!("CARGO_BIN_EXE_kneepoint");

/// A browser without a window, and the driver that it ends with.
struct Browser {
    driver: Child,
    port: u16,
    session: String,
    _profile: tempfile::TempDir,
}

impl Browser {
    fn open(width: u32, dark: bool) -> Self {
        let port = free_port().unwrap();
        let mut driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("chromedriver is needed: Debian's packages `chromium` and `chromium-driver` have it");
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let is_up = |line: &std::io::Result<String>| {
            line.as_ref().is_ok_and(|line| line.contains("started successfully"))
        };
        assert!(lines.any(|line| is_up(&line)), "the driver ended");
        let profile = tempfile::tempdir().unwrap();
        let mut browser = Self { driver, port, session: String::new(), _profile: profile };
        let scheme = if dark { 0 } else { 1 };
        let mut arguments: Vec<String> = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ]
        .map(str::to_owned)
        .to_vec();
        arguments.push(format!("--window-size={width},1400"));
        arguments.push(format!("--blink-settings=preferredColorScheme={scheme}"));
        arguments.push(format!("--user-data-dir={}", browser._profile.path().display()));
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": { "args": arguments }, "goog:loggingPrefs": { "browser": "ALL" } } } });
        let made = browser.ask("POST", "/session", &wanted);
        browser.session =
            made["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {made}")).to_owned();
        browser
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let body = if method == "POST" { body.to_string() } else { String::new() };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        // The driver leaves the connection open: its head says how much comes.
        let mut reader = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let body = String::from_utf8(body).unwrap();
        let value: Value = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"));
        assert!(value["value"]["error"].is_null(), "{path}: {value}");
        value["value"].clone()
    }

    fn of_session(&self, path: &str, body: &Value) -> Value {
        self.ask("POST", &format!("/session/{}{path}", self.session), body)
    }

    fn go(&self, page: &Path) {
        self.of_session("/url", &json!({ "url": format!("file://{}", page.display()) }));
    }

    fn run(&self, script: &str) -> Value {
        self.of_session("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Waits until an expression of the page is true, 10 s at most.
    fn wait_for(&self, condition: &str) {
        self.of_session("/timeouts", &json!({ "script": 10_000 }));
        let script = format!(
            "const done = arguments[arguments.length - 1];
             const look = () => ({condition}) ? done(true) : setTimeout(look, 10);
             look();"
        );
        self.of_session("/execute/async", &json!({ "script": script, "args": [] }));
    }

    /// What the browser complained of: a script that broke, or something that the policy forbade.
    fn complaints(&self) -> Vec<Value> {
        let log = self.of_session("/se/log", &json!({ "type": "browser" }));
        log.as_array().unwrap().iter().filter(|entry| entry["level"] == "SEVERE").cloned().collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() && !std::thread::panicking() {
            self.ask("DELETE", &format!("/session/{}", self.session), &Value::Null);
        }
        // The browser is of the driver's group, and would outlive it.
        let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", self.driver.id())]).status();
        let _ = self.driver.wait();
    }
}

/// A thing that a screen reader says.
#[derive(Debug)]
struct Heard {
    role: String,
    name: String,
    /// Of a heading.
    level: Option<u64>,
}

impl Browser {
    /// A command of Chromium's DevTools protocol.
    fn devtools(&self, command: &str, parameters: Value) -> Value {
        let body = json!({ "cmd": command, "params": parameters });
        self.ask("POST", &format!("/session/{}/goog/cdp/execute", self.session), &body)
    }

    /// What a screen reader says of the page, in its order.
    fn heard(&self) -> Vec<Heard> {
        self.devtools("Accessibility.enable", json!({}));
        let tree = self.devtools("Accessibility.getFullAXTree", json!({}));
        let nodes = tree["nodes"].as_array().unwrap();
        let by_id = |id: &Value| nodes.iter().find(|node| node["nodeId"] == *id).unwrap();
        let mut heard = Vec::new();
        let mut ahead = vec![&nodes[0]];
        while let Some(node) = ahead.pop() {
            if node["ignored"] != true {
                let properties = node["properties"].as_array();
                let level = properties.and_then(|all| all.iter().find(|one| one["name"] == "level"));
                heard.push(Heard {
                    role: node["role"]["value"].as_str().unwrap_or_default().into(),
                    name: node["name"]["value"].as_str().unwrap_or_default().into(),
                    level: level.and_then(|level| level["value"]["value"].as_u64()),
                });
            }
            let children = node["childIds"].as_array();
            ahead.extend(children.into_iter().flatten().rev().map(by_id));
        }
        heard
    }
}

fn page_of(run: &Path, out: &Path) -> std::path::PathBuf {
    let made = Command::new(KNEEPOINT)
        .args(["report", run.to_str().unwrap(), "--out", out.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(out.join("report.html").exists(), "{}", String::from_utf8_lossy(&made.stderr));
    out.join("report.html")
}

#[test]
#[ignore = "needs chromium and chromium-driver; .ci/run runs it"]
fn a_published_report_sorts_draws_and_opens() {
    let out = tempfile::tempdir().unwrap();
    let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("reports/quickstart");
    let page = page_of(&published, out.path());
    let browser = Browser::open(1200, false);
    browser.go(&page);
    assert_eq!(browser.run("return document.title"), "quickstart");
    // The plot: a point a setting, other axes on demand, dominated ones hidden.
    let points = "return document.querySelectorAll('#plot .point').length";
    assert_eq!(browser.run(points), 6);
    let axis = "return document.querySelector('#plot svg').getAttribute('aria-label')";
    assert!(browser.run(axis).as_str().unwrap().starts_with("quality"));
    browser.run("const y = document.getElementById('y'); y.value = [...y.options].find((o) => o.text.startsWith('KLD')).value; y.dispatchEvent(new Event('change'))");
    assert!(browser.run(axis).as_str().unwrap().starts_with("KLD (nat)"));
    browser.run("document.getElementById('hide').click()");
    assert!(browser.run(points).as_u64().unwrap() <= 6);
    // The pick of a context and a goal leads to its cell.
    browser.run(
        "const g = document.getElementById('goal'); g.value = 'memory'; g.dispatchEvent(new Event('change'))",
    );
    assert!(
        browser.run("return document.getElementById('picked').textContent").as_str().unwrap().contains("MiB")
    );
    browser.run("document.querySelector('#picked a').click()");
    assert_eq!(browser.run("return document.querySelector(location.hash).open"), true);
    // A table sorts by a column, up and down, and says so.
    browser.run("window.t = document.querySelectorAll('.report table')[0]; window.h = [...t.tHead.rows[0].cells].findIndex((c) => c.textContent.startsWith('decode')); t.tHead.rows[0].cells[h].querySelector('button').click()");
    let column = "return [...t.tBodies[0].rows].map((row) => parseFloat(row.cells[h].textContent))";
    let up: Vec<f64> = serde_json::from_value(browser.run(column)).unwrap();
    assert!(up.len() == 6 && up.is_sorted(), "{up:?}");
    browser.run("t.tHead.rows[0].cells[h].querySelector('button').click()");
    let down: Vec<f64> = serde_json::from_value(browser.run(column)).unwrap();
    assert!(down.iter().rev().is_sorted(), "{down:?}");
    assert_eq!(browser.run("return t.tHead.rows[0].cells[h].getAttribute('aria-sort')"), "descending");
    // A setting's name leads to what stands behind it.
    assert!(
        browser
            .run("return document.querySelectorAll('.report td a[href^=\"#cell-\"]').length")
            .as_u64()
            .unwrap()
            >= 12
    );
    assert_eq!(browser.run("return performance.getEntriesByType('resource').filter((e) => !e.name.startsWith('data:')).length"), 0);
    assert_eq!(browser.complaints(), Vec::<Value>::new());
}

#[test]
#[ignore = "needs chromium and chromium-driver; .ci/run runs it"]
fn a_page_fits_a_phone_in_the_dark() {
    let out = tempfile::tempdir().unwrap();
    let page = page_of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("reports/quickstart"), out.path());
    let browser = Browser::open(390, true);
    browser.go(&page);
    let overflow =
        browser.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth");
    assert!(overflow.as_i64().unwrap() <= 0, "the page is wider than the phone by {overflow}");
    let dark = browser.run("return getComputedStyle(document.body).backgroundColor");
    assert_eq!(dark, "rgb(20, 24, 28)");
    // Text of the plot is as large as it says: 12 px is 12 px.
    let scale = browser.run("const s = document.querySelector('#plot svg'); return s.getBoundingClientRect().width / s.viewBox.baseVal.width");
    assert!(scale.as_f64().unwrap() * 12.0 >= 9.0, "{scale}");
    assert_eq!(browser.complaints(), Vec::<Value>::new());
}

#[test]
#[ignore = "needs chromium and chromium-driver; .ci/run runs it"]
fn hostile_replies_and_names_run_nothing() {
    let hostile = "<img/src=x/onerror=document.title='pwned'><script>document.title='pwned'</script>";
    let bench = MockBench::new(&format!("--reply {hostile}"));
    let suite = bench.dir.path().join("suite.toml");
    let text = std::fs::read_to_string(&suite).unwrap();
    assert!(text.contains("name = ") && !MOCK_SUITE.is_empty());
    let described = text.replacen("name = ", &format!("description = '''{hostile}'''\nname = "), 1);
    std::fs::write(&suite, described).unwrap();
    bench.command(&["run", "suite.toml", "--json"]).output().unwrap();
    let out = tempfile::tempdir().unwrap();
    let page = page_of(&bench.run_folder(), out.path());
    let written = std::fs::read_to_string(&page).unwrap();
    assert!(written.contains("onerror=document.title"), "it is shown, as text");
    let browser = Browser::open(1200, false);
    browser.go(&page);
    browser.run("document.querySelectorAll('details').forEach((part) => { part.open = true; })");
    // A picture that is not there has failed by then, and its handler would have run.
    browser.wait_for(
        "document.readyState === 'complete' && [...document.images].every((image) => image.complete) \
         && [...document.querySelectorAll('details')].every((part) => part.open)",
    );
    assert_ne!(browser.run("return document.title"), "pwned");
    assert_eq!(
        browser.run("return document.querySelectorAll('main img:not([src^=\"data:\"]), main script').length"),
        0
    );
    assert_eq!(browser.run("return performance.getEntriesByType('resource').filter((e) => !e.name.startsWith('data:')).length"), 0);
    assert_eq!(browser.complaints(), Vec::<Value>::new());
}

/// Everything that a page holds goes on paper, in black on white, whatever was open and whatever the reader's colours.
#[test]
#[ignore = "needs chromium and chromium-driver; .ci/run runs it"]
fn a_page_prints_whole_and_light() {
    let out = tempfile::tempdir().unwrap();
    let page = page_of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("reports/quickstart"), out.path());
    // A sheet of A4 with margins is 718 pixels wide.
    let browser = Browser::open(718, true);
    browser.go(&page);
    browser.devtools("Emulation.setEmulatedMedia", json!({ "media": "print" }));
    let count = |what: &str| browser.run(&format!("return {what}.length")).as_u64().unwrap();
    assert!(count("[...document.querySelectorAll('details:not([open])')]") >= 12, "the test opens nothing");
    assert_eq!(
        browser.run("return [...document.querySelectorAll('main details *')].filter((e) => !e.checkVisibility()).map((e) => e.outerHTML.slice(0, 80))"),
        json!([]),
        "what is folded on the screen is printed"
    );
    assert_eq!(
        count("[...document.querySelectorAll('.controls, nav')].filter((e) => e.checkVisibility())"),
        0
    );
    assert_eq!(browser.run("return getComputedStyle(document.body).color"), "rgb(31, 41, 51)");
    assert_eq!(
        browser.run("return [...document.querySelectorAll('table, img, pre, #plot svg')].filter((e) => e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.textContent.slice(0, 60))"),
        json!([]),
        "nothing is cut at the right"
    );
    let printed =
        browser.ask("POST", &format!("/session/{}/print", browser.session), &json!({ "background": true }));
    assert!(printed.as_str().is_some_and(|pdf| pdf.starts_with("JVBERi0") && pdf.len() > 100_000));
}

/// A long table is folded: laying out many of them takes seconds. It is there for whoever opens it, listens or prints.
#[test]
#[ignore = "needs chromium and chromium-driver; .ci/run runs it"]
fn a_page_of_many_settings_folds_its_long_tables() {
    let size = Size { settings: 60, contexts: 1, items: 2, draws: 100, ..CELLS };
    let journal = journal(size).unwrap();
    let made = report_page(&summarise(&journal).unwrap(), &journal).unwrap();
    let out = tempfile::tempdir().unwrap();
    let page = out.path().join("report.html");
    std::fs::write(&page, made).unwrap();
    let browser = Browser::open(1200, false);
    browser.go(&page);
    let shown = |rows: &str| {
        browser.run(&format!("return [...document.querySelectorAll('.report {rows}')].filter((e) => e.checkVisibility()).length")).as_u64().unwrap()
    };
    assert!(shown("tr") < 60, "{}", shown("tr"));
    let heard = |role: &str, name: &str| {
        browser.heard().iter().filter(|node| node.role == role && node.name.starts_with(name)).count()
    };
    let folded = heard("DisclosureTriangle", "table of 60 rows");
    assert!(folded >= 2, "{folded}");
    assert!(heard("row", "") < 60);
    browser.run("document.querySelector('.report details:not([open])').open = true");
    assert!(shown("tr") > 60 && heard("row", "") > 60);
    // Names lead to what stands behind them, and columns sort, as everywhere.
    browser.run("document.querySelector('.report details[open] th button').click()");
    let sorted = "return document.querySelector('.report details[open] th').getAttribute('aria-sort')";
    assert_eq!(browser.run(sorted), "ascending");
    assert!(shown("details[open] td a[href^=\"#cell-\"]") >= 60);
    browser.devtools("Emulation.setEmulatedMedia", json!({ "media": "print" }));
    assert_eq!(
        browser.run("return [...document.querySelectorAll('tr')].filter((e) => !e.checkVisibility()).length"),
        0
    );
    assert_eq!(browser.complaints(), Vec::<Value>::new());
}

/// Who listens to a page hears its answer first, every control by name, and headings that skip no level.
#[test]
#[ignore = "needs chromium and chromium-driver; .ci/run runs it"]
fn a_page_reads_in_order() {
    let out = tempfile::tempdir().unwrap();
    let page = page_of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("reports/quickstart"), out.path());
    let browser = Browser::open(1200, false);
    browser.go(&page);
    browser.run("document.querySelectorAll('details').forEach((part) => { part.open = true; })");
    let heard = browser.heard();
    let is = |role: &'static str| heard.iter().filter(move |node| node.role == role);
    let levels: Vec<u64> = is("heading").map(|node| node.level.unwrap()).collect();
    assert_eq!(levels[0], 1);
    assert!(levels.windows(2).all(|pair| pair[1] <= pair[0] + 1), "{levels:?}");
    for role in ["button", "combobox", "checkbox", "link", "image", "navigation", "figure"] {
        let nameless: Vec<&Heard> =
            is(role).filter(|node| node.name.is_empty() && role != "figure").collect();
        assert!(nameless.is_empty(), "{role}: {nameless:?}");
    }
    let place = |role: &str, name: &str| {
        heard
            .iter()
            .position(|node| node.role == role && node.name.starts_with(name))
            .unwrap_or_else(|| panic!("no {role} {name}: {heard:?}"))
    };
    let order = [
        place("heading", "quickstart"),
        place("navigation", "Contents"),
        place("heading", "Answer"),
        place("combobox", "context"),
        place("combobox", "goal"),
        place("combobox", "across"),
        place("checkbox", "hide dominated"),
        place("image", "Q4_1"),
        place("heading", "Results"),
        place("heading", "Settings one by one"),
    ];
    assert!(order.is_sorted(), "{order:?}");
    // A column's head is heard with each of its cells.
    let heads = is("columnheader").count();
    assert!(heads >= 20 && is("table").count() >= 10, "{heads}");
    // What a point says when it is reached goes to a region that is read out.
    browser.run("document.querySelector('#plot .point').focus()");
    let said = browser.run("return document.querySelector('#tip[role=status]').textContent");
    assert!(said.as_str().unwrap().contains("quality"), "{said}");
}
