//! Rules of the msgpack codec, and random values there and back.

use super::*;
use crate::codec::Deserialize;
use crate::structs::go::{Any, Bytes, GoTime};

#[derive(Serialize, Deserialize, Default, Debug, PartialEq)]
#[serde(rename_all = "PascalCase", default)]
struct QueryOptions {
    token: String,
    allow_stale: bool,
}

#[derive(Serialize, Deserialize, Default, Debug, PartialEq)]
#[serde(rename_all = "PascalCase", default)]
struct KeyRequest {
    key: String,
    datacenter: String,
    #[serde(rename = "")]
    query_options: QueryOptions,
    value: Bytes,
    small: i8,
}

#[test]
fn structures_are_sorted_with_embedded_fields_among_them() {
    let request = KeyRequest {
        key: "k".into(),
        value: Bytes(vec![0xff]),
        small: -1,
        ..KeyRequest::default()
    };
    let bytes = to_vec(&request).unwrap_or_default();
    assert_eq!(
        bytes,
        b"\x86\xaaAllowStale\xc2\xaaDatacenter\xa0\xa3Key\xa1k\xa5Small\xff\xa5Token\xa0\xa5Value\xa1\xff"
    );
    assert_eq!(from_slice(&bytes), Ok(request));
}

#[test]
fn nil_is_zero_and_unknown_keys_are_skipped() {
    let nils = b"\x84\xa3Key\xc0\xa5Small\xc0\xa5Value\xc0\xa5Other\x91\x80";
    assert_eq!(from_slice(nils), Ok(KeyRequest::default()));
    assert_eq!(from_slice(b"\xc0"), Ok(KeyRequest::default()));
    // Another case is another key.
    assert_eq!(from_slice(b"\x81\xa3key\xa1k"), Ok(KeyRequest::default()));
    assert_eq!(from_slice::<Option<u8>>(b"\xc0"), Ok(None));
    assert_eq!(from_slice::<Vec<u8>>(b"\xc0"), Ok(Vec::new()));
}

#[test]
fn integers_take_the_shortest_form() {
    for (n, bytes) in [
        (0i64, &b"\x00"[..]),
        (127, b"\x7f"),
        (128, b"\xcc\x80"),
        (256, b"\xcd\x01\x00"),
        (65536, b"\xce\x00\x01\x00\x00"),
        (i64::MAX, b"\xcf\x7f\xff\xff\xff\xff\xff\xff\xff"),
        (-1, b"\xff"),
        (-32, b"\xe0"),
        (-33, b"\xd0\xdf"),
        (-128, b"\xd0\x80"),
        (-129, b"\xd1\xff\x7f"),
        (-32769, b"\xd2\xff\xff\x7f\xff"),
        (i64::MIN, b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00"),
    ] {
        assert_eq!(to_vec(&n), Ok(bytes.to_vec()));
        assert_eq!(from_slice(bytes), Ok(n));
        assert_eq!(from_slice::<u64>(bytes).ok(), u64::try_from(n).ok());
    }
    assert_eq!(
        from_slice::<u64>(b"\xd3\x00\x00\x00\x00\x00\x00\x00\x05"),
        Ok(5)
    );
    assert!(from_slice::<u8>(b"\xcd\x01\x00").is_err());
}

#[test]
fn raw_str_and_bin_are_the_same() {
    let bodies: [&[u8]; 5] = [
        b"\xa1x",
        b"\xd9\x01x",
        b"\xc4\x01x",
        b"\xda\x00\x01x",
        b"\xc7\x01\x05x",
    ];
    for bytes in bodies {
        assert_eq!(from_slice(bytes), Ok("x".to_owned()));
        assert_eq!(from_slice(bytes), Ok(Bytes(b"x".to_vec())));
    }
    assert_eq!(from_slice(b"\xa1\xff"), Ok("\u{fffd}".to_owned()));
    assert_eq!(from_slice(b"\xa1\xff"), Ok(Any::Bytes(vec![0xff])));
    let long = "y".repeat(40);
    assert_eq!(
        to_vec(&long).map(|b| b[..3].to_vec()),
        Ok(b"\xda\x00\x28".to_vec())
    );
    assert_eq!(to_vec(&Bytes::default()), Ok(b"\xa0".to_vec()));
    let time = GoTime::from_unix(1_600_000_000, 5);
    assert_eq!(to_vec(&time).and_then(|b| from_slice(&b)), Ok(time));
}

#[test]
fn bounds_hold() {
    assert_eq!(decode(b""), Err(Error::Eof));
    assert_eq!(decode(b"\xdd\xff\xff\xff\xff"), Err(Error::UnexpectedEof));
    assert_eq!(
        decode(b"\xdf\xff\xff\xff\xff\x01"),
        Err(Error::UnexpectedEof)
    );
    assert_eq!(
        decode(b"\xdb\xff\xff\xff\xff\x01"),
        Err(Error::UnexpectedEof)
    );
    let mut deep = vec![0x91; MAX_DEPTH];
    deep.push(0xc0);
    assert!(decode(&deep).is_ok());
    deep.insert(0, 0x91);
    assert!(decode(&deep).is_err());
    let nested = |n| (0..n).fold(Value::Nil, |v, _| Value::Array(vec![v]));
    assert!(to_vec(&nested(MAX_DEPTH)).is_ok());
    assert!(to_vec(&nested(MAX_DEPTH + 1)).is_err());
}

#[test]
fn successive_values_are_read_one_by_one() {
    let mut bytes: &[u8] = b"\x01\xa1x\x91";
    assert_eq!(next::<u8>(&mut bytes), Ok(1));
    assert_eq!(next::<String>(&mut bytes), Ok("x".to_owned()));
    assert_eq!(next::<Any>(&mut bytes), Err(Error::UnexpectedEof));
    assert_eq!(bytes, b"\x91");
}
