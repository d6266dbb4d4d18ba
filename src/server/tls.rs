//! TLS at the webhook: a certificate and its key out of files, read again when they change.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use axum_server::tls_rustls::RustlsConfig;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::blocking;

/// The most bytes of either file.
const FILE_LIMIT: u64 = 1 << 20;

/// The files of the certificate and its key.
#[derive(Clone, Debug)]
pub struct Files {
    /// PEM: the certificate, then those between it and the root.
    pub certificate: PathBuf,
    /// PEM: PKCS#8, PKCS#1 or SEC1, without a password.
    pub key: PathBuf,
}

/// What the listener serves with, and what it was made from.
#[derive(Clone)]
pub struct Tls {
    files: Files,
    read: Contents,
    served: RustlsConfig,
}

/// The contents of both files. Has no Debug: it holds the key.
#[derive(Clone, PartialEq, Eq)]
pub struct Contents(Vec<u8>, Vec<u8>);

impl Tls {
    /// Reads both files.
    ///
    /// # Errors
    /// A file that cannot be read, holds nothing of the kind, or a key that is not the certificate's.
    pub fn new(files: Files) -> Result<Self, String> {
        let read = read(&files)?;
        let served = RustlsConfig::from_config(server(&files, &read)?);
        Ok(Self {
            files,
            read,
            served,
        })
    }

    /// What the listener needs. Clones of it see what [`Self::renew`] brings.
    pub fn served(&self) -> RustlsConfig {
        self.served.clone()
    }

    /// Returns a function that reads both files. That function blocks.
    pub fn reader(&self) -> impl FnOnce() -> Result<Contents, String> + Send + use<> {
        let files = self.files.clone();
        move || read(&files)
    }

    /// Serves with these contents. Returns true if they changed. Connections that exist keep their certificate.
    ///
    /// # Errors
    /// As for [`Self::new`]; the earlier certificate stays in use.
    pub fn renew(&mut self, read: Contents) -> Result<bool, String> {
        if read == self.read {
            return Ok(false);
        }
        self.served.reload_from_config(server(&self.files, &read)?);
        self.read = read;
        Ok(true)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.files.fmt(f)
    }
}

fn read(files: &Files) -> Result<Contents, String> {
    let read = |path: &Path| {
        blocking::contents(path, FILE_LIMIT).map_err(|error| {
            format!(
                "cannot read {}: {error}; write the path of a PEM file",
                path.display()
            )
        })
    };
    Ok(Contents(read(&files.certificate)?, read(&files.key)?))
}

fn server(
    files: &Files,
    Contents(certificate, key): &Contents,
) -> Result<Arc<ServerConfig>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
    let chain = chain
        .ok()
        .filter(|chain| !chain.is_empty())
        .ok_or_else(|| {
            format!(
                "{} holds no certificate; put the PEM of one into it",
                files.certificate.display()
            )
        })?;
    // What is said about a key never repeats it.
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| {
        format!(
            "{} holds no private key; put the PEM of one without a password into it",
            files.key.display()
        )
    })?;
    let mut server = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| {
            format!(
                "{} and {} do not go together: {error}",
                files.certificate.display(),
                files.key.display()
            )
        })?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(server))
}
