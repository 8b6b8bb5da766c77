//! The words of HCL: their kinds under the names that error texts use.
//!
//! Source: names observed in Consul's error texts.

use super::Pos;

/// The kind of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Illegal,
    Eof,
    Comment,
    Ident,
    Number,
    Float,
    Bool,
    String,
    Heredoc,
    Lbrack,
    Lbrace,
    Comma,
    Period,
    Rbrack,
    Rbrace,
    Assign,
    Add,
    Sub,
}

impl Kind {
    /// The name in error texts.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Illegal => "ILLEGAL",
            Kind::Eof => "EOF",
            Kind::Comment => "COMMENT",
            Kind::Ident => "IDENT",
            Kind::Number => "NUMBER",
            Kind::Float => "FLOAT",
            Kind::Bool => "BOOL",
            Kind::String => "STRING",
            Kind::Heredoc => "HEREDOC",
            Kind::Lbrack => "LBRACK",
            Kind::Lbrace => "LBRACE",
            Kind::Comma => "COMMA",
            Kind::Period => "PERIOD",
            Kind::Rbrack => "RBRACK",
            Kind::Rbrace => "RBRACE",
            Kind::Assign => "ASSIGN",
            Kind::Add => "ADD",
            Kind::Sub => "SUB",
        }
    }
}

/// A token.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub kind: Kind,
    pub pos: Pos,
    /// As written, quotes and all.
    pub text: String,
    /// What a string or heredoc stands for.
    pub value: String,
}
