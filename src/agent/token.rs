//! The tokens an agent uses for itself, changeable while it runs.
//!
//! Source: `docs/reference/http-2.md` section 5.10.

use std::sync::{PoisonError, RwLock};

/// Which token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// For requests that carry none.
    Default,
    /// For the agent's own catalog work.
    Agent,
    /// The emergency token of this agent.
    AgentMaster,
    /// For replication between datacenters.
    Replication,
}

impl Which {
    /// Reads the last path element of `/v1/agent/token/:which`, in the new and the old spelling.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "default" | "acl_token" => Some(Self::Default),
            "agent" | "acl_agent_token" => Some(Self::Agent),
            "agent_master" | "agent_recovery" | "acl_agent_master_token" => Some(Self::AgentMaster),
            "replication" | "acl_replication_token" => Some(Self::Replication),
            _ => None,
        }
    }
}

/// The agent's tokens; an empty text is no token.
#[derive(Debug, Default)]
pub struct Tokens {
    /// Each with whether it was set while an agent ran, now or before a restart.
    slots: RwLock<[(String, bool); 4]>,
}

impl Tokens {
    /// Changes one, from the configuration or while the agent runs; true when it differs from before.
    pub fn set(&self, which: Which, token: &str, running: bool) -> bool {
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        let (slot, source) = &mut slots[which as usize];
        *source = running;
        if slot == token {
            return false;
        }
        token.clone_into(slot);
        true
    }

    /// Reads one.
    pub fn get(&self, which: Which) -> String {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        slots[which as usize].0.clone()
    }

    /// Reads one that was set while an agent ran; empty if it is from the configuration.
    pub fn set_while_running(&self, which: Which) -> String {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        let (token, running) = &slots[which as usize];
        if *running {
            token.clone()
        } else {
            String::new()
        }
    }

    /// The token for requests that carry none.
    pub fn user(&self) -> String {
        self.get(Which::Default)
    }

    /// The token for the agent's own catalog work: the agent token, else the default one.
    pub fn agent(&self) -> String {
        let agent = self.get(Which::Agent);
        if agent.is_empty() { self.user() } else { agent }
    }
}
