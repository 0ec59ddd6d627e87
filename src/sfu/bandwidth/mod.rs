//! Bandwidth. Towards publishers: transport-wide feedback so that they ramp up, and an ingress
//! policer so that they stay inside their limit. Towards viewers: what was sent, and the estimate of
//! what may be.

pub mod allocation;
pub mod arrivals;
pub mod downlink;
pub mod estimator;
pub mod pace;
pub mod policer;
pub mod sent;
