//! The promises of helmreboot, one file each, through the front door.

mod corpus;
mod decisions;
mod fake_flux;
mod restart;
mod stories;
mod support;
mod webhook;
