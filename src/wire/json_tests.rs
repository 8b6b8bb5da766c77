//! What Consul 1.8.7 answered to wrong bodies, and the rules of reading and writing JSON.

use std::collections::BTreeMap;

use super::*;
use crate::codec::Deserialize as De;
use crate::codec::decode;
use crate::structs::go::{Any, Bytes, GoDuration, GoTime};

#[derive(De, Serialize, Default, Debug, PartialEq)]
#[serde(rename_all = "PascalCase", default)]
struct RaftIndex {
    create_index: u64,
    modify_index: u64,
}

#[derive(De, Serialize, Default, Debug, PartialEq)]
#[serde(rename_all = "PascalCase", default)]
struct QueryDatacenterOptions {
    #[serde(rename = "NearestN")]
    nearest_n: i64,
    datacenters: Option<Vec<String>>,
}

#[derive(De, Serialize, Default, Debug, PartialEq)]
#[serde(rename_all = "PascalCase", default)]
struct ServiceQuery {
    service: String,
    failover: QueryDatacenterOptions,
    near: String,
    node_meta: Option<BTreeMap<String, String>>,
}

#[derive(De, Serialize, Default, Debug, PartialEq)]
#[serde(rename_all = "PascalCase", default)]
struct PreparedQuery {
    name: String,
    service: ServiceQuery,
    #[serde(rename = "")]
    raft_index: RaftIndex,
}

/// A structure with a decoder of its own, as Go's errors see it.
#[derive(De, Serialize, Default, Debug, PartialEq)]
#[serde(rename = "", rename_all = "PascalCase", default)]
struct ServiceDefinition {
    port: i64,
    tags: Option<Vec<String>>,
    check: CheckType,
    connect: Lenient,
    #[serde(rename = "Proxy")]
    plain: QueryDatacenterOptions,
}

#[derive(De, Serialize, Default, Debug, PartialEq)]
#[serde(rename = "", rename_all = "PascalCase", default)]
struct CheckType {
    #[serde(rename = "HTTP")]
    http: String,
    inner: QueryDatacenterOptions,
}

#[derive(De, Serialize, Default, Debug, PartialEq)]
#[serde(rename = "?", rename_all = "PascalCase", default)]
struct Lenient {
    native: bool,
    sidecar: CheckType,
}

fn refused<T: Deserialize + Default>(text: &str, name: &'static str) -> String {
    from_slice_strict::<T>(text.as_bytes(), name)
        .err()
        .map_or("accepted".to_owned(), |e| e.to_string())
}

#[test]
fn syntax_errors_are_gos() {
    for (text, error) in [
        ("", "EOF"),
        (" \n", "EOF"),
        ("{", "unexpected EOF"),
        ("nul", "unexpected EOF"),
        (
            "nulx",
            "invalid character 'x' in literal null (expecting 'l')",
        ),
        ("{\"a", "unexpected EOF"),
        ("{\"a\"", "unexpected EOF"),
        ("{\"a\":", "unexpected EOF"),
        ("{\"a\":1", "unexpected EOF"),
        ("{\"a\":1,", "unexpected EOF"),
        (
            "{\"a\":1 x",
            "invalid character 'x' after object key:value pair",
        ),
        (
            "{a",
            "invalid character 'a' looking for beginning of object key string",
        ),
        ("{\"a\" x", "invalid character 'x' after object key"),
        (
            "{\"a\":x",
            "invalid character 'x' looking for beginning of value",
        ),
        (
            "{\"a\":tx",
            "invalid character 'x' in literal true (expecting 'r')",
        ),
        (
            "{\"a\":\"\\x\"}",
            "invalid character 'x' in string escape code",
        ),
        (
            "{\"a\":\"\\u12x4\"}",
            "invalid character 'x' in \\u hexadecimal character escape",
        ),
        ("{\"a\":-x}", "invalid character 'x' in numeric literal"),
        (
            "{\"a\":1.x}",
            "invalid character 'x' after decimal point in numeric literal",
        ),
        (
            "{\"a\":1ex}",
            "invalid character 'x' in exponent of numeric literal",
        ),
        (
            "{\"a\":1e+x",
            "invalid character 'x' in exponent of numeric literal",
        ),
        (
            "{\"a\":01}",
            "invalid character '1' after object key:value pair",
        ),
        ("[1 2]", "invalid character '2' after array element"),
        (
            "[1,]",
            "invalid character ']' looking for beginning of value",
        ),
        (
            "{\"a\":1,}",
            "invalid character '}' looking for beginning of object key string",
        ),
        (
            "{'a'",
            "invalid character '\\'' looking for beginning of object key string",
        ),
        ("{\"a\u{1}\"", "invalid character '\\x01' in string literal"),
        ("\"", "unexpected EOF"),
        ("]", "invalid character ']' looking for beginning of value"),
        ("{\"a\":1.", "unexpected EOF"),
        (
            "{\"a\":fals\"",
            "invalid character '\"' in literal false (expecting 'e')",
        ),
    ] {
        assert_eq!(
            refused::<PreparedQuery>(text, "structs.PreparedQuery"),
            error,
            "{text}"
        );
    }
    assert_eq!(
        super::decode(b"{\"a\":\xffx").map_err(|e| e.to_string()),
        Err("invalid character 'ÿ' looking for beginning of value".to_owned())
    );
    assert_eq!(
        decode_whole(b"{} x").map_err(|e| e.to_string()),
        Err("invalid character 'x' after top-level value".to_owned())
    );
    assert_eq!(
        decode_whole(b"[").map_err(|e| e.to_string()),
        Err("unexpected end of JSON input".to_owned())
    );
}

#[test]
fn type_errors_are_gos() {
    let field = "json: cannot unmarshal";
    for (text, error) in [
        ("[]", "array into Go value of type structs.PreparedQuery"),
        (
            "\"abc\"",
            "string into Go value of type structs.PreparedQuery",
        ),
        ("12", "number into Go value of type structs.PreparedQuery"),
        ("true", "bool into Go value of type structs.PreparedQuery"),
        (
            "{\"Name\":1}",
            "number into Go struct field PreparedQuery.Name of type string",
        ),
        (
            "{\"name\":{\"a\":1}}",
            "object into Go struct field PreparedQuery.Name of type string",
        ),
        (
            "{\"NAME\":true}",
            "bool into Go struct field PreparedQuery.Name of type string",
        ),
        (
            "{\"Service\":{\"Near\":1}}",
            "number into Go struct field ServiceQuery.Service.Near of type string",
        ),
        (
            "{\"Service\":{\"Failover\":{\"NearestN\":\"x\"}}}",
            "string into Go struct field QueryDatacenterOptions.Service.Failover.NearestN of type int",
        ),
        (
            "{\"Service\":{\"Failover\":{\"Datacenters\":\"x\"}}}",
            "string into Go struct field QueryDatacenterOptions.Service.Failover.Datacenters of type []string",
        ),
        (
            "{\"Service\":{\"Failover\":{\"Datacenters\":[1]}}}",
            "number into Go struct field QueryDatacenterOptions.Service.Failover.Datacenters of type string",
        ),
        (
            "{\"Service\":{\"NodeMeta\":[1]}}",
            "array into Go struct field ServiceQuery.Service.NodeMeta of type map[string]string",
        ),
        (
            "{\"Service\":{\"NodeMeta\":{\"a\":1}}}",
            "number into Go struct field ServiceQuery.Service.NodeMeta of type string",
        ),
        (
            "{\"Service\":[]}",
            "array into Go struct field PreparedQuery.Service of type structs.ServiceQuery",
        ),
        (
            "{\"CreateIndex\":\"x\"}",
            "string into Go struct field PreparedQuery.CreateIndex of type uint64",
        ),
        (
            "{\"CreateIndex\":1.5}",
            "number 1.5 into Go struct field PreparedQuery.CreateIndex of type uint64",
        ),
        (
            "{\"CreateIndex\":-1}",
            "number -1 into Go struct field PreparedQuery.CreateIndex of type uint64",
        ),
        (
            "{\"Name\":2,\"Bogus\":1}",
            "number into Go struct field PreparedQuery.Name of type string",
        ),
    ] {
        let got = refused::<PreparedQuery>(text, "structs.PreparedQuery");
        assert_eq!(got, format!("{field} {error}"), "{text}");
    }
    for (text, error) in [
        (
            "{\"Port\":\"x\"}",
            "string into Go struct field .Port of type int",
        ),
        (
            "{\"Tags\":\"a\"}",
            "string into Go struct field .Tags of type []string",
        ),
        (
            "{\"Check\":{\"HTTP\":1}}",
            "number into Go struct field .Check of type string",
        ),
        (
            "{\"Check\":{\"Inner\":{\"NearestN\":\"x\"}}}",
            "string into Go struct field .Check of type int",
        ),
        (
            "{\"Connect\":{\"Sidecar\":{\"HTTP\":1}}}",
            "number into Go struct field .Connect of type string",
        ),
        (
            "{\"Proxy\":{\"NearestN\":\"x\"}}",
            "string into Go struct field QueryDatacenterOptions.Proxy.NearestN of type int",
        ),
    ] {
        let got = refused::<ServiceDefinition>(text, "structs.ServiceDefinition");
        assert_eq!(got, format!("{field} {error}"), "{text}");
    }
    assert_eq!(
        refused::<Vec<PreparedQuery>>("[1]", "api.TxnOps"),
        "json: cannot unmarshal number into Go value of type api.PreparedQuery"
    );
    assert_eq!(
        refused::<Vec<PreparedQuery>>("{}", "api.TxnOps"),
        "json: cannot unmarshal object into Go value of type api.TxnOps"
    );
}

#[test]
fn unknown_fields_are_refused_where_consul_is_strict() {
    let bogus = "json: unknown field \"Bogus\"";
    for text in [
        "{\"Bogus\":1}",
        "{\"Name\":\"a\",\"CreateIndex\":1,\"Bogus\":1}",
        "{\"Service\":{\"Bogus\":1}}",
    ] {
        assert_eq!(
            refused::<PreparedQuery>(text, "structs.PreparedQuery"),
            bogus
        );
        assert!(from_slice_lenient::<PreparedQuery>(text.as_bytes()).is_ok());
    }
    for (text, error) in [
        ("{\"Check\":{\"Bogus\":1}}", bogus),
        ("{\"Connect\":{\"Bogus\":1}}", "accepted"),
        ("{\"Connect\":{\"Sidecar\":{\"Bogus\":1}}}", bogus),
    ] {
        assert_eq!(
            refused::<ServiceDefinition>(text, "structs.ServiceDefinition"),
            error
        );
    }
}

#[test]
fn embedded_structures_share_the_map() {
    let text =
        "{\"modifyindex\":7,\"Name\":\"a\",\"NAME\":\"b\",\"CreateIndex\":3,\"Service\":null}";
    let query: PreparedQuery =
        from_slice_strict(text.as_bytes(), "structs.PreparedQuery").unwrap_or_default();
    assert_eq!(query.name, "b");
    assert_eq!(
        (query.raft_index.create_index, query.raft_index.modify_index),
        (3, 7)
    );
    let back = to_vec(&query).map(|b| String::from_utf8_lossy(&b).into_owned());
    assert_eq!(
        back,
        Ok("{\"Name\":\"b\",\"Service\":{\"Service\":\"\",\"Failover\":{\"NearestN\":0,\
            \"Datacenters\":null},\"Near\":\"\",\"NodeMeta\":null},\"CreateIndex\":3,\"ModifyIndex\":7}"
            .to_owned())
    );
    let whole: Option<PreparedQuery> = from_slice_lenient(b"null").ok();
    assert_eq!(whole, Some(PreparedQuery::default()));
}

#[test]
fn numbers_are_rounded_once_and_free_values_are_floats() {
    for text in [
        "0.30000000000000004",
        "3.141592653589793238",
        "1.7976931348623157e308",
        "5e-324",
    ] {
        let value = super::decode(text.as_bytes()).map(|v| v.0);
        assert_eq!(
            value,
            Ok(Value::F64(text.parse().unwrap_or_default())),
            "{text}"
        );
    }
    assert!(super::decode(b"1e999").is_err());
    assert_eq!(
        from_slice_lenient(b"[1]"),
        Ok(Any::Array(vec![Any::Float(1.0)]))
    );
    assert_eq!(from_slice_lenient(b"15"), Ok(GoDuration(15)));
    assert_eq!(
        from_slice_lenient(b"\"1m\""),
        Ok(GoDuration(60_000_000_000))
    );
}

#[test]
fn text_that_is_not_unicode_is_replaced() {
    for (text, value) in [
        (&b"\"a\xffb\""[..], "a\u{fffd}b"),
        (b"\"\xe2\x82\"", "\u{fffd}\u{fffd}"),
        (b"\"\\ud800\"", "\u{fffd}"),
        (
            b"\"\\ud800\\ud83d\\ude00\\udc00\\\\ud800\"",
            "\u{fffd}😀\u{fffd}\\ud800",
        ),
        (b"\"\\udc00x\\ud800\\n\"", "\u{fffd}x\u{fffd}\n"),
        (b"\"\\u00e9\\/\"", "é/"),
    ] {
        assert_eq!(
            super::decode(text).map(|v| v.0),
            Ok(Value::text(value)),
            "{text:?}"
        );
    }
}

#[derive(Serialize, Default)]
struct Omitting {
    #[serde(serialize_with = "omitempty")]
    a: String,
    #[serde(serialize_with = "omitempty")]
    b: u64,
    #[serde(serialize_with = "omitempty")]
    c: Option<bool>,
    #[serde(serialize_with = "omitempty")]
    d: Option<Vec<u8>>,
    #[serde(serialize_with = "omitempty")]
    e: BTreeMap<String, f64>,
    #[serde(serialize_with = "omitempty")]
    f: Bytes,
    #[serde(serialize_with = "omitempty")]
    g: RaftIndex,
    #[serde(serialize_with = "omitempty")]
    h: GoTime,
    i: Bytes,
}

#[test]
fn empty_fields_are_left_out_only_where_marked() {
    let mut value = Omitting {
        d: Some(Vec::new()),
        ..Omitting::default()
    };
    let text = |v: &Omitting| to_vec(v).map(|b| String::from_utf8_lossy(&b).into_owned());
    let always = "\"g\":{\"CreateIndex\":0,\"ModifyIndex\":0},\"h\":\"0001-01-01T00:00:00Z\"";
    assert_eq!(text(&value), Ok(format!("{{{always},\"i\":null}}")));
    value.a = "x".to_owned();
    value.c = Some(false);
    value.e.insert("k<".to_owned(), 0.5);
    value.i = Bytes(b"hi".to_vec());
    assert_eq!(
        text(&value),
        Ok(format!(
            "{{\"a\":\"x\",\"c\":false,\"e\":{{\"k\\u003c\":0.5}},{always},\"i\":\"aGk=\"}}"
        ))
    );
}

#[test]
fn keys_of_maps_are_sorted_and_pretty_indents() {
    let map = Value::Map(vec![
        (
            Value::text("b"),
            Value::Array(vec![Value::Uint(1), Value::Nil]),
        ),
        (Value::Uint(7), Value::Array(Vec::new())),
        (
            Value::text("a\n"),
            Value::Map(vec![(Value::text("x"), Value::text("[,:{\\\""))]),
        ),
        (Value::text("a"), Value::Map(Vec::new())),
    ]);
    let compact = to_vec(&map).unwrap_or_default();
    let text = String::from_utf8_lossy(&compact).into_owned();
    assert_eq!(
        text,
        r#"{"7":[],"a":{},"a\n":{"x":"[,:{\\\""},"b":[1,null]}"#
    );
    assert_eq!(
        String::from_utf8_lossy(&pretty(&compact)),
        "{\n    \"7\": [],\n    \"a\": {},\n    \"a\\n\": {\n        \"x\": \"[,:{\\\\\\\"\"\n    },\n    \
         \"b\": [\n        1,\n        null\n    ]\n}"
    );
}

#[test]
fn nesting_is_bounded_and_the_deepest_text_fits_a_small_stack() {
    let deep = |n: usize| format!("{}1{}", "[{\"a\":".repeat(n), "}]".repeat(n)).into_bytes();
    // The scanner names the bracket, as Go does; the decoder sees values and has none to name.
    let too_deep = |text: &str| Err(text.to_owned());
    let any = move |n: usize| from_slice_lenient::<Any>(&deep(n)).map_err(|e| e.to_string());
    let read = move || {
        let bytes = any(decode::MAX_DEPTH / 2).and_then(|v| to_vec(&v).map_err(|e| e.to_string()));
        assert_eq!(bytes, Ok(deep(decode::MAX_DEPTH / 2)));
        assert_eq!(
            any(decode::MAX_DEPTH / 2 + 1).map(drop),
            too_deep("exceeded max depth")
        );
        // What nobody asks for may be deeper.
        let skipped = deep(super::super::scan::MAX_DEPTH / 2);
        assert_eq!(from_slice_lenient::<()>(&skipped), Ok(()));
        assert!(super::decode(&skipped).is_ok());
        assert_eq!(
            any(super::super::scan::MAX_DEPTH / 2 + 1).map(drop),
            too_deep("invalid character '[' exceeded max depth")
        );
    };
    let thread = std::thread::Builder::new().stack_size(1 << 19).spawn(read);
    assert!(thread.is_ok_and(|t| t.join().is_ok()));
}
