//! The documents agree with the code.

use std::collections::BTreeSet;

use helmreboot::{
    app::Options,
    config::settings,
    domain::{
        classify::Class,
        decide::{Reason, Row, TABLE},
        ledger,
        rules::{FAMILIES, Family, OWN},
    },
};

use serde_json::{Value, json};

use crate::support::WRITTEN;

const DECISIONS: &str = include_str!("../../docs/how-it-decides.md");
const CONFIGURATION: &str = include_str!("../../docs/configuration.md");

#[test]
fn the_tables_of_settings_have_exactly_the_settings_of_the_code() {
    let cell = |text: &str| match text {
        "" => "-".to_owned(),
        _ => format!("`{text}`"),
    };
    let process = settings::PROCESS.iter().map(|setting| {
        let (flag, env) = (setting.flag, setting.env);
        let path = cell(setting.path.unwrap_or_default());
        format!(
            "| `--{flag}` | `{env}` | {path} | {} |",
            cell(setting.default)
        )
    });
    let shown = table(CONFIGURATION, "| flag |").map(|row| first_cells(row, 4));
    assert_eq!(Vec::from_iter(shown), Vec::from_iter(process));
    assert!(CONFIGURATION.contains(settings::TOKEN_ENV));
}

/// The schema of the chart has the names and descriptions of the types; a test beside these says so.
#[test]
fn the_table_of_the_file_has_exactly_its_fields() {
    fn fields(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
        for (name, field) in schema["properties"].as_object().expect("fields") {
            let path = format!("{path}{name}");
            if field["properties"].is_object() {
                fields(field, &format!("{path}."), found);
            } else if field["items"]["properties"].is_null() {
                let description = field["description"].as_str().expect("a description");
                found.insert(format!("| `{path}` | {description} |"));
            }
        }
    }
    let mut expected = BTreeSet::new();
    fields(&chart_schema()["properties"]["config"], "", &mut expected);
    let of_process = |row: &String| {
        let paths = settings::PROCESS.iter().filter_map(|setting| setting.path);
        paths
            .into_iter()
            .any(|path| row.starts_with(&format!("| `{path}` |")))
    };
    expected.retain(|row| !of_process(row));
    let shown = table(CONFIGURATION, "| setting |").map(|row| {
        let cells: Vec<_> = row.split(" | ").collect();
        format!("{} | {}", cells[0], cells[2])
    });
    assert_eq!(BTreeSet::from_iter(shown), expected);
}

#[test]
fn the_tables_of_clusters_and_rules_have_exactly_their_fields() {
    let schema = chart_schema();
    for (list, heading) in [
        ("clusters", "| field of a cluster |"),
        ("rules", "| field of a rule |"),
    ] {
        let fields = &schema["properties"]["config"]["properties"][list]["items"]["properties"];
        let fields: BTreeSet<_> = fields.as_object().expect("fields").keys().collect();
        let cells = table(CONFIGURATION, heading).flat_map(|row| {
            let names = row.split(" | ").next().expect("a cell");
            names.split('`').skip(1).step_by(2)
        });
        let shown: BTreeSet<_> = cells.map(str::to_owned).collect();
        assert_eq!(shown.iter().collect::<BTreeSet<_>>(), fields);
    }
}

#[test]
fn the_defaults_in_the_table_of_the_file_are_those_of_the_code() {
    let mut yaml = serde_json::Map::new();
    for row in table(CONFIGURATION, "| setting |") {
        let cells: Vec<_> = row.split('`').collect();
        let (path, default) = (cells[1], cells[3]);
        let default: Value = serde_saphyr::from_str(default).expect("a value");
        let mut section = &mut yaml;
        let mut names: Vec<_> = path.split('.').collect();
        let last = names.pop().expect("a name");
        for name in names {
            let inner = section.entry(name).or_insert_with(|| json!({}));
            section = inner.as_object_mut().expect("a section");
        }
        section.insert(last.to_owned(), default);
    }
    let file = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("defaults.yaml");
    std::fs::write(&file, Value::Object(yaml).to_string()).expect("a file");
    let env = |name: &str| (name == settings::TOKEN_ENV).then(|| "a key".to_owned());
    let load = |flags| helmreboot::config::Config::load(&flags, &env).expect("a configuration");
    let shown = load([("config", file.display().to_string())].into());
    let default = load(std::collections::BTreeMap::new());
    // Places of settings, which name the file, are in the clusters.
    let without_clusters = |mut config: helmreboot::config::Config| {
        config.clusters.clear();
        format!("{config:?}")
    };
    assert_eq!(without_clusters(shown), without_clusters(default));
}

#[test]
fn the_readme_is_short() {
    let words = include_str!("../../README.md").split_whitespace().count();
    assert!(words <= 1500, "{words} words");
}

/// Links between the documents lead to a file, and to a heading in it.
#[test]
fn links_between_the_documents_lead_somewhere() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = std::fs::read_dir(root.join("docs")).expect("a folder");
    let docs = docs.map(|entry| entry.expect("an entry").path());
    let docs = docs.filter(|path| path.is_file());
    let top = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|name| root.join(name));
    let mut links = 0;
    for page in docs.chain(top) {
        let text = std::fs::read_to_string(&page).expect("a file");
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            if link.contains("://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => page.clone(),
                _ => page.parent().expect("a folder").join(file),
            };
            assert!(target.exists(), "{}: {link}", page.display());
            if !anchor.is_empty() {
                let target = std::fs::read_to_string(&target).expect("a file");
                let mut headings = target.lines().filter(|line| line.starts_with('#'));
                assert!(
                    headings.any(|heading| anchor_of(heading) == anchor),
                    "{}: {link}",
                    page.display()
                );
            }
            links += 1;
        }
    }
    assert!(links > 20, "{links}");
}

/// The anchor that GitHub gives a heading.
fn anchor_of(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text
        .chars()
        .filter(|at| at.is_alphanumeric() || [' ', '-', '_'].contains(at));
    kept.collect::<String>().replace(' ', "-")
}

/// The table of a document that begins so has exactly these rows.
#[track_caller]
fn is_shown(page: &str, heading: &str, expected: &[String]) {
    let rows: Vec<_> = table(page, heading).collect();
    assert_eq!(rows, expected, "\n{}", expected.join("\n"));
}

/// The rows of the table with that heading.
fn table<'a>(page: &'a str, heading: &str) -> impl Iterator<Item = &'a str> {
    let (_, rest) = page.split_once(heading).expect("a table");
    rest.lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
}

fn first_cells(row: &str, count: usize) -> String {
    let cells: Vec<_> = row.split(" | ").take(count).collect();
    format!("{} |", cells.join(" | "))
}

fn chart_schema() -> Value {
    let schema = include_str!("../../deploy/helm/helmreboot/values.schema.json");
    serde_json::from_str(schema).expect("JSON")
}

#[test]
fn the_decision_table_is_the_one_decisions_are_made_by() {
    let row = |row: &Row| {
        let words: Vec<_> = row
            .words
            .iter()
            .map(|why| format!("`{}`", why.as_str()))
            .collect();
        format!("| {} | {} | {} |", row.live, row.done, words.join(" "))
    };
    let expected: Vec<_> = TABLE.iter().map(row).collect();
    is_shown(DECISIONS, "| live HelmRelease |", &expected);
}

#[test]
fn every_word_of_the_decision_table_is_explained() {
    for why in Reason::ALL {
        assert!(
            DECISIONS.contains(&format!("`{}`", why.as_str())),
            "{}",
            why.as_str()
        );
    }
    for end in ledger::RestartOutcome::ALL {
        assert!(
            DECISIONS.contains(&format!("`{}`", end.as_str())),
            "{}",
            end.as_str()
        );
    }
}

#[test]
fn every_annotation_that_is_written_or_read_is_named() {
    use helmreboot::domain::policy;
    let read = [
        ledger::RENEW,
        policy::ENABLED,
        policy::MODE,
        policy::LIMIT,
        policy::AFTER_ROLLBACK,
    ];
    for name in WRITTEN.into_iter().chain(read) {
        assert!(CONFIGURATION.contains(&format!("`{name}")), "{name}");
    }
}

/// The first sample of YAML that holds a line.
fn sample(page: &'static str, line: &str) -> &'static str {
    let mut samples = page
        .split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next());
    samples
        .find(|sample| sample.lines().any(|other| other == line))
        .expect("a sample")
}

#[test]
fn the_list_of_families_is_the_one_verdicts_are_made_by() {
    let row = |family: &Family| {
        let cell = |class| {
            let rules = family.rules.iter().filter(|rule| rule.class == class);
            let names: Vec<_> = rules.map(|rule| format!("`{}`", rule.name)).collect();
            if names.is_empty() {
                "–".to_owned()
            } else {
                names.join(" ")
            }
        };
        format!(
            "| {} | {} | {} | {} | {} |",
            family.name,
            family.about,
            cell(Class::Transient),
            cell(Class::Permanent),
            cell(Class::Benign)
        )
    };
    let expected: Vec<_> = FAMILIES.iter().map(row).collect();
    is_shown(DECISIONS, "| family | about |", &expected);
}

#[test]
fn the_sample_rules_are_understood() {
    let folder = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    for (line, names) in [
        ("  - name: slow-proxy", &["slow-proxy"][..]),
        ("  - name: tenant-full", &["tenant-full", "known-denial"]),
    ] {
        let yaml = sample(DECISIONS, line);
        let file = folder.join("sample-rules.yaml");
        std::fs::write(&file, yaml).expect("a file");
        let flags = [("config", file.display().to_string())].into();
        let env = |name: &str| (name == settings::TOKEN_ENV).then(|| "a key".to_owned());
        let config = helmreboot::config::Config::load(&flags, &env).expect("a configuration");
        let own = config.classifier.entries().iter();
        let own = own.filter(|entry| entry.family == OWN);
        let own: Vec<_> = own.map(|entry| entry.rule.name).collect();
        assert_eq!(own, names);
    }
    assert_eq!(sample(DECISIONS, "  - name: slow-proxy").lines().count(), 3);
}

#[test]
fn the_sample_configuration_is_understood() {
    let yaml = sample(CONFIGURATION, "clusters:");
    let folder = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let mut text = yaml.to_owned();
    for name in ["hub", "prod-eu-team-a", "prod-eu"] {
        let file = folder.join(format!("sample-{name}"));
        std::fs::write(&file, format!("key of {name}")).expect("a file");
        text = text.replace(
            &format!("file: /etc/helmreboot/keys/{name}\n"),
            &format!("file: {}\n", file.display()),
        );
    }
    let file = folder.join("sample.yaml");
    std::fs::write(&file, text).expect("a file");
    let flags = [("config", file.display().to_string())].into();
    let env = |name: &str| (name == "PROD_EU_NEXT_KEY").then(|| "the next key".to_owned());
    let config = helmreboot::config::Config::load(&flags, &env).expect("a configuration");
    assert_eq!(config.clusters.len(), 2);
    assert_eq!(config.clusters[1].keys.len(), 3);
    assert_eq!(config.policies.base.limit, 3);
}

#[test]
fn the_sample_policies_are_understood() {
    let yaml = sample(CONFIGURATION, "policies:");
    let file = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("policies.yaml");
    std::fs::write(&file, yaml).expect("a file");
    let flags = [("config", file.display().to_string())].into();
    let env = |name: &str| (name == settings::TOKEN_ENV).then(|| "a key".to_owned());
    let config = helmreboot::config::Config::load(&flags, &env).expect("a configuration");
    let listed = &config.policies.listed;
    assert_eq!(listed.len(), 2);
    assert_eq!((listed[0].1.limit, listed[0].1.slow_lane), (1, None));
}

#[test]
fn what_tests_run_with_is_what_users_get() {
    let env = |name: &str| (name == settings::TOKEN_ENV).then(|| "a key".to_owned());
    let config = helmreboot::config::Config::load(&std::collections::BTreeMap::new(), &env);
    let given = Options::of(&config.expect("a configuration"));
    let default = Options::default();
    assert_eq!(given.policies.base, default.policies.base);
    assert_eq!(given.limits, default.limits);
    assert_eq!(given.sweep, default.sweep);
    assert_eq!(given.queue_capacity, default.queue_capacity);
    assert_eq!(given.max_event_age, default.max_event_age);
    assert_eq!(given.max_event_ahead, default.max_event_ahead);
}
