//! Logins with JSON Web Tokens beside Consul: keys in the configuration (also as a certificate) and keys at a URL, over
//! HTTP and HTTPS, and what is said of tokens that do not count.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use data_encoding::{BASE64, BASE64URL_NOPAD};
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use socket2::{Domain, Socket, Type};

use crate::beside::{self, Side};
use crate::common::harness::Test;
use crate::{Api, MASTER, field};

const CA: &str = include_str!("localhost/ca.pem");
/// Of the key below, for `localhost`, by that CA.
const CERT: &str = include_str!("localhost/cert.pem");
const KEY: &str = include_str!("localhost/key.pem");

pub fn tests() -> Vec<Test> {
    vec![
        beside::test("logins_with_keys", keys),
        beside::test("logins_with_keys_at_a_url", urls),
    ]
}

fn body_of(pem: &str) -> Vec<u8> {
    let lines = pem.lines().filter(|line| !line.starts_with("-----"));
    let text: String = lines.collect();
    BASE64.decode(text.as_bytes()).unwrap()
}

/// A key that signs, and how others know it.
pub enum Signer {
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Signer {
    /// The key of the certificate.
    fn of_certificate() -> Signer {
        let how = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
        let key = EcdsaKeyPair::from_pkcs8(how, &body_of(KEY), &SystemRandom::new());
        Signer::P256(key.unwrap())
    }

    /// A new key for an algorithm.
    pub fn fresh(algorithm: &str) -> Signer {
        let random = SystemRandom::new();
        let ec = |how| {
            let pkcs8 = EcdsaKeyPair::generate_pkcs8(how, &random).unwrap();
            EcdsaKeyPair::from_pkcs8(how, pkcs8.as_ref(), &random).unwrap()
        };
        match algorithm {
            "ES256" => Signer::P256(ec(&signature::ECDSA_P256_SHA256_FIXED_SIGNING)),
            "ES384" => Signer::P384(ec(&signature::ECDSA_P384_SHA384_FIXED_SIGNING)),
            _ => {
                let pkcs8 = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
                Signer::Ed25519(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap())
            }
        }
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Signer::P256(_) => "ES256",
            Signer::P384(_) => "ES384",
            Signer::Ed25519(_) => "EdDSA",
        }
    }

    fn public(&self) -> &[u8] {
        match self {
            Signer::P256(key) | Signer::P384(key) => key.public_key().as_ref(),
            Signer::Ed25519(key) => key.public_key().as_ref(),
        }
    }

    /// `SubjectPublicKeyInfo` in PEM.
    pub fn pem(&self) -> String {
        let head: &[u8] = match self {
            Signer::P256(_) => &[
                0x30, 0x59, 0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86,
                0x48, 0xce, 0x3d, 3, 1, 7, 3, 0x42, 0,
            ],
            Signer::P384(_) => &[
                0x30, 0x76, 0x30, 0x10, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 5, 0x2b, 0x81,
                4, 0, 0x22, 3, 0x62, 0,
            ],
            Signer::Ed25519(_) => &[0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0],
        };
        let der = [head, self.public()].concat();
        format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            BASE64.encode(&der)
        )
    }

    /// A key of a key set.
    fn jwk(&self) -> String {
        let text = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        let point = |curve: &str| {
            let (x, y) = self.public()[1..].split_at((self.public().len() - 1) / 2);
            format!(
                "{{\"kty\":\"EC\",\"use\":\"sig\",\"crv\":\"{curve}\",\"x\":\"{}\",\"y\":\"{}\"}}",
                text(x),
                text(y)
            )
        };
        match self {
            Signer::P256(_) => point("P-256"),
            Signer::P384(_) => point("P-384"),
            Signer::Ed25519(_) => format!(
                "{{\"kty\":\"OKP\",\"use\":\"sig\",\"crv\":\"Ed25519\",\"x\":\"{}\"}}",
                text(self.public())
            ),
        }
    }

    /// A signed token with these claims.
    /// A token with claims.
    pub fn sign(&self, claims: &str) -> String {
        let header = format!("{{\"alg\":\"{}\",\"typ\":\"JWT\"}}", self.algorithm());
        let text = [header.as_str(), claims].map(|part| BASE64URL_NOPAD.encode(part.as_bytes()));
        let message = text.join(".");
        let random = SystemRandom::new();
        let signed = match self {
            Signer::P256(key) | Signer::P384(key) => key
                .sign(&random, message.as_bytes())
                .unwrap()
                .as_ref()
                .to_vec(),
            Signer::Ed25519(key) => key.sign(message.as_bytes()).as_ref().to_vec(),
        };
        format!("{message}.{}", BASE64URL_NOPAD.encode(&signed))
    }
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_secs() as i64
}

fn quoted(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", text.replace('\n', "\\n"))
}

fn start(side: &Side) -> (crate::common::agent::Agent, Api) {
    let agent = side.server(&format!(
        "\"enabled\":true,\"default_policy\":\"deny\",\"tokens\":{{\"master\":\"{MASTER}\"}}"
    ));
    let mut api = Api::new(&agent);
    api.wait_modern(&agent);
    (agent, api)
}

/// Makes or changes an auth method; what is said.
fn method(api: &mut Api, name: &str, config: &str) -> String {
    let body = format!("{{\"Name\":\"{name}\",\"Type\":\"jwt\",\"Config\":{{{config}}}}}");
    let (status, text) = api.ask(MASTER, "PUT", "/v1/acl/auth-method", &body);
    let text = if status == 200 { "made" } else { &text };
    format!("{name}: {status} {text}")
}

fn rule(api: &mut Api, method: &str) {
    let rule = format!(
        "{{\"AuthMethod\":\"{method}\",\"BindType\":\"service\",\"BindName\":\"svc-${{value.user}}\"}}"
    );
    // Where there is no such method, what was said of it is compared already.
    let (status, text) = api.ask(MASTER, "PUT", "/v1/acl/binding-rule", &rule);
    assert!(
        status == 200 || text.contains("cannot find auth method"),
        "{text}"
    );
}

/// Logs in; what is said, or what the token grants.
fn login(api: &mut Api, method: &str, jwt: &str) -> String {
    let body = format!("{{\"AuthMethod\":\"{method}\",\"BearerToken\":\"{jwt}\"}}");
    let (status, text) = api.ask("", "POST", "/v1/acl/login", &body);
    if status != 200 {
        return format!("{method}: {status} {text}");
    }
    let (own, _) = api.ask(&field(&text, "SecretID"), "GET", "/v1/acl/token/self", "");
    format!("{method}: {} and works: {own}", field(&text, "ServiceName"))
}

const USER: &str = "\"ClaimMappings\":{\"user\":\"user\",\"/deep/er\":\"deep\"}";

/// Keys in the configuration, of all kinds, and claims that do and do not hold.
fn keys(side: &Side) -> Vec<String> {
    let (_agent, mut api) = start(side);
    let mut lines = Vec::new();
    let all = "\"JWTSupportedAlgs\":[\"ES256\",\"ES384\"]";
    for algorithm in ["ES256", "ES384"] {
        let (key, other) = (Signer::fresh(algorithm), Signer::fresh(algorithm));
        let config = format!(
            "\"JWTValidationPubKeys\":[{}],{all},{USER}",
            quoted(&key.pem())
        );
        lines.push(method(&mut api, algorithm, &config));
        rule(&mut api, algorithm);
        for signer in [&key, &other] {
            let jwt = signer.sign(&format!("{{\"user\":\"bob\",\"exp\":{}}}", now() + 100));
            lines.push(login(&mut api, algorithm, &jwt));
        }
    }
    // Ed25519 keys, and algorithms that may be named. Left out: EdDSA, which 1.8.7 does not know but later versions do,
    // and ES512, for whose curve ours has no code and which it refuses.
    let pem = quoted(&Signer::fresh("EdDSA").pem());
    lines.push(method(
        &mut api,
        "ed",
        &format!("\"JWTValidationPubKeys\":[{pem}]"),
    ));
    for algorithm in ["RS256", "RS512", "PS384", "HS256", "none", ""] {
        let config =
            format!("\"JWTValidationPubKeys\":[{pem}],\"JWTSupportedAlgs\":[\"{algorithm}\"]");
        lines.push(format!("{algorithm}: {}", method(&mut api, "alg", &config)));
    }
    // The key of a certificate.
    let config = format!("\"JWTValidationPubKeys\":[{}],{all},{USER}", quoted(CERT));
    lines.push(method(&mut api, "certificate", &config));
    rule(&mut api, "certificate");
    let key = Signer::of_certificate();
    let jwt = key.sign(&format!("{{\"user\":\"eve\",\"exp\":{}}}", now() + 100));
    lines.push(login(&mut api, "certificate", &jwt));
    // Several keys, of which any may have signed, and an algorithm that is not among those named.
    let (first, second) = (Signer::fresh("ES256"), Signer::fresh("ES384"));
    let pems = format!("[{},{}]", quoted(&first.pem()), quoted(&second.pem()));
    for (name, algorithms) in [
        ("several", all),
        ("one", "\"JWTSupportedAlgs\":[\"ES256\"]"),
    ] {
        let config = format!("\"JWTValidationPubKeys\":{pems},{algorithms},{USER}");
        lines.push(method(&mut api, name, &config));
        rule(&mut api, name);
        for signer in [&first, &second] {
            let jwt = signer.sign(&format!("{{\"user\":\"bob\",\"exp\":{}}}", now() + 100));
            lines.push(login(&mut api, name, &jwt));
        }
    }
    claims(&mut api, &mut lines);
    lines
}

/// Claims against what a method is bound to, around the ends of their times.
fn claims(api: &mut Api, lines: &mut Vec<String>) {
    let key = Signer::fresh("ES256");
    let base = format!(
        "\"JWTValidationPubKeys\":[{}],\"JWTSupportedAlgs\":[\"ES256\"],{USER},\"BoundIssuer\":\"iss\",\
         \"BoundAudiences\":[\"a\",\"b\"]",
        quoted(&key.pem())
    );
    let strict = "\"ExpirationLeeway\":-1,\"NotBeforeLeeway\":-1,\"ClockSkewLeeway\":-1";
    lines.push(method(api, "lenient", &base));
    lines.push(method(api, "strict", &format!("{base},{strict}")));
    let seconds =
        "\"ExpirationLeeway\":10000000000,\"NotBeforeLeeway\":10000000000,\"ClockSkewLeeway\":-1";
    lines.push(method(api, "seconds", &format!("{base},{seconds}")));
    let right = "\"iss\":\"iss\",\"aud\":\"a\",\"user\":\"bob\"";
    for name in ["lenient", "strict", "seconds"] {
        rule(api, name);
        for (exp, nbf, iat) in [
            (Some(30), None, None),
            (Some(-30), None, None),
            (Some(-100), None, None),
            (Some(-250), None, None),
            (None, Some(-30), None),
            (None, Some(30), None),
            (None, Some(100), None),
            (None, Some(250), None),
            (None, None, Some(-30)),
            (None, None, Some(30)),
            (None, None, Some(100)),
            (None, None, Some(-250)),
            (None, None, None),
            (Some(100), Some(-100), Some(-50)),
        ] {
            let one = |name: &str, at: Option<i64>| match at {
                Some(at) => format!(",\"{name}\":{}", now() + at),
                None => String::new(),
            };
            let times = one("exp", exp) + &one("nbf", nbf) + &one("iat", iat);
            let said = login(api, name, &key.sign(&format!("{{{right}{times}}}")));
            lines.push(format!("exp {exp:?} nbf {nbf:?} iat {iat:?}: {said}"));
        }
    }
    let end = format!("\"exp\":{}", now() + 1000);
    for wrong in [
        "\"iss\":\"other\",\"aud\":\"a\",\"user\":\"bob\"",
        "\"aud\":\"a\",\"user\":\"bob\"",
        "\"iss\":\"iss\",\"user\":\"bob\"",
        "\"iss\":\"iss\",\"aud\":\"c\",\"user\":\"bob\"",
        "\"iss\":\"iss\",\"aud\":[\"c\",\"b\"],\"user\":\"bob\"",
        "\"iss\":\"iss\",\"aud\":\"a\"",
        "\"iss\":\"iss\",\"aud\":\"a\",\"user\":7",
        "\"iss\":\"iss\",\"aud\":\"a\",\"user\":true",
        "\"iss\":\"iss\",\"aud\":\"a\",\"user\":[\"bob\"]",
        "\"iss\":\"iss\",\"aud\":\"a\",\"user\":\"no good\"",
    ] {
        let said = login(api, "lenient", &key.sign(&format!("{{{wrong},{end}}}")));
        lines.push(format!("{wrong}: {said}"));
    }
    let good = key.sign(&format!("{{{right},{end}}}"));
    let (head, tail) = good.split_at(good.len() - 4);
    let unsigned = format!("{}.", good.rsplit_once('.').unwrap().0);
    for (what, jwt) in [
        ("cut", head.to_owned()),
        ("longer", format!("{good}{tail}")),
        ("unsigned", unsigned),
        ("spaces", format!(" {good} ")),
        ("four parts", format!("{good}.x")),
    ] {
        lines.push(format!("{what}: {}", login(api, "lenient", &jwt)));
    }
}

/// Serves one document to whoever asks, until the process ends.
struct Documents {
    at: SocketAddr,
    /// Status line and body of the next answers.
    answer: Arc<Mutex<(String, String)>>,
}

impl Documents {
    fn serve(tls: bool, body: &str) -> Documents {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let at = listener.local_addr().unwrap();
        let answer = Arc::new(Mutex::new(("200 OK".to_owned(), body.to_owned())));
        let (told, config) = (answer.clone(), tls.then(server_config));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (told, config) = (told.clone(), config.clone());
                std::thread::spawn(move || {
                    // Whoever does not trust the certificate goes away.
                    let _ = match config {
                        Some(config) => {
                            let tls = rustls::ServerConnection::new(config).unwrap();
                            reply(rustls::StreamOwned::new(tls, stream), &told)
                        }
                        None => reply(stream, &told),
                    };
                });
            }
        });
        Documents { at, answer }
    }
}

fn server_config() -> Arc<rustls::ServerConfig> {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = vec![CertificateDer::from(body_of(CERT))];
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(body_of(KEY)));
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    Arc::new(config)
}

fn reply(
    mut stream: impl std::io::Read + Write,
    told: &Mutex<(String, String)>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(&mut stream);
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let (status, body) = told.lock().unwrap().clone();
    let text = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(text.as_bytes())?;
    stream.flush()
}

/// Keys at a URL: there, not there, changed, gone, by HTTPS with and without the right CA.
fn urls(side: &Side) -> Vec<String> {
    let (_agent, mut api) = start(side);
    let mut lines = Vec::new();
    let (key, later) = (Signer::fresh("ES256"), Signer::fresh("ES256"));
    let set = |keys: &[&Signer]| {
        let keys: Vec<String> = keys.iter().map(|key| key.jwk()).collect();
        format!("{{\"keys\":[{}]}}", keys.join(","))
    };
    let plain = Documents::serve(false, &set(&[&key]));
    let url = format!("http://{}/jwks", plain.at);
    let config = |url: &str, more: &str| {
        format!("\"JWKSURL\":\"{url}\",\"JWTSupportedAlgs\":[\"ES256\"],{USER}{more}")
    };
    lines.push(method(&mut api, "plain", &config(&url, "")));
    rule(&mut api, "plain");
    let claims = || format!("{{\"user\":\"bob\",\"exp\":{}}}", now() + 100);
    lines.push(login(&mut api, "plain", &key.sign(&claims())));
    lines.push(login(&mut api, "plain", &later.sign(&claims())));
    // A new key is found when a token is signed with it.
    plain.answer.lock().unwrap().1 = set(&[&key, &later]);
    lines.push(login(&mut api, "plain", &later.sign(&claims())));
    for (status, body) in [
        ("404 Not Found", "nothing"),
        ("500 Internal Server Error", ""),
        ("200 OK", "{}"),
        ("200 OK", "{\"keys\":[]}"),
    ] {
        *plain.answer.lock().unwrap() = (status.to_owned(), body.to_owned());
        lines.push(method(&mut api, "other", &config(&url, "")));
        let said = login(&mut api, "plain", &Signer::fresh("ES256").sign(&claims()));
        lines.push(format!("{status}: {said}"));
    }
    // An address that is taken, and where nobody listens.
    let taken = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let loopback: SocketAddr = ([127, 0, 0, 1], 0).into();
    taken.bind(&loopback.into()).unwrap();
    let nowhere = taken.local_addr().unwrap().as_socket().unwrap();
    let said = method(
        &mut api,
        "nowhere",
        &config(&format!("http://{nowhere}/"), ""),
    );
    lines.push(said.replace(&nowhere.to_string(), "NOWHERE"));
    assert!(TcpStream::connect(nowhere).is_err());
    // HTTPS: the CA that signed, none, another's certificate, and what is none.
    let secure = Documents::serve(true, &set(&[&key]));
    let url = format!("https://localhost:{}/jwks", secure.at.port());
    let ca = |pem: &str| format!(",\"JWKSCACert\":{}", quoted(pem));
    lines.push(method(&mut api, "secure", &config(&url, &ca(CA))));
    rule(&mut api, "secure");
    lines.push(login(&mut api, "secure", &key.sign(&claims())));
    lines.push(login(&mut api, "secure", &later.sign(&claims())));
    for (name, more) in [("no-ca", String::new()), ("junk", ca("junk"))] {
        let said = method(&mut api, name, &config(&url, &more));
        lines.push(said.replace(&secure.at.port().to_string(), "PORT"));
    }
    lines.push(method(
        &mut api,
        "two",
        &format!("{},\"OIDCDiscoveryURL\":\"{url}\"", config(&url, "")),
    ));
    lines
}
