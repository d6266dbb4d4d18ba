//! helmreboot
pub mod clock;
pub mod cluster;
pub mod domain;
pub mod metrics;
pub mod queue;
