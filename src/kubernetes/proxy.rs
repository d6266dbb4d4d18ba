//! Which proxy leads to an API server, as client-go finds out: `proxy-url` of the kubeconfig, else
//! `HTTPS_PROXY` or `HTTP_PROXY` where `NO_PROXY` does not cover the server; this machine is never
//! reached through one (`golang.org/x/net/http/httpproxy`).

use http::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};

/// The proxy to use, if any.
///
/// # Errors
/// A `proxy-url` that is none.
pub(super) fn find(
    server: &Uri,
    proxy_url: Option<&str>,
    env: impl Fn(&str) -> Option<String>,
) -> Result<Option<Intercept>, String> {
    if let Some(url) = proxy_url {
        let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
        let known = ["http", "https", "socks5", "socks5h"].contains(&scheme);
        let proxy = Matcher::builder()
            .all(url.to_owned())
            .build()
            .intercept(server);
        return match proxy {
            Some(proxy) if known => Ok(Some(proxy)),
            _ => Err(
                "its proxy-url cannot be used; write it as http://, https:// or socks5://host:port"
                    .into(),
            ),
        };
    }
    if is_local(server.host().unwrap_or_default()) {
        return Ok(None);
    }
    let either = |upper: &str, lower: &str| env(upper).or_else(|| env(lower)).unwrap_or_default();
    let matcher = Matcher::builder()
        .http(either("HTTP_PROXY", "http_proxy"))
        .https(either("HTTPS_PROXY", "https_proxy"))
        .no(either("NO_PROXY", "no_proxy"))
        .build();
    Ok(matcher.intercept(server))
}

fn is_local(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost"
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(server: &str, proxy_url: Option<&str>, env: &[(&str, &str)]) -> Option<String> {
        let env = |name: &str| {
            let known = env.iter().find(|(known, _)| *known == name);
            known.map(|(_, value)| (*value).to_owned())
        };
        let server = server.parse().expect("an address");
        let proxy = find(&server, proxy_url, env).expect("a proxy or none");
        proxy.map(|proxy| proxy.uri().to_string())
    }

    #[test]
    fn the_environment_counts_unless_the_server_is_exempt_or_on_this_machine() {
        let env = [
            ("HTTPS_PROXY", "http://proxy:3128"),
            ("no_proxy", "10.0.0.0/8,.internal"),
        ];
        let through = Some("http://proxy:3128/".to_owned());
        assert_eq!(found("https://api.example.com:6443", None, &env), through);
        for exempt in [
            "https://10.1.2.3:6443",
            "https://api.eu.internal",
            "https://localhost:6443",
            "https://127.0.0.1:6443",
            "https://[::1]:6443",
            "http://api.example.com",
        ] {
            assert_eq!(found(exempt, None, &env), None, "{exempt}");
        }
    }

    #[test]
    fn a_kubeconfig_s_own_proxy_comes_before_the_environment() {
        let env = [("HTTPS_PROXY", "http://other:3128"), ("NO_PROXY", "*")];
        for (url, shown) in [
            ("http://proxy:3128", "http://proxy:3128/"),
            ("https://user:secret@proxy", "https://proxy/"),
            ("socks5://proxy:1080", "socks5://proxy:1080/"),
        ] {
            let found = found("https://127.0.0.1:6443", Some(url), &env);
            assert_eq!(found.as_deref(), Some(shown));
        }
        let server = "https://a".parse().expect("an address");
        for bad in ["proxy:3128", "ftp://proxy", "://", "quic://x"] {
            assert!(find(&server, Some(bad), |_| None).is_err(), "{bad}");
        }
    }
}
