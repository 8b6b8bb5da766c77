//! JSON Web Tokens: their keys, their signatures and their claims, and how an auth method of type `jwt` reads them.
//!
//! Holds true: a token counts only if one of the method's keys signed it, with one of the method's algorithms where the
//! keys are fetched; it is within its time, and issuer and audience are those the method is bound to; `none` is no algorithm.
//! Source: RFC 7515, 7517, 7518, 7519; `docs/reference/http-1.md` sections 11.5 and 11.7.

use std::collections::BTreeMap;

use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};

use crate::codec::base64;
use crate::sorted::IntoMap;
use crate::structs::go::{Any, Map, quote};
use crate::structs::{Error, JwtIdentity, Result};
use crate::wire::json;

/// Largest token, in bytes.
const MAX_TOKEN: usize = 64 << 10;
/// Seconds by which `exp` and `nbf` may be off when the method does not say.
const LEEWAY: i64 = 150;
/// Seconds by which clocks may be off when the method does not say.
const CLOCK_SKEW: i64 = 60;

fn fail<T>(text: impl Into<String>) -> Result<T> {
    Err(Error::from(text.into()))
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// RSA: modulus and exponent.
    Rsa(Vec<u8>, Vec<u8>),
    /// A point on P-256.
    P256(Vec<u8>),
    /// A point on P-384.
    P384(Vec<u8>),
    /// Ed25519.
    Ed25519(Vec<u8>),
}

impl Key {
    /// Whether this key made a signature with an algorithm.
    fn verifies(&self, algorithm: &str, message: &[u8], signed: &[u8]) -> bool {
        let plain = |how: &'static dyn signature::VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(how, key)
                .verify(message, signed)
                .is_ok()
        };
        match (self, algorithm) {
            (Key::Rsa(n, e), _) => {
                let how = match algorithm {
                    "RS256" => &signature::RSA_PKCS1_2048_8192_SHA256,
                    "RS384" => &signature::RSA_PKCS1_2048_8192_SHA384,
                    "RS512" => &signature::RSA_PKCS1_2048_8192_SHA512,
                    "PS256" => &signature::RSA_PSS_2048_8192_SHA256,
                    "PS384" => &signature::RSA_PSS_2048_8192_SHA384,
                    "PS512" => &signature::RSA_PSS_2048_8192_SHA512,
                    _ => return false,
                };
                let key = RsaPublicKeyComponents { n, e };
                key.verify(how, message, signed).is_ok()
            }
            (Key::P256(point), "ES256") => plain(&signature::ECDSA_P256_SHA256_FIXED, point),
            (Key::P384(point), "ES384") => plain(&signature::ECDSA_P384_SHA384_FIXED, point),
            (Key::Ed25519(point), "EdDSA") => plain(&signature::ED25519, point),
            _ => false,
        }
    }

    /// A key in PEM.
    pub fn from_pem(pem: &str) -> Option<Key> {
        let begin = pem.find("-----BEGIN ")?;
        let (label, rest) = pem.get(begin + 11..)?.split_once("-----")?;
        let (body, _) = rest.split_once("-----END ")?;
        let body: String = body.chars().filter(|c| !c.is_whitespace()).collect();
        let der = base64::decode(body.as_bytes()).ok()?;
        match label {
            "PUBLIC KEY" => from_spki(&der),
            "RSA PUBLIC KEY" => from_rsa(&der),
            "CERTIFICATE" => from_certificate(&der),
            _ => None,
        }
    }

    /// A key of a JWKS document.
    fn from_jwk(jwk: &Any) -> Option<Key> {
        let field = |name: &str| {
            let text = text_of(jwk, name)?;
            let text = text.trim_end_matches('=');
            base64::decode_url(text.as_bytes()).ok()
        };
        let point = |width: usize| {
            let (x, y) = (field("x")?, field("y")?);
            let fits = x.len() == width && y.len() == width;
            fits.then(|| [&[4], x.as_slice(), y.as_slice()].concat())
        };
        match (
            text_of(jwk, "kty")?,
            text_of(jwk, "crv").unwrap_or_default(),
        ) {
            ("RSA", _) => Some(Key::Rsa(unsigned(&field("n")?), unsigned(&field("e")?))),
            ("EC", "P-256") => Some(Key::P256(point(32)?)),
            ("EC", "P-384") => Some(Key::P384(point(48)?)),
            ("OKP", "Ed25519") => Some(Key::Ed25519(field("x")?)),
            _ => None,
        }
    }
}

/// A number without the zeros before it.
fn unsigned(bytes: &[u8]) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|b| **b == 0).count();
    bytes.get(zeros..).unwrap_or_default().to_vec()
}

/// The next DER element with the given tag: its content, and what follows.
fn der(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<2>()?;
    if head[0] != tag {
        return None;
    }
    let (length, rest) = match head[1] {
        short @ 0..=0x7f => (usize::from(short), rest),
        0x81 => {
            let (one, rest) = rest.split_first()?;
            (usize::from(*one), rest)
        }
        0x82 => {
            let (two, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*two)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// `SubjectPublicKeyInfo`.
fn from_spki(bytes: &[u8]) -> Option<Key> {
    const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
    const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
    const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    const P384: &[u8] = &[0x2b, 0x81, 4, 0, 0x22];
    const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
    let (outer, _) = der(bytes, 0x30)?;
    let (algorithm, rest) = der(outer, 0x30)?;
    let (bits, _) = der(rest, 0x03)?;
    let key = bits.strip_prefix(&[0])?;
    let (oid, parameters) = der(algorithm, 0x06)?;
    match oid {
        RSA => from_rsa(key),
        EC => match der(parameters, 0x06)?.0 {
            P256 => Some(Key::P256(key.to_vec())),
            P384 => Some(Key::P384(key.to_vec())),
            _ => None,
        },
        ED25519 => Some(Key::Ed25519(key.to_vec())),
        _ => None,
    }
}

/// The key of an X.509 certificate (RFC 5280): what follows version, serial number, algorithm, issuer, validity and
/// subject.
fn from_certificate(bytes: &[u8]) -> Option<Key> {
    let (outer, _) = der(bytes, 0x30)?;
    let (mut rest, _) = der(outer, 0x30)?;
    if let Some((_, after)) = der(rest, 0xa0) {
        rest = after;
    }
    for tag in [0x02, 0x30, 0x30, 0x30, 0x30] {
        rest = der(rest, tag)?.1;
    }
    from_spki(rest)
}

/// PKCS #1 `RSAPublicKey`.
fn from_rsa(bytes: &[u8]) -> Option<Key> {
    let (outer, _) = der(bytes, 0x30)?;
    let (n, rest) = der(outer, 0x02)?;
    let (e, _) = der(rest, 0x02)?;
    Some(Key::Rsa(unsigned(n), unsigned(e)))
}

fn text_of<'a>(any: &'a Any, name: &str) -> Option<&'a str> {
    match any {
        Any::Map(map) => match map.get(name)? {
            Any::String(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

/// The keys of a JWKS document that can be used.
///
/// # Errors
/// When it is none.
pub fn keys_of_jwks(text: &[u8]) -> Result<Vec<Key>> {
    let document: Any = json::from_slice_lenient(text).map_err(|e| Error::from(e.to_string()))?;
    let Any::Map(map) = &document else {
        return fail("the key set is no object");
    };
    Ok(match map.get("keys") {
        Some(Any::Array(list)) => list.iter().filter_map(Key::from_jwk).collect(),
        _ => Vec::new(),
    })
}

/// Where an auth method's keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// They are in its configuration.
    Keys(Vec<Key>),
    /// A document at a URL; with a CA in PEM if the system's do not do.
    Jwks(String, String),
    /// A document that a discovery document names.
    Discovery(String, String),
}

/// The configuration of an auth method of type `jwt`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where keys come from.
    pub source: Source,
    algorithms: Vec<String>,
    audiences: Vec<String>,
    issuer: String,
    claims: BTreeMap<String, String>,
    lists: BTreeMap<String, String>,
    expiration_leeway: i64,
    not_before_leeway: i64,
    clock_skew: i64,
}

/// Every key that a configuration may have.
const KNOWN: &[&str] = &[
    "JWTValidationPubKeys",
    "JWKSURL",
    "JWKSCACert",
    "OIDCDiscoveryURL",
    "OIDCDiscoveryCACert",
    "JWTSupportedAlgs",
    "BoundAudiences",
    "BoundIssuer",
    "ClaimMappings",
    "ListClaimMappings",
    "ExpirationLeeway",
    "NotBeforeLeeway",
    "ClockSkewLeeway",
];
const ALGORITHMS: &[&str] = &[
    "RS256", "RS384", "RS512", "ES256", "ES384", "PS256", "PS384", "PS512", "EdDSA",
];

/// Reads a configuration's values, whatever the case of their names.
struct Given<'a>(&'a Map<Any>);

impl Given<'_> {
    fn any(&self, name: &str) -> Option<&Any> {
        let mut entries = self.0.iter().flatten();
        entries.find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
    }

    fn text(&self, name: &str) -> String {
        match self.any(name) {
            Some(Any::String(text)) => text.clone(),
            _ => String::new(),
        }
    }

    fn texts(&self, name: &str) -> Vec<String> {
        let one = |any: &Any| match any {
            Any::String(text) => Some(text.clone()),
            _ => None,
        };
        match self.any(name) {
            Some(Any::Array(list)) => list.iter().filter_map(one).collect(),
            Some(Any::String(text)) => vec![text.clone()],
            _ => Vec::new(),
        }
    }

    fn pairs(&self, name: &str) -> BTreeMap<String, String> {
        match self.any(name) {
            Some(Any::Map(map)) => map
                .iter()
                .filter_map(|(k, v)| match v {
                    Any::String(text) => Some((k.clone(), text.clone())),
                    _ => None,
                })
                .into_map(),
            _ => BTreeMap::new(),
        }
    }

    /// Seconds; 0 is `default`, less is none.
    fn leeway(&self, name: &str, default: i64) -> Result<i64> {
        let nanos = match self.any(name) {
            None | Some(Any::Nil) => 0,
            Some(Any::Int(n)) => *n,
            Some(Any::Uint(n)) => i64::try_from(*n).unwrap_or(i64::MAX),
            Some(Any::Float(n)) => *n as i64,
            Some(Any::String(text)) => {
                crate::structs::go::GoDuration::parse(text)
                    .map_err(Error::from)?
                    .0
            }
            Some(_) => return fail(format!("error decoding config: {name} is no duration")),
        };
        Ok(match nanos {
            0 => default,
            n if n < 0 => 0,
            n => n / 1_000_000_000,
        })
    }
}

impl Settings {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// In Consul's words, without what goes before them.
    pub fn parse(config: &Map<Any>) -> Result<Settings> {
        let unknown: Vec<&str> = config
            .iter()
            .flatten()
            .map(|(key, _)| key.as_str())
            .filter(|key| !KNOWN.iter().any(|known| known.eq_ignore_ascii_case(key)))
            .collect();
        if !unknown.is_empty() {
            return fail(format!(
                "error decoding config: 1 error(s) decoding:\n\n* '' has invalid keys: {}",
                unknown.join(", ")
            ));
        }
        let given = Given(config);
        let pems = given.texts("JWTValidationPubKeys");
        let (jwks, discovery) = (given.text("JWKSURL"), given.text("OIDCDiscoveryURL"));
        let count = usize::from(!pems.is_empty())
            + usize::from(!jwks.is_empty())
            + usize::from(!discovery.is_empty());
        if count != 1 {
            return fail(
                "exactly one of 'JWTValidationPubKeys', 'JWKSURL', or 'OIDCDiscoveryURL' must be set for type \"jwt\"",
            );
        }
        let source = if !jwks.is_empty() {
            Source::Jwks(jwks, given.text("JWKSCACert"))
        } else if !discovery.is_empty() {
            Source::Discovery(discovery, given.text("OIDCDiscoveryCACert"))
        } else {
            let mut keys = Vec::new();
            for (at, pem) in pems.iter().enumerate() {
                let Some(key) = Key::from_pem(pem) else {
                    return fail(format!(
                        "error parsing public key JWTValidationPubKeys[{at}]: data does not contain any \
                         valid RSA, ECDSA, or ED25519 public keys"
                    ));
                };
                keys.push(key);
            }
            Source::Keys(keys)
        };
        let algorithms = given.texts("JWTSupportedAlgs");
        if let Some(bad) = algorithms
            .iter()
            .find(|a| !ALGORITHMS.contains(&a.as_str()))
        {
            return fail(format!("Invalid supported algorithm: {bad}"));
        }
        Ok(Settings {
            source,
            algorithms: if algorithms.is_empty() {
                vec!["RS256".to_owned()]
            } else {
                algorithms
            },
            audiences: given.texts("BoundAudiences"),
            issuer: given.text("BoundIssuer"),
            claims: given.pairs("ClaimMappings"),
            lists: given.pairs("ListClaimMappings"),
            expiration_leeway: given.leeway("ExpirationLeeway", LEEWAY)?,
            not_before_leeway: given.leeway("NotBeforeLeeway", LEEWAY)?,
            clock_skew: given.leeway("ClockSkewLeeway", CLOCK_SKEW)?,
        })
    }

    /// The names that binding rules may use for a login's values.
    pub fn value_names(&self) -> impl Iterator<Item = &str> {
        self.claims.values().map(String::as_str)
    }

    /// Checks a token against keys, at a time in seconds since the Unix epoch; who it vouches for.
    ///
    /// # Errors
    /// Consul's text.
    pub fn verify(&self, token: &str, keys: &[Key], now: i64) -> Result<JwtIdentity> {
        if token.is_empty() {
            return fail("missing jwt");
        }
        let token: String = token.chars().filter(|c| !c.is_whitespace()).collect();
        let parts: Vec<&str> = token.split('.').collect();
        let [head, payload, signed] = parts.as_slice() else {
            return fail(
                "error parsing token: square/go-jose: compact JWS format must have three parts",
            );
        };
        if token.len() > MAX_TOKEN {
            return fail(format!(
                "error parsing token: longer than {MAX_TOKEN} bytes"
            ));
        }
        let decode = |text: &str| {
            let decoded = base64::decode_url(text.as_bytes());
            decoded.map_err(|e| Error::from(format!("error parsing token: {e}")))
        };
        let object = |bytes: &[u8]| -> Result<Any> {
            json::from_slice_lenient(bytes)
                .map_err(|e| Error::from(format!("error parsing token: {e}")))
        };
        let head = object(&decode(head)?)?;
        let algorithm = text_of(&head, "alg").unwrap_or_default();
        let (signed, bytes) = (decode(signed)?, decode(payload)?);
        let end = token.len() - parts[2].len() - 1;
        let message = token.get(..end).unwrap_or_default().as_bytes();
        // Keys in the configuration say by their kind what they are for.
        let allowed = matches!(self.source, Source::Keys(_))
            || self.algorithms.iter().any(|known| known == algorithm);
        let mut keys = keys.iter();
        if !allowed || !keys.any(|key| key.verifies(algorithm, message, &signed)) {
            return match self.source {
                Source::Keys(_) => fail("no known key successfully validated the token signature"),
                _ => fail("error verifying token: failed to verify id token signature"),
            };
        }
        let claims = object(&bytes)?;
        self.check_claims(&claims, now)?;
        self.identity(&claims)
    }

    fn check_claims(&self, claims: &Any, now: i64) -> Result<()> {
        let invalid = |what: &str| {
            fail(format!(
                "error validating claims: square/go-jose/jwt: validation failed, {what}"
            ))
        };
        let (issued, expires, begins) = (
            time_of(claims, "iat"),
            time_of(claims, "exp"),
            time_of(claims, "nbf"),
        );
        let latest = issued.max(begins);
        if expires.is_none() && latest.is_none() {
            return fail("no issue time, notbefore, or expiration time encoded in token");
        }
        if !self.issuer.is_empty() && text_of(claims, "iss") != Some(&self.issuer) {
            return invalid("invalid issuer claim (iss)");
        }
        let begins = begins
            .or(issued)
            .or(expires.map(|e| e - self.not_before_leeway));
        if begins.is_some_and(|at| now + self.clock_skew < at) {
            return invalid("token not valid yet (nbf)");
        }
        let expires = expires.or(latest.map(|at| at + self.expiration_leeway));
        if expires.is_some_and(|at| now - self.clock_skew > at) {
            return invalid("token is expired (exp)");
        }
        if issued.is_some_and(|at| now + self.clock_skew < at) {
            return invalid("token issued in the future (iat)");
        }
        let audiences = match field(claims, "aud") {
            Some(Any::String(one)) => vec![one.as_str()],
            Some(Any::Array(list)) => list
                .iter()
                .filter_map(|one| match one {
                    Any::String(text) => Some(text.as_str()),
                    _ => None,
                })
                .collect(),
            _ => Vec::new(),
        };
        let bound = self.audiences.iter();
        if !self.audiences.is_empty()
            && !bound
                .into_iter()
                .any(|want| audiences.contains(&want.as_str()))
        {
            return fail("error validating claims: aud claim does not match any bound audience");
        }
        if self.audiences.is_empty() && !audiences.is_empty() {
            return fail(
                "error validating claims: audience claim found in JWT but no audiences are bound",
            );
        }
        Ok(())
    }

    fn identity(&self, claims: &Any) -> Result<JwtIdentity> {
        let mut identity = JwtIdentity::default();
        for (claim, name) in &self.claims {
            let Some(value) = claim_at(claims, claim) else {
                continue;
            };
            let Some(text) = plain(value) else {
                return fail(format!(
                    "error converting claim '{claim}' to string from unknown type"
                ));
            };
            identity
                .value
                .get_or_insert_default()
                .insert(name.clone(), text);
        }
        for (claim, name) in &self.lists {
            let Some(value) = claim_at(claims, claim) else {
                continue;
            };
            let list = match value {
                Any::Array(list) => list.iter().filter_map(plain).collect(),
                one => match plain(one) {
                    Some(text) => vec![text],
                    None => {
                        return fail(format!(
                            "{} claim could not be converted to string list",
                            quote(claim)
                        ));
                    }
                },
            };
            let lists = identity.list.get_or_insert_default();
            lists.insert(name.clone(), Some(list));
        }
        Ok(identity)
    }
}

fn field<'a>(claims: &'a Any, name: &str) -> Option<&'a Any> {
    match claims {
        Any::Map(map) => map.get(name),
        _ => None,
    }
}

fn time_of(claims: &Any, name: &str) -> Option<i64> {
    match field(claims, name)? {
        Any::Int(n) => Some(*n),
        Any::Uint(n) => i64::try_from(*n).ok(),
        Any::Float(n) => Some(*n as i64),
        _ => None,
    }
}

/// A claim by its name, or by a JSON pointer such as `/user/name`.
fn claim_at<'a>(claims: &'a Any, path: &str) -> Option<&'a Any> {
    let Some(pointer) = path.strip_prefix('/') else {
        return field(claims, path);
    };
    pointer.split('/').try_fold(claims, |here, step| {
        let step = step.replace("~1", "/").replace("~0", "~");
        match here {
            Any::Map(map) => map.get(&step),
            Any::Array(list) => list.get(step.parse::<usize>().ok()?),
            _ => None,
        }
    })
}

fn plain(any: &Any) -> Option<String> {
    Some(match any {
        Any::String(text) => text.clone(),
        Any::Bool(b) => b.to_string(),
        Any::Int(n) => n.to_string(),
        Any::Uint(n) => n.to_string(),
        Any::Float(n) if n.fract() == 0.0 && n.abs() < 1e15 => format!("{n:.0}"),
        Any::Float(n) => n.to_string(),
        _ => return None,
    })
}
