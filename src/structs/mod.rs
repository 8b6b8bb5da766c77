//! Consul's domain types and RPC requests, under Consul's own names.
