//! The first token, what a token may do, and the state of replication.
//!
//! Source: `docs/reference/http-1.md` sections 11.1 and 11.9.

use super::fail;
use crate::acl::{Ask, Resource, Scalar};
use crate::server::Server;
use crate::server::acl::management_token;
use crate::store::WatchSet;
use crate::structs::go::{new_uuid, quote};
use crate::structs::*;

/// The file in the data directory that allows the first token to be made once more.
const RESET_FILE: &str = "acl-bootstrap-reset";
/// Questions asked at once at most.
const MAX_QUESTIONS: usize = 64;

impl Server {
    /// `ACL.BootstrapTokens`.
    pub(crate) async fn acl_bootstrap_tokens(
        &self,
        request: DCSpecificRequest,
    ) -> Result<ACLToken> {
        self.acl_enabled()?;
        self.check_datacenter(&request.datacenter)?;
        self.wait_for_leader().await?;
        let done = self.state.read()?.acl_bootstrap_index()?;
        let reset = if done > 0 {
            self.reset_index().await
        } else {
            0
        };
        if done > 0 && reset != done {
            return fail(format!(
                "{PERMISSION_DENIED}: ACL bootstrap no longer allowed (reset index: {done})"
            ));
        }
        let token = management_token(new_uuid(), "Bootstrap Token (Global Management)");
        let accessor = token.accessor_id.clone();
        let request = ACLTokenBootstrapRequest {
            token,
            reset_index: reset,
        };
        self.apply(command::ACL_BOOTSTRAP, &request).await?;
        self.forget_reset_index().await;
        log::info!(target: "agent.server", "ACL bootstrap completed");
        let state = self.state.read()?;
        let (_, written) = state.acl_token_by_accessor(&mut WatchSet::new(), &accessor)?;
        written.ok_or_else(|| Error::new("Failed to retrieve the token after insertion"))
    }

    /// The index in the reset file; 0 if there is no such file or nothing of the kind in it.
    async fn reset_index(&self) -> u64 {
        let path = self.options.data_dir.join(RESET_FILE);
        let text = smol::unblock(move || std::fs::read_to_string(path)).await;
        match text {
            Ok(text) => text.trim().parse().unwrap_or_else(|_| {
                log::error!(target: "agent.server.acl", "failed to parse bootstrap reset file: {RESET_FILE}");
                0
            }),
            Err(e) => {
                if e.kind() != std::io::ErrorKind::NotFound {
                    log::error!(target: "agent.server.acl", error:% = e; "bootstrap: failed to read");
                }
                0
            }
        }
    }

    async fn forget_reset_index(&self) {
        let path = self.options.data_dir.join(RESET_FILE);
        let gone = smol::unblock(move || std::fs::remove_file(path)).await;
        if let Err(e) = gone
            && e.kind() != std::io::ErrorKind::NotFound
        {
            log::warn!(target: "agent.server.acl", error:% = e; "failed to remove bootstrap file");
        }
    }

    /// `ACL.ReplicationStatus`, which the leader knows. The primary datacenter copies nothing.
    pub(crate) async fn acl_replication_status(
        &self,
        request: DCSpecificRequest,
    ) -> Result<ACLReplicationStatus> {
        self.acl_enabled()?;
        self.check_datacenter(&request.datacenter)?;
        Ok(self.replication.status())
    }

    /// `ACL.Authorize`.
    pub(crate) async fn acl_authorize(
        &self,
        request: RemoteACLAuthorizationRequest,
    ) -> Result<Vec<ACLAuthorizationResponse>> {
        self.acl_enabled()?;
        self.check_datacenter(&request.datacenter)?;
        let authorizer = self.authorizer(&request.options.token)?;
        let asked = request.requests.unwrap_or_default();
        if asked.len() > MAX_QUESTIONS {
            return fail(format!(
                "Refusing to process more than {MAX_QUESTIONS} authorizations at once"
            ));
        }
        let mut answers = Vec::with_capacity(asked.len());
        for request in asked {
            let allow = authorizer.allows(question(&request)?);
            answers.push(ACLAuthorizationResponse { request, allow });
        }
        Ok(answers)
    }
}

/// What a question is about.
fn question(asked: &ACLAuthorizationRequest) -> Result<Ask<'_>> {
    let named = Resource::RULED.into_iter().chain([Resource::Intention]);
    let resource = named.into_iter().find(|r| r.name() == asked.resource);
    let scalar = Scalar::ALL.into_iter().find(|s| s.name() == asked.resource);
    let name = asked.segment.as_str();
    Ok(match (resource, scalar, asked.access.as_str()) {
        (Some(r), _, "read") => Ask::Read(r, name),
        (Some(r), _, "write") => Ask::Write(r, name),
        (Some(Resource::Key), _, "list") => Ask::KeyList(name),
        (_, Some(s), "read") => Ask::ReadScalar(s),
        (_, Some(s), "write") => Ask::WriteScalar(s),
        (None, None, _) => {
            let resource = quote(&asked.resource);
            return fail(format!("Invalid ACL resource requested: {resource}"));
        }
        (_, _, access) => {
            let resource = &asked.resource;
            return fail(format!(
                "Invalid access level for {resource} resource: {access}"
            ));
        }
    })
}
