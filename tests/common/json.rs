//! JSON kept as it was written: the order of members, the spelling of strings and numbers. A comparison
//! of two servers needs all three, which no decoder into values keeps.

/// A JSON value over the text it was read from.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null`, `true`, `false`, or a number, as written.
    Word(String),
    /// A string's inside as written, escapes and all.
    Text(String),
    /// An array.
    List(Vec<Json>),
    /// Members in their order; names as written.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Reads a whole document; `None` when the text is not JSON from end to end.
    pub fn parse(text: &str) -> Option<Json> {
        let mut p = Parser {
            rest: text.as_bytes(),
            depth: 0,
        };
        let value = p.value()?;
        p.space();
        p.rest.is_empty().then_some(value)
    }

    /// The compact form, as Go's encoder writes it.
    pub fn compact(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, None, 0);
        out
    }

    /// The indented form of `?pretty`, with its newline at the end.
    pub fn pretty(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, Some("    "), 0);
        out.push('\n');
        out
    }

    fn write(&self, out: &mut String, indent: Option<&str>, depth: usize) {
        let line = |out: &mut String, depth: usize| {
            if let Some(indent) = indent {
                out.push('\n');
                out.push_str(&indent.repeat(depth));
            }
        };
        match self {
            Json::Word(w) => out.push_str(w),
            Json::Text(t) => {
                out.push('"');
                out.push_str(t);
                out.push('"');
            }
            Json::List(list) if list.is_empty() => out.push_str("[]"),
            Json::Object(members) if members.is_empty() => out.push_str("{}"),
            Json::List(list) => {
                out.push('[');
                for (i, value) in list.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    line(out, depth + 1);
                    value.write(out, indent, depth + 1);
                }
                line(out, depth);
                out.push(']');
            }
            Json::Object(members) => {
                out.push('{');
                for (i, (name, value)) in members.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    line(out, depth + 1);
                    out.push_str(&format!("\"{name}\":"));
                    if indent.is_some() {
                        out.push(' ');
                    }
                    value.write(out, indent, depth + 1);
                }
                line(out, depth);
                out.push('}');
            }
        }
    }

    /// The value at a path such as `[0].Service.ID`; the empty path is the value itself.
    pub fn at(&self, path: &str) -> Option<&Json> {
        let mut here = self;
        let mut rest = path;
        while !rest.is_empty() {
            if let Some(tail) = rest.strip_prefix('[') {
                let (n, tail) = tail.split_once(']')?;
                let Json::List(list) = here else { return None };
                here = list.get(n.parse::<usize>().ok()?)?;
                rest = tail;
            } else {
                let tail = rest.strip_prefix('.').unwrap_or(rest);
                let end = tail.find(['.', '[']).unwrap_or(tail.len());
                let Json::Object(members) = here else {
                    return None;
                };
                here = &members.iter().find(|m| m.0 == tail[..end])?.1;
                rest = &tail[end..];
            }
        }
        Some(here)
    }

    /// The scalar's text: a string's inside, or the word.
    pub fn scalar(&self) -> Option<&str> {
        match self {
            Json::Word(t) | Json::Text(t) => Some(t),
            Json::List(_) | Json::Object(_) => None,
        }
    }
}

struct Parser<'a> {
    rest: &'a [u8],
    depth: usize,
}

impl Parser<'_> {
    fn space(&mut self) {
        while let [b' ' | b'\t' | b'\r' | b'\n', tail @ ..] = self.rest {
            self.rest = tail;
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        self.space();
        match self.rest {
            [b, tail @ ..] if *b == byte => {
                self.rest = tail;
                true
            }
            _ => false,
        }
    }

    fn value(&mut self) -> Option<Json> {
        self.space();
        self.depth += 1;
        if self.depth > 200 {
            return None;
        }
        let value = match self.rest.first()? {
            b'{' => self.object(),
            b'[' => self.list(),
            b'"' => Some(Json::Text(self.string()?)),
            _ => self.word(),
        };
        self.depth -= 1;
        value
    }

    fn object(&mut self) -> Option<Json> {
        self.eat(b'{');
        let mut members = Vec::new();
        if self.eat(b'}') {
            return Some(Json::Object(members));
        }
        loop {
            self.space();
            let name = self.string()?;
            if !self.eat(b':') {
                return None;
            }
            members.push((name, self.value()?));
            if self.eat(b'}') {
                return Some(Json::Object(members));
            }
            if !self.eat(b',') {
                return None;
            }
        }
    }

    fn list(&mut self) -> Option<Json> {
        self.eat(b'[');
        let mut list = Vec::new();
        if self.eat(b']') {
            return Some(Json::List(list));
        }
        loop {
            list.push(self.value()?);
            if self.eat(b']') {
                return Some(Json::List(list));
            }
            if !self.eat(b',') {
                return None;
            }
        }
    }

    fn string(&mut self) -> Option<String> {
        if self.rest.first() != Some(&b'"') {
            return None;
        }
        let mut end = 1;
        while *self.rest.get(end)? != b'"' {
            end += if self.rest[end] == b'\\' { 2 } else { 1 };
        }
        let text = String::from_utf8_lossy(&self.rest[1..end]).into_owned();
        self.rest = &self.rest[end + 1..];
        Some(text)
    }

    fn word(&mut self) -> Option<Json> {
        let is_word = |b: &u8| b.is_ascii_alphanumeric() || b"+-.".contains(b);
        let end = self
            .rest
            .iter()
            .position(|b| !is_word(b))
            .unwrap_or(self.rest.len());
        let text = std::str::from_utf8(&self.rest[..end]).ok()?.to_string();
        let known = matches!(text.as_str(), "null" | "true" | "false");
        if !known && text.parse::<f64>().is_err() {
            return None;
        }
        self.rest = &self.rest[end..];
        Some(Json::Word(text))
    }
}
