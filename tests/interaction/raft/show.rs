//! Messages, writes and states as lines of text.

use consul_lite::raft::{
    Configuration, Entry, EntryKind, Fault, Leadership, Message, Role, Status, Suffrage, Write,
};

pub fn entry(e: &Entry) -> String {
    let what = match e.kind {
        EntryKind::Command => format!("{:?}", String::from_utf8_lossy(&e.data)),
        EntryKind::Noop => "noop".to_owned(),
        EntryKind::Barrier => "barrier".to_owned(),
        EntryKind::Configuration => match Configuration::decode(&e.data) {
            Ok(c) => configuration(&c),
            Err(e) => e.to_string(),
        },
    };
    format!("{}/{} {what}", e.index, e.term)
}

pub fn entries(all: &[Entry]) -> String {
    let all: Vec<String> = all.iter().map(entry).collect();
    format!("[{}]", all.join(", "))
}

pub fn configuration(c: &Configuration) -> String {
    let one = |s: &consul_lite::raft::Server| match s.suffrage {
        Suffrage::Voter => s.id.clone(),
        Suffrage::Nonvoter | Suffrage::Staging => format!("({})", s.id),
    };
    let all: Vec<String> = c.servers.iter().map(one).collect();
    format!("{{{}}}", all.join(" "))
}

pub fn message(m: &Message) -> String {
    let yes = |yes: bool| if yes { "yes" } else { "no" };
    match m {
        Message::AppendEntries(m) if m.prev_index == 0 && m.entries.is_empty() => {
            format!("Heartbeat term {}", m.term)
        }
        Message::AppendEntries(m) => format!(
            "AppendEntries term {} after {}/{} {} commit {}",
            m.term,
            m.prev_index,
            m.prev_term,
            entries(&m.entries),
            m.leader_commit
        ),
        Message::AppendEntriesResponse(m) => {
            let retry = if m.no_retry_backoff { ", at once" } else { "" };
            let (term, last) = (m.term, m.last_log);
            format!(
                "AppendEntries: {}{retry}, term {term} last {last}",
                yes(m.success)
            )
        }
        Message::RequestVote(m) => {
            let transfer = if m.leadership_transfer {
                " transfer"
            } else {
                ""
            };
            let (last, last_term) = (m.last_log_index, m.last_log_term);
            format!(
                "RequestVote term {} last {last}/{last_term}{transfer}",
                m.term
            )
        }
        Message::RequestVoteResponse(m) => {
            format!("RequestVote: {}, term {}", yes(m.granted), m.term)
        }
        Message::RequestPreVote(m) => format!(
            "RequestPreVote term {} last {}/{}",
            m.term, m.last_log_index, m.last_log_term
        ),
        Message::RequestPreVoteResponse(m) => {
            format!("RequestPreVote: {}, term {}", yes(m.granted), m.term)
        }
        Message::InstallSnapshot(m) => format!(
            "InstallSnapshot term {} at {}/{} {}",
            m.term,
            m.last_log_index,
            m.last_log_term,
            configuration(&m.configuration)
        ),
        Message::InstallSnapshotResponse(m) => {
            format!("InstallSnapshot: {}, term {}", yes(m.success), m.term)
        }
        Message::TimeoutNow(m) => format!("TimeoutNow term {}", m.term),
        Message::TimeoutNowResponse(_) => "TimeoutNow: heard".to_owned(),
    }
}

pub fn write(w: &Write) -> String {
    let mut parts = Vec::new();
    if let Some(meta) = &w.reset {
        parts.push(format!(
            "empties the log after {}/{}",
            meta.index, meta.term
        ));
    }
    if let Some(from) = w.truncate_from {
        parts.push(format!("cuts from {from}"));
    }
    if !w.entries.is_empty() {
        parts.push(entries(&w.entries));
    }
    if let Some(hard) = &w.hard_state {
        let vote = hard.voted_for.as_deref().unwrap_or("nobody");
        parts.push(format!("term {} vote {vote}", hard.term));
    }
    format!("writes {}", parts.join(", "))
}

pub fn leadership(l: &Leadership) -> String {
    let of = |l: &Leadership| match &l.leader {
        Some(leader) => format!(" of {leader}"),
        None => " of nobody".to_owned(),
    };
    match l.role {
        Role::Leader => format!("leads term {}", l.term),
        Role::Candidate => format!("stands in term {}", l.term),
        Role::PreCandidate => format!("would stand after term {}", l.term),
        Role::Follower => format!("follows in term {}{}", l.term, of(l)),
    }
}

pub fn fault(f: &Fault) -> String {
    match f {
        Fault::LogUnreadable(why) => format!("cannot read its log: {why}"),
        Fault::CommittedConflict { from, index } => {
            format!("refuses what {from} says: {index} is committed otherwise")
        }
    }
}

pub fn status(s: &Status) -> Vec<String> {
    let leader = s.leader.as_deref().unwrap_or("nobody");
    let mut lines = vec![format!(
        "{:?} of {leader}, term {}, log {}..{}, synced {}, commit {}, applied {}, {}",
        s.role,
        s.term,
        s.snapshot_index,
        s.last_index,
        s.persisted,
        s.commit,
        s.applied,
        configuration(&s.configuration)
    )];
    for peer in &s.peers {
        let (id, mode) = (&peer.id, peer.mode);
        lines.push(format!(
            "  {id}: {mode:?}, matched {}, next {}",
            peer.matched, peer.next
        ));
    }
    lines
}
