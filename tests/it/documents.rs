//! The documents agree with the code.

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
        let (flag, env) = setting.process.expect("a flag and a variable");
        let (path, default) = (
            cell(setting.path.unwrap_or_default()),
            cell(setting.default),
        );
        format!(
            "| `--{flag}` | `{env}` | {path} | {default} | {} |",
            setting.help
        )
    });
    let file = settings::FILE.iter().map(|setting| {
        let (path, default) = (
            cell(setting.path.unwrap_or_default()),
            cell(setting.default),
        );
        format!("| {path} | {default} | {} |", setting.help)
    });
    is_shown(CONFIGURATION, "| flag |", &process.collect::<Vec<_>>());
    is_shown(CONFIGURATION, "| setting |", &file.collect::<Vec<_>>());
    assert!(CONFIGURATION.contains(settings::TOKEN_ENV));
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
    let shown = page.split_once(heading).map_or("", |(_, rest)| rest);
    let shown: Vec<_> = shown.lines().skip(2).take(expected.len() + 1).collect();
    let (last, rows) = shown.split_last().expect("a table");
    assert_eq!(rows, expected, "\n{}", expected.join("\n"));
    assert_eq!(*last, "");
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
