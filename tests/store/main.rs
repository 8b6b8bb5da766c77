//! The store against real histories, failing disks and slow obvious twins.

mod history;
mod support;
