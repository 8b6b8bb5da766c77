//! How the page is served, asked without a browser: files, caching, headers, content path, one's own
//! directory, writes of other sites.

use std::time::Duration;

use consul_lite::ui;

use crate::common::agent::{Agent, Plan};
use crate::common::harness::Outcome;
use crate::common::http::{Client, Response};
use crate::common::{Loopback, TempDir, consul_lite, project_dir};

/// The whole page, compressed.
const MAX_PAGE: usize = 60 << 10;
const READY: Duration = Duration::from_secs(60);

/// The page stays small.
pub fn size() -> Outcome {
    let all: usize = ui::assets().iter().map(|asset| asset.gzip.len()).sum();
    println!("the page: {all} bytes in {} files", ui::assets().len());
    assert!(all > 10_000, "the page is missing: {all} bytes");
    assert!(all <= MAX_PAGE, "{all} bytes are more than {MAX_PAGE}");
    Outcome::Passed
}

/// No inline code or style, nothing from elsewhere, every file says what it is, every import exists.
pub fn assets() -> Outcome {
    let names: Vec<&str> = ui::assets().iter().map(|asset| asset.name).collect();
    for asset in ui::assets() {
        let text = String::from_utf8(asset.unpacked()).expect("text");
        let name = asset.name;
        for foreign in ["http://", "https://", "//cdn"] {
            let left = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!left.contains(foreign), "{name} names {foreign}");
        }
        for inline in [
            "<script>",
            "<style",
            " style=",
            "onclick=\"",
            "javascript:",
            "eval(",
            "innerHTML",
        ] {
            assert!(!text.contains(inline), "{name} contains {inline}");
        }
        if name.ends_with(".js") {
            assert!(text.starts_with("// "), "{name} does not say what it is");
            for import in text
                .split(" from '")
                .skip(1)
                .filter_map(|t| t.split('\'').next())
            {
                let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
                let path = match import.strip_prefix("../") {
                    Some(rest) => {
                        let parent = folder.rsplit_once('/').map_or("", |(parent, _)| parent);
                        format!("{parent}/{rest}")
                    }
                    None => format!("{folder}/{}", import.trim_start_matches("./")),
                };
                assert!(names.contains(&path.as_str()), "{name} imports {path}");
            }
        }
    }
    Outcome::Passed
}

fn start(net: &Loopback, config: &str) -> Agent {
    let mut agent = Agent::start(&Plan {
        binary: &consul_lite(),
        ip: net.ip(1),
        node: "n1",
        config: vec![("10-ui.json".into(), config.into())],
    });
    agent.wait_ready(READY);
    agent
}

fn get(client: &mut Client, target: &str, headers: &[(&str, &str)]) -> Response {
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    client
        .request("GET", target, &headers, b"")
        .expect("an answer")
}

/// Caching, compression and protection of the built-in page.
pub fn serving() -> Outcome {
    let net = Loopback::claim();
    let agent = start(
        &net,
        r#"{"ui_config": {"enabled": true, "content_path": "my/ui"}}"#,
    );
    let mut client = agent.client();
    assert_eq!(
        get(&mut client, "/", &[]).header("Location"),
        Some("/my/ui/")
    );
    assert_eq!(get(&mut client, "/ui/", &[]).status, 404);

    let index = get(&mut client, "/my/ui/", &[]);
    assert_eq!(index.status, 200);
    assert_eq!(
        index.header("Content-Type"),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(index.header("Cache-Control"), Some("no-cache"));
    assert_eq!(index.header("X-Frame-Options"), Some("DENY"));
    let policy = index
        .header("Content-Security-Policy")
        .unwrap_or_default()
        .to_owned();
    for part in [
        "default-src 'none'",
        "script-src 'self'",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert!(index.text().contains("data-content-path=\"/my/ui/\""));

    let tag = index.header("ETag").expect("a tag").to_owned();
    let again = get(&mut client, "/my/ui/", &[("If-None-Match", &tag)]);
    assert_eq!((again.status, again.body.len()), (304, 0));
    assert_eq!(again.header("ETag"), Some(tag.as_str()));
    let deep = get(
        &mut client,
        "/my/ui/dc1/services/web",
        &[("If-None-Match", &tag)],
    );
    assert_eq!(deep.status, 200, "another place is another page");
    assert!(deep.text().contains("<base href=\"../../\">"));

    let script = index.text();
    let script = script
        .split("src=\"")
        .nth(1)
        .and_then(|t| t.split('"').next())
        .expect("a script");
    let target = format!("/my/ui/{script}");
    let plain = get(&mut client, &target, &[]);
    let packed = get(&mut client, &target, &[("Accept-Encoding", "gzip, br")]);
    assert_eq!(
        plain.header("Content-Type"),
        Some("text/javascript; charset=utf-8")
    );
    assert_eq!(
        plain.header("Cache-Control"),
        Some("public, max-age=31536000, immutable")
    );
    assert_eq!(packed.header("Content-Encoding"), Some("gzip"));
    assert_eq!(packed.header("Vary"), Some("Accept-Encoding"));
    assert!(packed.body.len() < plain.body.len() / 2);
    assert_eq!(
        plain.body,
        ui::find("assets/app.js").expect("it is there").0.unpacked()
    );
    let unversioned = get(&mut client, "/my/ui/assets/app.js", &[]);
    assert_eq!(unversioned.header("Cache-Control"), Some("no-cache"));
    assert_eq!(unversioned.body, plain.body);
    Outcome::Passed
}

/// A directory of one's own: its files, its index page, nothing else.
pub fn own_directory() -> Outcome {
    let dir = TempDir::new("ui-dir");
    dir.write("page/index.html", "<p>own {{ .ContentPath }}</p>");
    dir.write("page/js/app.js", "own()");
    dir.write("secret", "hidden words");
    let net = Loopback::claim();
    let config = format!(r#"{{"ui_dir": "{}"}}"#, dir.path().join("page").display());
    let agent = start(&net, &config);
    let mut client = agent.client();
    assert_eq!(get(&mut client, "/ui/", &[]).text(), "<p>own /ui/</p>");
    assert_eq!(
        get(&mut client, "/ui/no/such", &[]).text(),
        "<p>own /ui/</p>"
    );
    let script = get(&mut client, "/ui/js/app.js", &[]);
    assert_eq!(script.text(), "own()");
    assert_eq!(
        script.header("Content-Type"),
        Some("text/javascript; charset=utf-8")
    );
    let tag = script.header("ETag").expect("a tag").to_owned();
    assert_eq!(
        get(&mut client, "/ui/js/app.js", &[("If-None-Match", &tag)]).status,
        304
    );
    dir.write("page/js/app.js", "changed()");
    assert_eq!(
        get(&mut client, "/ui/js/app.js", &[("If-None-Match", &tag)]).text(),
        "changed()"
    );
    assert_eq!(
        get(&mut client, "/ui/js", &[]).header("Location"),
        Some("js/")
    );
    for bad in [
        "/ui/../secret",
        "/ui/%2e%2e/secret",
        "/ui/js/..%2f..%2fsecret",
        "/ui//etc/passwd",
    ] {
        assert!(
            !get(&mut client, bad, &[]).text().contains("hidden words"),
            "{bad}"
        );
    }
    Outcome::Passed
}

/// While there is a page, a browser's writes from other sites are refused; other programs' are not.
pub fn cross_site() -> Outcome {
    let net = Loopback::claim();
    let agent = start(&net, r#"{"ui": true}"#);
    let mut client = agent.client();
    let mut put = |headers: &[(&str, &str)]| {
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        client
            .request("PUT", "/v1/kv/a", &headers, b"x")
            .expect("an answer")
            .status
    };
    let own = format!("http://{}", agent.http());
    assert_eq!(put(&[]), 200);
    assert_eq!(put(&[("Origin", &own)]), 200);
    assert_eq!(
        put(&[
            ("Origin", "https://gw.example"),
            ("Sec-Fetch-Site", "same-origin")
        ]),
        200
    );
    assert_eq!(put(&[("Origin", "https://evil.example")]), 403);
    assert_eq!(put(&[("Origin", "null")]), 403);
    assert_eq!(put(&[("Sec-Fetch-Site", "cross-site")]), 403);
    let read = get(
        &mut agent.client(),
        "/v1/kv/a",
        &[("Sec-Fetch-Site", "cross-site")],
    );
    assert_eq!(read.status, 200);
    drop(agent);

    // Who allows other origins means it, and without a page nothing is refused.
    for config in [
        r#"{"ui": true, "http_config": {"response_headers": {"Access-Control-Allow-Origin": "*"}}}"#,
        r#"{"ui": false}"#,
    ] {
        let agent = start(&net, config);
        let headers = [("Origin".to_owned(), "https://other.example".to_owned())];
        let answer = agent.client().request("PUT", "/v1/kv/a", &headers, b"x");
        assert_eq!(answer.expect("an answer").status, 200, "{config}");
    }
    assert!(project_dir().join("src/ui/page/index.html").is_file());
    Outcome::Passed
}
