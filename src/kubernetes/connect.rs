//! From what a kubeconfig says to a client. Nothing is sent yet, and nothing waits but for a credential
//! plugin.

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, header};
use http_body_util::Limited;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::{
        legacy::{
            self,
            connect::{
                HttpConnector,
                proxy::{SocksV5, Tunnel},
            },
        },
        proxy::matcher::Intercept,
    },
    rt::{TokioExecutor, TokioTimer},
};
use jiff::Timestamp;
use kube::{
    Client,
    client::{Body, middleware::BaseUriLayer},
};
use rustls::{ClientConfig, pki_types::ServerName};
use tower::{
    ServiceBuilder,
    timeout::TimeoutLayer,
    util::{MapErrLayer, MapRequestLayer},
};
use tower_http::{
    decompression::DecompressionLayer, map_response_body::MapResponseBodyLayer,
    timeout::ResponseBodyTimeoutLayer,
};

use super::{
    ANSWER_LIMIT, CALL_TIMEOUT, exec,
    kubeconfig::{self, Digest, Material},
    proxy, tls, token,
};
use crate::{blocking::BlockingRead, config::clusters::ClusterAccess};

/// How API servers see this program in their audit logs.
const USER_AGENT: &str = concat!("helmreboot/", env!("CARGO_PKG_VERSION"));

/// The most that a connection reads at once. Headers of API servers have a few KiB.
const READ_BUFFER: usize = 64 * 1024;

/// A client, and what it was made from.
pub(super) struct Connected {
    pub(super) client: Client,
    /// How long its credential holds, where that is known.
    pub(super) expires: Option<Timestamp>,
    /// When the credential in use expires, where that is known: for people.
    pub(super) credential_expires: Option<Timestamp>,
    /// Changes with the server and with the credential, which may be a plugin's.
    pub(super) digest: Digest,
    /// Changes with the server.
    pub(super) server: Digest,
}

/// A client for the API server that `reach` leads to.
///
/// # Errors
/// What is wrong with the kubeconfig, and what to do about it.
pub async fn connect(access: &ClusterAccess) -> Result<Client, String> {
    let connected = client(read(access, &mut Reads::default()).await?, None).await?;
    Ok(connected.client)
}

/// Reads of the kubeconfig and the files it refers to.
pub(super) type Reads = BlockingRead<Result<Material, String>>;

/// The kubeconfig and the files it refers to, as they are now.
pub(super) async fn read(access: &ClusterAccess, reads: &mut Reads) -> Result<Material, String> {
    let access = access.clone();
    reads.read(move || kubeconfig::read(&access)).await?
}

/// A client that uses `material`. `limit` is how long the headers of an answer may take, and each part of its
/// body; with it, the size of an answer is limited too.
pub(super) async fn client(
    mut material: Material,
    limit: Option<Duration>,
) -> Result<Connected, String> {
    let mut expires = None;
    if let Some(exec) = material.exec.take() {
        let given = exec::run(&exec).await?;
        expires = given.expiration_timestamp;
        material.token = given.token.or(material.token);
        let pair = given.client_certificate_data.zip(given.client_key_data);
        material.identity = pair
            .map(|(certificate, key)| (certificate.into_bytes(), key.into_bytes()))
            .or(material.identity);
    }
    let of_token = material.token.as_deref().and_then(token::expires);
    let material = material.sealed();
    let digests = (material.digest, material.server_digest());
    let server: Uri = material
        .server
        .parse()
        .ok()
        .filter(|uri: &Uri| uri.host().is_some())
        .ok_or("its server is no address; write it as https://host:port")?;
    let headers = headers(&material)?;
    let tls = tls_config(&material, &server)?;
    let proxy = proxy::find(&server, material.proxy.as_deref(), |name| {
        std::env::var(name).ok()
    })?;
    let way = Way {
        server,
        namespace: material.namespace.clone(),
        headers,
        tls,
        server_name: server_name(&material)?,
        limit,
    };
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_connect_timeout(Some(CALL_TIMEOUT));
    http.set_nodelay(true);
    let client = match proxy {
        None => way.through(http),
        Some(proxy) => way.through_proxy(http, &proxy)?,
    };
    Ok(Connected {
        client,
        expires,
        credential_expires: expires.or(of_token),
        digest: digests.0,
        server: digests.1,
    })
}

fn tls_config(material: &Material, server: &Uri) -> Result<ClientConfig, String> {
    let roots = match &material.authority {
        _ if material.insecure => None,
        Some(pem) => {
            let roots = tls::roots(pem);
            Some(roots.map_err(|problem| format!("its certificate-authority is none: {problem}"))?)
        }
        // Nothing is trusted where nothing is asked.
        None if server.scheme_str() == Some("http") => {
            Some(Arc::new(rustls::RootCertStore::empty()))
        }
        None => Some(tls::machine_roots()),
    };
    let identity = material.identity.as_ref();
    let identity = identity.map(|(certificate, key)| (certificate.as_slice(), key.as_slice()));
    tls::client_config(roots, identity)
}

fn server_name(material: &Material) -> Result<Option<ServerName<'static>>, String> {
    let name = material.server_name.clone().map(ServerName::try_from);
    name.transpose()
        .map_err(|_| "its tls-server-name is no name; write a DNS name or an address".into())
}

/// The headers of every request. The error about a value that is not valid in a header has only its name.
fn headers(material: &Material) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    let secret = |text: String, what: &str| {
        let value = HeaderValue::try_from(text);
        let mut value = value.map_err(|_| {
            format!("its {what} holds characters that no header may hold; write it again")
        })?;
        value.set_sensitive(true);
        Ok::<_, String>(value)
    };
    if let Some(token) = &material.token {
        let value = secret(format!("Bearer {}", token.trim()), "token")?;
        headers.insert(header::AUTHORIZATION, value);
    } else if let Some((name, password)) = &material.basic {
        let pair = STANDARD.encode(format!("{name}:{password}"));
        headers.insert(
            header::AUTHORIZATION,
            secret(format!("Basic {pair}"), "password")?,
        );
    }
    for (name, value) in &material.impersonate {
        let header = HeaderName::try_from(name.as_str()).map_err(|error| error.to_string())?;
        headers.append(header, secret(value.clone(), name)?);
    }
    Ok(headers)
}

/// All that a client is made of, but how bytes get to the server.
struct Way {
    server: Uri,
    namespace: String,
    headers: HeaderMap,
    tls: ClientConfig,
    server_name: Option<ServerName<'static>>,
    limit: Option<Duration>,
}

impl Way {
    fn through_proxy(self, http: HttpConnector, proxy: &Intercept) -> Result<Client, String> {
        let address = proxy.uri().clone();
        if address
            .scheme_str()
            .is_some_and(|scheme| scheme.starts_with("socks"))
        {
            let socks = SocksV5::new(with_port(&address, 1080)?, http).local_dns(false);
            return Ok(match proxy.raw_auth() {
                Some((user, password)) => {
                    self.through(socks.with_auth(user.to_owned(), password.to_owned()))
                }
                None => self.through(socks),
            });
        }
        if address.scheme_str() == Some("https") {
            let trusted = tls::client_config(Some(tls::machine_roots()), None)?;
            let connector: HttpsConnector<_> = HttpsConnectorBuilder::new()
                .with_tls_config(trusted)
                .https_or_http()
                .enable_http1()
                .wrap_connector(http);
            let tunnel = Tunnel::new(address, connector);
            return Ok(match proxy.basic_auth() {
                Some(auth) => self.through(tunnel.with_auth(auth.clone())),
                None => self.through(tunnel),
            });
        }
        let tunnel = Tunnel::new(address, http);
        Ok(match proxy.basic_auth() {
            Some(auth) => self.through(tunnel.with_auth(auth.clone())),
            None => self.through(tunnel),
        })
    }

    fn through<C>(self, connector: C) -> Client
    where
        C: tower::Service<Uri> + Clone + Send + Sync + 'static,
        C::Response: legacy::connect::Connection
            + hyper::rt::Read
            + hyper::rt::Write
            + Send
            + Unpin
            + 'static,
        C::Future: Send + 'static,
        C::Error: Into<tower::BoxError>,
    {
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(self.tls)
            .https_or_http();
        let https = match self.server_name {
            Some(name) => https.with_server_name_resolver(FixedServerNameResolver::new(name)),
            None => https,
        };
        let connector = https.enable_http1().wrap_connector(connector);
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            // A connection keeps the buffer that its largest answer grew; there may be a thousand of them.
            .http1_max_buf_size(READ_BUFFER)
            .build(connector);
        let headers = self.headers;
        let dress = move |mut request: Request<Body>| {
            for (name, value) in &headers {
                request.headers_mut().append(name, value.clone());
            }
            request
        };
        let service = ServiceBuilder::new()
            .layer(MapErrLayer::new(tower::BoxError::from))
            .layer(BaseUriLayer::new(self.server))
            .layer(MapRequestLayer::new(dress))
            // Responses are compressed on request, and by some proxies without one.
            .layer(DecompressionLayer::new())
            .service(client);
        let Some(limit) = self.limit else {
            return Client::new(service, self.namespace);
        };
        let bounded = ServiceBuilder::new()
            .layer(TimeoutLayer::new(limit))
            .layer(MapErrLayer::new(tower::BoxError::from))
            .layer(ResponseBodyTimeoutLayer::new(limit))
            .layer(MapResponseBodyLayer::new(|body| {
                Limited::new(body, ANSWER_LIMIT)
            }))
            .service(service);
        Client::new(bounded, self.namespace)
    }
}

fn with_port(address: &Uri, port: u16) -> Result<Uri, String> {
    if address.port().is_some() {
        return Ok(address.clone());
    }
    let host = address.host().unwrap_or_default();
    let scheme = address.scheme_str().unwrap_or_default();
    format!("{scheme}://{host}:{port}")
        .parse()
        .map_err(|_| "its proxy is no address; write it as socks5://host:port".into())
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// In real time, over a socket.
    #[tokio::test]
    async fn with_a_limit_a_body_that_does_not_come_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let server = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let _ = stream.read(&mut [0; 1024]).await;
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{";
            stream.write_all(head).await.expect("written");
            std::future::pending::<()>().await;
        });
        let material = Material::new(server, "default".into());
        let limit = Some(Duration::from_millis(50));
        let connected = client(material, limit).await;
        let client = connected
            .unwrap_or_else(|problem| panic!("{problem}"))
            .client;
        let request = http::Request::get("/").body(Vec::new()).expect("a request");
        let answer = client.request_text(request);
        let answer = tokio::time::timeout(Duration::from_secs(10), answer).await;
        answer.expect("in time").expect_err("no body");
    }
}
