//! Shows that the comparison can fail: a transcript compared with itself has no difference, and with
//! each of many small alterations it has one.

use crate::case;
use crate::common::harness::Outcome;
use crate::compare;
use crate::side::Answer;

const STEPS: &str = "\
GET /v1/kv/a
GET /v1/kv/b
GET /v1/session/list
! sort
CLI kv get a
DNS a.service.consul SRV
GET /v1/agent/service/x
";

fn http(code: i32, index: &str, body: &str) -> Answer {
    Answer {
        code: Some(code),
        headers: vec![
            ("content-type".into(), "application/json".into()),
            ("x-consul-index".into(), index.into()),
        ],
        parts: vec![("body".into(), body.into())],
        ..Answer::default()
    }
}

fn sample() -> Vec<Answer> {
    let (one, two) = (
        "0a1b2c3d-1111-2222-3333-444455556666",
        "9f8e7d6c-1111-2222-3333-444455556666",
    );
    vec![
        http(
            200,
            "14",
            r#"[{"LockIndex":0,"Key":"a","Flags":0,"Value":null,"CreateIndex":12,"ModifyIndex":14}]"#,
        ),
        http(404, "15", ""),
        http(
            200,
            "20",
            &format!(
                r#"[{{"ID":"{one}","Checks":[],"TTL":"10s"}},{{"ID":"{two}","Checks":[],"TTL":"20s"}},{{"ID":"{one}","Checks":[],"TTL":"30s"}}]"#
            ),
        ),
        Answer {
            code: Some(0),
            parts: vec![
                ("stdout".into(), "CreateIndex      12\nKey  a\n".into()),
                ("stderr".into(), String::new()),
            ],
            ..Answer::default()
        },
        Answer {
            parts: vec![(
                "message".into(),
                "status NOERROR\nanswer a. 0 IN SRV 1 1 80 x.".into(),
            )],
            size: Some(77),
            ..Answer::default()
        },
        Answer {
            waited: Some(true),
            ..http(200, "1", r#"{"A":{},"T":"2026-11-22T09:06:15.841Z"}"#)
        },
    ]
}

/// An alteration: which answer, what to replace in all its texts, by what.
const ALTERED: [(usize, &str, &str); 18] = [
    (0, "\"Value\":null", "\"Value\":\"\""),
    (
        0,
        "\"LockIndex\":0,\"Key\":\"a\"",
        "\"Key\":\"a\",\"LockIndex\":0",
    ),
    (0, "\"Flags\":0,", ""),
    (0, "\"Flags\":0", "\"Flags\":0.0"),
    (0, "\"ModifyIndex\":14", "\"ModifyIndex\":12"),
    (0, "\"ModifyIndex\":14", "\"ModifyIndex\":15"),
    (0, "14", "11"),
    (0, "[{", "[ {"),
    (0, "application/json", "text/plain"),
    (1, "15", "14"),
    (1, "15", "13"),
    (1, "15", "1"),
    (
        2,
        "9f8e7d6c-1111-2222-3333-444455556666",
        "0a1b2c3d-1111-2222-3333-444455556666",
    ),
    (
        2,
        "\"Checks\":[],\"TTL\":\"10s\"",
        "\"Checks\":null,\"TTL\":\"10s\"",
    ),
    (3, "CreateIndex      12", "CreateIndex      14"),
    (3, "Key  a", "Key a"),
    (4, "SRV 1 1 80", "SRV 1 1 81"),
    (5, "2026-11-22T09:06:15.841Z", "today"),
];

/// The whole check.
pub fn run() -> Outcome {
    let steps = match case::parse(STEPS) {
        Ok(case) => case.steps,
        Err(e) => return Outcome::Failed(e),
    };
    let base = sample();
    // Another run of the same server: other ids, other times, all indexes further on.
    let mut later = base.clone();
    for answer in &mut later {
        for text in texts(answer) {
            for (from, to) in [
                ("0a1b2c3d-", "ffffffff-"),
                ("9f8e7d6c-", "00000000-"),
                ("2026-11-22T09:06:15.841Z", "2027-01-02T00:00:00Z"),
            ] {
                *text = text.replace(from, to);
            }
            for n in ["20", "15", "14", "12"] {
                let moved = (n.parse::<u64>().unwrap_or(0) * 3).to_string();
                if text.as_str() == n {
                    *text = moved.clone();
                }
                *text = text.replace(&format!("Index\":{n}"), &format!("Index\":{moved}"));
                *text = text.replace(&format!("Index      {n}"), &format!("Index      {moved}"));
            }
        }
    }
    for other in [&base, &later] {
        let found = compare::transcripts(&steps, &base, other);
        if let Some(d) = found.first() {
            return Outcome::Failed(format!("equal ones differ: {d:?}"));
        }
    }
    for (at, from, to) in ALTERED {
        let mut altered = base.clone();
        let mut hit = false;
        for text in texts(&mut altered[at]) {
            hit |= text.contains(from);
            *text = text.replacen(from, to, 1);
        }
        if !hit || compare::transcripts(&steps, &base, &altered).is_empty() {
            return Outcome::Failed(format!("not seen in answer {at}: `{from}` -> `{to}`"));
        }
    }
    type Change = fn(&mut Answer);
    let changes: [(usize, Change); 6] = [
        (0, |a| a.code = Some(500)),
        (1, |a| drop(a.headers.pop())),
        (1, |a| a.headers.push(("x-cache".into(), "HIT".into()))),
        (3, |a| a.code = Some(1)),
        (5, |a| a.waited = Some(false)),
        (5, |a| a.failed = Some("no answer".into())),
    ];
    for (n, (at, change)) in changes.into_iter().enumerate() {
        let mut altered = base.clone();
        change(&mut altered[at]);
        if compare::transcripts(&steps, &base, &altered).is_empty() {
            return Outcome::Failed(format!("change {n} was not seen"));
        }
    }
    Outcome::Passed
}

fn texts(answer: &mut Answer) -> Vec<&mut String> {
    let headers = answer.headers.iter_mut().map(|h| &mut h.1);
    let parts = answer.parts.iter_mut().map(|p| &mut p.1);
    headers.chain(parts).collect()
}
