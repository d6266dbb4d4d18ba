//! The manifests for the plugin catalogs of flux and kubectl, and the names under which these run the program.

use std::{fs, os::unix::fs::symlink, path::Path, process::Command};

use serde_json::Value;
use sha2::{Digest, Sha256};

fn folder(name: &str) -> std::path::PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

#[test]
fn the_manifests_name_each_archive_with_its_checksum() {
    let folder = folder("plugins");
    for arch in ["amd64", "arm64"] {
        fs::write(
            folder.join(format!("helmreboot_1.2.3_linux_{arch}.tar.gz")),
            arch,
        )
        .expect("a file");
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/plugins");
    let url = "https://example.com/v1.2.3";
    let made = Command::new(script)
        .args(["1.2.3", url])
        .arg(&folder)
        .status();
    assert!(made.expect("bash").success());
    let read = |name: &str| -> Value {
        let text = fs::read_to_string(folder.join(name)).expect("a manifest");
        serde_saphyr::from_str(&text).expect("YAML")
    };
    let (flux, krew) = (read("flux-plugin.yaml"), read("krew-plugin.yaml"));
    assert_eq!(flux["apiVersion"], "cli.fluxcd.io/v1beta1");
    assert_eq!(krew["spec"]["version"], "v1.2.3");
    for (index, arch) in ["amd64", "arm64"].into_iter().enumerate() {
        let sum = hex::encode(Sha256::digest(arch));
        let archive = format!("{url}/helmreboot_1.2.3_linux_{arch}.tar.gz");
        let platform = &flux["versions"][0]["platforms"][index];
        assert_eq!(platform["checksum"], format!("sha256:{sum}"));
        assert_eq!(platform["url"], archive);
        let platform = &krew["spec"]["platforms"][index];
        assert_eq!(
            (&platform["sha256"], &platform["uri"]),
            (&sum.into(), &archive.into())
        );
    }
}

#[test]
fn as_a_plugin_it_shows_the_command_that_people_type() {
    let folder = folder("plugin-names");
    for (name, shown) in [
        ("flux-helmreboot", "flux helmreboot"),
        ("kubectl-helmreboot", "kubectl helmreboot"),
    ] {
        let link = folder.join(name);
        symlink(env!("CARGO_BIN_EXE_helmreboot"), &link).expect("a link");
        let run = |arguments: &[&str]| {
            let output = Command::new(&link)
                .args(arguments)
                .output()
                .expect("it runs");
            String::from_utf8(output.stdout).expect("text")
        };
        assert!(run(&["status", "--help"]).contains(&format!("Usage: {shown} status")));
        let completed = run(&["__complete", "sta"]);
        assert!(
            completed.starts_with("status\t") && completed.ends_with("\n:4\n"),
            "{completed}"
        );
    }
}
