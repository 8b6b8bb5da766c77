//! Recorded gossip of a real Consul: every layer taken off and put on again, every message through its structure.
//!
//! Layers must come back as the same bytes (compression: the same codes), messages as the same content;
//! both must be what the decoding beside them says.

use std::cell::Cell;

use consul_lite::gossip::codec::crypt::{Key, NONCE, Nonces};
use consul_lite::gossip::codec::framing::Framer;
use consul_lite::gossip::codec::message::{Message, parse_ip};
use consul_lite::gossip::codec::packet::Envelope;
use consul_lite::gossip::codec::push_pull::NodeStatus;
use consul_lite::gossip::codec::serf::SerfMessage;
use consul_lite::gossip::codec::{kind, layers, lzw, tags};
use consul_lite::gossip::{Keyring, snapshot};
use consul_lite::wire::{Value, json, msgpack};

use crate::expected::same;
use crate::vectors::{Vector, canonical, load, values};

type Shown = Value<'static>;

fn keys() -> [Vec<u8>; 2] {
    [b"0123456789abcdef".to_vec(), (1..=32).collect()]
}

fn map(entries: Vec<(&str, Shown)>) -> Shown {
    let owned = |(k, v): (&str, Shown)| (Value::Str(k.as_bytes().to_vec().into()), v);
    Value::Map(entries.into_iter().map(owned).collect())
}

fn text(s: &str) -> Shown {
    Value::Str(s.as_bytes().to_vec().into())
}

/// The value of a field, changed.
fn change(value: &mut Shown, field: &str, to: impl FnOnce(&[u8]) -> Shown) {
    let Value::Map(entries) = value else { return };
    for (key, value) in entries {
        if key.as_str() == Some(field) {
            let raw = value.as_bytes().map(<[u8]>::to_vec);
            if let Some(raw) = raw {
                *value = to(&raw);
            }
            return;
        }
    }
}

fn ip(raw: &[u8]) -> Shown {
    text(&parse_ip(raw).expect("an address").to_string())
}

fn versions(raw: &[u8]) -> Shown {
    Value::Array(raw.iter().map(|b| Value::Uint((*b).into())).collect())
}

fn meta(raw: &[u8]) -> Shown {
    let tags = tags::decode(raw);
    map(tags.iter().map(|(k, v)| (k.as_str(), text(v))).collect())
}

/// The msgpack of a message, behind its type byte.
fn body(bytes: &[u8]) -> Shown {
    values(&bytes[1..]).remove(0).into_owned()
}

/// Reads and writes a message; what comes back must be the same up to the order of map keys.
fn again(bytes: &[u8], back: &[u8]) {
    assert_eq!(back[0], bytes[0]);
    // Messages end with their only value, but for those with a tail.
    assert_eq!(canonical(&back[1..]), canonical(&bytes[1..]));
}

fn serf(bytes: &[u8]) -> Shown {
    const NAMES: [&str; 10] = [
        "leave",
        "join",
        "pushPull",
        "userEvent",
        "query",
        "queryResponse",
        "conflictResponse",
        "keyRequest",
        "keyResponse",
        "relay",
    ];
    let message = SerfMessage::decode(bytes).expect("a Serf message");
    let written = message.encode().expect("it can be written");
    let shown = match &message {
        SerfMessage::Relay(relay) => {
            assert_eq!(written, bytes);
            let dest = vec![
                ("IP", text(&relay.to.ip().to_string())),
                ("Port", Value::Uint(relay.to.port().into())),
                ("Zone", text("")),
            ];
            map(vec![
                ("dest", map(dest)),
                ("DestName", text(&relay.name)),
                ("inner", serf(&relay.message)),
            ])
        }
        _ => {
            again(bytes, &written);
            let mut shown = body(&written);
            match &message {
                SerfMessage::Query(query) => {
                    change(&mut shown, "Addr", ip);
                    if query.name.starts_with("_serf_") && query.name != "_serf_conflict" {
                        change(&mut shown, "Payload", serf);
                    }
                    // The decoding beside shows no filters as an empty list, and none was recorded.
                    assert!(query.filters.is_none());
                    let Value::Map(entries) = &mut shown else {
                        panic!()
                    };
                    entries.retain(|(key, _)| key.as_str() != Some("Filters"));
                    entries.push((text("Filters"), Value::Array(Vec::new())));
                }
                SerfMessage::QueryResponse(_) => change(&mut shown, "Payload", serf),
                SerfMessage::Conflict(_) => change(&mut shown, "Addr", ip),
                SerfMessage::UserEvent(event) if event.name.starts_with("consul:event:") => {
                    change(&mut shown, "Payload", |raw| {
                        values(raw).remove(0).into_owned()
                    });
                }
                _ => {}
            }
            shown
        }
    };
    let name = NAMES[usize::from(bytes[0])];
    map(vec![("serf", text(name)), ("body", shown)])
}

fn message(bytes: &[u8]) -> Shown {
    let message = Message::decode(bytes).expect("a message");
    let written = message.encode().expect("it can be written");
    let name = match &message {
        Message::Ping(_) => "ping",
        Message::IndirectPing(_) => "indirectPing",
        Message::Ack(_) => "ackResp",
        Message::Nack(_) => "nackResp",
        Message::Suspect(_) => "suspect",
        Message::Alive(_) => "alive",
        Message::Dead(_) => "dead",
        Message::User(inner) => {
            assert_eq!(written, bytes);
            return map(vec![("msg", text("user")), ("inner", serf(inner))]);
        }
        other => panic!("{other:?} in a datagram"),
    };
    again(bytes, &written);
    let mut shown = body(&written);
    for field in ["SourceAddr", "Target", "Addr"] {
        change(&mut shown, field, ip);
    }
    change(&mut shown, "Vsn", versions);
    change(&mut shown, "Meta", meta);
    if matches!(message, Message::Ack(_)) {
        change(&mut shown, "Payload", |raw| {
            assert_eq!(raw[0], 1);
            body(raw)
        });
    }
    map(vec![("msg", text(name)), ("body", shown)])
}

thread_local! {
    /// Compressed parts seen.
    static PACKED: Cell<u32> = const { Cell::new(0) };
}

/// The compressed bytes as single bits, least significant first.
fn bits(compressed: &[u8]) -> Vec<bool> {
    let shown = body(compressed);
    let packed = shown.get("Buf").and_then(Value::as_bytes).expect("bytes");
    let bits = packed
        .iter()
        .flat_map(|b| (0..8).map(move |n| b >> n & 1 == 1));
    bits.collect()
}

/// Decompresses; compressing again gives the same codes, but for the clear code in front which Go
/// began to write later.
fn unpack(bytes: &[u8]) -> Vec<u8> {
    let inner = lzw::decompress(&bytes[1..], 1 << 20).expect("compressed bytes");
    let packed = lzw::compress(&inner).expect("it can be compressed");
    let (ours, theirs) = (bits(&packed), bits(bytes));
    assert_eq!(
        ours[..9],
        [false, false, false, false, false, false, false, false, true]
    );
    let common = theirs.len().min(ours.len() - 9);
    assert!(theirs.len() - common < 8 && ours.len() - 9 - common < 8);
    assert_eq!(ours[9..9 + common], theirs[..common]);
    PACKED.set(PACKED.get() + 1);
    inner
}

fn layered(bytes: &[u8]) -> Shown {
    match bytes[0] {
        kind::HAS_CRC => {
            let inner = layers::check_crc(bytes).expect("the right checksum");
            assert_eq!(layers::with_crc(inner), bytes);
            let crc: String = bytes[1..5].iter().map(|b| format!("{b:02x}")).collect();
            map(vec![
                ("msg", text("hasCrc")),
                ("crc", text(&crc)),
                ("crc_ok", Value::Bool(true)),
                ("inner", layered(inner)),
            ])
        }
        kind::COMPRESS => {
            let inner = layered(&unpack(bytes));
            map(vec![("msg", text("compress")), ("inner", inner)])
        }
        kind::COMPOUND => {
            let parts = layers::split_compound(&bytes[1..]).expect("a compound");
            let owned: Vec<Vec<u8>> = parts.iter().map(|p| p.to_vec()).collect();
            assert_eq!(layers::join_compound(&owned), bytes);
            let parts = Value::Array(parts.into_iter().map(layered).collect());
            map(vec![("msg", text("compound")), ("parts", parts)])
        }
        _ => message(bytes),
    }
}

/// Decrypts and encrypts again with the same nonce.
fn opened(sealed: &[u8], aad: &[u8]) -> Option<Vec<u8>> {
    keys().iter().find_map(|key| {
        let key = Key::new(key).expect("a key");
        let plain = key.open(sealed, aad).ok()?;
        let nonce = <[u8; NONCE]>::try_from(&sealed[1..=NONCE]).expect("a nonce");
        assert_eq!(key.seal(nonce, &plain, aad).expect("sealed"), sealed);
        Some(plain)
    })
}

fn with(shown: Shown, more: Vec<(&str, Shown)>) -> Shown {
    match (shown, map(more)) {
        (Value::Map(mut all), Value::Map(mut more)) => {
            all.append(&mut more);
            Value::Map(all)
        }
        (shown, _) => shown,
    }
}

fn packet(vector: &Vector) -> Shown {
    let bytes = &vector.bytes;
    if !vector.name.starts_with("enc-") {
        return layered(bytes);
    }
    let nonce: String = bytes[1..=NONCE]
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    let plain = opened(bytes, &[]).expect("one of the keys");
    let encrypted = map(vec![("version", Value::Uint(1)), ("nonce", text(&nonce))]);
    with(layered(&plain), vec![("encrypted", encrypted)])
}

fn push_pull(bytes: &[u8]) -> Shown {
    let Message::PushPull(state) = Message::decode_stream(bytes).expect("a push/pull") else {
        return stream_message(bytes);
    };
    let written = Message::PushPull(state.clone())
        .encode_stream()
        .expect("written");
    // Header and nodes are values one after the other, the rest is Serf's message.
    let split = |bytes: &[u8]| -> (Vec<Vec<u8>>, Vec<u8>) {
        let (mut rest, mut values) = (&bytes[1..], Vec::new());
        for _ in 0..=state.nodes.len() {
            let (_, after) = msgpack::decode(rest).expect("a value");
            values.push(canonical(&rest[..rest.len() - after.len()]));
            rest = after;
        }
        (values, rest.to_vec())
    };
    assert_eq!(split(&written), split(bytes));
    let nodes = state.nodes.iter().map(|node| {
        let mut shown = values(&msgpack::to_vec(node).expect("written"))
            .remove(0)
            .into_owned();
        change(&mut shown, "Addr", ip);
        change(&mut shown, "Vsn", versions);
        change(&mut shown, "Meta", meta);
        let status = NodeStatus::from_number(node.state).expect("a status");
        let Value::Map(entries) = &mut shown else {
            panic!()
        };
        for (key, value) in entries {
            if key.as_str() == Some("State") {
                *value = text(&format!("{status:?}").to_lowercase());
            }
        }
        shown
    });
    let nodes = Value::Array(nodes.collect());
    let header = map(vec![
        ("Join", Value::Bool(state.join)),
        ("Nodes", Value::Uint(state.nodes.len() as u64)),
        ("UserStateLen", Value::Uint(state.user_state.len() as u64)),
    ]);
    let shown = serf(&state.user_state);
    let mut serf_state = shown.get("body").expect("a body").clone();
    let Value::Map(entries) = &mut serf_state else {
        panic!()
    };
    for (key, value) in entries.iter_mut() {
        if let (Some("Events"), Value::Array(events)) = (key.as_str(), &mut *value) {
            assert_eq!(events.len(), 512);
            events.retain(|event| *event != Value::Nil);
        }
    }
    entries.push((
        text("event_slots_note"),
        text("empty slots of the 512 entry ring removed"),
    ));
    map(vec![
        ("msg", text("pushPull")),
        ("header", header),
        ("nodes", nodes),
        ("serf_state", serf_state),
    ])
}

fn stream_message(bytes: &[u8]) -> Shown {
    let message = Message::decode_stream(bytes).expect("a message");
    let written = message.encode_stream().expect("it can be written");
    again(bytes, &written);
    let mut shown = body(&written);
    change(&mut shown, "SourceAddr", ip);
    let name = match message {
        Message::Ping(_) => "ping",
        Message::Ack(_) => "ackResp",
        other => panic!("{other:?} was not recorded"),
    };
    map(vec![("msg", text(name)), ("body", shown)])
}

fn stream(vector: &Vector) -> Shown {
    let bytes = &vector.bytes;
    assert_eq!(
        Framer::default().push(bytes).expect("a frame").as_ref(),
        Some(bytes)
    );
    let mut more = vec![("compressed", Value::Bool(true))];
    let mut packed = bytes.clone();
    if bytes[0] == kind::ENCRYPT {
        packed = opened(&bytes[5..], &bytes[..5]).expect("one of the keys");
        let length = Value::Uint(bytes.len() as u64 - 5);
        let encrypted = map(vec![("version", Value::Uint(1)), ("length", length)]);
        more.push(("encrypted", encrypted));
    }
    with(push_pull(&unpack(&packed)), more)
}

#[test]
fn packets_and_streams_decode_and_encode() {
    let vectors = load("gossip");
    assert!(vectors.len() >= 43);
    for vector in &vectors {
        let shown = match vector.name.starts_with("tcp-") {
            true => stream(vector),
            false => packet(vector),
        };
        assert_eq!(same(&shown, &vector.expected), Ok(()), "{}", vector.name);
    }
    assert!(PACKED.get() >= 14, "only {} were compressed", PACKED.get());
}

#[test]
fn the_whole_way_through_an_envelope() {
    let envelope = |keyring| Envelope {
        label: Vec::new(),
        keyring,
        verify_incoming: true,
        verify_outgoing: true,
        compress: true,
        nonces: Nonces::new([0; NONCE]),
    };
    let keyed = envelope(Some(Keyring::from_keys(keys()).expect("keys")));
    let open = envelope(None);
    for vector in load("gossip") {
        let sealed = vector.name.contains("enc");
        let (right, wrong) = if sealed {
            (&keyed, &open)
        } else {
            (&open, &keyed)
        };
        if vector.name.starts_with("tcp-") {
            right.open_stream(&vector.bytes).expect("a message");
            assert!(wrong.open_stream(&vector.bytes).is_err(), "{}", vector.name);
        } else {
            let parts = right.open_packet(&vector.bytes).expect("a packet");
            assert!(!parts.is_empty() && parts.iter().all(Result::is_ok));
            let parts = wrong.open_packet(&vector.bytes).unwrap_or_default();
            assert!(parts.iter().all(Result::is_err), "{}", vector.name);
        }
    }
}

#[test]
fn damaged_gossip_is_refused_or_survives() {
    const SEED: u64 = 0x5eed_c0de;
    let mut rng = fastrand::Rng::with_seed(SEED);
    let envelope = Envelope {
        label: Vec::new(),
        keyring: None,
        verify_incoming: true,
        verify_outgoing: true,
        compress: true,
        nonces: Nonces::new([0; NONCE]),
    };
    // Damage inside of the outer layers, or checksums would catch all of it.
    let inner = |vector: Vector| {
        let stream = vector.name.starts_with("tcp-");
        let bytes = match (vector.name.contains("enc"), stream) {
            (false, _) => vector.bytes,
            (true, true) => opened(&vector.bytes[5..], &vector.bytes[..5]).expect("a key"),
            (true, false) => opened(&vector.bytes, &[]).expect("a key"),
        };
        let bytes = layers::check_crc(&bytes).expect("checked").to_vec();
        let packed = bytes[0] == kind::COMPRESS;
        (stream, if packed { unpack(&bytes) } else { bytes })
    };
    let seeds: Vec<(bool, Vec<u8>)> = load("gossip").into_iter().map(inner).collect();
    let favourites = [0, 7, 9, 12, 13, 0x80, 0x8f, 0xc0, 0xd9, 0xda, 0xdd, 0xff];
    let mut accepted = 0;
    for round in 0..30_000 {
        let (stream, mut bytes) = rng.choice(&seeds).cloned().expect("a seed");
        crate::mutations::wound(&mut rng, &mut bytes, &favourites);
        let messages = match stream {
            true => vec![envelope.open_stream(&bytes)],
            false => envelope.open_packet(&bytes).unwrap_or_default(),
        };
        let _ = Framer::default().push(&bytes);
        for message in messages.into_iter().flatten() {
            accepted += 1;
            let again = match stream {
                true => message
                    .encode_stream()
                    .and_then(|b| Message::decode_stream(&b)),
                false => message.encode().and_then(|b| Message::decode(&b)),
            };
            assert_eq!(again.as_ref(), Ok(&message), "seed {SEED} round {round}");
            let inner = match &message {
                Message::User(inner) => inner,
                Message::PushPull(state) => &state.user_state,
                _ => continue,
            };
            if let Ok(message) = SerfMessage::decode(inner) {
                let again = message.encode().and_then(|b| SerfMessage::decode(&b));
                assert_eq!(again, Ok(message), "seed {SEED} round {round}");
            }
        }
    }
    assert!(accepted > 5_000, "only {accepted} were accepted");
}

#[test]
fn snapshots_of_a_real_agent_are_replayed() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/vectors/serf");
    for name in ["c1.local", "s2.local", "s2.remote"] {
        let text = std::fs::read_to_string(folder.join(format!("{name}.snapshot")));
        let found = snapshot::replay(&text.expect("a snapshot"), false);
        let beside = std::fs::read(folder.join(format!("{name}.json"))).expect("a decoding");
        let beside = json::decode_whole(&beside).expect("JSON");
        let alive = found.alive.iter();
        let alive = alive.map(|(name, addr)| (name.as_str(), text_of(addr)));
        let shown = map(vec![
            ("alive", map(alive.collect())),
            ("clocks", clocks(&found, &beside)),
            ("lines", beside.get("lines").expect("a number").clone()),
        ]);
        assert_eq!(same(&shown, &beside), Ok(()), "{name}");
    }
}

fn text_of(addr: &std::net::SocketAddr) -> Shown {
    text(&addr.to_string())
}

/// The clocks that the decoding beside shows: those that were written.
fn clocks(found: &snapshot::Replayed, beside: &Value<'_>) -> Shown {
    let all = [
        ("clock", found.clock),
        ("event-clock", found.event_clock),
        ("query-clock", found.query_clock),
    ];
    let written = |name: &str| beside.get("clocks").is_some_and(|c| c.get(name).is_some());
    let shown = all
        .into_iter()
        .filter(|(name, time)| *time > 0 || written(name));
    map(shown
        .map(|(name, time)| (name, Value::Uint(time)))
        .collect())
}
