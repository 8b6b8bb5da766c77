//! The web page: its files as the binary carries them, and what is filled in when they are served.
//!
//! Holds true: files are kept compressed and given out as they are; a path leads to a file of the page or
//! to none, never elsewhere. `page/` holds the page itself, plain ES modules without a build step.
//! Leaves to others: HTTP (`http::ui`), and every piece of data, which the page asks the HTTP API for.
//! Source: `docs/reference/http-2.md` section 14.

use std::io::Read;

/// One file of the page.
#[derive(Debug)]
pub struct Asset {
    /// Its path below `page/`.
    pub name: &'static str,
    /// Changes with its content.
    pub tag: &'static str,
    /// Its content as one gzip member.
    pub gzip: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/ui_assets.rs"));

/// The file that every path without a file of its own leads to.
pub const INDEX: &str = "index.html";
/// How the page's files are named in the index page.
const FOLDER: &str = "assets/";
/// What the index page says of where it is.
const BASE: &str = "<base href=\"./\">";
/// Where the index page is told which of its pages the API has nothing for.
const ABSENT: &str = " data-absent=\"\"";
/// Where Consul fills in the path under which the page is served.
const CONTENT_PATH: &str = "{{ .ContentPath }}";

impl Asset {
    /// The content, unpacked.
    #[must_use]
    pub fn unpacked(&self) -> Vec<u8> {
        let mut out = Vec::new();
        // The build made it; it cannot be broken.
        let _ = flate2::read::GzDecoder::new(self.gzip).read_to_end(&mut out);
        out
    }
}

/// Whether this build carries the page.
#[must_use]
pub fn is_built_in() -> bool {
    !ASSETS.is_empty()
}

/// All files.
#[must_use]
pub fn assets() -> &'static [Asset] {
    ASSETS
}

/// A file by its path below the content path, and whether the path names this very version of it, so
/// that it may be kept for ever.
#[must_use]
pub fn find(path: &str) -> Option<(&'static Asset, bool)> {
    let versioned = path
        .strip_prefix(FOLDER)
        .and_then(|rest| rest.strip_prefix(VERSION)?.strip_prefix('/'));
    let by_name = |name: &str| ASSETS.iter().find(|asset| asset.name == name);
    match versioned {
        Some(rest) => ASSETS
            .iter()
            .find(|asset| asset.name.strip_prefix(FOLDER) == Some(rest))
            .map(|asset| (asset, true)),
        None => by_name(path).map(|asset| (asset, false)),
    }
}

/// Whether a path with a slash at its end is the page's root or a folder of it.
#[must_use]
pub fn is_folder(path: &str) -> bool {
    ASSETS.iter().any(|asset| asset.name.starts_with(path))
}

/// The built-in index page for a request of `rest`, the path below the content path: names of files
/// carry the version. `absent` names the pages that the API has nothing for, with blanks between.
#[must_use]
pub fn built_in_index(content_path: &str, absent: &str, rest: &str) -> Option<String> {
    let (asset, _) = find(INDEX)?;
    let text = String::from_utf8(asset.unpacked()).ok()?;
    let text = text.replace(&format!("\"{FOLDER}"), &format!("\"{FOLDER}{VERSION}/"));
    Some(fill_in(&text, content_path, absent, rest))
}

/// Fills in where the page is. The way up is relative, so that it also holds behind a proxy that serves
/// the agent under a path of its own.
#[must_use]
pub fn fill_in(text: &str, content_path: &str, absent: &str, rest: &str) -> String {
    let up = match rest.matches('/').count() {
        0 => "./".to_owned(),
        depth => "../".repeat(depth),
    };
    text.replacen(BASE, &format!("<base href=\"{up}\">"), 1)
        .replacen(ABSENT, &format!(" data-absent=\"{absent}\""), 1)
        .replace(CONTENT_PATH, content_path)
}

/// The media type of a file, by the end of its name.
#[must_use]
pub fn media_type(name: &str) -> &'static str {
    let end = name.rsplit_once('.').map_or("", |(_, end)| end);
    match end.to_ascii_lowercase().as_str() {
        "html" | "htm" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "wasm" => "application/wasm",
        "txt" => "text/plain; charset=utf-8",
        "xml" => "text/xml; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_up_is_relative() {
        let page =
            "<base href=\"./\"><html data-absent=\"\" data-content-path=\"{{ .ContentPath }}\">";
        let base = |rest: &str| fill_in(page, "/a/ui/", "queries", rest);
        assert!(base("").starts_with("<base href=\"./\">"));
        assert!(base("dc1").starts_with("<base href=\"./\">"));
        assert!(base("dc1/services").starts_with("<base href=\"../\">"));
        assert!(base("dc1/services/").starts_with("<base href=\"../../\">"));
        assert!(base("").ends_with(" data-absent=\"queries\" data-content-path=\"/a/ui/\">"));
    }

    #[test]
    fn types() {
        assert_eq!(media_type("a/b.JS"), "text/javascript; charset=utf-8");
        assert_eq!(media_type("LICENSE"), "application/octet-stream");
    }

    #[cfg(feature = "ui")]
    #[test]
    fn files_are_found_by_name_and_version() {
        let (index, kept) = find(INDEX).unwrap();
        assert!(!kept);
        assert!(index.unpacked().starts_with(b"<!DOCTYPE html>"));
        let (script, kept) = find(&format!("assets/{VERSION}/app.js")).unwrap();
        assert!(kept);
        assert_eq!(script.name, "assets/app.js");
        assert!(find("assets/app.js").is_some_and(|(_, kept)| !kept));
        for none in [
            "",
            "assets/",
            "../Cargo.toml",
            "assets/0000000000000000/app.js",
        ] {
            assert!(find(none).is_none(), "{none}");
        }
        let text = built_in_index("/ui/", "", "dc1/kv").unwrap();
        assert!(text.contains(&format!("src=\"assets/{VERSION}/app.js\"")));
        assert!(text.contains("<base href=\"../\">"));
    }
}
