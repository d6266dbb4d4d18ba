//! Certificates of API servers and of clients, as kubectl accepts them. In real time, over sockets.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum_server::tls_rustls::RustlsConfig;
use helmreboot::{cluster::tls, server::connections::Connections};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PKCS_ECDSA_P521_SHA512};
use rustls::{
    DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use serde_json::json;

use crate::{
    binary::kubeconfig,
    clusters::{Server, serve},
};

/// A server takes any client certificate, as it is: what matters here is that one is sent.
#[derive(Debug)]
struct AnyClient(Arc<Mutex<Vec<Vec<u8>>>>);

impl ClientCertVerifier for AnyClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
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

/// An API server over TLS with this chain and key; says which client certificates it saw.
async fn over_tls(
    server: &Server,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> (SocketAddr, Arc<Mutex<Vec<Vec<u8>>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let config = ServerConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(Arc::new(AnyClient(Arc::clone(&seen))))
        .with_single_cert(chain, key)
        .expect("a certificate and its key");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(helmreboot::server::serve(
        listener,
        server.router.clone(),
        axum_server::Handle::new(),
        Some(RustlsConfig::from_config(Arc::new(config))),
        Connections::new(64),
    ));
    (address, seen)
}

/// Base64 in lines of 76 characters, as `base64` writes it.
fn wrapped(pem: &str) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(pem);
    let lines = text.as_bytes().chunks(76).map(String::from_utf8_lossy);
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_kubectl_accepts_are_accepted() {
    // An authority with P-521 and SHA-512, as private ones are.
    let authority_key = KeyPair::generate_for(&PKCS_ECDSA_P521_SHA512).expect("a key");
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params
        .clone()
        .self_signed(&authority_key)
        .expect("a certificate");
    let issuer = Issuer::new(params, &authority_key);
    let server_key = KeyPair::generate_for(&PKCS_ECDSA_P521_SHA512).expect("a key");
    let names = vec!["127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names).expect("parameters");
    let certificate = certificate
        .signed_by(&server_key, &issuer)
        .expect("a certificate");
    let server = Server::new();
    let secret = PrivateKeyDer::try_from(server_key.serialize_der()).expect("a key");
    let (address, seen) = over_tls(&server, vec![certificate.der().clone()], secret).await;
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
    let (address, _) = over_tls(&server, vec![own.der().clone()], der).await;
    let cluster = json!({"server": format!("https://{address}"), "certificate-authority-data": wrapped(&own.pem())});
    let mut program = serve(&kubeconfig("own-authority", &cluster, &json!({})));
    program.wait_for(&["CA:FALSE", "sign a certificate for the server with it"]);
}
