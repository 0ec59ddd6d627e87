//! The sans-IO core of one shard: every media decision, and nothing that touches a clock, a
//! socket, a thread, a lock or a future. Time and bytes are arguments, output goes to the lent
//! [`egress::Egress`] and the `poll_*` queues.

pub mod command;
pub mod drop_reason;
pub mod egress;
pub mod transport;
