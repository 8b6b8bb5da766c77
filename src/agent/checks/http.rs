//! HTTP checks: passing on 2xx, warning on 429, critical on everything else.
//!
//! Holds true: at most ten redirects are followed, within one timeout; the output names the URL of the
//! check; no more of the body than the output limit is kept.
//! Source: `docs/reference/http-2.md` section 4.2; Go's `net/http` documentation for redirects.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use super::tcp::tls_of;
use super::{DEFAULT_TIMEOUT, Outcome, Surroundings, head, limit};
use crate::drive::{now, sleep_until};
use crate::net::http_client::{Answer, Ask, exchange};
use crate::net::tls_client::ClientConfig;
use crate::net::url::{Url, shown};
use crate::structs::go::quote;
use crate::structs::{CheckType, Error, Result};

/// After this many redirects the check gives up.
const MAX_REDIRECTS: usize = 10;
/// Go's words for a timeout before the answer's head arrived.
const TIMED_OUT: &str =
    "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";

pub(super) struct HttpProbe {
    url: String,
    method: String,
    headers: Vec<(String, String)>,
    body: String,
    timeout: Duration,
    max_output: usize,
    follow: bool,
    tls: Option<(Arc<ClientConfig>, String)>,
}

impl HttpProbe {
    pub(super) fn new(around: &Surroundings, check: &CheckType) -> Result<Self> {
        let mut headers = vec![
            ("User-Agent".to_owned(), "Consul Health Check".to_owned()),
            ("Accept".to_owned(), "text/plain, text/*, */*".to_owned()),
        ];
        for (name, values) in check.header.iter().flatten() {
            headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
            for value in values.iter().flatten() {
                headers.push((name.clone(), value.clone()));
            }
        }
        // A plain URL may redirect to a TLS one.
        let tls = tls_of(around, check, vec!["http/1.1"]);
        let needs_tls = check.http.starts_with("https:");
        Ok(Self {
            url: check.http.clone(),
            method: if check.method.is_empty() {
                "GET".to_owned()
            } else {
                check.method.clone()
            },
            headers,
            body: check.body.clone(),
            timeout: limit(check, DEFAULT_TIMEOUT),
            max_output: around.output_limit(check),
            follow: !check.disable_redirects,
            tls: if needs_tls { Some(tls?) } else { tls.ok() },
        })
    }

    pub(super) async fn run(&self) -> Outcome {
        let answer = match self.fetch().await {
            Ok(answer) => answer,
            Err(e) => return Outcome::critical(e.text()),
        };
        let body = String::from_utf8_lossy(&answer.body);
        let output = format!(
            "HTTP {} {}: {} Output: {}",
            self.method,
            self.url,
            answer.status_line,
            head(&body, self.max_output)
        );
        match answer.status {
            200..300 => Outcome::passing(output),
            429 => Outcome::warning(output),
            _ => Outcome::critical(output),
        }
    }

    /// Go's prefix of errors: `Get "http://...": `.
    fn failure(&self, url: &str, e: impl std::fmt::Display) -> Error {
        let (first, rest) = self.method.split_at_checked(1).unwrap_or_default();
        let verb = format!("{first}{}", rest.to_lowercase());
        Error::new(format!("{verb} {}: {e}", quote(&shown(url))))
    }

    async fn fetch(&self) -> Result<Answer> {
        let deadline = now() + self.timeout;
        let mut expired = pin!(sleep_until(deadline));
        let mut text = self.url.clone();
        let mut ask = Ask {
            method: self.method.clone(),
            url: Url::parse(&text).map_err(|e| {
                if e.text().starts_with("parse ") {
                    e
                } else {
                    self.failure(&text, e)
                }
            })?,
            headers: self.headers.clone(),
            body: self.body.clone().into_bytes(),
            max_body: self.max_output,
            socket: None,
        };
        for _ in 0..=MAX_REDIRECTS {
            let answer = exchange(&ask, self.tls.as_ref(), expired.as_mut())
                .await
                .map_err(|e| match e.text().starts_with("net/http: invalid method") {
                    true => e,
                    false => self.failure(&text, e),
                })?
                .ok_or_else(|| self.failure(&text, TIMED_OUT))?;
            let keeps_method = matches!(answer.status, 307 | 308);
            let redirects = keeps_method || matches!(answer.status, 301..=303);
            let location = match (&answer.location, redirects && self.follow) {
                (Some(location), true) => location.clone(),
                (None, true) if !keeps_method => {
                    let why = format!("{} response missing Location header", answer.status);
                    return Err(self.failure(&text, why));
                }
                _ => return Ok(answer),
            };
            let next = ask.url.join(&location).map_err(|e| {
                if e.text().starts_with("parse ") {
                    let where_to = quote(&location);
                    let why = format!("failed to parse Location header {where_to}: {e}");
                    return self.failure(&text, why);
                }
                self.failure(&location, e)
            })?;
            if next.host != ask.url.host {
                ask.headers.retain(|(n, _)| !is_secret(n));
            }
            ask.url = next;
            if !keeps_method && ask.method != "HEAD" {
                "GET".clone_into(&mut ask.method);
                ask.body.clear();
            }
            text = location;
        }
        Err(self.failure(&text, format!("stopped after {MAX_REDIRECTS} redirects")))
    }
}

/// Headers that must not follow a redirect to another host.
fn is_secret(name: &str) -> bool {
    ["authorization", "cookie", "www-authenticate", "host"]
        .iter()
        .any(|n| name.eq_ignore_ascii_case(n))
}
