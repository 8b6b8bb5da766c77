//! Addresses to join as users write them.
//!
//! Source: `docs/reference/config.md` section 21.

use std::net::{IpAddr, SocketAddr};

use crate::net::dial;

/// The socket addresses of `ip`, `ip:port`, `[v6]:port`, `name` or `name:port`; a member's name and a slash may
/// stand in front.
///
/// # Errors
/// Consul's words.
pub async fn resolve(address: &str, default_port: u16) -> Result<Vec<SocketAddr>, String> {
    let place = address.split_once('/').map_or(address, |(_, place)| place);
    let whole = with_port(place, default_port);
    let found = match whole {
        Some(whole) => dial::resolve(&whole).await.map_err(|e| e.to_string()),
        None => Err(format!("lookup {place}: no such host")),
    };
    found.map_err(|why| format!("Failed to resolve {address}: {why}"))
}

/// `host:port`, with the default port where there is none.
fn with_port(place: &str, default_port: u16) -> Option<String> {
    if let Ok(ip) = place.parse::<IpAddr>() {
        return Some(SocketAddr::new(ip, default_port).to_string());
    }
    if place.is_empty() || place.starts_with(':') {
        return None;
    }
    let inner = place.strip_prefix('[').and_then(|p| p.strip_suffix(']'));
    if let Some(inner) = inner {
        return Some(format!("[{inner}]:{default_port}"));
    }
    let has_port = place.starts_with('[') || place.matches(':').count() == 1;
    Some(match has_port {
        true => place.to_owned(),
        false => format!("{place}:{default_port}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_users_write_them() {
        let of = |text: &str| crate::net::block_on(resolve(text, 8301));
        let at = |text: &str| Ok(vec![text.parse().unwrap()]);
        assert_eq!(of("10.0.0.1"), at("10.0.0.1:8301"));
        assert_eq!(of("10.0.0.1:99"), at("10.0.0.1:99"));
        assert_eq!(of("::1"), at("[::1]:8301"));
        assert_eq!(of("[::1]"), at("[::1]:8301"));
        assert_eq!(of("[::1]:99"), at("[::1]:99"));
        assert_eq!(of("a.dc1/10.0.0.1:8302"), at("10.0.0.1:8302"));
        for (wrong, why) in [
            ("", "Failed to resolve : lookup : no such host"),
            (
                "no such name",
                "Failed to resolve no such name: lookup no such name",
            ),
            (
                "10.0.0.1:x",
                "Failed to resolve 10.0.0.1:x: address tcp/x: unknown port",
            ),
        ] {
            let text = of(wrong).unwrap_err();
            assert!(text.starts_with(why), "{text}");
        }
    }
}
