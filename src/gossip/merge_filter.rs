//! Who may be in a pool: Consul's rules for its LAN and WAN pools.
//!
//! Source: `docs/reference/gossip.md` sections 15.2 and 15.3.

use std::collections::BTreeMap;

use super::Error;
use super::codec::tags::Tags;

/// What a filter looks at.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Name.
    pub name: &'a str,
    /// Tags.
    pub tags: &'a Tags,
    /// It has left: then most does not matter.
    pub left: bool,
}

/// The rules of a pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum MergeFilter {
    /// Everybody may join.
    #[default]
    Anybody,
    /// Agents of one datacenter, each with an id of its own.
    Lan {
        /// Our node id.
        id: String,
        /// Our node name.
        name: String,
        /// Our datacenter.
        datacenter: String,
        /// Our segment.
        segment: String,
    },
    /// Servers.
    Wan,
}

impl MergeFilter {
    /// Looks at members that want to be in the pool with us.
    ///
    /// # Errors
    /// When one may not be; the text is Consul's.
    pub fn check(&self, all: &[Candidate<'_>]) -> Result<(), Error> {
        match self {
            Self::Anybody => Ok(()),
            Self::Wan => all.iter().try_for_each(|m| match is_server(m.tags) {
                true => Ok(()),
                false => refuse(format!("Member '{}' is not a server", m.name)),
            }),
            Self::Lan {
                id,
                name,
                datacenter,
                segment,
            } => {
                let mut ids = BTreeMap::from([(&id[..], &name[..])]);
                for member in all {
                    unique(member, &mut ids)?;
                    same_place(member, datacenter, segment)?;
                }
                Ok(())
            }
        }
    }
}

impl MergeFilter {
    /// Looks at a member that has come by gossip, among those that are there: none of them may have its id.
    ///
    /// # Errors
    /// When one has; the text is Consul's.
    pub fn check_id<'a>(
        &self,
        new: &Candidate<'a>,
        there: impl Iterator<Item = (&'a str, &'a Tags)>,
    ) -> Result<(), Error> {
        let id = tag(new.tags, "id");
        if !matches!(self, Self::Lan { .. }) || id.is_empty() {
            return Ok(());
        }
        let mut others = there.filter(|(name, tags)| *name != new.name && tag(tags, "id") == id);
        let mut ids: BTreeMap<&str, &str> = others
            .next()
            .map(|(name, _)| (id, name))
            .into_iter()
            .collect();
        unique(new, &mut ids)
    }
}

fn refuse(text: String) -> Result<(), Error> {
    Err(Error::Merge(text))
}

fn tag<'a>(tags: &'a Tags, name: &str) -> &'a str {
    tags.get(name).map_or("", String::as_str)
}

/// Two members must not have one id.
fn unique<'a>(member: &Candidate<'a>, ids: &mut BTreeMap<&'a str, &'a str>) -> Result<(), Error> {
    let (id, name) = (tag(member.tags, "id"), member.name);
    if id.is_empty() || member.left || version(tag(member.tags, "build")) < Some((0, 8, 5)) {
        return Ok(());
    }
    match ids.entry(id).or_insert(name) {
        other if *other != name => refuse(format!(
            "Member '{name}' has conflicting node ID '{id}' with member '{other}'"
        )),
        _ => Ok(()),
    }
}

fn same_place(member: &Candidate<'_>, datacenter: &str, segment: &str) -> Result<(), Error> {
    let (name, tags) = (member.name, member.tags);
    let role = tag(tags, "role");
    if role != "node" && !is_server(tags) {
        return Ok(());
    }
    let (dc, seg) = (tag(tags, "dc"), tag(tags, "segment"));
    if dc != datacenter {
        return refuse(format!("Member '{name}' part of wrong datacenter '{dc}'"));
    }
    if role == "node" && seg != segment {
        return refuse(format!(
            "Member '{name}' part of wrong segment '{seg}' (expected '{segment}')"
        ));
    }
    Ok(())
}

/// Whether tags are those of a Consul server.
pub fn is_server(tags: &Tags) -> bool {
    let number = |name: &str| tag(tags, name).parse::<i64>().is_ok();
    let number_if_there = |name: &str| !tags.contains_key(name) || number(name);
    tag(tags, "role") == "consul"
        && number("port")
        && number("vsn")
        && ["expect", "wan_join_port", "raft_vsn"]
            .into_iter()
            .all(number_if_there)
        && tags
            .keys()
            .filter(|k| k.starts_with("ft_"))
            .all(|k| number(k))
        && version(tag(tags, "build")).is_some()
}

/// The first three numbers joined by dots in a build's text.
fn version(build: &str) -> Option<(u64, u64, u64)> {
    let is_part = |c: char| c.is_ascii_digit() || c == '.';
    build.split(|c| !is_part(c)).find_map(|text| {
        let mut numbers = text.split('.').map(|n| n.parse::<u64>());
        Some((
            numbers.next()?.ok()?,
            numbers.next()?.ok()?,
            numbers.next()?.ok()?,
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(text: &str) -> Tags {
        let pair = |p: &str| p.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()));
        text.split_whitespace().filter_map(pair).collect()
    }

    const SERVER: &str = "role=consul dc=dc1 segment= id=1 port=8300 vsn=2 build=1.8.7: ft_fs=1";
    const CLIENT: &str = "role=node dc=dc1 segment= id=2 vsn=2 build=1.8.7:";

    fn lan(other: &str, name: &str) -> Result<(), Error> {
        let filter = MergeFilter::Lan {
            id: "own".to_owned(),
            name: "me".to_owned(),
            datacenter: "dc1".to_owned(),
            segment: String::new(),
        };
        let (tags, left) = (&tags(other), false);
        filter.check(&[Candidate { name, tags, left }])
    }

    #[test]
    fn the_lan_pool_takes_agents_of_its_datacenter_with_other_ids() {
        assert_eq!(lan(SERVER, "a"), Ok(()));
        assert_eq!(lan(CLIENT, "a"), Ok(()));
        assert!(lan(&SERVER.replace("dc1", "dc2"), "a").is_err());
        assert!(lan(&CLIENT.replace("dc1", "dc2"), "a").is_err());
        assert!(lan(&CLIENT.replace("segment=", "segment=x"), "a").is_err());
        let own = CLIENT.replace("id=2", "id=own");
        assert!(lan(&own, "a").is_err());
        assert_eq!(lan(&own, "me"), Ok(()));
        assert_eq!(lan(&own.replace("1.8.7", "0.8.4"), "a"), Ok(()));
        assert_eq!(lan("role=else dc=dc7", "a"), Ok(()));
    }

    #[test]
    fn two_members_with_one_id_are_refused_unless_one_left() {
        let filter = MergeFilter::Lan {
            id: "own".to_owned(),
            name: "me".to_owned(),
            datacenter: "dc1".to_owned(),
            segment: String::new(),
        };
        let tags = &tags(CLIENT);
        let one = |name, left| Candidate { name, tags, left };
        assert!(filter.check(&[one("a", false), one("b", false)]).is_err());
        assert!(filter.check(&[one("a", false), one("b", true)]).is_ok());
    }

    #[test]
    fn an_id_that_a_member_has_is_refused_to_another_name() {
        let lan = MergeFilter::Lan {
            id: "own".to_owned(),
            name: "me".to_owned(),
            datacenter: "dc1".to_owned(),
            segment: String::new(),
        };
        let (tags, other) = (&tags(CLIENT), &tags(SERVER));
        let new = |name| Candidate {
            name,
            tags,
            left: false,
        };
        let there = || [("b", tags), ("c", other)].into_iter();
        assert!(lan.check_id(&new("a"), there()).is_err());
        assert_eq!(lan.check_id(&new("b"), there()), Ok(()));
        assert_eq!(lan.check_id(&new("a"), [("c", other)].into_iter()), Ok(()));
        assert_eq!(MergeFilter::Wan.check_id(&new("a"), there()), Ok(()));
    }

    #[test]
    fn the_wan_pool_takes_servers() {
        let check = |text: &str| {
            let (name, tags, left) = ("a", &tags(text), false);
            MergeFilter::Wan.check(&[Candidate { name, tags, left }])
        };
        assert_eq!(check(SERVER), Ok(()));
        assert!(check(CLIENT).is_err());
        for wrong in ["port=x", "vsn=", "build=dev", "ft_fs=x", "expect=x"] {
            assert!(check(&format!("{SERVER} {wrong}")).is_err(), "{wrong}");
        }
        assert!(check(&SERVER.replace("port=8300", "")).is_err());
        assert_eq!(check(&format!("{SERVER} build=v1.10.0-beta+x")), Ok(()));
    }
}
