//! The URLs that checks and watch handlers name: `http` and `https`, absolute, or relative to another.
//!
//! Leaves to others: what is asked of the URL.
//! Source: RFC 3986 sections 3 and 5.2; Go's `net/url` for the words of errors.

use crate::structs::go::quote;
use crate::structs::{Error, Result};

/// A URL in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// `http` or `https`.
    pub scheme: String,
    /// `user:password` as it stands in the URL, if any.
    pub userinfo: Option<String>,
    /// Host without brackets.
    pub host: String,
    /// Port as written, if any: digits, whose value only whoever connects judges.
    pub port: Option<String>,
    /// Path and query, beginning with `/`.
    pub target: String,
}

impl Url {
    /// Reads an absolute URL.
    ///
    /// # Errors
    /// Go's words: `unsupported protocol scheme "ftp"`, `parse "x": missing protocol scheme`.
    pub fn parse(text: &str) -> Result<Self> {
        let fault = |why: &str| Error::new(format!("parse {}: {why}", quote(text)));
        if text.bytes().any(|b| b < 0x20 || b == 0x7f) {
            return Err(fault("net/url: invalid control character in URL"));
        }
        if text.starts_with(':') {
            return Err(fault("missing protocol scheme"));
        }
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        let first = text.split('/').next().unwrap_or_default();
        let is_scheme = |s: &str| {
            s.starts_with(|c: char| c.is_ascii_alphabetic())
                && s.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
        };
        if scheme.is_empty() && first.split_once(':').is_some_and(|(s, _)| !is_scheme(s)) {
            return Err(fault("first path segment in URL cannot contain colon"));
        }
        let scheme = scheme.to_ascii_lowercase();
        if scheme != "http" && scheme != "https" {
            let text = format!("unsupported protocol scheme {}", quote(&scheme));
            return Err(Error::new(text));
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        let (userinfo, host_port) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user.to_owned()), host),
            None => (None, authority),
        };
        let (host, port) = split_authority(host_port).map_err(|why| fault(&why))?;
        let path = tail.split(['?', '#']).next().unwrap_or_default();
        if let Some(bad) = bad_escape(path) {
            return Err(fault(&format!("invalid URL escape {}", quote(bad))));
        }
        if host.is_empty() {
            return Err(Error::new("http: no Host in request URL"));
        }
        Ok(Self {
            scheme,
            userinfo,
            host: host.to_owned(),
            port: port.map(str::to_owned),
            target: target(tail),
        })
    }

    /// The URL that a `Location` of this one means.
    ///
    /// # Errors
    /// As [`Url::parse`].
    pub fn join(&self, location: &str) -> Result<Self> {
        let has_scheme = location
            .split_once(':')
            .is_some_and(|(s, _)| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric()));
        if has_scheme {
            return Self::parse(location);
        }
        if location.starts_with("//") {
            return Self::parse(&format!("{}:{location}", self.scheme));
        }
        let mut to = self.clone();
        let path = self.target.split('?').next().unwrap_or("/");
        to.target = if location.starts_with('/') {
            target(location)
        } else if location.starts_with('?') {
            target(&format!("{path}{location}"))
        } else {
            let folder = &path[..path.rfind('/').map_or(0, |at| at + 1)];
            target(&format!("{folder}{location}"))
        };
        Ok(to)
    }

    /// Whether it is spoken over TLS.
    pub fn is_tls(&self) -> bool {
        self.scheme == "https"
    }

    /// `host:port` to connect to.
    pub fn address(&self) -> String {
        let usual = if self.is_tls() { "443" } else { "80" };
        let port = self.port.as_deref().unwrap_or(usual);
        if self.host.contains(':') {
            format!("[{}]:{port}", self.host)
        } else {
            format!("{}:{port}", self.host)
        }
    }

    /// The value of the `Host` header.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        match &self.port {
            Some(port) => format!("{host}:{port}"),
            None => host,
        }
    }
}

/// A URL as Go prints it in errors: the path escaped where it has to be, the password hidden.
pub fn shown(text: &str) -> String {
    let (text, fragment) = match text.split_once('#') {
        Some((text, fragment)) => (text, Some(fragment)),
        None => (text, None),
    };
    let (text, query) = match text.split_once('?') {
        Some((text, query)) => (text, Some(query)),
        None => (text, None),
    };
    let start = text.find("://").map_or(0, |at| {
        let rest = text.get(at + 3..).unwrap_or_default();
        at + 3 + rest.find('/').unwrap_or(rest.len())
    });
    let (before, path) = text.split_at(start);
    let mut out = match (before.split_once("://"), before.rsplit_once('@')) {
        (Some((scheme, rest)), Some((_, host))) => match rest.split_once(':') {
            Some((user, _)) if user.len() < rest.len() - host.len() => {
                format!("{scheme}://{user}:***@{host}")
            }
            _ => before.to_owned(),
        },
        _ => before.to_owned(),
    };
    escape_into(&mut out, path);
    if let Some(query) = query {
        out.push('?');
        out.push_str(query);
    }
    if let Some(fragment) = fragment {
        out.push('#');
        escape_into(&mut out, fragment);
    }
    out
}

fn escape_into(out: &mut String, part: &str) {
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@!'()*[]%".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}

/// Host and port; else what Go says about them.
fn split_authority(text: &str) -> std::result::Result<(&str, Option<&str>), String> {
    let (host, after) = match text.strip_prefix('[') {
        Some(inner) => inner.split_once(']').ok_or("missing ']' in host")?,
        None => text.split_at(text.rfind(':').unwrap_or(text.len())),
    };
    let port = match after.strip_prefix(':') {
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => port,
        None if after.is_empty() => after,
        _ => return Err(format!("invalid port {} after host", quote(after))),
    };
    Ok((host, (!port.is_empty()).then_some(port)))
}

/// The first `%` that two hexadecimal digits do not follow, with what follows it.
fn bad_escape(path: &str) -> Option<&str> {
    let bytes = path.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
    let mut signs = path.match_indices('%').map(|(at, _)| at);
    let at = signs.find(|at| !digit(at + 1) || !digit(at + 2))?;
    let end = (at + 3).min(path.len());
    // Go shows three octets; a character is not cut in two here.
    Some(path.get(at..end).unwrap_or("%"))
}

/// Path and query as they go into a request line: rooted, without dot segments and fragment.
fn target(text: &str) -> String {
    let text = text.split('#').next().unwrap_or_default();
    let (path, query) = match text.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (text, None),
    };
    let mut out: Vec<&str> = Vec::new();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    for (n, segment) in segments.iter().enumerate() {
        let last = n + 1 == segments.len();
        match *segment {
            "." | ".." => {
                if *segment == ".." {
                    out.pop();
                }
                if last {
                    out.push("");
                }
            }
            segment => out.push(segment),
        }
    }
    let mut done = String::from("/");
    done.push_str(&out.join("/"));
    if let Some(query) = query {
        done.push('?');
        done.push_str(query);
    }
    done.replace(' ', "%20")
}

/// A path in a URL: what may not stand there is escaped, slashes stay.
pub fn escape_path(path: &str) -> String {
    escape(path, b"-_.~/$&+,:;=@")
}

/// A host in a URL, with every slash escaped: how a unix socket's path appears.
pub fn escape_host(host: &str) -> String {
    escape(host, b"-_.~")
}

/// A value in a query.
pub fn escape_query(value: &str) -> String {
    escape(value, b"-_.~ ").replace(' ', "+")
}

fn escape(text: &str, keep: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte.is_ascii_alphanumeric() || keep.contains(&byte) {
            true => out.push(char::from(byte)),
            false => out += &format!("%{byte:02X}"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_come_apart() {
        let url = Url::parse("http://u:p@web.example:8080/a/../b?x=1#f").unwrap();
        assert_eq!(url.userinfo.as_deref(), Some("u:p"));
        assert_eq!(url.address(), "web.example:8080");
        assert_eq!(url.target, "/b?x=1");
        let url = Url::parse("https://[::1]").unwrap();
        assert_eq!(
            (url.address(), url.target),
            ("[::1]:443".to_owned(), "/".to_owned())
        );
        for (text, error) in [
            ("ftp://x", "unsupported protocol scheme \"ftp\""),
            ("x", "unsupported protocol scheme \"\""),
            (":x", "parse \":x\": missing protocol scheme"),
            ("http://", "http: no Host in request URL"),
            (
                "127.0.0.1:80/x",
                "parse \"127.0.0.1:80/x\": first path segment in URL cannot contain colon",
            ),
            (
                "http://a:b/",
                "parse \"http://a:b/\": invalid port \":b\" after host",
            ),
            (
                "http://[::1/",
                "parse \"http://[::1/\": missing ']' in host",
            ),
            (
                "http://a/%zz?%",
                "parse \"http://a/%zz?%\": invalid URL escape \"%zz\"",
            ),
        ] {
            assert_eq!(Url::parse(text), Err(Error::new(error)));
        }
    }

    #[test]
    fn shown_as_go_prints_them() {
        for (text, wanted) in [
            ("not a url", "not%20a%20url"),
            ("a b/c?d e#f g", "a%20b/c?d e#f%20g"),
            ("http://h:1/a b?c d", "http://h:1/a%20b?c d"),
            ("http://u:secret@h/x", "http://u:***@h/x"),
            ("http://u@h:1/%41", "http://u@h:1/%41"),
            ("http://h:80", "http://h:80"),
        ] {
            assert_eq!(shown(text), wanted);
        }
    }

    #[test]
    fn locations_are_relative_to_where_they_came_from() {
        let base = Url::parse("http://h:1/a/b?q").unwrap();
        for (location, target) in [
            ("c", "/a/c"),
            ("/c", "/c"),
            ("../c?d", "/c?d"),
            ("?z", "/a/b?z"),
            ("//other/x", "/x"),
            ("http://other/y", "/y"),
        ] {
            assert_eq!(base.join(location).unwrap().target, target, "{location}");
        }
    }
}
