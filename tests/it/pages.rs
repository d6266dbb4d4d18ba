//! The commands on our pages work as they stand.

use std::fs;

use crate::packaging::{chart, name_of, strictly};

/// The commands of a page that install the chart, with what follows its address.
fn installed(page: &str) -> Vec<Vec<String>> {
    let joined = page.replace("\\\n", "");
    let commands = joined
        .lines()
        .filter(|line| line.starts_with("helm install ") || line.starts_with("helm upgrade "));
    let arguments = |command: &str| {
        let command = command
            .replace("$(openssl rand -hex 32)", "secret")
            .replace("$KEY", "secret");
        let words = command
            .split_whitespace()
            .skip(4)
            .map(|word| word.trim_matches('\'').to_owned());
        words.collect::<Vec<_>>()
    };
    commands.map(arguments).collect()
}

/// What only a cluster can be asked for.
const ABOUT_THE_CLUSTER: [&str; 4] = [
    "--create-namespace",
    "--wait",
    "--install",
    "--reset-then-reuse-values",
];

#[test]
fn the_commands_on_our_pages_install_what_they_say() {
    let pages = [
        include_str!("../../README.md"),
        include_str!("../../docs/install.md"),
    ];
    let home = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    // The values that a page shows are in the folder it is read in.
    for (page, name) in [(pages[1], "values.yaml"), (pages[1], "hub.yaml")] {
        let sample = page
            .split("```yaml\n")
            .find(|sample| sample.starts_with(&format!("# {name}\n")));
        let (sample, _) = sample
            .and_then(|sample| sample.split_once("```"))
            .expect("a sample");
        fs::write(home.join(name), sample).expect("a file");
    }
    let commands: Vec<_> = pages.iter().flat_map(|page| installed(page)).collect();
    assert_eq!(commands.len(), 6, "{commands:?}");
    for command in commands {
        let arguments = command
            .iter()
            .filter(|word| !ABOUT_THE_CLUSTER.contains(&word.as_str()));
        let arguments: Vec<_> = arguments
            .map(|word| {
                if word.ends_with(".yaml") {
                    home.join(word).display().to_string()
                } else {
                    word.clone()
                }
            })
            .collect();
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let Some(rendered) = chart(&arguments) else {
            return;
        };
        let rendered = rendered.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let wired = command
            .iter()
            .any(|word| word == "flux.enabled=true" || word.ends_with(".yaml"));
        let has = |kind: &str| rendered.iter().any(|object| object["kind"] == kind);
        assert_eq!(
            (has("Provider"), has("Alert")),
            (wired, wired),
            "{command:?}"
        );
        for object in &rendered {
            strictly(object)
                .unwrap_or_else(|error| panic!("{command:?}: {}: {error}", name_of(object)));
        }
    }
}
