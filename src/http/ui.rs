//! Serves the web page, the built-in one or a directory of one's own, beside the API.
//!
//! Holds true: below the content path everything is answered with a file or with the index page, as
//! Consul does; nothing outside the page's files is ever given out; every page forbids other origins,
//! inline scripts and frames. Also here: which writes of other sites are refused while there is a page.
//! Source: `docs/reference/http-2.md` section 14; a running Consul 1.8.7 for redirects and `-ui-dir`;
//! Content Security Policy Level 3; Fetch Metadata.

use std::fs::{File, Metadata};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use hyper::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HOST, HeaderName,
    HeaderValue, IF_NONE_MATCH, LOCATION, ORIGIN, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use hyper::{HeaderMap, StatusCode};

use super::absent::ABSENT_PAGES;
use super::response::{Body, Response};
use crate::ui;

/// An index page of one's own is at most this long.
const MAX_INDEX: u64 = 1 << 20;
/// The page says so with each request to the API: its connections are not kept for long.
pub(super) const PAGE: HeaderName = HeaderName::from_static("x-consul-lite-page");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
/// Only what comes from this agent, no inline code, no frames.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'";
/// A page of one's own may be made otherwise; only framing is forbidden.
const OWN_POLICY: &str = "frame-ancestors 'none'";
/// Asked again each time, answered with 304 when nothing changed.
const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache");
/// The name changes with the content.
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// Which page is served where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ui {
    /// The path, with slashes at both ends.
    pub content_path: String,
    /// A directory of one's own pages instead of the built-in one.
    pub dir: Option<PathBuf>,
}

impl Ui {
    /// Where a path that is no endpoint leads.
    pub(super) fn place<'a>(&self, path: &'a str) -> Place<'a> {
        if let Some(rest) = path.strip_prefix(self.content_path.as_str()) {
            return Place::Below(rest);
        }
        if path == "/" || self.content_path.strip_suffix('/') == Some(path) {
            return Place::Before;
        }
        Place::Elsewhere
    }

    /// Answers a request of `rest`, the path below the content path.
    pub(super) async fn answer(&self, rest: &str, request: &HeaderMap) -> Response {
        if rest == ui::INDEX {
            return redirect("./");
        }
        let answer = match &self.dir {
            Some(dir) => self.own(dir, rest).await,
            None => self.built_in(rest),
        };
        not_modified(answer, request)
    }

    fn built_in(&self, rest: &str) -> Response {
        if let Some((asset, kept)) = ui::find(rest) {
            let cache = if kept { FOR_EVER } else { REVALIDATE };
            let answer = Response {
                body: Body::Packed(asset),
                ..Response::empty()
            };
            return dressed(answer, asset.name, asset.tag, cache);
        }
        if let Some(name) = rest.strip_suffix('/')
            && !ui::is_folder(rest)
        {
            return redirect(&beside(name));
        }
        match ui::built_in_index(&self.content_path, ABSENT_PAGES, rest) {
            Some(text) => index(text, POLICY),
            None => page_not_found(),
        }
    }

    async fn own(&self, dir: &Path, rest: &str) -> Response {
        let (dir, path) = (dir.to_owned(), rest.to_owned());
        match smol::unblock(move || look(&dir, &path)).await {
            Own::File(file, data) => {
                let modified = data.modified().ok();
                let since = modified.and_then(|t| t.duration_since(UNIX_EPOCH).ok());
                let tag = format!(
                    "{:x}-{:x}",
                    since.unwrap_or_default().as_nanos(),
                    data.len()
                );
                let answer = Response {
                    body: Body::File(file),
                    ..Response::empty()
                };
                guarded(dressed(answer, rest, &tag, REVALIDATE), OWN_POLICY)
            }
            Own::Elsewhere(place) => redirect(&place),
            Own::Index(text) => index(
                ui::fill_in(&text, &self.content_path, ABSENT_PAGES, rest),
                OWN_POLICY,
            ),
            Own::Nothing => page_not_found(),
        }
    }
}

/// Where a path leads that is no endpoint.
pub(super) enum Place<'a> {
    /// To the page, or a file of it, by this path.
    Below(&'a str),
    /// To a redirect to the page.
    Before,
    /// To nothing of the page.
    Elsewhere,
}

/// What a directory of one's own has for a path.
enum Own {
    File(File, Metadata),
    /// A folder that was asked for without the slash at its end, or something else with it: where to go.
    Elsewhere(String),
    Index(String),
    Nothing,
}

/// Looks a path up in a directory. The path is clean: it cannot lead out of it.
fn look(dir: &Path, rest: &str) -> Own {
    let fits =
        !rest.starts_with('/') && !rest.contains('\0') && !rest.split('/').any(|p| p == "..");
    let found = if fits {
        File::open(dir.join(rest)).ok()
    } else {
        None
    };
    let data = found.as_ref().and_then(|file| file.metadata().ok());
    match (found, data, rest.strip_suffix('/')) {
        (Some(file), Some(data), None) if data.is_file() => return Own::File(file, data),
        (_, Some(data), None) if data.is_dir() && !rest.is_empty() => {
            let name = rest.rsplit('/').next().unwrap_or_default();
            return Own::Elsewhere(format!("{name}/"));
        }
        (_, data, Some(name)) if !data.as_ref().is_some_and(Metadata::is_dir) => {
            return Own::Elsewhere(beside(name));
        }
        _ => {}
    }
    let mut text = String::new();
    let read = File::open(dir.join(ui::INDEX))
        .and_then(|file| file.take(MAX_INDEX).read_to_string(&mut text));
    match read {
        Ok(_) => Own::Index(text),
        Err(_) => Own::Nothing,
    }
}

/// Where a path leads that has a slash at its end without being a folder, as Go's file server says it.
fn beside(name: &str) -> String {
    format!("../{}", name.rsplit('/').next().unwrap_or_default())
}

fn index(text: String, policy: &'static str) -> Response {
    let tag = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let answer = Response::bytes("text/html; charset=utf-8", text);
    let answer = dressed(answer, ui::INDEX, &format!("{tag:016x}"), REVALIDATE);
    guarded(answer, policy)
}

/// Adds type, tag, caching and what protects a file. The tag is weak: it stands for all codings.
fn dressed(answer: Response, name: &str, tag: &str, cache: HeaderValue) -> Response {
    let text = HeaderValue::from_static;
    let mut answer = answer
        .with(CONTENT_TYPE, text(ui::media_type(name)))
        .with(CACHE_CONTROL, cache)
        .with(X_CONTENT_TYPE_OPTIONS, text("nosniff"));
    if let Ok(tag) = HeaderValue::from_str(&format!("W/\"{tag}\"")) {
        answer.headers.insert(ETAG, tag);
    }
    answer
}

/// Adds what a page may do and who may show it.
fn guarded(answer: Response, policy: &'static str) -> Response {
    let text = HeaderValue::from_static;
    answer
        .with(CONTENT_SECURITY_POLICY, text(policy))
        .with(X_FRAME_OPTIONS, text("DENY"))
        .with(REFERRER_POLICY, text("no-referrer"))
        .with(OPENER_POLICY, text("same-origin"))
        .with(RESOURCE_POLICY, text("same-origin"))
}

/// 304 without a body when the client has this very version.
fn not_modified(mut answer: Response, request: &HeaderMap) -> Response {
    let Some(tag) = answer.headers.get(ETAG).and_then(|t| t.to_str().ok()) else {
        return answer;
    };
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let own = opaque(tag);
    let same = request
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|tag| tag.trim() == "*" || opaque(tag) == own);
    if same {
        answer.status = StatusCode::NOT_MODIFIED;
        answer.body = Body::Empty;
        answer.headers.remove(CONTENT_TYPE);
        answer.headers.remove(CONTENT_ENCODING);
    }
    answer
}

/// As Go's file server: 301 with nothing but the place.
fn redirect(place: &str) -> Response {
    let answer = Response::status(StatusCode::MOVED_PERMANENTLY);
    match HeaderValue::from_str(&super::path::escape(place)) {
        Ok(place) => answer.with(LOCATION, place),
        Err(_) => page_not_found(),
    }
}

/// As Go's file server says it.
fn page_not_found() -> Response {
    Response::text("404 page not found\n")
        .with_status(StatusCode::NOT_FOUND)
        .with(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))
}

/// Whether a request that changes something was sent by a page of another site. Browsers say so; other
/// programs send neither header.
pub(super) fn is_cross_site(headers: &HeaderMap) -> bool {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    match (text(&FETCH_SITE), text(&ORIGIN)) {
        (Some("same-origin" | "none"), _) | (None, None) => false,
        (Some(_), _) => true,
        (None, Some(origin)) => {
            let host = origin.split_once("://").map(|(_, host)| host);
            host.is_none() || host != text(&HOST)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(HeaderName, &str)]) -> HeaderMap {
        let pair = |(name, value): &(HeaderName, &str)| {
            (name.clone(), HeaderValue::from_str(value).unwrap())
        };
        list.iter().map(pair).collect()
    }

    #[test]
    fn writes_of_other_sites() {
        let same = [
            headers(&[]),
            headers(&[(FETCH_SITE, "same-origin"), (ORIGIN, "https://gw.example")]),
            headers(&[(FETCH_SITE, "none")]),
            headers(&[(HOST, "gw:8500"), (ORIGIN, "http://gw:8500")]),
        ];
        assert!(same.iter().all(|headers| !is_cross_site(headers)));
        let cross = [
            headers(&[(FETCH_SITE, "cross-site")]),
            headers(&[
                (FETCH_SITE, "same-site"),
                (ORIGIN, "http://gw:8500"),
                (HOST, "gw:8500"),
            ]),
            headers(&[(HOST, "gw:8500"), (ORIGIN, "http://evil.example")]),
            headers(&[(HOST, "gw:8500"), (ORIGIN, "null")]),
        ];
        assert!(cross.iter().all(is_cross_site));
    }

    #[test]
    fn places() {
        let place = |content_path: &str, path: &str| {
            let content_path = content_path.to_owned();
            match (Ui {
                content_path,
                dir: None,
            })
            .place(path)
            {
                Place::Below(rest) => format!("page {rest}"),
                Place::Before => "redirect".to_owned(),
                Place::Elsewhere => "none".to_owned(),
            }
        };
        assert_eq!(place("/ui/", "/"), "redirect");
        assert_eq!(place("/ui/", "/ui"), "redirect");
        assert_eq!(place("/ui/", "/ui/a/b"), "page a/b");
        assert_eq!(place("/ui/", "/uix"), "none");
        assert_eq!(place("/a/b/", "/a"), "none");
        assert_eq!(place("/", "/"), "page ");
        assert_eq!(place("/", "/x"), "page x");
    }

    #[test]
    fn nothing_outside_the_directory() {
        let dir = std::env::temp_dir().join(format!("consul-lite-ui-dir-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("page/sub")).unwrap();
        std::fs::write(dir.join("secret"), "x").unwrap();
        std::fs::write(dir.join("page/app.js"), "x").unwrap();
        std::fs::write(dir.join("page/index.html"), "page").unwrap();
        let found = |rest: &str| match look(&dir.join("page"), rest) {
            Own::File(..) => "file",
            Own::Elsewhere(_) => "elsewhere",
            Own::Index(_) => "index",
            Own::Nothing => "nothing",
        };
        for (rest, want) in [
            ("app.js", "file"),
            ("sub", "elsewhere"),
            ("sub/app.js/", "elsewhere"),
            ("sub/", "index"),
            ("", "index"),
            ("../secret", "index"),
            ("sub/../../secret", "index"),
            ("/etc/passwd", "index"),
            ("a\0b", "index"),
        ] {
            assert_eq!(found(rest), want, "{rest:?}");
        }
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!(found("app.js"), "nothing");
    }
}
