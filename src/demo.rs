//! The embedded clusters.
pub mod fake_cluster;
