//! A client for HTTP and HTTPS, apart from those of API servers.

use std::sync::Arc;

use axum::body::Body;
use http::{Request, Response, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{ClientConfig, RootCertStore};
use tower::{BoxError, ServiceExt, util::BoxCloneSyncService};

use crate::kubernetes::tls;

/// How requests get to an address.
pub type Transport = BoxCloneSyncService<Request<Body>, Response<Body>, BoxError>;

/// Connects over TCP, and over TLS where the address says so.
pub type Connector = HttpsConnector<HttpConnector>;

/// A connector that trusts these authorities; `None` for those of the machine.
///
/// # Errors
/// The TLS configuration cannot be made.
pub fn connector(
    address: &Uri,
    trusted: Option<Arc<RootCertStore>>,
) -> Result<Connector, rustls::Error> {
    let trusted = trusted.unwrap_or_else(|| {
        // Without TLS no authority is needed, and a machine may have none.
        if address.scheme_str() == Some("http") {
            Arc::new(RootCertStore::empty())
        } else {
            tls::machine_roots()
        }
    });
    let client = ClientConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(trusted)
        .with_no_client_auth();
    let builder = HttpsConnectorBuilder::new().with_tls_config(client);
    Ok(builder.https_or_http().enable_http1().build())
}

/// Sends requests to an address, with the authorities of the machine.
///
/// # Errors
/// The TLS configuration cannot be made.
pub fn transport(address: &Uri) -> Result<Transport, String> {
    let connector = connector(address, None).map_err(|error| error.to_string())?;
    let client: Client<_, Body> = Client::builder(TokioExecutor::new()).build(connector);
    Ok(BoxCloneSyncService::new(
        client
            .map_response(|response| response.map(Body::new))
            .map_err(BoxError::from),
    ))
}

/// Sends requests over HTTP without TLS.
pub fn over_tcp() -> Transport {
    let client: Client<_, Body> = Client::builder(TokioExecutor::new()).build_http();
    BoxCloneSyncService::new(
        client
            .map_response(|response| response.map(Body::new))
            .map_err(BoxError::from),
    )
}
