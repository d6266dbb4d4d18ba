//! From configuration to a client. Nothing is sent yet: a cluster that is away must not keep the
//! service from starting for the others.

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use super::CALL_TIMEOUT;
use crate::config::clusters::Reach;

/// A client for the API server that `reach` leads to.
///
/// # Errors
/// What is wrong with the kubeconfig, and what to do about it.
pub async fn connect(reach: &Reach) -> Result<Client, String> {
    client(config(reach).await?)
}

/// A client for the cluster this process runs in, or else the one that the environment leads to. It waits
/// for answers no longer than for other calls.
///
/// # Errors
/// There is neither.
pub async fn connect_home() -> Result<Client, String> {
    let inside = Reach {
        in_cluster: true,
        ..Reach::default()
    };
    let mut config = match config(&inside).await {
        Ok(config) => config,
        Err(_) => config(&Reach::default()).await?,
    };
    config.connect_timeout = Some(CALL_TIMEOUT);
    config.read_timeout = Some(CALL_TIMEOUT);
    config.write_timeout = Some(CALL_TIMEOUT);
    client(config)
}

fn client(mut config: Config) -> Result<Client, String> {
    // Every call is one call: whoever makes it decides what is tried again, and when.
    config.default_retry = false;
    Client::try_from(config).map_err(|error| format!("no client can be made of it: {error}"))
}

async fn config(reach: &Reach) -> Result<Config, String> {
    let variable = std::env::var_os("KUBECONFIG").is_some_and(|value| !value.is_empty());
    let asked_for = reach.kubeconfig.is_some() || reach.context.is_some() || variable;
    let service_account = || {
        Config::incluster().map_err(|error| format!("there is no service account here: {error}"))
    };
    if reach.in_cluster {
        return service_account();
    }
    let kubeconfig = match &reach.kubeconfig {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    let kubeconfig = match kubeconfig {
        Ok(kubeconfig) => kubeconfig,
        // Neither KUBECONFIG nor ~/.kube/config: in a pod that is how it should be.
        Err(error) if !asked_for => {
            return service_account().map_err(|account| {
                format!(
                    "{account}; nor is there a kubeconfig: {}; name one with --kubeconfig",
                    first_line(&error)
                )
            });
        }
        Err(error) => {
            return Err(format!(
                "the kubeconfig cannot be read: {}",
                first_line(&error)
            ));
        }
    };
    let options = KubeConfigOptions {
        context: reach.context.clone(),
        ..KubeConfigOptions::default()
    };
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    let config = config.map_err(|error| {
        format!(
            "the kubeconfig does not lead to a cluster: {}; check its contexts",
            first_line(&error)
        )
    })?;
    let runs_program = config.auth_info.exec.is_some() || config.auth_info.auth_provider.is_some();
    if runs_program && !reach.allow_exec {
        return Err("the kubeconfig runs a program to log in; use a token or certificate, or allow it with --insecure-kubeconfig-exec".into());
    }
    if config.accept_invalid_certs && !reach.allow_insecure_tls {
        return Err("the kubeconfig does not check the server's certificate; add certificate-authority-data, or allow it with --insecure-kubeconfig-tls".into());
    }
    Ok(config)
}

/// What is wrong, without the lines around it: a parser shows them, and they may hold a token.
fn first_line(error: &dyn std::error::Error) -> String {
    error
        .to_string()
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}
