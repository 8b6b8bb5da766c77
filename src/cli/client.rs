//! The HTTP client of the commands: where the agent is, on whose behalf it is asked, and Consul's words for what goes wrong.
//!
//! Source: `docs/reference/cli.md` section 2.

use std::fs;
use std::path::{Path, PathBuf};

use super::command::{Invocation, error};
use crate::codec::Deserialize;
use crate::config::flags::{Parsed, parse_bool};
use crate::drive;
use crate::net::http_stream::{self, Answer, Target, Upload};
use crate::net::tls_client::{self, ClientTls};
use crate::net::{dial, url};
use crate::sorted;
use crate::structs::go::{GoTime, quote};
use crate::wire::json;
use hyper::header::{AUTHORIZATION, HOST, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};

/// Where an agent is if nobody says otherwise.
const DEFAULT_ADDRESS: &str = "127.0.0.1:8500";
/// Bytes of an answer that is held in memory, at most.
const MAX_ANSWER: usize = 512 << 20;
/// Header with the index of an answer.
const INDEX: HeaderName = HeaderName::from_static("x-consul-index");

/// A list of parameters of a request.
pub type Query = Vec<(&'static str, String)>;

/// An agent, and how it is asked.
#[derive(Clone)]
pub struct Client {
    target: Target,
    /// Scheme and authority as they appear in error texts.
    base: String,
    /// The `Host` header.
    host: String,
    token: String,
    auth: String,
    datacenter: String,
    namespace: String,
    stale: bool,
}

impl Invocation {
    /// The agent that the flags and the environment name.
    ///
    /// # Errors
    /// The exit code, when what is wrong has been said.
    pub fn client(&self) -> Result<Client, u8> {
        Client::new(&self.args)
            .map_err(|why| self.fail(format!("Error connecting to Consul agent: {why}")))
    }
}

/// An answer that was read.
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// `X-Consul-Index`, 0 if absent.
    pub index: u64,
    /// Its body.
    pub body: Vec<u8>,
}

impl Reply {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body, if the status is 200.
    ///
    /// # Errors
    /// Consul's text with status and body.
    pub fn ok(self) -> Result<Vec<u8>, String> {
        match self.status {
            StatusCode::OK => Ok(self.body),
            _ => Err(self.unexpected()),
        }
    }

    /// What is said about a status that was not hoped for.
    pub fn unexpected(&self) -> String {
        format!(
            "Unexpected response code: {} ({})",
            self.status.as_u16(),
            self.text()
        )
    }
}

fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

/// A flag's value, or else that of an environment variable.
fn setting(args: &Parsed, flag: &str, variable: &str) -> String {
    match args.get(flag) {
        Some(value) if !value.is_empty() => value.to_owned(),
        _ => env(variable),
    }
}

/// The time as the log lines of commands begin with it.
pub fn stamp() -> String {
    let now = GoTime::from_system(drive::wall());
    let (year, month, day, hour, minute, second) = now.civil();
    let millis = now.nanos / 1_000_000;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// A switch in the environment; what is none is said and passed over.
fn env_switch(name: &str) -> Option<bool> {
    let text = env(name);
    if text.is_empty() {
        return None;
    }
    let known = parse_bool(&text);
    if known.is_none() {
        error(&format!(
            "{} [WARN]  consul-api: could not parse {name}: \
             error=\"strconv.ParseBool: parsing {}: invalid syntax\"",
            stamp(),
            quote(&text)
        ));
    }
    known
}

impl Client {
    /// The agent that flags and environment name.
    ///
    /// # Errors
    /// Consul's text for a wrong address or a file that cannot be read.
    pub fn new(args: &Parsed) -> Result<Self, String> {
        let mut address = setting(args, "http-addr", "CONSUL_HTTP_ADDR");
        if address.is_empty() {
            DEFAULT_ADDRESS.clone_into(&mut address);
        }
        let mut tls = env_switch("CONSUL_HTTP_SSL").unwrap_or(false);
        let verify = env_switch("CONSUL_HTTP_SSL_VERIFY").unwrap_or(true);
        let token = token(args)?;
        let options = tls_options(args, verify);
        let config = || tls_client::client_config(&options).map_err(|e| e.to_string());
        check_files(&options)?;
        let mut host = address.clone();
        let target = match address.split_once("://") {
            Some(("unix", path)) => {
                host = path.to_owned();
                Target::Unix(path.to_owned())
            }
            Some((scheme @ ("http" | "https"), rest)) => {
                tls = scheme == "https";
                host = rest.trim_end_matches('/').to_owned();
                Target::Tcp(host.clone())
            }
            Some((other, _)) => return Err(format!("Unknown protocol scheme: {other}")),
            None => Target::Tcp(host.clone()),
        };
        let scheme = if tls { "https" } else { "http" };
        let (base, host) = match &target {
            Target::Unix(path) => (
                format!("http://{}", url::escape_host(path)),
                "127.0.0.1".into(),
            ),
            _ => (format!("{scheme}://{host}"), host),
        };
        let target = match target {
            // Go's way to say this machine.
            Target::Tcp(authority) if !tls && authority.starts_with(':') => Target::Tcp(authority),
            Target::Tcp(authority) => {
                let url = url::Url::parse(&base).map_err(|e| e.to_string())?;
                let address = url.address();
                let name = setting(args, "tls-server-name", "CONSUL_TLS_SERVER_NAME");
                let name = if name.is_empty() { url.host } else { name };
                match tls {
                    true => Target::Tls(address, config()?, name),
                    false if dial::split_host_port(&authority).is_ok() => Target::Tcp(authority),
                    false => Target::Tcp(address),
                }
            }
            other => other,
        };
        Ok(Self {
            target,
            base,
            host,
            token,
            auth: env("CONSUL_HTTP_AUTH"),
            datacenter: args.string("datacenter").to_owned(),
            namespace: setting(args, "namespace", "CONSUL_NAMESPACE"),
            stale: args.bool("stale"),
        })
    }

    /// The same agent, asked on behalf of another token.
    pub fn as_token(&self, secret: &str) -> Self {
        Self {
            token: secret.to_owned(),
            ..self.clone()
        }
    }

    fn url(&self, path: &str, query: &[(&'static str, String)]) -> String {
        let mut all: Vec<(&str, &str)> = query.iter().map(|(k, v)| (*k, v.as_str())).collect();
        if !self.datacenter.is_empty() {
            all.push(("dc", &self.datacenter));
        }
        if !self.namespace.is_empty() {
            all.push(("ns", &self.namespace));
        }
        if self.stale {
            all.push(("stale", ""));
        }
        sorted::sort_by_key(&mut all, |(name, _)| *name);
        let mut out = url::escape_path(path);
        for (n, (name, value)) in all.iter().enumerate() {
            out.push(if n == 0 { '?' } else { '&' });
            out += name;
            out.push('=');
            out += &url::escape_query(value);
        }
        out
    }

    /// Asks; the answer as soon as its head is there.
    ///
    /// # Errors
    /// Go's words for what failed before.
    pub async fn open(
        &self,
        method: Method,
        path: &str,
        query: &[(&'static str, String)],
        body: Upload,
    ) -> Result<Answer, String> {
        let target = self.url(path, query);
        let verb = method.as_str();
        let name = format!("{}{}", &verb[..1], verb[1..].to_ascii_lowercase());
        let told = |why: &str| format!("{name} \"{}{target}\": {why}", self.base);
        let mut request = Request::new(body);
        *request.uri_mut() = target.parse().map_err(|_| told("invalid URL"))?;
        *request.method_mut() = method;
        let headers = request.headers_mut();
        let value = |text: &str| {
            HeaderValue::from_str(text).map_err(|_| told("invalid header field value"))
        };
        headers.insert(HOST, value(&self.host)?);
        if !self.token.is_empty() {
            headers.insert("x-consul-token", value(&self.token)?);
        }
        if !self.auth.is_empty() {
            let encoded = crate::codec::base64::encode(self.auth.as_bytes());
            headers.insert(AUTHORIZATION, value(&format!("Basic {encoded}"))?);
        }
        http_stream::send(&self.target, request)
            .await
            .map_err(|e| told(e.text()))
    }

    /// Asks and reads the whole answer.
    ///
    /// # Errors
    /// Go's words for what failed.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        query: &[(&'static str, String)],
        body: Vec<u8>,
    ) -> Result<Reply, String> {
        let body = Upload::Bytes((!body.is_empty()).then(|| body.into()));
        let mut answer = self.open(method, path, query, body).await?;
        let index = answer.head.headers.get(INDEX);
        let index = index.and_then(|v| v.to_str().ok()?.parse().ok());
        Ok(Reply {
            status: answer.head.status,
            index: index.unwrap_or(0),
            body: answer.whole(MAX_ANSWER).await.map_err(|e| e.to_string())?,
        })
    }

    /// Reads something.
    ///
    /// # Errors
    /// Go's words for what failed.
    pub fn get(&self, path: &str, query: &[(&'static str, String)]) -> Result<Reply, String> {
        crate::net::block_on(self.ask(Method::GET, path, query, Vec::new()))
    }

    /// Reads something as a structure.
    ///
    /// # Errors
    /// Go's words for what failed, or Consul's for a status that is not 200.
    pub fn read<T: Deserialize + Default>(
        &self,
        path: &str,
        query: &[(&'static str, String)],
    ) -> Result<T, String> {
        let body = self.get(path, query)?.ok()?;
        json::from_slice_lenient(&body).map_err(|e| e.to_string())
    }

    /// Writes something; the answer's body.
    ///
    /// # Errors
    /// Go's words for what failed, or Consul's for a status that is not 200.
    pub fn put(
        &self,
        path: &str,
        query: &[(&'static str, String)],
        body: Vec<u8>,
    ) -> Result<Vec<u8>, String> {
        self.send(Method::PUT, path, query, body)
    }

    /// As [`Client::put`], with another method.
    ///
    /// # Errors
    /// As [`Client::put`].
    pub fn send(
        &self,
        method: Method,
        path: &str,
        query: &[(&'static str, String)],
        body: Vec<u8>,
    ) -> Result<Vec<u8>, String> {
        crate::net::block_on(self.ask(method, path, query, body))?.ok()
    }

    /// The name of the agent's node.
    ///
    /// # Errors
    /// As [`Client::read`].
    pub fn node_name(&self) -> Result<String, String> {
        #[derive(Default, crate::codec::Deserialize)]
        #[serde(default)]
        struct AgentSelf {
            #[serde(rename = "Config")]
            config: AgentConfig,
        }
        #[derive(Default, crate::codec::Deserialize)]
        #[serde(default)]
        struct AgentConfig {
            #[serde(rename = "NodeName")]
            node_name: String,
        }
        let agent: AgentSelf = self.read("/v1/agent/self", &[])?;
        Ok(agent.config.node_name)
    }
}

/// The token of a file goes before one that is given.
fn token(args: &Parsed) -> Result<String, String> {
    let file = setting(args, "token-file", "CONSUL_HTTP_TOKEN_FILE");
    if file.is_empty() {
        return Ok(setting(args, "token", "CONSUL_HTTP_TOKEN"));
    }
    match fs::read_to_string(&file) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(e) => Err(format!(
            "Error loading token file: open {file}: {}",
            dial::errno_text(&e)
        )),
    }
}

fn tls_options(args: &Parsed, verify: bool) -> ClientTls {
    let path = |flag, variable| {
        let text = setting(args, flag, variable);
        (!text.is_empty()).then(|| PathBuf::from(text))
    };
    ClientTls {
        ca_pem: String::new(),
        ca_file: path("ca-file", "CONSUL_CACERT"),
        ca_path: path("ca-path", "CONSUL_CAPATH"),
        cert_file: path("client-cert", "CONSUL_CLIENT_CERT"),
        key_file: path("client-key", "CONSUL_CLIENT_KEY"),
        skip_verify: !verify,
        alpn: Vec::new(),
    }
}

/// A file that is not there is told whatever the scheme.
fn check_files(options: &ClientTls) -> Result<(), String> {
    let fault = |doing: &str, path: &Path, e: std::io::Error| {
        format!("{doing} {}: {}", path.display(), dial::errno_text(&e))
    };
    // What Go looks for in a file of PEM data.
    let has = |text: &[u8], mark: &str| String::from_utf8_lossy(text).contains(mark);
    if options.cert_file.is_some() != options.key_file.is_some() {
        return Err("both client cert and client key must be provided".to_owned());
    }
    let own = [
        (&options.cert_file, "certificate", "-----BEGIN CERTIFICATE"),
        (&options.key_file, "key", "PRIVATE KEY-----"),
    ];
    for (path, what, mark) in own {
        let Some(path) = path else { continue };
        let text = fs::read(path).map_err(|e| fault("open", path, e))?;
        if !has(&text, mark) {
            return Err(format!("tls: failed to find any PEM data in {what} input"));
        }
    }
    if let Some(path) = &options.ca_file {
        let doing = "Error loading CA File: open";
        let text = fs::read(path).map_err(|e| fault(doing, path, e))?;
        if !has(&text, "-----BEGIN CERTIFICATE") {
            return Err(format!(
                "Error loading CA File: Couldn't parse PEM in: {}",
                path.display()
            ));
        }
    }
    match &options.ca_path {
        Some(path) => fs::metadata(path)
            .map(drop)
            .map_err(|e| fault("lstat", path, e)),
        None => Ok(()),
    }
}
