//! Who belongs to the cluster, and how that changes.
//!
//! One change at a time, each a log entry of its own that takes effect when appended.
//! Source: Raft thesis 4.1; hashicorp/raft's configuration entry (protocol version 3).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::progress::Progress;
use super::types::{Entry, EntryKind, HardState, ServerId};
use super::{Error, Proposed, Raft, codec};
use crate::codec::{self as wire, Deserialize, Deserializer, Serialize, Serializer};
use crate::sorted;

/// Whether a server counts towards the quorum; the numbers are those of the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Suffrage {
    /// Votes and counts.
    #[default]
    Voter,
    /// Receives entries only.
    Nonvoter,
    /// Known to the wire, used by nobody; treated as a nonvoter.
    Staging,
}

impl From<Suffrage> for u8 {
    fn from(s: Suffrage) -> u8 {
        match s {
            Suffrage::Voter => 0,
            Suffrage::Nonvoter => 1,
            Suffrage::Staging => 2,
        }
    }
}

impl TryFrom<u8> for Suffrage {
    type Error = String;
    fn try_from(n: u8) -> Result<Suffrage, String> {
        match n {
            0 => Ok(Suffrage::Voter),
            1 => Ok(Suffrage::Nonvoter),
            2 => Ok(Suffrage::Staging),
            _ => Err(format!("no suffrage has the number {n}")),
        }
    }
}

impl Serialize for Suffrage {
    fn serialize(&self, to: &mut Serializer) -> Result<(), wire::Error> {
        u8::from(*self).serialize(to)
    }
}

impl Deserialize for Suffrage {
    fn deserialize(&mut self, from: &Deserializer<'_, '_>) -> Result<(), wire::Error> {
        let mut number = 0u8;
        number.deserialize(from)?;
        *self = Suffrage::try_from(number).map_err(wire::Error::Custom)?;
        Ok(())
    }
}

/// One member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// Whether it counts.
    #[serde(rename = "Suffrage")]
    pub suffrage: Suffrage,
    /// Its id.
    #[serde(rename = "ID")]
    pub id: String,
    /// "ip:port" of its RPC listener.
    #[serde(rename = "Address")]
    pub address: String,
}

/// All members, in the order in which they were added.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// The members.
    #[serde(rename = "Servers")]
    pub servers: Vec<Server>,
}

/// A change of one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfChange {
    /// Adds a voter, or makes a known server one, at this address.
    AddVoter {
        /// Whom.
        id: ServerId,
        /// "ip:port".
        address: String,
    },
    /// Adds a server that does not count; a known one only changes its address.
    AddNonvoter {
        /// Whom.
        id: ServerId,
        /// "ip:port".
        address: String,
    },
    /// Makes a voter a nonvoter.
    Demote {
        /// Whom.
        id: ServerId,
    },
    /// Takes a server out.
    Remove {
        /// Whom.
        id: ServerId,
    },
    /// Says where known servers are now. Nobody's vote changes, so any number may do so at once: machines
    /// that swapped their addresses cannot do it one after the other.
    Readdress {
        /// Whom, and "ip:port".
        servers: Vec<(ServerId, String)>,
    },
}

/// Servers in one configuration, at most.
pub const MAX_SERVERS: usize = 1024;
/// Bytes in a server's id or address, at most.
const MAX_NAME: usize = 1024;

impl Configuration {
    /// As the payload of an entry of kind [`EntryKind::Configuration`].
    pub fn encode(&self) -> Arc<[u8]> {
        codec::encode(self).into()
    }

    /// Back from such a payload; an error says what is wrong with it.
    pub fn decode(data: &[u8]) -> Result<Configuration, Error> {
        let configuration = codec::decode(data);
        let configuration = configuration.ok_or_else(|| invalid("it cannot be decoded"))?;
        configuration.validate()?;
        Ok(configuration)
    }

    /// Whether a cluster could run with this: unique ids and addresses, at least one voter.
    pub fn validate(&self) -> Result<(), Error> {
        if self.servers.len() > MAX_SERVERS {
            return Err(invalid("too many servers"));
        }
        let mut ids = BTreeSet::new();
        let mut addresses = BTreeSet::new();
        for server in &self.servers {
            if server.id.is_empty() || server.id.len() > MAX_NAME {
                return Err(invalid("a server has no id or too long a one"));
            }
            if server.address.is_empty() || server.address.len() > MAX_NAME {
                return Err(invalid("a server has no address or too long a one"));
            }
            if !ids.insert(&server.id) {
                return Err(invalid(&format!("found duplicate ID {}", server.id)));
            }
            if !addresses.insert(&server.address) {
                return Err(invalid(&format!(
                    "found duplicate address {}",
                    server.address
                )));
            }
        }
        if self.voters().next().is_none() {
            return Err(Error::NoVoter(self.to_string()));
        }
        Ok(())
    }

    /// The member with this id.
    pub fn get(&self, id: &str) -> Option<&Server> {
        self.servers.iter().find(|s| s.id == id)
    }

    /// The ids that count.
    pub fn voters(&self) -> impl Iterator<Item = &str> {
        let voters = self.servers.iter();
        let voters = voters.filter(|s| s.suffrage == Suffrage::Voter);
        voters.map(|s| s.id.as_str())
    }

    /// Whether `id` counts.
    pub fn is_voter(&self, id: &str) -> bool {
        self.voters().any(|v| v == id)
    }

    /// Whether `id` alone is a quorum.
    pub fn is_sole_voter(&self, id: &str) -> bool {
        let mut voters = self.voters();
        voters.next() == Some(id) && voters.next().is_none()
    }

    /// The highest value that a quorum of voters has reached; `None` without voters.
    pub(super) fn quorum_value<T: Ord>(&self, value: impl FnMut(&str) -> T) -> Option<T> {
        let mut values: Vec<T> = self.voters().map(value).collect();
        sorted::sort_by(&mut values, |a, b| b.cmp(a));
        let at = values.len() / 2;
        (at < values.len()).then(|| values.swap_remove(at))
    }

    /// This configuration after `change`.
    pub fn after(&self, change: &ConfChange) -> Result<Configuration, Error> {
        let mut next = self.clone();
        match change {
            ConfChange::AddVoter { id, address } => next.put(id, address, true),
            ConfChange::AddNonvoter { id, address } => next.put(id, address, false),
            ConfChange::Demote { id } => {
                let server = next.servers.iter_mut().find(|s| s.id == **id);
                let server = server.ok_or_else(|| Error::UnknownServer(id.clone()))?;
                server.suffrage = Suffrage::Nonvoter;
            }
            ConfChange::Remove { id } => {
                let before = next.servers.len();
                next.servers.retain(|s| s.id != **id);
                if next.servers.len() == before {
                    return Err(Error::UnknownServer(id.clone()));
                }
            }
            ConfChange::Readdress { servers } => {
                for (id, address) in servers {
                    let server = next.servers.iter_mut().find(|s| s.id == **id);
                    let server = server.ok_or_else(|| Error::UnknownServer(id.clone()))?;
                    address.clone_into(&mut server.address);
                }
            }
        }
        next.validate()?;
        Ok(next)
    }

    fn put(&mut self, id: &str, address: &str, voter: bool) {
        match self.servers.iter_mut().find(|s| s.id == id) {
            Some(server) => {
                address.clone_into(&mut server.address);
                if voter {
                    server.suffrage = Suffrage::Voter;
                }
            }
            None => self.servers.push(Server {
                suffrage: if voter {
                    Suffrage::Voter
                } else {
                    Suffrage::Nonvoter
                },
                id: id.to_owned(),
                address: address.to_owned(),
            }),
        }
    }
}

impl std::fmt::Display for Configuration {
    /// As Go prints it: `{[{Nonvoter s1 10.0.0.1:8300}]}`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("{[")?;
        for (n, server) in self.servers.iter().enumerate() {
            let Server { id, address, .. } = server;
            let between = if n > 0 { " " } else { "" };
            write!(f, "{between}{{{:?} {id} {address}}}", server.suffrage)?;
        }
        f.write_str("]}")
    }
}

fn invalid(why: &str) -> Error {
    Error::InvalidConfiguration(why.to_owned())
}

/// The configurations of the log that may still matter, each with its index; the last one is in force.
#[derive(Debug)]
pub(super) struct Membership {
    base: (u64, Configuration),
    later: Vec<(u64, Configuration)>,
}

impl Membership {
    pub fn new(index: u64, configuration: Configuration) -> Membership {
        Membership {
            base: (index, configuration),
            later: Vec::new(),
        }
    }

    fn newest(&self) -> &(u64, Configuration) {
        self.later.last().unwrap_or(&self.base)
    }

    pub fn latest(&self) -> &Configuration {
        &self.newest().1
    }

    pub fn latest_index(&self) -> u64 {
        self.newest().0
    }

    /// The configuration in force at `index`, which must not lie before the base.
    pub fn at(&self, index: u64) -> &(u64, Configuration) {
        let mut older = self.later.iter().rev();
        older.find(|(i, _)| *i <= index).unwrap_or(&self.base)
    }

    pub fn append(&mut self, index: u64, configuration: Configuration) {
        self.later.push((index, configuration));
    }

    pub fn truncate(&mut self, from: u64) {
        self.later.retain(|(i, _)| *i < from);
    }

    /// Forgets what was replaced at or before `index`.
    pub fn compact(&mut self, index: u64) {
        self.base = self.at(index).clone();
        self.later.retain(|(i, _)| *i > index);
    }
}

impl Raft {
    /// The first write of a new cluster, before [`Raft::new`]: entry 1 of term 1 names the members.
    /// Servers that bootstrap together do this each for itself with the same configuration.
    pub fn bootstrap(configuration: &Configuration) -> Result<(HardState, Entry), Error> {
        configuration.validate()?;
        let hard_state = HardState {
            term: 1,
            voted_for: None,
        };
        let entry = Entry {
            index: 1,
            term: 1,
            kind: EntryKind::Configuration,
            data: configuration.encode(),
            extensions: Vec::new(),
        };
        Ok((hard_state, entry))
    }

    /// As [`Raft::bootstrap`], by a server that already runs and has an empty log. It stands for election
    /// at once: those that it names need not have founded the cluster themselves to vote for it.
    pub fn found(&mut self, now: Duration, configuration: &Configuration) -> Result<(), Error> {
        let new = self.log.last_index() == 0 && self.installing.is_none() && self.leader.is_none();
        if !new || self.disk_failed {
            return Err(Error::AlreadyFounded);
        }
        let (hard_state, entry) = Raft::bootstrap(configuration)?;
        if self.term < hard_state.term {
            self.enter_term(hard_state.term);
        }
        self.members.append(entry.index, configuration.clone());
        self.log.append([entry]);
        self.role = super::Role::Follower;
        self.loyal_until = now;
        self.start_waiting(now);
        if self.can_stand() {
            self.election_deadline = now;
        }
        Ok(())
    }

    /// Changes the membership by one server. The change is in force at once and done when its entry
    /// is applied. Refused while the last change is not committed ([`Error::ConfChangeInProgress`])
    /// and before the leader has committed an entry of its term ([`Error::NotReady`]; without this
    /// rule two leaders in turn could change membership to quorums that do not meet).
    pub fn propose_conf_change(
        &mut self,
        _now: Duration,
        change: &ConfChange,
    ) -> Result<Proposed, Error> {
        self.check_proposals()?;
        self.check_own_term_committed()?;
        if self.members.latest_index() > self.commit {
            return Err(Error::ConfChangeInProgress);
        }
        let next = self.members.latest().after(change)?;
        let data = next.encode();
        let proposed = self.append_own(vec![(EntryKind::Configuration, data)]);
        self.members.append(proposed.last, next);
        self.membership_changed();
        Ok(proposed)
    }

    /// Brings the leader's followers in line with the latest configuration.
    pub(super) fn membership_changed(&mut self) {
        let Some(lead) = &mut self.lead else {
            return;
        };
        let next = self.log.last_index() + 1;
        let latest = self.members.latest();
        lead.peers.retain(|id, _| latest.get(id).is_some());
        for server in &latest.servers {
            if *server.id != *self.config.id && !lead.peers.contains_key(server.id.as_str()) {
                let id = ServerId::from(server.id.as_str());
                lead.peers.insert(id, Progress::new(next));
            }
        }
        if let Some(transfer) = &lead.transfer
            && !latest.is_voter(&transfer.to)
        {
            lead.transfer = None;
        }
    }

    /// A leader that the committed configuration does not count has done its last duty.
    pub(super) fn retire_if_not_voter(&mut self, now: Duration) {
        let settled = self.members.latest_index() <= self.commit;
        if settled && self.is_leader() && !self.members.latest().is_voter(&self.config.id) {
            self.become_follower(now, self.term);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voters(n: u64) -> Configuration {
        let servers = (0..n).map(|i| Server {
            suffrage: Suffrage::Voter,
            id: format!("s{i}"),
            address: format!("10.0.0.{i}:8300"),
        });
        Configuration {
            servers: servers.collect(),
        }
    }

    #[test]
    fn quorum_value_is_what_more_than_half_reached() {
        for n in 1..=7u64 {
            let configuration = voters(n);
            let of = |id: &str| id[1..].parse::<u64>().expect("number");
            let value = configuration.quorum_value(of).expect("voters");
            // The slow obvious twin: try every candidate.
            let reached = |v: u64| (0..n).filter(|i| *i >= v).count() as u64;
            let twin = (0..n).rev().find(|v| reached(*v) > n / 2);
            assert_eq!(Some(value), twin, "{n} voters");
        }
        assert_eq!(voters(0).quorum_value(|_| 0), None);
    }

    #[test]
    fn changes_keep_a_valid_configuration() {
        let one = voters(1);
        let remove = ConfChange::Remove { id: "s0".into() };
        assert!(matches!(one.after(&remove), Err(Error::NoVoter(_))));
        let demote = ConfChange::Demote { id: "s0".into() };
        assert!(one.after(&demote).is_err());
        let twice = ConfChange::AddVoter {
            id: "s1".into(),
            address: "10.0.0.0:8300".into(),
        };
        assert!(one.after(&twice).is_err());
        let add = ConfChange::AddNonvoter {
            id: "s1".into(),
            address: "10.0.0.1:8300".into(),
        };
        let two = one.after(&add).expect("valid");
        assert!(two.is_sole_voter("s0"));
        let promote = ConfChange::AddVoter {
            id: "s1".into(),
            address: "10.0.0.9:8300".into(),
        };
        let two = two.after(&promote).expect("valid");
        assert!(two.is_voter("s1") && two.servers[1].address == "10.0.0.9:8300");
        let swapped = ConfChange::Readdress {
            servers: vec![
                ("s0".into(), "10.0.0.9:8300".to_owned()),
                ("s1".into(), two.servers[0].address.clone()),
            ],
        };
        let swapped = two.after(&swapped).expect("valid");
        assert_eq!(swapped.servers[0].address, two.servers[1].address);
        assert_eq!(swapped.servers[1].address, two.servers[0].address);
    }

    #[test]
    fn history_answers_for_every_index() {
        let mut members = Membership::new(1, voters(1));
        members.append(5, voters(2));
        members.append(9, voters(3));
        assert_eq!(members.at(4).0, 1);
        assert_eq!(members.at(8).0, 5);
        members.truncate(9);
        assert_eq!(members.latest_index(), 5);
        members.compact(7);
        assert_eq!(members.at(7).1, voters(2));
    }
}
