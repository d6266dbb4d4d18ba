//! The promises of helmreboot, one file each, through the front door.

mod architecture;
mod binary;
mod classify;
mod corpus;
mod decisions;
mod episodes;
mod explain;
mod fake_cluster;
mod fake_flux;
mod histories;
mod manifests;
mod metrics;
mod program;
mod readme;
mod replay;
mod restart;
mod rules;
mod simulation;
mod stories;
mod storms;
mod support;
mod sweep;
mod tls;
mod webhook;
