//! The embedded clusters.
pub mod fake_cluster;
pub mod fake_flux;
