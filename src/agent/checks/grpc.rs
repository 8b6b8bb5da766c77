//! gRPC checks: the standard health service of a gRPC server, asked for `SERVING`.
//!
//! Source: the public description of gRPC's health checking protocol and of gRPC over HTTP/2;
//! `docs/reference/http-2.md` section 4.2.

use std::sync::Arc;
use std::time::Duration;

use smol::io::{AsyncRead, AsyncWrite};

use super::tcp::tls_of;
use super::{DEFAULT_TIMEOUT, Outcome, Surroundings, limit};
use crate::drive::timeout;
use crate::net::tls_client::ClientConfig;
use crate::net::{dial, h2, tls_client};
use crate::structs::{CheckType, Error, Result};

/// The path of the health service's only call.
const PATH: &str = "/grpc.health.v1.Health/Check";
/// The value of `SERVING` in the answer.
const SERVING: u64 = 1;
/// Names of gRPC's status codes, by number.
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

pub(super) struct GrpcProbe {
    /// As the user wrote it, service included.
    target: String,
    address: String,
    service: String,
    timeout: Duration,
    tls: Option<(Arc<ClientConfig>, String)>,
}

fn unavailable(desc: &str) -> Error {
    rpc_error("Unavailable", desc)
}

fn rpc_error(code: &str, desc: &str) -> Error {
    Error::new(format!("rpc error: code = {code} desc = {desc}"))
}

impl GrpcProbe {
    pub(super) fn new(around: &Surroundings, check: &CheckType) -> Result<Self> {
        let (address, service) = check.grpc.split_once('/').unwrap_or((&check.grpc, ""));
        Ok(Self {
            target: check.grpc.clone(),
            address: address.to_owned(),
            service: service.to_owned(),
            timeout: limit(check, DEFAULT_TIMEOUT),
            tls: if check.grpc_use_tls {
                Some(tls_of(around, check, vec!["h2"])?)
            } else {
                None
            },
        })
    }

    pub(super) async fn run(&self) -> Outcome {
        match timeout(self.timeout, self.call()).await {
            Ok(Ok(status)) if status == SERVING => {
                Outcome::passing(format!("gRPC check {}: success", self.target))
            }
            Ok(Ok(_)) => Outcome::critical("gRPC application didn't report service healthy"),
            Ok(Err(e)) => Outcome::critical(e.text()),
            Err(_) => {
                Outcome::critical(rpc_error("DeadlineExceeded", "context deadline exceeded").text())
            }
        }
    }

    /// The serving status the server answers.
    async fn call(&self) -> Result<u64> {
        let stream = dial::tcp(&self.address).await.map_err(|e| {
            unavailable(&format!(
                "connection error: desc = \"transport: Error while dialing {e}\""
            ))
        })?;
        let Some((config, name)) = &self.tls else {
            return self.ask(stream, "http").await;
        };
        let host = dial::split_host_port(&self.address)?.0;
        let name = if name.is_empty() { host } else { name };
        let stream = tls_client::connect(config.clone(), name, stream)
            .await
            .map_err(|e| {
                unavailable(&format!(
                    "connection error: desc = \"transport: authentication handshake failed: {e}\""
                ))
            })?;
        self.ask(stream, "https").await
    }

    async fn ask<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S, scheme: &str) -> Result<u64> {
        let mut connection = h2::Connection::handshake(stream)
            .await
            .map_err(|_| unavailable("connection closed"))?;
        let headers = [
            (":method", "POST"),
            (":scheme", scheme),
            (":path", PATH),
            (":authority", self.address.as_str()),
            ("content-type", "application/grpc"),
            ("user-agent", "Consul Health Check"),
            ("te", "trailers"),
        ];
        let answer = connection
            .request(&headers, &message(&self.service))
            .await
            .map_err(|e| unavailable(&format!("transport is closing: {e}")))?;
        let code = answer.header("grpc-status").unwrap_or_default();
        if code != "0" {
            let http = answer.header(":status").unwrap_or("200");
            if code.is_empty() && http != "200" {
                return Err(rpc_error(
                    "Unknown",
                    &format!("unexpected HTTP status code received from server: {http}"),
                ));
            }
            let number = code.parse().unwrap_or(2usize);
            let name = CODES.get(number).copied().unwrap_or("Unknown");
            let desc = percent_decode(answer.header("grpc-message").unwrap_or_default());
            return Err(rpc_error(name, &desc));
        }
        serving_status(&answer.data)
            .ok_or_else(|| rpc_error("Internal", "grpc: failed to unmarshal the received message"))
    }
}

/// The request: a message of gRPC (flag, length) around the protobuf with the service's name in field 1.
fn message(service: &str) -> Vec<u8> {
    let mut body = Vec::new();
    if !service.is_empty() {
        body.push(0x0a);
        let mut n = service.len();
        while n >= 128 {
            body.push(128 | (n % 128) as u8);
            n /= 128;
        }
        body.push(n as u8);
        body.extend_from_slice(service.as_bytes());
    }
    let mut out = vec![0];
    out.extend_from_slice(&(body.len() as u32).to_be_bytes());
    out.extend_from_slice(&body);
    out
}

/// Field 1 of the answer, an enumeration; an empty answer is 0.
fn serving_status(data: &[u8]) -> Option<u64> {
    let (head, rest) = data.split_at_checked(5)?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    let body = rest.get(..length)?;
    match body {
        [] => Some(0),
        [0x08, varint @ ..] => {
            let mut value = 0u64;
            for (n, byte) in varint.iter().take(9).enumerate() {
                value |= u64::from(byte & 0x7f) << (7 * n);
                if byte & 0x80 == 0 {
                    return Some(value);
                }
            }
            None
        }
        _ => None,
    }
}

fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let hex = text
            .get(at + 1..at + 3)
            .filter(|_| *byte == b'%')
            .and_then(|h| u8::from_str_radix(h, 16).ok());
        out.push(hex.unwrap_or(*byte));
        at += if hex.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_framed() {
        assert_eq!(message(""), [0, 0, 0, 0, 0]);
        assert_eq!(message("ab"), [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        assert_eq!(serving_status(&[0, 0, 0, 0, 2, 8, 1]), Some(1));
        assert_eq!(serving_status(&[0, 0, 0, 0, 0]), Some(0));
        assert_eq!(serving_status(&[0, 0, 0, 0, 9, 8]), None);
        assert_eq!(percent_decode("a%20b%zz"), "a b%zz");
    }
}
