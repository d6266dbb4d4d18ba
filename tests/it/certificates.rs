//! Certificates of API servers and of clients, as kubectl accepts them. In real time, over sockets.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum_server::tls_rustls::RustlsConfig;
use helmreboot::{kubernetes::tls, server::connections::Connections};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PKCS_ECDSA_P521_SHA512};
use rustls::{
    DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use serde_json::json;

use crate::{
    clusters::{Server, file, serve},
    running::{Running, helmreboot, kubeconfig},
};

/// A server takes any client certificate, as it is: what matters here is that one is sent.
#[derive(Debug)]
struct AnyClient(Arc<Mutex<Vec<Vec<u8>>>>);

impl ClientCertVerifier for AnyClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.0.lock().expect("no panic").push(certificate.to_vec());
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        tls::provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

type Seen = Arc<Mutex<Vec<Vec<u8>>>>;

/// The TLS of a server with this chain and key, which records the client certificates that it sees.
fn tls_of(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    seen: &Seen,
) -> Arc<ServerConfig> {
    let config = ServerConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(Arc::new(AnyClient(Arc::clone(seen))))
        .with_single_cert(chain, key)
        .expect("a certificate and its key");
    Arc::new(config)
}

/// An API server over TLS with this chain and key, the client certificates that it saw, and its TLS.
pub(crate) async fn over_tls(
    server: &Server,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> (SocketAddr, Seen, RustlsConfig) {
    let seen = Seen::default();
    let config = RustlsConfig::from_config(tls_of(chain, key, &seen));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(helmreboot::server::serve(
        listener,
        server.router.clone(),
        axum_server::Handle::new(),
        Some(config.clone()),
        Connections::new(64),
        Duration::from_secs(75),
    ));
    (address, seen, config)
}

/// A certificate authority with P-521 and SHA-512.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P521_SHA512).expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("a certificate");
        let issuer = Issuer::new(params, key);
        Self {
            issuer,
            certificate,
        }
    }

    pub(crate) fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// A certificate for that name, and its key.
    fn sign(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P521_SHA512).expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
        let certificate = params.signed_by(&key, &self.issuer);
        (certificate.expect("a certificate"), key)
    }

    /// The same, as a TLS server takes them.
    pub(crate) fn issue(
        &self,
        name: &str,
    ) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let (certificate, key) = self.sign(name);
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        (vec![certificate.der().clone()], key)
    }
}

/// Base64 in lines of 76 characters, as `base64` writes it.
pub(crate) fn wrapped(pem: &str) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(pem);
    let lines = text.as_bytes().chunks(76).map(String::from_utf8_lossy);
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_kubectl_accepts_are_accepted() {
    // Private authorities sign with P-521 and SHA-512.
    let authority = Authority::new();
    let server = Server::new();
    let (chain, key) = authority.issue("127.0.0.1");
    let (address, seen, _) = over_tls(&server, chain, key).await;
    // An X.509 v1 client certificate, as MicroK8s makes them.
    let v1 = include_str!("../fixtures/tls/v1-client.crt");
    let user = json!({"client-certificate-data": wrapped(v1),
        "client-key-data": wrapped(include_str!("../fixtures/tls/v1-client.key"))});
    let cluster = json!({"server": format!("https://{address}"), "certificate-authority-data": wrapped(&authority.pem())});
    let _program = serve(&kubeconfig("old-certificates", &cluster, &user));
    server.healed(1, Duration::from_secs(10), "over TLS").await;
    let sent = CertificateDer::from_pem_slice(v1.as_bytes()).expect("a certificate");
    assert_eq!(seen.lock().expect("no panic")[0], sent.to_vec());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_serves_itself_is_refused_with_how_to_replace_it() {
    let secret = KeyPair::generate().expect("a key");
    let names = vec!["127.0.0.1".to_owned()];
    let mut params = CertificateParams::new(names).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let own = params.self_signed(&secret).expect("a certificate");
    let server = Server::new();
    let der = PrivateKeyDer::try_from(secret.serialize_der()).expect("a key");
    let (address, ..) = over_tls(&server, vec![own.der().clone()], der).await;
    let cluster = json!({"server": format!("https://{address}"), "certificate-authority-data": wrapped(&own.pem())});
    let mut program = serve(&kubeconfig("own-authority", &cluster, &json!({})));
    program.wait_for(&["CA:FALSE", "sign a certificate for the server with it"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_its_key_and_the_authority_are_rotated_in_place() {
    let authority = Authority::new();
    let server = Server::new();
    let (chain, key) = authority.issue("127.0.0.1");
    let (address, seen, tls) = over_tls(&server, chain, key).await;
    let (certificate, key) = (
        file("rotated-client.crt", ""),
        file("rotated-client.key", ""),
    );
    let roots = file("rotated-authority.crt", &authority.pem());
    let write = |file: &PathBuf, text: String| std::fs::write(file, text).expect("a file");
    let (first, first_key) = authority.sign("client");
    write(&certificate, first.pem());
    write(&key, first_key.serialize_pem());
    let cluster = json!({"server": format!("https://{address}"), "certificate-authority": roots});
    let user = json!({"client-certificate": certificate, "client-key": key});
    let mut program = Running::start(
        helmreboot()
            .args(["serve", "--log-level=debug", "--cluster-name=a"])
            .arg("--kubeconfig")
            .arg(kubeconfig("rotated-certificates", &cluster, &user))
            .env("HELMREBOOT_TOKEN", "the key"),
    );
    server.healed(1, Duration::from_secs(10), "before").await;
    let last = || seen.lock().expect("no panic").last().cloned();
    assert_eq!(last().as_deref(), Some(first.der().as_ref()));

    // The files of a pair are not replaced in the same moment. The client stays in use until they fit.
    let (second, second_key) = authority.sign("client");
    write(&certificate, second.pem());
    program.wait_for(&["which stays in use", "do not belong together"]);
    write(&key, second_key.serialize_pem());
    program.wait_for(&["the changed credentials of cluster a are now used"]);
    server.stuck("second");
    server.healed(2, Duration::from_secs(10), "the pair").await;
    assert_eq!(last().as_deref(), Some(second.der().as_ref()));

    // The API server shows a certificate of another authority to new connections.
    let other = Authority::new();
    let (chain, secret) = other.issue("127.0.0.1");
    tls.reload_from_config(tls_of(chain, secret, &seen));
    write(&roots, other.pem());
    program.wait_for(&["the changed credentials of cluster a are now used"]);
    server.stuck("third");
    server
        .healed(3, Duration::from_secs(10), "the authority")
        .await;
}
