//! What the README says is so.

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

const README: &str = include_str!("../../README.md");

#[test]
fn the_configuration_table_is_the_code_s() {
    for setting in settings::ALL {
        let cell = |text: Option<&str>| {
            text.filter(|text| !text.is_empty())
                .map_or("–".to_owned(), |text| format!("`{text}`"))
        };
        let row = format!(
            "| `--{}` | `{}` | {} | {} | {} |",
            setting.flag,
            setting.env,
            cell(setting.path),
            cell(Some(setting.default)),
            setting.help
        );
        assert!(
            README.lines().any(|line| line == row),
            "the README lacks\n{row}"
        );
    }
    let rows = README
        .lines()
        .filter(|line| line.starts_with("| `--"))
        .count();
    assert_eq!(
        rows,
        settings::ALL.len(),
        "the README has rows for settings that do not exist"
    );
    assert!(README.contains(settings::TOKEN_ENV));
}

/// The table that begins so has exactly these rows.
fn is_shown(heading: &str, expected: &[String]) {
    let shown = README.split_once(heading).map_or("", |(_, rest)| rest);
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
    is_shown("| live HelmRelease |", &expected);
}

#[test]
fn every_word_of_the_decision_table_is_explained() {
    for why in Reason::ALL {
        assert!(
            README.contains(&format!("`{}`", why.as_str())),
            "{}",
            why.as_str()
        );
    }
    for end in ledger::RestartOutcome::ALL {
        assert!(
            README.contains(&format!("`{}`", end.as_str())),
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
        policy::POLICY,
        policy::LIMIT,
        policy::AFTER_ROLLBACK,
    ];
    for name in WRITTEN.into_iter().chain(read) {
        assert!(README.contains(&format!("`{name}")), "{name}");
    }
}

/// The first sample of YAML that holds a line.
fn sample(line: &str) -> &'static str {
    let mut samples = README
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
    is_shown("| family | about |", &expected);
}

#[test]
fn the_sample_rules_are_understood() {
    let folder = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    for (line, names) in [
        ("  - name: slow-proxy", &["slow-proxy"][..]),
        ("  - name: tenant-full", &["tenant-full", "known-denial"]),
    ] {
        let yaml = sample(line);
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
    assert_eq!(sample("  - name: slow-proxy").lines().count(), 3);
}

#[test]
fn the_sample_configuration_is_understood() {
    let yaml = sample("clusters:");
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
    let yaml = sample("policies:");
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
    assert_eq!(given.caps, default.caps);
    assert_eq!(given.sweep, default.sweep);
    assert_eq!(given.queue_capacity, default.queue_capacity);
    assert_eq!(given.max_event_age, default.max_event_age);
    assert_eq!(given.max_event_ahead, default.max_event_ahead);
}
