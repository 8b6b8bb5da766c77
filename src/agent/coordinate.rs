//! Telling the servers where this agent is in the network: its coordinate, from time to time.
//!
//! Holds true: an agent that is alone has nobody to be far from, and sends nothing.
//! Leaves to others: the coordinate itself (`gossip`), what servers do with it.
//! Source: `docs/reference/gossip.md` section 15.7.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::Agent;
use crate::drive::sleep;
use crate::structs::rpc::{call, method};
use crate::structs::{CoordinateUpdateRequest, Member, MemberStatus};

/// Shortest time between two messages, before the random part.
const INTERVAL: Duration = Duration::from_secs(15);
/// Messages per second that the servers shall see from all agents together.
const PER_SECOND: f64 = 64.0;
/// A server's protocol from which on it takes coordinates.
const TAKES_COORDINATES: u32 = 3;
/// Time to the next look while there is nothing to send.
const LOOK: Duration = Duration::from_secs(30);

/// Sends until the agent is gone.
pub(super) async fn run(agent: Weak<Agent>) {
    let mut pause = INTERVAL.mul_f64(fastrand::f64());
    loop {
        sleep(pause).await;
        let Some(agent) = agent.upgrade() else { return };
        let members = agent.delegate.members(false).unwrap_or_default();
        pause = if members.len() > 1 && servers_take_coordinates(&members) {
            send(&agent).await;
            let spread = Duration::from_secs_f64(members.len() as f64 / PER_SECOND);
            INTERVAL.max(spread).mul_f64(1.0 + fastrand::f64())
        } else {
            LOOK
        };
    }
}

/// Whether there are servers, and all of them know what a coordinate is.
fn servers_take_coordinates(members: &[Member]) -> bool {
    let tag = |m: &Member, name: &str| m.tags.get(name).cloned().unwrap_or_default();
    let mut servers = members
        .iter()
        .filter(|m| tag(m, "role") == "consul" && m.status == MemberStatus::Alive as u8)
        .peekable();
    let takes = |m: &Member| {
        let newest: Option<u32> = tag(m, "vsn_max").parse().ok();
        newest.is_some_and(|version| version >= TAKES_COORDINATES)
    };
    servers.peek().is_some() && servers.all(takes)
}

async fn send(agent: &Arc<Agent>) {
    let Some(coord) = agent.delegate.coordinate() else {
        return;
    };
    let identity = agent.local.identity();
    let request = CoordinateUpdateRequest {
        datacenter: identity.datacenter.clone(),
        node: identity.node.clone(),
        segment: agent.config().segment.clone(),
        coord: Some(coord),
        token: agent.tokens.agent(),
    };
    if let Err(e) = call::<method::CoordinateUpdate>(&*agent.delegate, request).await {
        log::error!(target: "agent", error = e.text(); "Coordinate update error");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(role: &str, newest: &str, status: MemberStatus) -> Member {
        let tags = [("role", role), ("vsn_max", newest)];
        Member {
            tags: tags.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            status: status as u8,
            ..Member::default()
        }
    }

    #[test]
    fn all_servers_must_know_coordinates() {
        use MemberStatus::{Alive, Failed};
        let client = || member("node", "3", Alive);
        for (members, wanted) in [
            (vec![client(), client()], false),
            (vec![client(), member("consul", "3", Alive)], true),
            (
                vec![member("consul", "2", Alive), member("consul", "3", Alive)],
                false,
            ),
            (
                vec![member("consul", "2", Failed), member("consul", "3", Alive)],
                true,
            ),
            (vec![member("consul", "", Alive)], false),
        ] {
            assert_eq!(servers_take_coordinates(&members), wanted, "{members:?}");
        }
    }
}
