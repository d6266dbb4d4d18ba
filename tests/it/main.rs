//! The promises of helmreboot, one file each, through the front door.

mod corpus;
mod fake_flux;
mod stories;
