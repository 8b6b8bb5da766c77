//! Gossip: datagrams and streams through all layers, messages to structures and back to bytes.

#![no_main]

use consul_lite::gossip::codec::crypt::Nonces;
use consul_lite::gossip::codec::framing::Framer;
use consul_lite::gossip::codec::message::Message;
use consul_lite::gossip::codec::packet::Envelope;
use consul_lite::gossip::codec::serf::{Filter, SerfMessage};
use consul_lite::gossip::codec::tags;

fn envelope() -> Envelope {
    Envelope {
        label: Vec::new(),
        keyring: None,
        verify_incoming: true,
        verify_outgoing: true,
        compress: true,
        nonces: Nonces::new([0; 12]),
    }
}

fn serf(bytes: &[u8]) {
    if let Ok(message) = SerfMessage::decode(bytes) {
        let written = message.encode().expect("what was read can be written");
        assert_eq!(SerfMessage::decode(&written), Ok(message));
    }
}

fn message(message: &Message) {
    match message {
        Message::User(inner) => serf(inner),
        Message::PushPull(state) => serf(&state.user_state),
        Message::Alive(alive) => drop(tags::decode(&alive.meta)),
        _ => {}
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    for part in envelope()
        .open_packet(bytes)
        .into_iter()
        .flatten()
        .flatten()
    {
        let written = part.encode().expect("what was read can be written");
        assert_eq!(Message::decode(&written).as_ref(), Ok(&part));
        message(&part);
    }
    if let Ok(whole) = envelope().open_stream(bytes) {
        let written = envelope().seal_stream(&whole).expect("and written");
        assert_eq!(envelope().open_stream(&written).as_ref(), Ok(&whole));
        message(&whole);
    }
    let mut framer = Framer::default();
    let in_one = Framer::default().push(bytes);
    let mut piecewise = Ok(None);
    for byte in bytes {
        piecewise = framer.push(&[*byte]);
        if !matches!(piecewise, Ok(None)) {
            break;
        }
    }
    assert_eq!(in_one.is_ok(), piecewise.is_ok());
    serf(bytes);
    let _ = Filter::decode(bytes);
});
