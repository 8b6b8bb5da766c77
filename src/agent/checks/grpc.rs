//! gRPC checks: the standard health service of a gRPC server, asked for `SERVING`.
//!
//! Source: the public description of gRPC's health checking protocol and of gRPC over HTTP/2;
//! `docs/reference/http-2.md` section 4.2.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use smol::io::{AsyncRead, AsyncWrite};

use super::tcp::tls_of;
use super::{DEFAULT_TIMEOUT, Outcome, Surroundings, limit};
use crate::drive::timeout;
use crate::net::h2::{Answer, Failure, header};
use crate::net::hpack::Header;
use crate::net::tls_client::ClientConfig;
use crate::net::{dial, h2, tls_client};
use crate::structs::go::quote;
use crate::structs::{CheckType, Error, Result};

/// The path of the health service's only call.
const PATH: &str = "/grpc.health.v1.Health/Check";
/// The value of `SERVING` in the answer.
const SERVING: u64 = 1;
/// The longest message gRPC takes, in bytes.
const MAX_MESSAGE: u32 = 4 << 20;
/// Names of the codes with which HTTP/2 ends a stream, by number.
const RESETS: [&str; 14] = [
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
];
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
        let answer = connection.request(&headers, &message(&self.service)).await;
        serving_status(&answer.map_err(|why| failure(&why))?)
    }
}

/// gRPC's words for a request without an answer.
fn failure(why: &Failure) -> Error {
    let code = match why {
        Failure::Closed(_) => return unavailable("transport is closing"),
        Failure::Draining => return unavailable("the connection is draining"),
        Failure::Reset(code) => *code,
    };
    let name = usize::try_from(code).ok().and_then(|c| RESETS.get(c));
    let status = match code {
        3 | 11 => "ResourceExhausted",
        7 => "Unavailable",
        8 => "Canceled",
        12 => "PermissionDenied",
        _ if name.is_some() => "Internal",
        _ => "Unknown",
    };
    let name = name.map_or_else(|| format!("unknown error code {code:#x}"), |n| (*n).into());
    let desc = format!("stream terminated by RST_STREAM with error code: {name}");
    rpc_error(status, &desc)
}

/// The serving status in an answer.
fn serving_status(answer: &Answer) -> Result<u64> {
    is_grpc(&answer.headers)?;
    let value = match answer.data.as_slice() {
        [] => None,
        data => Some(status_of_health(payload(data, &answer.headers)?)?),
    };
    let internal = |desc: &str| rpc_error("Internal", desc);
    let Some(trailers) = &answer.trailers else {
        return Err(internal(
            "server closed the stream without sending trailers",
        ));
    };
    let code = header(trailers, "grpc-status");
    let desc = percent_decode(header(trailers, "grpc-message").unwrap_or_default());
    match code.map(str::parse) {
        // gRPC's end of a stream that brought no message.
        Some(Ok(0i64)) => value.ok_or_else(|| Error::new("EOF")),
        Some(Ok(code)) => {
            let name = usize::try_from(code).ok().and_then(|c| CODES.get(c));
            let name = name.map_or_else(|| format!("Code({code})"), |n| (*n).into());
            Err(rpc_error(&name, &desc))
        }
        Some(Err(_)) => Err(internal(&format!(
            "transport: malformed grpc-status: strconv.Atoi: parsing {}: invalid syntax",
            quote(code.unwrap_or_default())
        ))),
        None => Err(rpc_error("Unknown", &desc)),
    }
}

/// Whether the server speaks gRPC at all; if not, the status it answered as gRPC says it.
fn is_grpc(headers: &[Header]) -> Result<()> {
    let kind = header(headers, "content-type");
    let rest = kind.and_then(|kind| kind.strip_prefix("application/grpc"));
    if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([';', '+'])) {
        return Ok(());
    }
    let status = header(headers, ":status").unwrap_or("200");
    let name = match status {
        "400" => "Internal",
        "401" => "Unauthenticated",
        "403" => "PermissionDenied",
        "404" => "Unimplemented",
        "429" | "502" | "503" | "504" => "Unavailable",
        _ => "Unknown",
    };
    let known = StatusCode::from_bytes(status.as_bytes()).ok();
    let reason = known.and_then(|s| s.canonical_reason()).unwrap_or_default();
    let kind = match kind {
        Some(kind) => format!("received the unexpected content-type {}", quote(kind)),
        None => "missing content-type field".into(),
    };
    let desc = format!("{reason}: HTTP status code {status}; transport: {kind}");
    Err(rpc_error(name, &desc))
}

/// The one message of an answer's body: flag, length, bytes.
fn payload<'d>(data: &'d [u8], headers: &[Header]) -> Result<&'d [u8]> {
    let cut = || rpc_error("Internal", "unexpected EOF");
    let (head, rest) = data.split_at_checked(5).ok_or_else(cut)?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    let encoding = header(headers, "grpc-encoding").unwrap_or_default();
    if length > MAX_MESSAGE {
        let desc = format!("grpc: received message larger than max ({length} vs. {MAX_MESSAGE})");
        return Err(rpc_error("ResourceExhausted", &desc));
    }
    let (body, further) = rest.split_at_checked(length as usize).ok_or_else(cut)?;
    match (head[0], encoding) {
        (0, _) => {}
        (1, "" | "identity") => {
            let desc = "grpc: compressed flag set with identity or empty encoding";
            return Err(rpc_error("Internal", desc));
        }
        (1, other) => {
            let other = quote(other);
            let desc = format!("grpc: Decompressor is not installed for grpc-encoding {other}");
            return Err(rpc_error("Unimplemented", &desc));
        }
        (flag, _) => {
            let desc = format!("grpc: received unexpected payload format {flag}");
            return Err(rpc_error("Internal", &desc));
        }
    }
    if !further.is_empty() {
        let desc = "grpc: client streaming protocol violation: get <nil>, want <EOF>";
        return Err(rpc_error("Unknown", desc));
    }
    Ok(body)
}

/// Field 1 of a `HealthCheckResponse`, an enumeration of 32 bits whose last value counts; without one it is 0.
/// Other fields are passed over.
fn status_of_health(mut body: &[u8]) -> Result<u64> {
    let bad = |why: &str| {
        let desc = format!("grpc: failed to unmarshal the received message {why}");
        rpc_error("Internal", &desc)
    };
    let cut = || bad("unexpected EOF");
    let mut status = 0;
    while !body.is_empty() {
        let key = varint(&mut body).ok_or_else(cut)?;
        let (field, kind) = (key >> 3, key & 7);
        if field == 0 {
            return Err(bad(&format!(
                "proto: grpc_health_v1.HealthCheckResponse: illegal tag 0 (wire type {kind})"
            )));
        }
        let length = match kind {
            0 => {
                let value = varint(&mut body).ok_or_else(cut)?;
                if field == 1 {
                    status = value & 0xffff_ffff;
                }
                0
            }
            1 => 8,
            2 => varint(&mut body).ok_or_else(cut)?,
            // The ends of a group, which holds fields like any other.
            3 | 4 => 0,
            5 => 4,
            _ => return Err(bad(&format!("proto: can't skip unknown wire type {kind}"))),
        };
        let length = usize::try_from(length).map_err(|_| cut())?;
        body = body.get(length..).ok_or_else(cut)?;
    }
    Ok(status)
}

/// The number of at most ten bytes that `body` begins with.
fn varint(body: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for n in 0..10 {
        let (byte, rest) = body.split_first()?;
        *body = rest;
        value |= u64::from(byte & 0x7f) << (7 * n);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
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
        assert_eq!(percent_decode("a%20b%zz"), "a b%zz");
    }

    fn headers(list: &[(&str, &str)]) -> Vec<Header> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        list.iter().map(own).collect()
    }

    fn framed(flag: u8, body: &[u8]) -> Vec<u8> {
        let length = (body.len() as u32).to_be_bytes();
        [&[flag][..], &length, body].concat()
    }

    /// What is said of an answer with this body and this status in its trailers.
    fn said(data: Vec<u8>, status: &str) -> String {
        let answer = Answer {
            headers: headers(&[(":status", "200"), ("content-type", "application/grpc")]),
            data,
            trailers: Some(headers(&[
                ("grpc-status", status),
                ("grpc-message", "a%20b"),
            ])),
        };
        match serving_status(&answer) {
            Ok(status) => status.to_string(),
            Err(e) => e.text().replace("rpc error: code = ", ""),
        }
    }

    /// The texts are those of gRPC's implementation in Go 1.27.1, as Consul 1.8.7 shows them.
    #[test]
    fn answers_are_read_as_grpc_reads_them() {
        let unmarshal = "Internal desc = grpc: failed to unmarshal the received message ";
        let eof = format!("{unmarshal}unexpected EOF");
        for (body, wanted) in [
            (&b"\x08\x01"[..], "1"),
            (b"", "0"),
            (b"\x08\x01\x08\x02", "2"),
            (b"\x08\x81\x80\x80\x80\x10", "1"),
            (b"\x12\x01a\x08\x01", "1"),
            (b"\x15abcd\x08\x01", "1"),
            (b"\x0912345678", "0"),
            (b"\x0b\x0c", "0"),
            (b"\x08", &eof),
            (b"\x12\x7fab", &eof),
            (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", &eof),
            (
                b"\x0f",
                &format!("{unmarshal}proto: can't skip unknown wire type 7"),
            ),
        ] {
            assert_eq!(said(framed(0, body), "0"), wanted, "{body:?}");
        }
        let healthy = framed(0, b"\x08\x01");
        for (data, status, wanted) in [
            (Vec::new(), "0", "EOF"),
            (Vec::new(), "5", "NotFound desc = a b"),
            (healthy.clone(), "77", "Code(77) desc = a b"),
            (
                healthy.clone(),
                "abc",
                "Internal desc = transport: malformed grpc-status: strconv.Atoi: parsing \"abc\": invalid syntax",
            ),
            (healthy[..6].to_vec(), "0", "Internal desc = unexpected EOF"),
            (
                healthy.repeat(2),
                "0",
                "Unknown desc = grpc: client streaming protocol violation: get <nil>, want <EOF>",
            ),
            (
                framed(1, b"\x08\x01"),
                "0",
                "Internal desc = grpc: compressed flag set with identity or empty encoding",
            ),
            (
                framed(2, b"\x08\x01"),
                "0",
                "Internal desc = grpc: received unexpected payload format 2",
            ),
            (
                b"\0\xff\xff\xff\xff\x08".to_vec(),
                "0",
                "ResourceExhausted desc = grpc: received message larger than max (4294967295 vs. 4194304)",
            ),
        ] {
            assert_eq!(said(data, status), wanted);
        }
    }

    #[test]
    fn answers_of_others_and_ended_streams_are_named() {
        let answer = |list: &[(&str, &str)]| {
            let headers = headers(list);
            let trailers = Some(headers.clone());
            let data = Vec::new();
            serving_status(&Answer {
                headers,
                data,
                trailers,
            })
            .unwrap_err()
        };
        assert_eq!(
            answer(&[(":status", "404")]).text(),
            "rpc error: code = Unimplemented desc = Not Found: HTTP status code 404; transport: missing content-type field"
        );
        assert_eq!(
            answer(&[(":status", "200"), ("content-type", "application/grpcx")]).text(),
            "rpc error: code = Unknown desc = OK: HTTP status code 200; transport: received the unexpected content-type \"application/grpcx\""
        );
        let reset = |code| failure(&Failure::Reset(code)).text().to_owned();
        assert_eq!(
            reset(8),
            "rpc error: code = Canceled desc = stream terminated by RST_STREAM with error code: CANCEL"
        );
        assert_eq!(
            reset(14),
            "rpc error: code = Unknown desc = stream terminated by RST_STREAM with error code: unknown error code 0xe"
        );
    }
}
