//! The way to the webhook: over HTTPS, so that what remote clusters send does not cross a network in the
//! open, and `helmreboot send`, which says whether it is open.

use std::{fs, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use helmreboot::{
    app::{address_of, bind},
    clock::Clock,
    demo::fake_cluster::FakeCluster,
    domain::signature::{Key, Secret},
    server::{
        self,
        tls::{Files, Tls},
    },
};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, pki_types::CertificateDer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::support::{Live, TestApp, alerts_only};

/// A folder with a certificate, as a mounted Secret is one.
struct Mounted(PathBuf);

impl Mounted {
    fn new(name: &str) -> Self {
        let folder =
            std::env::temp_dir().join(format!("helmreboot-tls-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        Self(folder)
    }

    fn files(&self) -> Files {
        Files {
            certificate: self.0.join("tls.crt"),
            key: self.0.join("tls.key"),
        }
    }

    /// Puts a fresh certificate there, which only whoever trusts the answer accepts.
    fn renew(&self) -> CertificateDer<'static> {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["helmreboot".to_owned(), "localhost".to_owned()])
                .expect("a certificate");
        fs::write(self.files().certificate, cert.pem()).expect("a file");
        fs::write(self.files().key, signing_key.serialize_pem()).expect("a file");
        cert.der().clone()
    }
}

/// Serves the webhook as the program does.
fn listen(app: &TestApp, tls: Option<&Tls>) -> SocketAddr {
    listen_at("127.0.0.1:0", app, tls)
}

fn listen_at(address: &str, app: &TestApp, tls: Option<&Tls>) -> SocketAddr {
    let listener = bind(address).expect("a port");
    let address = address_of(&listener);
    let handle = axum_server::Handle::new();
    tokio::spawn(server::serve(
        listener,
        app.router(),
        handle,
        tls.map(Tls::served),
        server::connections::Connections::new(64),
        Duration::from_secs(75),
    ));
    address
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What is answered to this request by whom the caller trusts.
async fn ask(
    address: SocketAddr,
    trusted: &CertificateDer<'static>,
    request: &str,
) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).expect("a root");
    let client = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "helmreboot".try_into().expect("a name");
    let stream = TcpStream::connect(address).await?;
    let mut stream = TlsConnector::from(Arc::new(client))
        .connect(name, stream)
        .await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = vec![0; 4096];
    let read = stream.read(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer[..read]).into_owned())
}

#[tokio::test]
async fn alerts_come_in_over_tls_and_over_nothing_else_and_a_new_certificate_needs_no_restart() {
    let (app, mounted) = (TestApp::new(), Mounted::new("renewed"));
    let first = mounted.renew();
    let mut tls = Tls::new(mounted.files()).expect("a certificate");
    let address = listen(&app, Some(&tls));

    let release = app.holds(Live::stalled("web"));
    let body = app.event("a", &release).to_string();
    let request = format!(
        "POST /webhook/a HTTP/1.1\r\nhost: helmreboot\r\ncontent-type: application/json\r\nx-signature: {}\r\ncontent-length: {}\r\n\r\n{body}",
        app.sign("a", &body),
        body.len()
    );
    let answer = ask(address, &first, &request).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");

    let mut plain = TcpStream::connect(address).await.expect("a connection");
    plain.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "plain HTTP is answered");

    assert_eq!(
        tls.reader()().and_then(|read| tls.renew(read)),
        Ok(false),
        "nothing changed"
    );
    let second = mounted.renew();
    assert_eq!(tls.reader()().and_then(|read| tls.renew(read)), Ok(true));
    ask(address, &first, &request)
        .await
        .expect_err("the old certificate is gone");
    ask(address, &second, &request)
        .await
        .expect("the new one is served");

    fs::write(
        mounted.files().key,
        "-----BEGIN PRIVATE KEY-----\nhunter2\n",
    )
    .expect("a file");
    let problem = tls.reader()()
        .and_then(|read| tls.renew(read))
        .expect_err("no key");
    assert!(
        problem.contains("holds no private key") && !problem.contains("hunter2"),
        "{problem}"
    );
    ask(address, &second, &request)
        .await
        .expect("the last good one is still served");
}

#[test]
fn what_cannot_be_served_is_said_before_a_port_is_bound() {
    let (ours, theirs) = (Mounted::new("ours"), Mounted::new("theirs"));
    let said = |files: Files| Tls::new(files).expect_err("a fault");
    assert!(said(ours.files()).contains("tls.crt: No such file"));
    ours.renew();
    theirs.renew();
    let mixed = Files {
        key: theirs.files().key,
        ..ours.files()
    };
    assert!(said(mixed).contains("do not go together"));
    fs::write(ours.files().certificate, "").expect("a file");
    assert!(said(ours.files()).contains("holds no certificate"));
}

/// One cluster, `a`, and the time of this machine, which `send` goes by.
fn today() -> TestApp {
    let clock = Clock::system();
    let clusters = [("a".to_owned(), FakeCluster::new(clock.clone()))];
    TestApp::around(alerts_only(), clusters.into(), clock)
}

/// `helmreboot send` as cluster `a`, with this key.
async fn send(key: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_helmreboot"));
    command.args(["send", "--cluster-name=a"]).args(arguments);
    let output = command.env_clear().env("HELMREBOOT_TOKEN", key).output();
    let output = output.await.expect("the program runs");
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

#[tokio::test]
async fn send_says_whether_the_way_is_open_and_the_key_the_same() {
    let app = today();
    let url = format!("http://{}", listen(&app, None));
    let bare = url.trim_start_matches("http://");
    let alerts = format!("{url}/alerts");
    for (key, url, code, part) in [
        (
            "key of a",
            url.as_str(),
            0,
            "/webhook/a answered 202 Accepted",
        ),
        ("hunter2", &url, 1, "is it the same key"),
        ("key of a", &alerts, 1, "the path is /webhook"),
        (
            "key of a",
            "http://127.0.0.1:1",
            1,
            "is the service running",
        ),
        ("key of a", bare, 64, "write it as http://host:port"),
    ] {
        let (ended, said) = send(key, &["--url", url]).await;
        assert_eq!(ended, Some(code), "{said}");
        assert!(said.contains(part) && !said.contains("hunter2"), "{said}");
    }
    let ignored = "helmreboot_alerts_ignored_total{reason=\"severity\"}";
    assert_eq!(app.metric(ignored).await, 1.0);
    assert!(
        app.cluster("a").calls().is_empty(),
        "a test asks for nothing"
    );
}

#[tokio::test]
async fn send_waits_for_a_service_that_is_only_just_there() {
    let app = today();
    let address = address_of(&bind("127.0.0.1:0").expect("a port")).to_string();
    let url = format!("http://{address}");
    let arguments = ["--url", &url];
    let sent = send("key of a", &arguments);
    let begins = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        listen_at(&address, &app, None);
    };
    let ((code, said), ()) = tokio::join!(sent, begins);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("trying again for 5 s"), "{said}");
}

#[tokio::test]
async fn send_trusts_the_authority_it_is_given_and_no_other() {
    let (app, mounted) = (today(), Mounted::new("send"));
    mounted.renew();
    let tls = Tls::new(mounted.files()).expect("a certificate");
    let url = format!("https://localhost:{}", listen(&app, Some(&tls)).port());
    let authority = mounted.files().certificate.display().to_string();
    let (code, said) = send("key of a", &["--url", &url, "--ca-file", &authority]).await;
    assert_eq!(code, Some(0), "{said}");
    let key = mounted.files().key.display().to_string();
    let (code, said) = send("key of a", &["--url", &url, "--ca-file", &key]).await;
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("holds no certificate"), "{said}");
    let other = Mounted::new("other");
    other.renew();
    let stranger = other.files().certificate.display().to_string();
    for (url, arguments, advice) in [
        (url.clone(), vec!["--ca-file", &stranger], "with --ca-file"),
        (url.replace("https", "http"), vec![], "write https://"),
    ] {
        let (code, said) = send("key of a", &[vec!["--url", &url], arguments].concat()).await;
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(advice), "{said}");
    }
}

#[tokio::test]
async fn send_speaks_for_a_namespace_that_its_key_may_speak_for() {
    let clock = Clock::system();
    let clusters = [("a".to_owned(), FakeCluster::new(clock.clone()))];
    let bound = Key::new(
        Secret::new("bound").expect("a key"),
        Some(["team".to_owned()].into()),
    );
    let app = TestApp::keyed(
        alerts_only(),
        clusters.into(),
        clock,
        [("a".to_owned(), bound)].into(),
    );
    let url = format!("http://{}", listen(&app, None));
    let folder = Mounted::new("bound");
    let config = folder.0.join("config.yaml");
    fs::write(
        &config,
        "clusters: [{name: a, keys: [{env: BOUND, namespaces: [team]}]}]",
    )
    .expect("a file");
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_helmreboot"));
    command
        .args(["send", "--url", &url, "--config"])
        .arg(&config)
        .env_clear()
        .env("BOUND", "bound");
    let output = command.output().await.expect("the program runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
