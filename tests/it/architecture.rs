//! Imports go one way, and the domain is free of I/O.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// All files of `src`, by their path in it.
fn sources() -> BTreeMap<String, String> {
    files_of("src")
}

fn files_of(folder: &str) -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let (mut files, mut folders) = (BTreeMap::new(), vec![root.clone()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path
                    .strip_prefix(&root)
                    .expect("a path in src")
                    .display()
                    .to_string();
                files.insert(name, fs::read_to_string(&path).expect("a file"));
            }
        }
    }
    assert!(files.len() > 30, "{files:?}");
    files
}

/// The code of a file, without comments.
fn code(text: &str) -> String {
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn the_domain_awaits_nothing_reads_no_clock_and_opens_nothing() {
    let forbidden = [
        "tokio",
        "axum",
        "kube::",
        "hyper",
        "tower",
        "async fn",
        ".await",
        "Timestamp::now",
        "Instant",
        "SystemTime",
        "std::fs",
        "std::env",
        "std::net",
        "std::process",
        "println!",
        "tracing",
        "rand",
    ];
    for (name, text) in sources()
        .iter()
        .filter(|(name, _)| name.starts_with("domain"))
    {
        for word in forbidden {
            assert!(!code(text).contains(word), "{name} uses {word}");
        }
    }
}

/// The modules that each module may import. What is not listed here may import all of them.
const IMPORTS: [(&str, &[&str]); 15] = [
    ("domain", &["domain"]),
    ("clock", &[]),
    ("metrics", &["domain", "metrics"]),
    ("isolation", &["metrics"]),
    ("leadership", &[]),
    ("queue", &["clock", "domain", "queue"]),
    (
        "kubernetes",
        &[
            "blocking",
            "clock",
            "config",
            "domain",
            "isolation",
            "kubernetes",
            "metrics",
            "reporter",
        ],
    ),
    ("reporter", &["clock", "domain"]),
    ("clusters", &["clock", "domain", "metrics", "queue"]),
    (
        "config",
        &["blocking", "clock", "config", "domain", "server", "webhook"],
    ),
    (
        "webhook",
        &[
            "clock",
            "clusters",
            "domain",
            "isolation",
            "leadership",
            "metrics",
            "queue",
            "server",
        ],
    ),
    (
        "controller",
        &[
            "clock",
            "clusters",
            "config",
            "controller",
            "domain",
            "isolation",
            "kubernetes",
            "leadership",
            "metrics",
            "notify",
            "queue",
            "reporter",
        ],
    ),
    (
        "dashboard",
        &[
            "clock",
            "clusters",
            "controller",
            "dashboard",
            "domain",
            "http_client",
            "leadership",
        ],
    ),
    ("http_client", &["kubernetes"]),
    (
        "notify",
        &[
            "domain",
            "http_client",
            "isolation",
            "kubernetes",
            "metrics",
        ],
    ),
];

/// The modules that a file imports: `crate::a`, and each `a` of `use crate::{a, ...}`.
fn imports(code: &str) -> BTreeSet<String> {
    let name = |text: &str| -> String {
        text.chars()
            .take_while(|at| at.is_alphanumeric() || *at == '_')
            .collect()
    };
    let mut modules = BTreeSet::new();
    for after in code.split("crate::").skip(1) {
        let Some(group) = after.strip_prefix('{') else {
            modules.insert(name(after));
            continue;
        };
        let mut depth = 0;
        let mut begins = true;
        for (at, character) in group.char_indices() {
            match character {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => begins = true,
                _ if begins && character.is_alphabetic() => {
                    modules.insert(name(&group[at..]));
                    begins = false;
                }
                _ => {}
            }
        }
    }
    modules
}

/// The top module of a file.
fn module(name: &str) -> &str {
    name.split(['/', '.']).next().expect("a module")
}

#[test]
fn modules_import_only_those_that_they_are_built_on() {
    let mut wrong = Vec::new();
    for (name, text) in sources() {
        let imported = imports(&code(&text));
        let own = module(&name);
        if let Some((_, allowed)) = IMPORTS.iter().find(|(module, _)| *module == own) {
            let other = imported
                .iter()
                .filter(|import| !allowed.contains(&import.as_str()));
            wrong.extend(other.map(|import| format!("{name} imports {import}")));
        }
        if !["demo", "cli", "main", "lib"].contains(&own) && imported.contains("demo") {
            wrong.push(format!("{name} imports the demo"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn only_the_modules_that_serve_or_send_http_use_axum() {
    for (name, text) in sources() {
        let modules = [
            "webhook",
            "server",
            "app",
            "cli",
            "dashboard",
            "demo",
            "http_client",
            "notify",
        ];
        let serves = modules.contains(&module(&name));
        assert!(serves || !code(&text).contains("axum"), "{name} uses axum");
    }
}

#[test]
fn only_the_module_kubernetes_calls_kube() {
    for (name, text) in sources() {
        let allowed = ["kubernetes", "demo"]
            .iter()
            .any(|module| name.starts_with(module));
        assert!(
            allowed || name == "app.rs" || !code(&text).contains("kube::"),
            "{name} uses kube"
        );
    }
}

#[test]
fn no_file_is_longer_than_four_hundred_lines() {
    for (name, text) in sources().into_iter().chain(files_of("tests")) {
        assert!(
            text.lines().count() <= 400,
            "{name} has {} lines",
            text.lines().count()
        );
    }
}
