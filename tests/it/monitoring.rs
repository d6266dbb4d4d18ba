//! The alert rules and the dashboard name series that exist; each alert fires when it should, and each panel shows
//! something.

use std::{
    collections::BTreeMap,
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use http::Request;
use regex::Regex;
use serde_json::Value;

use crate::{
    episodes::with_flux,
    packaging::{root, tool},
    support::{TestApp, alerts_only, pass},
};

const METRICS: &str = include_str!("../../docs/metrics.md");
const RUNBOOKS: &str = include_str!("../../docs/runbooks.md");

fn shipped(file: &str) -> String {
    let path = root()
        .join("deploy/helm/helmreboot/files/monitoring")
        .join(file);
    fs::read_to_string(path).expect("a file")
}

fn rules() -> Vec<Value> {
    let rule: Value = serde_saphyr::from_str(&shipped("prometheus-rule.yaml")).expect("YAML");
    let groups = rule["spec"]["groups"].as_array().expect("groups").clone();
    groups
        .iter()
        .flat_map(|group| group["rules"].as_array().expect("rules").clone())
        .collect()
}

/// The dashboard's queries, by panel, as Grafana would send them.
fn queries() -> BTreeMap<String, Vec<String>> {
    let dashboard: Value = serde_json::from_str(&shipped("helmreboot.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let filled = |target: &Value| {
        let query = target["expr"].as_str().expect("a query");
        query
            .replace("$cluster", ".*")
            .replace("$namespace", ".*")
            .replace("$__rate_interval", "2m")
            .replace("$__range", "5m")
    };
    let shown = panels.iter().filter(|panel| panel["type"] != "row");
    shown
        .map(|panel| {
            let targets = panel["targets"].as_array().expect("targets");
            (
                panel["title"].as_str().expect("a title").to_owned(),
                targets.iter().map(filled).collect(),
            )
        })
        .collect()
}

/// Metrics whose series appear when they are first counted. In their rates the first event is missing.
pub(crate) const COUNTED_LATER: [&str; 5] = [
    "helmreboot_decisions_total",
    "helmreboot_kubernetes_requests_total",
    "helmreboot_restart_outcomes_by_rule_total",
    "helmreboot_restarts_by_rule_total",
    "helmreboot_verdicts_total",
];

/// The series of a cluster that nothing has happened to. There may be a thousand of these clusters.
#[tokio::test]
async fn an_idle_cluster_has_at_most_forty_series() {
    let names = ["a", "b", "c"];
    let metrics = TestApp::with(alerts_only(), &names).scrape().await;
    for name in names {
        let label = format!("cluster=\"{name}\"");
        let series = metrics.lines().filter(|line| line.contains(&label)).count();
        assert!((20..=40).contains(&series), "{name}: {series}");
    }
}

#[tokio::test]
async fn every_query_names_series_that_exist_from_the_start() {
    let app = TestApp::new();
    let metrics = app.scrape().await;
    let label = Regex::new("(\\w+)(=~|!~|!=|=)\"([^\"]*)\"").expect("a pattern");
    let selector =
        Regex::new("((?:helmreboot|controller_runtime)_\\w+)(\\{[^}]*\\})?").expect("a pattern");
    let alerts = rules()
        .into_iter()
        .map(|rule| rule["expr"].as_str().expect("an expression").to_owned());
    let asked: Vec<_> = alerts.chain(queries().into_values().flatten()).collect();
    assert!(asked.len() > 30);
    for query in &asked {
        for found in selector.captures_iter(query) {
            if COUNTED_LATER.contains(&&found[1]) {
                continue;
            }
            // The namespace is Prometheus' to add.
            let wanted: Vec<_> = label
                .captures_iter(found.get(2).map_or("", |part| part.as_str()))
                .filter(|wanted| &wanted[1] != "namespace")
                .collect();
            let matches = |line: &&str| {
                let Some(rest) = line.strip_prefix(&found[1]) else {
                    return false;
                };
                rest.starts_with(['{', ' '])
                    && wanted.iter().all(|wanted| {
                        let value = label
                            .captures_iter(rest)
                            .find(|own| own[1] == wanted[1])
                            .map(|own| own[3].to_owned());
                        let pattern =
                            Regex::new(&format!("^(?:{})$", &wanted[3])).expect("a pattern");
                        let same = value.as_deref().is_some_and(|value| match &wanted[2] {
                            "=~" | "!~" => pattern.is_match(value),
                            _ => value == &wanted[3],
                        });
                        // A label that is not there is an error even where any value would do.
                        value.is_some() && same != wanted[2].starts_with('!')
                    })
            };
            assert!(
                metrics.lines().any(|line| matches(&line)),
                "{} finds nothing, in\n{query}",
                &found[0]
            );
        }
    }
}

/// A restart that recovered, and an alert that was refused: after these, every metric has a series.
#[tokio::test(start_paused = true)]
async fn the_documents_list_all_metrics_and_their_help() {
    let app = TestApp::new();
    let (flux, release, running) = with_flux(&app, "webhook", 0).await;
    pass(4).await;
    flux.remove_cause(&release);
    pass(120).await;
    running.abort();
    app.writes();
    let metrics = app.scrape().await;
    let rows = metrics.lines().filter_map(|line| {
        let (name, help) = line.strip_prefix("# HELP ")?.split_once(' ')?;
        Some((
            format!("| `{name}` | "),
            format!(" | {} |", help.trim_end_matches('.')),
        ))
    });
    let rows: Vec<_> = rows.collect();
    for name in COUNTED_LATER {
        let row = format!("| `{name}` | ");
        assert!(rows.iter().any(|(begin, _)| *begin == row), "{name}");
    }
    for (name, help) in &rows {
        let listed = |line: &str| line.starts_with(name) && line.ends_with(help);
        assert!(
            METRICS.lines().any(listed),
            "the documents lack {name}...{help}"
        );
    }
    let listed = METRICS.lines().filter(|line| {
        line.starts_with("| `helmreboot_") || line.starts_with("| `controller_runtime_")
    });
    assert_eq!(
        listed.count(),
        rows.len(),
        "the documents list metrics that do not exist"
    );
}

#[test]
fn every_alert_says_what_to_do_about_it() {
    let anchor = |heading: &str| heading.to_lowercase().replace(' ', "-");
    let headings: Vec<_> = RUNBOOKS
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .collect();
    let alerts = rules();
    assert_eq!(headings.len(), alerts.len());
    let tested =
        fs::read_to_string(root().join("tests/fixtures/alerts.test.yaml")).expect("a file");
    for alert in &alerts {
        let name = alert["alert"].as_str().expect("a name");
        let page = alert["annotations"]["runbook_url"]
            .as_str()
            .expect("a runbook");
        let (_, wanted) = page.split_once('#').expect("a section");
        assert!(
            headings.iter().any(|heading| anchor(heading) == wanted),
            "{name}: #{wanted}"
        );
        assert!(
            alert["labels"]["severity"].is_string()
                && alert["annotations"]["description"].is_string(),
            "{name}"
        );
        assert!(
            tested.contains(&format!("alertname: {name}\n")),
            "{name} is not tested"
        );
    }
}

#[test]
fn every_alert_fires_when_it_should_and_not_else() {
    let Some(mut promtool) = tool("promtool") else {
        return;
    };
    let home = folder("rules");
    let rule: Value = serde_saphyr::from_str(&shipped("prometheus-rule.yaml")).expect("YAML");
    fs::write(home.join("rules.yaml"), rule["spec"].to_string()).expect("a file");
    fs::copy(
        root().join("tests/fixtures/alerts.test.yaml"),
        home.join("test.yaml"),
    )
    .expect("a file");
    let tested = promtool
        .args(["test", "rules", "test.yaml"])
        .current_dir(&home)
        .output()
        .expect("promtool runs");
    let said = [tested.stdout, tested.stderr].concat();
    assert!(
        tested.status.success(),
        "{}",
        String::from_utf8_lossy(&said)
    );
}

/// A program that ends with the test.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        let quiet = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self(quiet.spawn().expect("the program starts"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("monitoring-{name}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// What Prometheus answers to a query: how many series, or `None` while it does not answer.
async fn ask(prometheus: u16, query: &str) -> Option<usize> {
    let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let uri = format!("http://127.0.0.1:{prometheus}/api/v1/query?query={encoded}");
    let request = Request::get(uri)
        .body(axum::body::Body::empty())
        .expect("a request");
    let mut client = helmreboot::demo::fake_flux::over_http();
    let answer = tower::ServiceExt::ready(&mut client).await.ok()?;
    let answer = tower::Service::call(answer, request).await.ok()?;
    let body = axum::body::to_bytes(answer.into_body(), 1 << 20)
        .await
        .ok()?;
    let answer: Value = serde_json::from_slice(&body).ok()?;
    assert_eq!(answer["status"], "success", "{query}: {answer}");
    answer["data"]["result"].as_array().map(Vec::len)
}

/// The second test in real time: a real Prometheus scrapes the real demo.
#[tokio::test]
async fn every_panel_of_the_dashboard_shows_something_about_the_demo() {
    let Some(mut prometheus) = tool("prometheus") else {
        return;
    };
    let home = folder("dashboard");
    let (web, metrics) = (free_port(), free_port());
    let config = format!(
        "global: {{scrape_interval: 200ms}}\nscrape_configs: [{{job_name: helmreboot, static_configs: [{{targets: ['127.0.0.1:{metrics}']}}]}}]\n"
    );
    fs::write(home.join("prometheus.yaml"), config).expect("a file");
    let _prometheus = Running::start(prometheus.current_dir(&home).args([
        "--config.file=prometheus.yaml",
        "--storage.tsdb.path=data",
        &format!("--web.listen-address=127.0.0.1:{web}"),
    ]));
    let deadline = Instant::now() + Duration::from_secs(60);
    while ask(web, "up").await.is_none() {
        assert!(Instant::now() < deadline, "Prometheus does not start");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let mut demo = Command::new(env!("CARGO_BIN_EXE_helmreboot"));
    let _demo =
        Running::start(demo.args(["demo", "--speed=1", &format!("--serve=127.0.0.1:{metrics}")]));
    let mut left: Vec<_> = queries()
        .into_iter()
        .flat_map(|(panel, queries)| queries.into_iter().map(move |query| (panel.clone(), query)))
        .collect();
    while !left.is_empty() {
        assert!(
            Instant::now() < deadline,
            "these panels stay empty: {left:#?}"
        );
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut empty = Vec::new();
        for (panel, query) in left {
            if ask(web, &query).await.unwrap_or_default() == 0 {
                empty.push((panel, query));
            }
        }
        left = empty;
    }
}
