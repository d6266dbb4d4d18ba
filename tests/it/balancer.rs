//! Behind a load balancer: idle connections, and the end of the process. In real time, over sockets.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use helmreboot::{
    app::{address_of, bind},
    server::{self, connections::Connections},
};
use serde_json::json;

use crate::{
    running::{Running, config_file, get, helmreboot, kubeconfig, post, recorded_trouble},
    stories,
    support::{TestApp, alerts_only, key},
};

fn listen(keep_alive: Duration) -> (TestApp, SocketAddr) {
    let app = TestApp::with(alerts_only(), &["a"]);
    let listener = bind("127.0.0.1:0").expect("a port");
    let address = address_of(&listener);
    tokio::spawn(server::serve(
        listener,
        app.router(),
        axum_server::Handle::new(),
        None,
        Connections::new(64),
        keep_alive,
    ));
    (app, address)
}

/// Asks on an open connection. What came back, which is nothing where it was closed.
fn ask(stream: &mut TcpStream) -> String {
    let request = "GET /webhook HTTP/1.1\r\nHost: helmreboot\r\n\r\n";
    let mut answer = vec![0; 4096];
    let sent = stream.write_all(request.as_bytes());
    let read = sent
        .and_then(|()| stream.read(&mut answer))
        .unwrap_or_default();
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_stays_open_for_as_long_as_is_configured() {
    let ((_app, long), (_other, short)) = (
        listen(Duration::from_secs(75)),
        listen(Duration::from_secs(1)),
    );
    let mut long = TcpStream::connect(long).expect("a connection");
    let mut short = TcpStream::connect(short).expect("a connection");
    assert!(ask(&mut long).contains("405") && ask(&mut short).contains("405"));
    // Longer than the first request may take.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(ask(&mut long).contains("405"), "still open");
    assert_eq!(ask(&mut short), "", "closed");
}

/// Balancers are slow: they send alerts for a while after readiness has gone.
#[tokio::test(flavor = "multi_thread")]
async fn alerts_are_taken_for_a_while_after_the_signal_although_it_is_not_ready() {
    let (_cluster, address, _, body) = recorded_trouble().await;
    let signature = key(stories::KEY).sign(body.as_bytes());
    let mut program = Running::start(
        helmreboot()
            .args([
                "serve",
                "--cluster-name=a",
                "--log-output=stdout",
                "--config",
                &config_file("slow-balancer", "shutdownDelay: 2s\nmaxEventAge: 8760h\n"),
                "--kubeconfig",
            ])
            .arg(kubeconfig(
                "slow-balancer",
                &json!({"server": format!("http://{address}")}),
                &json!({}),
            ))
            .env("HELMREBOOT_TOKEN", stories::KEY),
    );
    let (webhook, probes) = (program.address("webhook"), program.address("probes"));
    let line = program.wait_for(&["helmreboot", "serves a"]);
    assert_eq!(
        (line["level"].as_str(), line["severity"].as_str()),
        (Some("INFO"), Some("INFO"))
    );
    for _ in 0..100 {
        if get(probes, "/readyz").contains("200 OK") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    program.signal("-TERM");
    program.wait_for(&["readiness is now false; alerts are accepted for 2 s more"]);
    assert!(get(probes, "/readyz").contains("503"));
    assert!(post(webhook, "/webhook", &signature, &body).contains("202"));
    let (code, took, said) = program.end();
    assert_eq!(code, Some(0), "{said:#?}");
    assert!((1..9).contains(&took.as_secs()), "{took:?}");
}
