//! The ways to an API server that lead through something else: proxies of the kubeconfig and of the environment,
//! and proxies that compress. In real time, over sockets.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{extract::Request, middleware};
use http::{HeaderValue, header};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, copy_bidirectional},
    net::{TcpListener, TcpStream},
};
use tower_http::compression::CompressionLayer;

use crate::{
    certificates::{Authority, over_tls, wrapped},
    clusters::{Server, at, serve},
    running::{Running, helmreboot, kubeconfig},
};

/// A proxy that does what CONNECT or SOCKS 5 asks for, and counts. The names under `.example` are this machine.
async fn proxy(socks: bool, used: Arc<Mutex<usize>>) -> SocketAddr {
    use tokio::io::AsyncReadExt;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            *used.lock().expect("no panic") += 1;
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                let target = if socks {
                    let mut head = [0; 3];
                    stream.read_exact(&mut head).await?;
                    stream.write_all(&[5, 0]).await?;
                    let mut asked = [0; 4];
                    stream.read_exact(&mut asked).await?;
                    let host = match asked[3] {
                        1 => {
                            let mut ip = [0; 4];
                            stream.read_exact(&mut ip).await?;
                            std::net::Ipv4Addr::from(ip).to_string()
                        }
                        _ => {
                            let length = stream.read_u8().await?;
                            let mut name = vec![0; length.into()];
                            stream.read_exact(&mut name).await?;
                            String::from_utf8_lossy(&name).into_owned()
                        }
                    };
                    let port = stream.read_u16().await?;
                    stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
                    format!("{host}:{port}")
                } else {
                    let mut first = String::new();
                    stream.read_line(&mut first).await?;
                    let mut line = String::new();
                    while stream.read_line(&mut line).await? > 2 {
                        line.clear();
                    }
                    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
                    first.split(' ').nth(1).unwrap_or_default().to_owned()
                };
                let target = match target.split_once(".example:") {
                    Some((_, port)) => format!("127.0.0.1:{port}"),
                    None => target,
                };
                let mut server = TcpStream::connect(target).await?;
                copy_bidirectional(&mut stream, &mut server).await?;
                io::Result::Ok(())
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_of_a_kubeconfig_are_used() {
    for socks in [false, true] {
        let server = Server::new();
        let address = server.serve().await;
        let used = Arc::new(Mutex::new(0));
        let through = proxy(socks, Arc::clone(&used)).await;
        let scheme = if socks { "socks5" } else { "http" };
        let cluster = json!({"server": format!("http://{address}"), "proxy-url": format!("{scheme}://{through}")});
        let _program = serve(&kubeconfig(
            &format!("through-{scheme}"),
            &cluster,
            &json!({}),
        ));
        server.healed(1, Duration::from_secs(10), scheme).await;
        assert!(*used.lock().expect("no panic") > 0, "{scheme}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_of_the_environment_is_used_unless_no_proxy_names_the_server() {
    let authority = Authority::new();
    let server = Server::new();
    let (chain, key) = authority.issue("api.example");
    let (address, ..) = over_tls(&server, chain, key).await;
    let used = Arc::new(Mutex::new(0));
    let through = proxy(false, Arc::clone(&used)).await;
    let port = address.port();
    let cluster = json!({"server": format!("https://api.example:{port}"),
        "certificate-authority-data": wrapped(&authority.pem())});
    let config = kubeconfig("environment-proxy", &cluster, &json!({}));
    let start = |no_proxy: &str| {
        Running::start(
            helmreboot()
                .args(["serve", "--cluster-name=a", "--kubeconfig"])
                .arg(&config)
                .env("HELMREBOOT_TOKEN", "the key")
                .env("HTTPS_PROXY", format!("http://{through}"))
                .env("NO_PROXY", no_proxy),
        )
    };
    let mut exempt = start("localhost,.example");
    exempt.wait_for(&["cluster a is not available", "lookup address"]);
    assert_eq!(*used.lock().expect("no panic"), 0, "NO_PROXY names it");
    drop(exempt);
    let _program = start("localhost,.internal");
    server
        .healed(1, Duration::from_secs(10), "HTTPS_PROXY")
        .await;
    assert!(*used.lock().expect("no panic") > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_were_compressed_unasked_are_read() {
    let mut server = Server::new();
    let ask = |mut request: Request, next: middleware::Next| {
        let gzip = HeaderValue::from_static("gzip");
        request.headers_mut().insert(header::ACCEPT_ENCODING, gzip);
        next.run(request)
    };
    // What it answers is compressed, whatever the client accepts.
    server.router = server
        .router
        .layer(CompressionLayer::new())
        .layer(middleware::from_fn(ask));
    let address = server.serve().await;
    let _program = serve(&kubeconfig("compressed", &at(address), &json!({})));
    server
        .healed(1, Duration::from_secs(10), "compressed")
        .await;
}
