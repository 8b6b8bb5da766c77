//! Tokens to items.
//!
//! Follows Consul's reader also where it is odd: a value that ends with the text is dropped without a word, and what is
//! wrong right before a closing brace only shows if another brace is then missing.

use super::scan::Scanner;
use super::token::{Kind, Token};
use super::{Comment, Error, Item, Key, MAX_DEPTH, Node};

/// Why a part could not be read.
enum Stop {
    /// The text ended where an item or a value could have begun.
    End,
    Wrong(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Wrong(error)
    }
}

/// Reads items.
pub(super) struct Parser<'a> {
    scanner: Scanner<'a>,
    /// The token last read.
    token: Token,
    /// The token is to be read again.
    again: bool,
    depth: usize,
    comments: Vec<Comment>,
}

impl<'a> Parser<'a> {
    pub fn new(text: &'a [u8]) -> Self {
        let token = Token {
            kind: Kind::Eof,
            pos: super::Pos::default(),
            text: String::new(),
            value: String::new(),
        };
        Self {
            scanner: Scanner::new(text),
            token,
            again: false,
            depth: 0,
            comments: Vec::new(),
        }
    }

    /// Reads the whole text. What was wrong with characters outweighs what is wrong with their order.
    pub fn parse(mut self) -> Result<(Vec<Item>, Vec<Comment>), Error> {
        let items = self.items(false);
        let items = match (self.scanner.error, items) {
            (Some(error), _) | (None, Err(Stop::Wrong(error))) => return Err(error),
            (None, Err(Stop::End)) => Vec::new(),
            (None, Ok(items)) => items,
        };
        Ok((items, self.comments))
    }

    fn scan(&mut self) -> Kind {
        if self.again {
            self.again = false;
            return self.token.kind;
        }
        let known = self.comments.len();
        let after = self.token.pos;
        loop {
            self.token = self.scanner.scan();
            let pos = self.token.pos;
            if self.token.kind != Kind::Comment {
                for comment in &mut self.comments[known..] {
                    comment.before = pos;
                }
                return self.token.kind;
            }
            self.comments.push(Comment {
                text: self.token.text.trim_end().to_owned(),
                pos,
                after,
                before: pos,
            });
        }
    }

    fn unscan(&mut self) {
        self.again = true;
    }

    fn wrong(&self, message: impl Into<String>) -> Stop {
        Stop::Wrong(Error::at(self.token.pos, message))
    }

    /// Items up to the end, or up to the closing brace of an object.
    fn items(&mut self, in_object: bool) -> Result<Vec<Item>, Stop> {
        let mut items = Vec::new();
        loop {
            if in_object {
                let kind = self.scan();
                self.unscan();
                if kind == Kind::Rbrace {
                    return Ok(items);
                }
            }
            match self.item() {
                Ok(item) => items.push(item),
                Err(Stop::End) => return Ok(items),
                Err(wrong) => return Err(wrong),
            }
            if self.scan() != Kind::Comma {
                self.unscan();
            }
        }
    }

    fn item(&mut self) -> Result<Item, Stop> {
        let keys = self.keys()?;
        if self.token.kind != Kind::Assign {
            let pos = self.token.pos;
            let node = self.object()?;
            let end = self.token.pos;
            return Ok(Item {
                keys,
                node,
                pos,
                end,
            });
        }
        self.scan();
        self.unscan();
        let pos = self.token.pos;
        let node = self.value()?;
        let end = self.token.pos;
        Ok(Item {
            keys,
            node,
            pos,
            end,
        })
    }

    /// Keys up to and with the `=` or the brace after them.
    fn keys(&mut self) -> Result<Vec<Key>, Stop> {
        let mut keys: Vec<Key> = Vec::new();
        let mut written = String::new();
        loop {
            match self.scan() {
                Kind::Ident | Kind::String => {
                    if !written.is_empty() {
                        written.push(' ');
                    }
                    written.push_str(&self.token.text);
                    let text = match self.token.kind {
                        Kind::Ident => &self.token.text,
                        _ => &self.token.value,
                    };
                    keys.push(Key {
                        text: text.clone(),
                        pos: self.token.pos,
                        quoted: self.token.kind == Kind::String,
                    });
                }
                Kind::Eof if keys.is_empty() => return Err(Stop::End),
                Kind::Eof | Kind::Rbrace if !keys.is_empty() => {
                    return Err(self.unfinished(&written));
                }
                Kind::Assign if keys.is_empty() => return Err(self.wrong("no object keys found!")),
                Kind::Assign if keys.len() > 1 => {
                    return Err(self.wrong("nested object expected: LBRACE got: ASSIGN"));
                }
                Kind::Assign => return Ok(keys),
                Kind::Lbrace if keys.is_empty() => {
                    return Err(self.wrong("expected: IDENT | STRING got: LBRACE"));
                }
                Kind::Lbrace => return Ok(keys),
                Kind::Illegal => return Err(self.wrong("illegal character")),
                kind => {
                    return Err(self.wrong(format!(
                        "expected: IDENT | STRING | ASSIGN | LBRACE got: {}",
                        kind.name()
                    )));
                }
            }
        }
    }

    /// The error for keys without a value. It holds even before a closing brace: that brace no longer counts as one.
    fn unfinished(&mut self, written: &str) -> Stop {
        let stop = self.wrong(format!(
            "key '{written}' expected start of object ('{{') or assignment ('=')"
        ));
        self.token.kind = Kind::Eof;
        stop
    }

    fn value(&mut self) -> Result<Node, Stop> {
        match self.scan() {
            Kind::Lbrace => self.object(),
            Kind::Lbrack => self.list(),
            Kind::Eof => Err(Stop::End),
            kind => self.literal().ok_or_else(|| {
                let Token { pos, text, .. } = &self.token;
                self.wrong(format!("Unknown token: {pos} {} {text}", kind.name()))
            }),
        }
    }

    fn literal(&mut self) -> Option<Node> {
        let token = &mut self.token;
        Some(match token.kind {
            Kind::Bool => Node::Bool(token.text == "true"),
            Kind::Number => Node::Int(std::mem::take(&mut token.text)),
            Kind::Float => Node::Float(std::mem::take(&mut token.text)),
            Kind::String | Kind::Heredoc => Node::Str(std::mem::take(&mut token.value)),
            _ => return None,
        })
    }

    fn deeper(&mut self) -> Result<(), Stop> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.wrong(format!("nested deeper than {MAX_DEPTH} levels")));
        }
        Ok(())
    }

    /// An object after its opening brace.
    fn object(&mut self) -> Result<Node, Stop> {
        self.deeper()?;
        let depth = self.depth;
        let items = match self.items(true) {
            Ok(items) => items,
            Err(Stop::Wrong(_)) if self.token.kind == Kind::Rbrace => {
                self.depth = depth;
                Vec::new()
            }
            Err(stop) => return Err(stop),
        };
        match self.scan() {
            Kind::Rbrace => {
                self.depth -= 1;
                Ok(Node::Object(items))
            }
            kind => {
                let name = kind.name();
                Err(self.wrong(format!("object expected closing RBRACE got: {name}")))
            }
        }
    }

    /// A list after its opening bracket.
    fn list(&mut self) -> Result<Node, Stop> {
        self.deeper()?;
        let mut nodes = Vec::new();
        let mut need_comma = false;
        loop {
            let kind = self.scan();
            if need_comma && !matches!(kind, Kind::Comma | Kind::Rbrack) {
                return Err(self.wrong(format!(
                    "error parsing list, expected comma or list end, got: {}",
                    kind.name()
                )));
            }
            match kind {
                Kind::Comma => need_comma = false,
                Kind::Rbrack => {
                    self.depth -= 1;
                    return Ok(Node::List(nodes));
                }
                Kind::Lbrack => nodes.push(self.list()?),
                Kind::Lbrace => {
                    let pos = self.token.pos;
                    let object = self.object().map_err(|stop| match stop {
                        Stop::Wrong(error) => Stop::Wrong(Error::at(
                            pos,
                            format!("error while trying to parse object within list: {error}"),
                        )),
                        Stop::End => Stop::End,
                    })?;
                    nodes.push(object);
                    need_comma = true;
                }
                kind => match self.literal() {
                    Some(node) => {
                        nodes.push(node);
                        need_comma = true;
                    }
                    None => {
                        return Err(self.wrong(format!(
                            "unexpected token while parsing list: {}",
                            kind.name()
                        )));
                    }
                },
            }
        }
    }
}
