//! Every recorded value through [`Value`]: the right content, and the same bytes again.

use consul_lite::wire::{Value, msgpack};

use crate::expected::same;
use crate::vectors::{load, values};

fn again(values: &[Value<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for value in values {
        msgpack::append(&mut out, value).expect("values can be written");
    }
    out
}

#[test]
fn rpc_messages_decode_and_encode_to_the_same_bytes() {
    let vectors = load("rpc");
    assert!(vectors.len() > 200);
    for vector in vectors {
        let values = values(&vector.bytes);
        assert_eq!(again(&values), vector.bytes, "{}", vector.name);
        let Value::Array(messages) = &vector.expected else {
            panic!("{}: a list of messages", vector.name);
        };
        assert_eq!(values.len(), 2 * messages.len(), "{}", vector.name);
        for (pair, message) in values.chunks(2).zip(messages) {
            let [header, body] = pair else { continue };
            for (value, part) in [(header, "header"), (body, "body")] {
                let shown = message.get(part).expect("header and body");
                assert_eq!(same(value, shown), Ok(()), "{} {part}", vector.name);
            }
        }
    }
}

#[test]
fn fsm_commands_decode_and_encode_to_the_same_bytes() {
    let vectors = load("raft");
    assert!(vectors.len() >= 20);
    for vector in vectors {
        let (kind, command) = vector.bytes.split_first().expect("a type byte");
        let values = values(command);
        assert_eq!(again(&values), command, "{}", vector.name);
        assert_eq!(
            vector.expected.get("fsm_type"),
            Some(&Value::Uint(u64::from(kind & 0x7f))),
            "{}",
            vector.name
        );
        let body = vector.expected.get("body").expect("a body");
        match (body.get("$kind"), body.get("$request"), &values[..]) {
            // Config entries have a form of their own: a raw of a kind and a request.
            (Some(kind), Some(request), [Value::Str(raw)]) => {
                let inner = crate::vectors::values(raw);
                let shown = [kind.clone(), request.clone()];
                assert_eq!(
                    same(&Value::Array(inner), &Value::Array(shown.to_vec())),
                    Ok(()),
                    "{}",
                    vector.name
                );
            }
            (_, _, [value]) => assert_eq!(same(value, body), Ok(()), "{}", vector.name),
            _ => panic!("{}: one value", vector.name),
        }
    }
}
