//! Bandwidth towards publishers: transport-wide feedback so that they ramp up, and an ingress
//! policer so that they stay inside their limit.

pub mod arrivals;
pub mod policer;
