//! `/v1/snapshot`: the whole state out and in, as an archive that is never in memory as a whole.
//!
//! Source: `docs/reference/http-1.md` section 9.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};

use hyper::Method;
use hyper::header::{CONTENT_TYPE, HeaderValue};

use super::context::Ctx;
use super::error::HttpError;
use super::request::Request;
use super::response::{Body, Response};
use super::routes::{Route, routes};
use crate::net::snapshot::unnamed_file;
use crate::structs::SnapshotRequest;

pub(super) const ROUTES: &[Route] = routes! {
    "/v1/snapshot" [GET PUT] snapshot;
};

/// Largest archive that is taken in, in bytes.
const MAX_ARCHIVE: u64 = 4 << 30;

async fn snapshot(ctx: &Ctx, req: &mut Request) -> Result<Response, HttpError> {
    let mut args = SnapshotRequest {
        datacenter: req.datacenter(ctx),
        token: req.token(ctx),
        allow_stale: req.query.has("stale"),
        op: 0,
    };
    if req.method == Method::GET {
        let (answer, file) = ctx.delegate.snapshot_save(args).await?;
        let gzip = HeaderValue::from_static("application/x-gzip");
        let mut response = Response::empty()
            .with(CONTENT_TYPE, gzip)
            .with_meta(&answer.meta);
        response.body = Body::File(file);
        return Ok(response);
    }
    if args.allow_stale {
        return Err(HttpError::internal("stale not allowed for restore"));
    }
    args.op = 1;
    let file = receive(req).await?;
    ctx.delegate.snapshot_restore(args, file).await?;
    Ok(Response::empty())
}

/// Takes the body into an unnamed file.
async fn receive(req: &mut Request) -> Result<File, HttpError> {
    let broken = |e: std::io::Error| {
        HttpError::internal(format!(
            "failed to keep the snapshot in a temporary file: {e}"
        ))
    };
    let mut file = unnamed_file(&std::env::temp_dir()).map_err(broken)?;
    let mut taken = 0;
    while let Some(piece) = req.body.next().await? {
        taken += piece.len() as u64;
        if taken > MAX_ARCHIVE {
            let text = format!("Request body too large, max size: {MAX_ARCHIVE} bytes.");
            return Err(HttpError::new(hyper::StatusCode::PAYLOAD_TOO_LARGE, text).closing());
        }
        file = smol::unblock(move || file.write_all(&piece).map(|()| file))
            .await
            .map_err(broken)?;
    }
    file.seek(SeekFrom::Start(0)).map_err(broken)?;
    Ok(file)
}
