//! A member that is a Consul server, as its tags tell.
//!
//! Holds true: who does not say all that a server must say is none.
//! Source: `docs/reference/gossip.md` section 15.2.

use std::net::SocketAddr;

use crate::gossip::merge_filter;
use crate::gossip::{Member, codec::tags::Tags};
use crate::structs::MemberStatus;

/// A server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerMeta {
    /// Name of the member; on the WAN pool `node.datacenter`.
    pub name: String,
    /// Node id; empty when it tells none.
    pub id: String,
    /// Datacenter.
    pub datacenter: String,
    /// Segment.
    pub segment: String,
    /// Where its RPC port is reached.
    pub rpc: SocketAddr,
    /// Where its gossip is reached.
    pub serf: SocketAddr,
    /// Port of its WAN pool, if it has one.
    pub wan_join_port: Option<u16>,
    /// It was started to be the first server.
    pub bootstrap: bool,
    /// How many servers it waits for before the first election; 0 when it does not say.
    pub expect: u32,
    /// It has no vote.
    pub non_voter: bool,
    /// Version of Consul's protocol.
    pub version: i64,
    /// Version of Raft's protocol.
    pub raft_version: u8,
    /// The version that it runs, without what follows a colon.
    pub build: String,
    /// State of its ACLs: `0` off, `1` on, `2` legacy, `3` unknown.
    pub acls: String,
    /// It wants RPC over TLS.
    pub use_tls: bool,
    /// How the pool sees it.
    pub status: MemberStatus,
}

impl ServerMeta {
    /// A member as a server; nothing if it is none.
    pub fn of(member: &Member) -> Option<Self> {
        let tags = &member.tags;
        if !merge_filter::is_server(tags) {
            return None;
        }
        let rpc_port: u16 = number(tags, "port")?;
        let build = text(tags, "build");
        Some(Self {
            name: member.name.clone(),
            id: text(tags, "id").to_owned(),
            datacenter: text(tags, "dc").to_owned(),
            segment: text(tags, "segment").to_owned(),
            rpc: SocketAddr::new(member.addr.ip(), rpc_port),
            serf: member.addr,
            wan_join_port: number(tags, "wan_join_port").filter(|port| *port > 0),
            bootstrap: tags.contains_key("bootstrap"),
            expect: number(tags, "expect").unwrap_or(0),
            non_voter: tags.contains_key("nonvoter") || tags.contains_key("read_replica"),
            version: number(tags, "vsn")?,
            raft_version: number(tags, "raft_vsn").unwrap_or(0),
            build: build.split(':').next().unwrap_or(build).to_owned(),
            acls: text(tags, "acls").to_owned(),
            use_tls: tags.contains_key("use_tls"),
            status: member.status,
        })
    }

    /// Whether it is there.
    pub fn is_alive(&self) -> bool {
        self.status == MemberStatus::Alive
    }

    /// Its node name, without the datacenter that WAN pools add.
    pub fn node_name(&self) -> &str {
        let suffix = format!(".{}", self.datacenter);
        self.name.strip_suffix(&suffix).unwrap_or(&self.name)
    }
}

fn text<'a>(tags: &'a Tags, name: &str) -> &'a str {
    tags.get(name).map_or("", String::as_str)
}

fn number<T: std::str::FromStr>(tags: &Tags, name: &str) -> Option<T> {
    tags.get(name)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gossip::{Config, Pool};
    use std::time::Duration;

    /// The member that says these tags about itself.
    fn member(tags: &Tags) -> Member {
        let addr = "10.0.0.1:8302".parse().unwrap();
        let pool = Pool::new(Duration::ZERO, Config::wan("a.dc1", addr, tags.clone())).unwrap();
        pool.member("a.dc1").cloned().unwrap()
    }

    #[test]
    fn a_server_is_what_says_all_of_it() {
        let said = "role=consul dc=dc1 segment= id=x port=8300 vsn=2 build=1.8.7:abc raft_vsn=3 ft_fs=1 \
                    wan_join_port=8302 expect=3 acls=0 use_tls=1 nonvoter=1";
        let pair = |p: &str| p.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()));
        let tags: Tags = said.split_whitespace().filter_map(pair).collect();
        let meta = ServerMeta::of(&member(&tags)).unwrap();
        assert_eq!(meta.node_name(), "a");
        assert_eq!(meta.rpc, "10.0.0.1:8300".parse().unwrap());
        assert_eq!(
            (meta.expect, meta.raft_version, meta.wan_join_port),
            (3, 3, Some(8302))
        );
        assert_eq!(meta.build, "1.8.7");
        assert!(meta.use_tls && meta.non_voter && !meta.bootstrap && meta.is_alive());
        for (name, wrong) in [
            ("role", "node"),
            ("port", "70000"),
            ("vsn", "x"),
            ("build", ""),
        ] {
            let mut other = tags.clone();
            other.insert(name.to_owned(), wrong.to_owned());
            assert_eq!(ServerMeta::of(&member(&other)), None, "{name}={wrong}");
        }
    }
}
