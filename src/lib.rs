//! helmreboot heals Flux HelmReleases that failed for a passing reason.
//!
//! The guided tour, in the order in which an alert walks it:
//!
//! 1. [`server`]: notification-controller posts an alert. [`server::webhook`] verifies the raw bytes
//!    against the keys of the cluster ([`registry`], [`domain::signature`]), parses them
//!    ([`domain::alert`]) and answers as soon as the failure is queued.
//! 2. [`queue`]: one entry for each release, with a due time. The first look waits until the status
//!    has caught up with the alert.
//! 3. [`worker`]: the loop of one cluster. It observes the live release through [`cluster`], lets
//!    [`domain::classify`] judge the cause and [`domain::decide`] decide, and is the only one to write.
//!    [`sweep`] puts into the same queue what fails and was not announced; of several replicas, the one
//!    that holds a [`cluster::lease`] does.
//! 4. [`domain::ledger`]: what is remembered is written on the release itself, so that the process can
//!    be killed at any instant.
//! 5. [`metrics`], [`domain::journal`] and the log say what was done, and why.
//!
//! [`app`] wires all this together from [`config`]; [`cli`] is the command line; [`demo`] holds two
//! embedded clusters that the demo and the tests share.
//!
//! Imports go one way: `main -> cli -> demo, app -> server, sweep, registry, worker -> cluster, metrics,
//! queue -> domain`. `server` never sees Kubernetes, `cluster` never sees HTTP handlers, `domain` sees
//! neither; `tests/it/architecture.rs` reads the imports and fails otherwise.

pub mod app;
pub mod blocking;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod demo;
pub mod domain;
pub mod isolation;
pub mod metrics;
pub mod queue;
pub mod registry;
pub mod server;
pub mod sweep;
pub mod telemetry;
pub mod worker;
