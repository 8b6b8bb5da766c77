//! Every verdict on a text, and the trees made of texts.

use super::verdicts::VERDICTS;
use super::*;

#[test]
fn says_what_consul_says() {
    let mut wrong = Vec::new();
    for (text, want) in VERDICTS {
        let got = decode(text)
            .err()
            .map(|e| e.to_string())
            .unwrap_or_default();
        if got != *want {
            let text = text.escape_ascii();
            wrong.push(format!("{text}\n   got: {got}\n  want: {want}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn text_of(source: &str) -> String {
    let value = decode(source.as_bytes()).expect("valid text");
    value
        .get("a")
        .and_then(Value::as_str)
        .expect("a string")
        .to_owned()
}

#[test]
fn strings_and_heredocs() {
    for (source, want) in [
        ("a = <<EOF\nabc\nEOF\n", "abc\n"),
        ("a = <<EOF\nabc\n  d\n  EOF\n", "abc\n  d\n  "),
        ("a = <<-EOF\n   abc\n     d\n   EOF\n", "abc\n  d\n"),
        ("a = <<-EOF\n   abc\n d\n   EOF\n", "   abc\n d\n"),
        ("a = <<-EOF\n\tabc\n\n\td\n\tEOF\n", "\tabc\n\n\td\n"),
        ("a = <<EOF\r\nabc\r\nEOF\r\n", "abc\n"),
        ("a = <<EOF\nEOF\n", ""),
        ("a = <<EOF\na \"q\" ${x} \\n\nEOF\n", "a \"q\" ${x} \\n\n"),
        (
            "a = \"a\\tb\\\"c\\\\ \\u00e9 \\x41 \\101\"",
            "a\tb\"c\\ \u{e9} A A",
        ),
        ("a = \"${foo \"x\\n\" } y\"", "${foo \"x\\n\" } y"),
        ("a = \"$${x}\"", "$${x}"),
        ("a = <<-EOF\nx\n\tEOF\n", "x\n"),
        ("a = <<E_F\n a\nE_F\n", " a\n"),
        ("a = <<EOF\na EOF\n EOF x\nEOF\n", "a EOF\n EOF x\n"),
        ("\"a\" = \"x\"", "x"),
        ("a = \"x\" a = \"y\"", "y"),
    ] {
        assert_eq!(text_of(source), want, "{source}");
    }
}

#[test]
fn blocks_become_lists() {
    let json = |source: &str| format!("{:?}", decode(source.as_bytes()).expect("valid text"));
    assert_eq!(
        json("a { b = 1 } a { c = 2 }"),
        json("a = { b = 1 }, a { c = 2 }")
    );
    let value = decode(b"key \"x\" { policy = \"read\" } key \"y\" { policy = \"deny\" }")
        .expect("valid text");
    let Some(Value::Array(keys)) = value.get("key") else {
        panic!("no list: {value:?}")
    };
    assert_eq!(keys.len(), 2);
    let Some(Value::Array(inner)) = keys[1].get("y") else {
        panic!("no list: {value:?}")
    };
    assert_eq!(inner[0].get("policy").and_then(Value::as_str), Some("deny"));
    let value = decode(b"a = [1, -2, 1.5, true, {b = 1}]").expect("valid text");
    let Some(Value::Array(items)) = value.get("a") else {
        panic!("no list: {value:?}")
    };
    assert_eq!(
        items[..4],
        [
            Value::Uint(1),
            Value::Int(-2),
            Value::F64(1.5),
            Value::Bool(true)
        ]
    );
    assert_eq!(items[4].get("b"), Some(&Value::Uint(1)));
}

#[test]
fn a_text_with_a_brace_first_is_json() {
    assert_eq!(text_of(" \n {\"a\": \"x\"}"), "x");
    assert!(decode(b"{ a = 1 }").is_err());
}

#[test]
fn bounds_hold() {
    let deep = "a = ".to_owned() + &"[".repeat(100_000);
    assert_eq!(
        decode(deep.as_bytes()).expect_err("too deep").to_string(),
        "At 1:105: nested deeper than 100 levels"
    );
    let deep = "a {".repeat(100_000);
    assert!(
        decode(deep.as_bytes())
            .expect_err("too deep")
            .to_string()
            .ends_with("nested deeper than 100 levels")
    );
    let long = vec![b' '; MAX_BYTES + 1];
    assert_eq!(
        decode(&long).expect_err("too long").to_string(),
        "text is longer than 4194304 bytes"
    );
    assert_eq!(
        decode(b"a = \"\\400\"")
            .expect_err("no such character")
            .to_string(),
        "At 1:9: illegal char escape"
    );
}
