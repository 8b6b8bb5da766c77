//! The store against real histories, failing disks and slow obvious twins.

mod bounds;
mod commands;
mod damage;
mod disk;
mod failing;
mod history;
mod power;
mod script;
mod support;
