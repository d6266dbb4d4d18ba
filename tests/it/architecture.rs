//! Imports go one way, and the domain is free of I/O.

use std::{collections::BTreeMap, fs, path::Path};

/// All files of `src`, by their path in it.
fn sources() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
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

#[test]
fn rooms_know_only_those_behind_them() {
    let forbidden: [(&str, &[&str]); 8] = [
        (
            "domain",
            &[
                "crate::app",
                "crate::cluster",
                "crate::server",
                "crate::worker",
                "crate::metrics",
                "crate::config",
                "crate::queue",
            ],
        ),
        (
            "server",
            &[
                "kube",
                "crate::cluster",
                "crate::worker",
                "crate::app",
                "crate::config",
                "crate::cli",
            ],
        ),
        (
            "cluster",
            &[
                "axum",
                "crate::server",
                "crate::worker",
                "crate::app",
                "crate::queue",
            ],
        ),
        (
            "worker",
            &[
                "kube",
                "axum",
                "crate::server",
                "crate::app",
                "crate::config",
                "crate::registry",
            ],
        ),
        (
            "metrics",
            &[
                "kube::",
                "axum",
                "crate::server",
                "crate::cluster",
                "crate::worker",
                "crate::app",
            ],
        ),
        (
            "queue",
            &[
                "kube::",
                "axum",
                "crate::server",
                "crate::cluster",
                "crate::worker",
                "crate::app",
            ],
        ),
        (
            "registry",
            &[
                "kube",
                "axum",
                "crate::server",
                "crate::cluster",
                "crate::worker",
                "crate::app",
            ],
        ),
        (
            "config",
            &[
                "kube::",
                "axum",
                "tokio",
                "crate::server",
                "crate::cluster",
                "crate::worker",
                "crate::app",
            ],
        ),
    ];
    for (name, text) in sources() {
        let room = name.split(['/', '.']).next().expect("a room");
        for (_, words) in forbidden.iter().filter(|(forbidden, _)| *forbidden == room) {
            for word in *words {
                let used = code(&text).lines().any(|line| {
                    line.contains(word)
                        && !line.contains("kubernetes")
                        && !line.contains("kubeconfig")
                });
                assert!(!used, "{name} uses {word}");
            }
        }
        let production = room != "demo" && room != "cli" && name != "main.rs" && name != "lib.rs";
        assert!(
            !production || !code(&text).contains("crate::demo"),
            "{name} uses the demo"
        );
    }
}

#[test]
fn only_cluster_calls_kube() {
    for (name, text) in sources() {
        let allowed = name.starts_with("cluster") || name.starts_with("demo") || name == "app.rs";
        assert!(
            allowed || !code(&text).contains("kube::"),
            "{name} uses kube"
        );
    }
}

#[test]
fn no_file_is_longer_than_four_hundred_lines() {
    for (name, text) in sources() {
        assert!(
            text.lines().count() <= 400,
            "{name} has {} lines",
            text.lines().count()
        );
    }
}
