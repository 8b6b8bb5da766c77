//! The table's language. A file is a list of steps; one agent of each kind lives through the whole file.
//!
//! ```text
//! profile: NAME                  first line, optional: the folder under profiles/ to configure from
//! # a comment
//! PUT /v1/kv/a?cas=$idx          an HTTP request: method and target
//! @ Accept-Encoding: gzip          a header of it
//! | text                           a line of its body (lines are joined by newlines)
//! % 524289 x                       a body of 524289 times `x`
//! > id = .ID                       keep the answer's JSON value at this path for `$id`
//! > idx = header X-Consul-Index    keep a header
//! ! until contains passing         ask again until the answer has the text (or `lacks`, `status N`)
//! DNS web.service.consul SRV +bufsize=1232 +tcp
//! CLI kv put a 'b c'             `|` lines are its stdin
//! RAW                            the `|` lines, with \r \n \xNN, sent as they are
//! FILE name                      writes the `|` lines to a file for the command line steps
//! SPAWN b GET /v1/kv/a?index=$i  starts an HTTP or CLI step in the background
//! JOIN b                         its answer, and whether it waited its time out
//! SIGNAL b INT                   a signal to a background command
//! GOT /watch/name                what the backend was last asked there; a plain name is a file of the agent's
//! CONFIG name                    writes the `|` lines to a file of the agent's -config-dir
//! ```
//!
//! `!` options of a step: `sort` (order inside arrays does not count), `shape` (only member names and
//! types count), `counts` (DNS: which records were chosen does not count, how many does), `size` (DNS:
//! the message's size counts), `opaque-index` (X-Consul-Index need only be there), `ignore PATH because
//! ...` (a JSON path, a header, or text lines beginning so), `slow` (up to 2 minutes to come true), `patient` (up to 3 minutes).
//! Variables: `$ip`, `$hexip`, `$ptr`, `$http`, `$backend`, `$grpc`, `$grpctls`, `$dir`, and what `>` kept.

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Method and target.
    Http(String, String),
    /// Name, type, options.
    Dns(Vec<String>),
    /// Arguments after the program's name.
    Cli(Vec<String>),
    /// Bytes to send.
    Raw,
    /// A file in the command line's directory.
    File(String),
    /// A file in the agent's configuration directory.
    Config(String),
    /// What a watch handler was given: a path of the backend, or a file in the agent's directory.
    Got(String),
    /// Name, and the action in the background.
    Spawn(String, Box<Action>),
    /// Waits for a background action.
    Join(String),
    /// Sends a signal to a background command.
    Signal(String, String),
}

/// When an answer is good enough to be compared.
#[derive(Clone, Debug, PartialEq)]
pub enum Until {
    /// The answer's text has this.
    Contains(String),
    /// The answer's text has not this.
    Lacks(String),
    /// The HTTP status is this.
    Status(u16),
}

/// How answers are compared.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// Order inside arrays (or of lines) does not count.
    pub sort: bool,
    /// Only names and types count.
    pub shape: bool,
    /// DNS: numbers of records per section and type only.
    pub counts: bool,
    /// DNS: the message's size counts.
    pub size: bool,
    /// The index header only has to be there on both sides.
    pub opaque_index: bool,
    /// Up to two minutes for `until`, not one.
    pub slow: bool,
    /// Up to three minutes for `until`.
    pub patient: bool,
    /// Paths left out.
    pub ignore: Vec<String>,
    /// Ask again until this holds.
    pub until: Vec<Until>,
}

/// One step of a case file.
#[derive(Clone, Debug)]
pub struct Step {
    /// Line number in the file, from 1.
    pub line: usize,
    /// The line as written.
    pub text: String,
    /// What to do.
    pub action: Action,
    /// HTTP headers.
    pub headers: Vec<(String, String)>,
    /// Body, stdin or file content.
    pub body: String,
    /// Names and sources of variables.
    pub captures: Vec<(String, String)>,
    /// How to compare.
    pub options: Options,
}

/// A whole file.
#[derive(Clone, Debug)]
pub struct Case {
    /// The folder under `profiles/`.
    pub profile: String,
    /// The steps in order.
    pub steps: Vec<Step>,
}

/// Reads a case file; errors name the line.
pub fn parse(text: &str) -> Result<Case, String> {
    let mut case = Case {
        profile: "base".into(),
        steps: Vec::new(),
    };
    for (i, line) in text.lines().enumerate() {
        let n = i + 1;
        let fail = |why: &str| format!("line {n}: {why}: {line}");
        let (mark, rest) = match line.split_once(' ') {
            Some((mark, rest)) => (mark, rest),
            None => (line, ""),
        };
        match mark {
            "" | "#" => {}
            "profile:" if case.steps.is_empty() => case.profile = rest.trim().to_string(),
            "@" | "|" | "%" | ">" | "!" => {
                let step = case
                    .steps
                    .last_mut()
                    .ok_or_else(|| fail("no step before"))?;
                detail(step, mark, rest).map_err(|e| fail(&e))?;
            }
            _ => case.steps.push(Step {
                line: n,
                text: line.to_string(),
                action: action(line).map_err(|e| fail(&e))?,
                headers: Vec::new(),
                body: String::new(),
                captures: Vec::new(),
                options: Options::default(),
            }),
        }
    }
    Ok(case)
}

fn action(line: &str) -> Result<Action, String> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let name_and_rest = || rest.split_once(' ').ok_or("a name and more is wanted");
    Ok(match word {
        "DNS" => Action::Dns(rest.split_whitespace().map(str::to_string).collect()),
        "CLI" => Action::Cli(words(rest)?),
        "RAW" => Action::Raw,
        "FILE" => Action::File(rest.to_string()),
        "CONFIG" => Action::Config(rest.to_string()),
        "GOT" => Action::Got(rest.to_string()),
        "JOIN" => Action::Join(rest.to_string()),
        "SIGNAL" => {
            let (name, signal) = name_and_rest()?;
            Action::Signal(name.to_string(), signal.to_string())
        }
        "SPAWN" => {
            let (name, what) = name_and_rest()?;
            Action::Spawn(name.to_string(), Box::new(action(what)?))
        }
        method if method.chars().all(|c| c.is_ascii_uppercase()) && rest.starts_with('/') => {
            Action::Http(method.to_string(), rest.to_string())
        }
        _ => return Err("not a step".into()),
    })
}

fn detail(step: &mut Step, mark: &str, rest: &str) -> Result<(), String> {
    match mark {
        "@" => {
            let (name, value) = rest.split_once(':').ok_or("a header is `Name: value`")?;
            step.headers
                .push((name.to_string(), value.trim_start().to_string()));
        }
        "|" => {
            if !step.body.is_empty() && step.action != Action::Raw {
                step.body.push('\n');
            }
            step.body.push_str(rest);
        }
        "%" => {
            let (n, text) = rest.split_once(' ').ok_or("`% COUNT TEXT`")?;
            let n = n.parse().map_err(|_| "a count is wanted")?;
            step.body.push_str(&text.repeat(n));
        }
        ">" => {
            let (name, source) = rest.split_once(" = ").ok_or("`> NAME = SOURCE`")?;
            step.captures.push((name.to_string(), source.to_string()));
        }
        _ => option(&mut step.options, rest)?,
    }
    Ok(())
}

fn option(o: &mut Options, text: &str) -> Result<(), String> {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    match word {
        "sort" => o.sort = true,
        "shape" => o.shape = true,
        "counts" => o.counts = true,
        "size" => o.size = true,
        "slow" => o.slow = true,
        "patient" => o.patient = true,
        "opaque-index" => o.opaque_index = true,
        "ignore" => {
            let (path, _) = rest.split_once(" because ").ok_or("a reason is wanted")?;
            o.ignore.push(path.to_string());
        }
        "until" => {
            let (kind, what) = rest.split_once(' ').ok_or("`until KIND TEXT`")?;
            o.until.push(match kind {
                "contains" => Until::Contains(what.to_string()),
                "lacks" => Until::Lacks(what.to_string()),
                "status" => Until::Status(what.parse().map_err(|_| "a status is wanted")?),
                _ => return Err("contains, lacks or status".into()),
            });
        }
        _ => return Err("an unknown option".into()),
    }
    Ok(())
}

/// Splits like a shell does: blanks part words, quotes of both kinds keep them together.
fn words(text: &str) -> Result<Vec<String>, String> {
    let mut out = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in text.chars() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, ' ') => out.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("an open quote".into());
    }
    out.extend(word);
    Ok(out)
}
