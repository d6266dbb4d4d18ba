//! helmreboot restarts Flux HelmReleases that failed for a transient cause.
//!
//! The path of an alert through the modules:
//!
//! 1. [`webhook`] receives the alert of notification-controller. It verifies the raw bytes with the keys of the
//!    cluster ([`clusters`], [`domain::signature`]), parses them ([`domain::alert`]), and answers as soon as the
//!    release is in the queue.
//! 2. [`queue`] holds at most one item for each release, with a due time. The first reconcile waits until the status
//!    of the release has changed after the alert.
//! 3. [`controller`] reconciles the releases of one cluster: it gets the live release through [`kubernetes`],
//!    evaluates it ([`domain::evaluate`]: [`domain::classify`], then [`domain::decide`]), and writes the annotations.
//!    No other module patches them. [`controller::watcher`] enqueues failing releases without an alert. Of several
//!    replicas, the holder of the [`kubernetes::lease`] does all of this, and the others keep alerts ([`leadership`]).
//! 4. [`domain::ledger`] keeps what must survive the process in annotations of the release.
//! 5. [`domain::report`] says what happened, once for each fact: to the log, to [`domain::journal`], and through
//!    [`notify`] to Kubernetes Events and Flux events. [`metrics`] counts.
//!
//! [`app`] builds all of this from [`config`]. [`server`] serves HTTP. [`cli`] is the command line. [`demo`] contains
//! the embedded clusters that the demo and the tests use.
//!
//! Imports have one direction: `main -> cli -> demo, app -> webhook, controller -> notify -> clusters, kubernetes,
//! queue -> metrics -> domain`. `tests/it/architecture.rs` checks it.

pub mod app;
pub mod blocking;
pub mod cli;
pub mod clock;
pub mod clusters;
pub mod config;
pub mod controller;
pub mod dashboard;
pub mod demo;
pub mod domain;
pub mod http_client;
pub mod isolation;
pub mod kubernetes;
pub mod leadership;
pub mod metrics;
pub mod notify;
pub mod queue;
pub mod reporter;
pub mod server;
pub mod telemetry;
pub mod webhook;
