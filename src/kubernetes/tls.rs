//! TLS towards API servers: what is trusted, and who we are.

use std::sync::{Arc, LazyLock};

use rustls::{
    ClientConfig, DigitallySignedStruct, InconsistentKeys, RootCertStore, SignatureScheme,
    client::{
        ResolvesClientCert, Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    sign::CertifiedKey,
};

/// The one provider of this process. aws-lc-rs knows P-521 and ECDSA with SHA-512, which ring does not.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));
    Arc::clone(&PROVIDER)
}

/// The authorities this machine trusts, read once: a thousand clusters share them. What cannot be read
/// is left out.
pub fn machine_roots() -> Arc<RootCertStore> {
    static ROOTS: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(roots)
    });
    Arc::clone(&ROOTS)
}

/// Sessions that are kept for resumption: there is one server.
const SESSIONS: usize = 4;

/// The authorities of a PEM bundle.
///
/// # Errors
/// There is none in it that can be used.
pub(super) fn roots(pem: &[u8]) -> Result<Arc<RootCertStore>, String> {
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok);
    let (added, _) = roots.add_parsable_certificates(certificates);
    if added == 0 {
        return Err(
            "it holds no certificate; put the PEM of the cluster's authority into it".into(),
        );
    }
    Ok(Arc::new(roots))
}

/// A certificate with its key. Like client-go's `tls.X509KeyPair`, only whether they belong together is
/// checked here; the server decides. (rustls itself refuses X.509 v1, which stock MicroK8s uses.)
#[derive(Debug)]
struct Identity(Arc<CertifiedKey>);

impl ResolvesClientCert for Identity {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// How to speak TLS to a server that one of `roots` vouches for, or to any server at all.
///
/// # Errors
/// What is wrong with the certificate or its key. Never repeats either.
pub(super) fn client_config(
    roots: Option<Arc<RootCertStore>>,
    identity: Option<(&[u8], &[u8])>,
) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match roots {
        Some(roots) => builder.with_root_certificates(roots),
        None => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer)),
    };
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let identity = certified_key(certificate, key)?;
            builder.with_client_cert_resolver(Arc::new(Identity(Arc::new(identity))))
        }
    };
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    Ok(config)
}

fn certified_key(certificate: &[u8], key: &[u8]) -> Result<CertifiedKey, String> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate)
        .filter_map(Result::ok)
        .collect();
    if chain.is_empty() {
        return Err("the client certificate holds no PEM certificate; write it again".into());
    }
    let key = PrivateKeyDer::from_pem_slice(key)
        .ok()
        .and_then(|key| provider().key_provider.load_private_key(key).ok())
        .ok_or("the client key holds no private key that can be used; write one as PEM without a password (RSA, ECDSA or Ed25519)")?;
    let identity = CertifiedKey::new(chain, key);
    // Only a certificate that rustls can parse is compared; X.509 v1 is left to the server.
    if let Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) =
        identity.keys_match()
    {
        return Err("the client certificate and the client key do not belong together; write both of the same pair".into());
    }
    Ok(identity)
}

/// Takes any server, where a flag allows that.
#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
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
        provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
