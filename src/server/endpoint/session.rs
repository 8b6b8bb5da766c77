//! `Session.*`: sessions, their validation and their clocks.
//!
//! Source: `docs/reference/http-1.md` section 4.

use crate::acl::{self, Ask, Resource};
use crate::drive;
use crate::server::Server;
use crate::server::acl::{Visible, retain};
use crate::store::{ApplyReply, WatchSet};
use crate::structs::go::GoDuration;
use crate::structs::{
    Error, IndexedSessions, NodeSpecificRequest, Result, Session, SessionRequest,
    SessionSpecificRequest, command, session_behavior, session_op,
};
use crate::telemetry::{Timed, metrics};

/// Longest TTL.
const TTL_MAX: GoDuration = GoDuration::from_secs(24 * 60 * 60);

impl Server {
    /// `Session.Apply`: the new session's ID, or empty for a destroyed one.
    pub(crate) async fn session_apply(&self, mut request: SessionRequest) -> Result<String> {
        self.check_datacenter(&request.datacenter)?;
        let _timed = Timed::start(&metrics::SESSION_APPLY);
        let session = &mut request.session;
        if session.id.is_empty() && request.op == session_op::DESTROY {
            return Err(Error::new("Must provide ID"));
        }
        if session.node.is_empty() && request.op == session_op::CREATE {
            return Err(Error::new("Must provide Node"));
        }
        self.wait_for_leader().await?;
        self.may_change_session(&request)?;
        let session = &mut request.session;
        match request.op.as_str() {
            session_op::CREATE => {
                self.validate_session(session)?;
                session.id = self.new_session_id().await?;
            }
            session_op::DESTROY => {
                self.destroy_session(&request).await?;
                return Ok(String::new());
            }
            other => return Err(Error::new(format!("Invalid session operation '{other}'"))),
        }
        let (_, reply) = self.apply(command::SESSION, &request).await?;
        let ApplyReply::String(id) = reply else {
            return Ok(request.session.id);
        };
        let session = Session {
            id: id.clone(),
            ..request.session
        };
        self.session_timers.reset(drive::now(), &session);
        Ok(id)
    }

    /// Creating needs write on the session's node, destroying on that of the session as it is.
    fn may_change_session(&self, request: &SessionRequest) -> Result<()> {
        let authorizer = self.authorizer(&request.token)?;
        if request.op != session_op::DESTROY {
            let ask = Ask::Write(Resource::Session, &request.session.node);
            return acl::require(&authorizer, ask);
        }
        let state = self.state.read()?;
        match state
            .session_get(&mut WatchSet::new(), &request.session.id)?
            .1
        {
            Some(known) => acl::require(&authorizer, Ask::Write(Resource::Session, &known.node)),
            None => Ok(()),
        }
    }

    fn validate_session(&self, session: &mut Session) -> Result<()> {
        match session.behavior.as_str() {
            "" => session.behavior = session_behavior::RELEASE.to_owned(),
            session_behavior::RELEASE | session_behavior::DELETE => {}
            other => return Err(Error::new(format!("Invalid Behavior setting '{other}'"))),
        }
        if session.ttl.is_empty() {
            return Ok(());
        }
        let ttl = GoDuration::parse(&session.ttl)
            .map_err(|why| Error::new(format!("Session TTL '{}' invalid: {why}", session.ttl)))?;
        let min = GoDuration::from(self.options.session_ttl_min);
        if ttl.0 != 0 && (ttl < min || ttl > TTL_MAX) {
            return Err(Error::new(format!(
                "Invalid Session TTL '{}', must be between [{min}={TTL_MAX}]",
                ttl.0
            )));
        }
        Ok(())
    }

    /// An ID that no session has.
    async fn new_session_id(&self) -> Result<String> {
        self.wait_for_leader().await?;
        loop {
            let id = crate::structs::go::new_uuid();
            let state = self.state.read()?;
            if state.session_get(&mut WatchSet::new(), &id)?.1.is_none() {
                return Ok(id);
            }
        }
    }

    /// Ends a session; the locks it held are released or deleted with it.
    pub(in crate::server) async fn destroy_session(&self, request: &SessionRequest) -> Result<()> {
        let (index, _) = self.apply(command::SESSION, request).await?;
        self.session_timers.clear(&request.session.id);
        // Its keys may have been deleted.
        self.tombstones.hint(drive::now(), index);
        Ok(())
    }

    /// `Session.Get`.
    pub(crate) async fn session_get(
        &self,
        request: SessionSpecificRequest,
    ) -> Result<IndexedSessions> {
        self.check_datacenter(&request.datacenter)?;
        let id = session_id(&request);
        let (meta, session) = self
            .read(&request.options, |state, watch, acl| {
                let (index, session) = state.session_get(watch, id)?;
                Ok((index, session.filter(|s| s.visible(acl))))
            })
            .await?;
        Ok(IndexedSessions {
            sessions: session.map(|s| vec![s]),
            meta,
        })
    }

    /// `Session.List`.
    pub(crate) async fn session_list(
        &self,
        request: SessionSpecificRequest,
    ) -> Result<IndexedSessions> {
        self.check_datacenter(&request.datacenter)?;
        let (meta, sessions) = self
            .read(&request.options, |state, watch, acl| {
                let (index, mut sessions) = state.session_list(watch)?;
                retain(&mut sessions, acl);
                Ok((index, sessions))
            })
            .await?;
        Ok(IndexedSessions {
            sessions: Some(sessions),
            meta,
        })
    }

    /// `Session.NodeSessions`.
    pub(crate) async fn session_node_sessions(
        &self,
        request: NodeSpecificRequest,
    ) -> Result<IndexedSessions> {
        self.check_datacenter(&request.datacenter)?;
        let (meta, sessions) = self
            .read(&request.options, |state, watch, acl| {
                let (index, mut sessions) = state.node_sessions(watch, &request.node)?;
                retain(&mut sessions, acl);
                Ok((index, sessions))
            })
            .await?;
        Ok(IndexedSessions {
            sessions: Some(sessions),
            meta,
        })
    }

    /// `Session.Renew`: restarts the clock; writes nothing.
    pub(crate) async fn session_renew(
        &self,
        request: SessionSpecificRequest,
    ) -> Result<IndexedSessions> {
        self.check_datacenter(&request.datacenter)?;
        let _timed = Timed::start(&metrics::SESSION_RENEW);
        self.wait_for_leader().await?;
        let id = session_id(&request);
        let state = self.state.read()?;
        let (index, session) = state.session_get(&mut WatchSet::new(), id)?;
        let authorizer = self.authorizer(&request.options.token)?;
        if let Some(session) = &session {
            acl::require(&authorizer, Ask::Write(Resource::Session, &session.node))?;
            self.session_timers.reset(drive::now(), session);
        }
        let meta = self.meta(index.max(1));
        Ok(IndexedSessions {
            sessions: session.map(|s| vec![s]),
            meta,
        })
    }
}

/// Senders fill the old field, the new one, or both.
fn session_id(request: &SessionSpecificRequest) -> &str {
    if request.session_id.is_empty() {
        &request.session
    } else {
        &request.session_id
    }
}
