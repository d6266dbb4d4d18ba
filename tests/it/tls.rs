//! Alerts over HTTPS: what remote clusters send does not cross a network in the open.

use std::{fs, net::SocketAddr, path::PathBuf, sync::Arc};

use helmreboot::{
    app::{address_of, bind},
    config::TlsFiles,
    server::{self, tls::Tls},
};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::CertificateDer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::support::{Live, TestApp};

/// A folder with a certificate, as a mounted Secret is one.
struct Mounted(PathBuf);

impl Mounted {
    fn new(name: &str) -> Self {
        let folder =
            std::env::temp_dir().join(format!("helmreboot-tls-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        Self(folder)
    }

    fn files(&self) -> TlsFiles {
        TlsFiles {
            certificate: self.0.join("tls.crt"),
            key: self.0.join("tls.key"),
            place: "--tls-cert-file".into(),
        }
    }

    /// Puts a fresh certificate there, which only whoever trusts the answer accepts.
    fn renew(&self) -> CertificateDer<'static> {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["helmreboot".to_owned()]).expect("a certificate");
        fs::write(self.files().certificate, cert.pem()).expect("a file");
        fs::write(self.files().key, signing_key.serialize_pem()).expect("a file");
        cert.der().clone()
    }
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
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
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
    let listener = bind("127.0.0.1:0").expect("a port");
    let address = address_of(&listener);
    tokio::spawn(server::serve(
        listener,
        app.router(),
        axum_server::Handle::new(),
        Some(tls.served()),
    ));

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

    assert_eq!(tls.renew(), Ok(false), "nothing changed");
    let second = mounted.renew();
    assert_eq!(tls.renew(), Ok(true));
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
    let problem = tls.renew().expect_err("no key");
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
    let said = |files: TlsFiles| Tls::new(files).expect_err("a fault");
    assert!(said(ours.files()).contains("tls.crt: No such file"));
    ours.renew();
    theirs.renew();
    let mixed = TlsFiles {
        key: theirs.files().key,
        ..ours.files()
    };
    assert!(said(mixed).contains("do not go together"));
    fs::write(ours.files().certificate, "").expect("a file");
    assert!(said(ours.files()).contains("holds no certificate"));
}
