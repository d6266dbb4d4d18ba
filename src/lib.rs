//! helmreboot
pub mod app;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod demo;
pub mod domain;
pub mod metrics;
pub mod queue;
pub mod registry;
pub mod server;
pub mod telemetry;
pub mod worker;
