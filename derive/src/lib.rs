//! `#[derive(Serialize, Deserialize)]` for the traits of consul-lite's `codec`.
//!
//! Holds true: a structure costs one table of its fields and one jump per field in each direction; everything
//! else is done once for all of them, in `codec`. (serde's derive writes a state machine for each structure, which
//! for Consul's two hundred made a tenth of the program.) What it does not understand is an error of the compiler.
//! The attributes are serde's: on the structure `default`, `rename`, `rename_all = "PascalCase"`; on a field `rename`,
//! `alias`, `default`, `serialize_with`, `deserialize_with`, `skip_serializing`, `skip_serializing_if`, and of our own
//! `hidden`, Go's `json:"-"`: JSON neither shows nor knows the field. Without `default` on the structure
//! every field must be given.

use std::fmt::Write;

use proc_macro::{Delimiter, TokenStream, TokenTree};

/// Writes `codec::Serialize`.
#[proc_macro_derive(Serialize, attributes(serde))]
pub fn serialize(input: TokenStream) -> TokenStream {
    expand(input, serialize_code)
}

/// Writes `codec::Deserialize`.
#[proc_macro_derive(Deserialize, attributes(serde))]
pub fn deserialize(input: TokenStream) -> TokenStream {
    expand(input, deserialize_code)
}

fn expand(input: TokenStream, code: fn(&Structure) -> String) -> TokenStream {
    let text = match parse(input) {
        Ok(structure) => code(&structure),
        Err(why) => format!("compile_error!({why:?});"),
    };
    text.parse()
        .unwrap_or_else(|e| panic!("the derive wrote no Rust: {e}"))
}

/// What the attributes say, of a structure or of a field.
#[derive(Default)]
struct Attributes {
    default: bool,
    pascal: bool,
    rename: Option<String>,
    aliases: Vec<String>,
    serialize_with: Option<String>,
    deserialize_with: Option<String>,
    skip: bool,
    hidden: bool,
    skip_if: Option<String>,
}

struct Field {
    ident: String,
    name: String,
    attributes: Attributes,
}

impl Field {
    /// Its fields belong to the structure around it.
    fn embedded(&self) -> bool {
        self.name.is_empty() || self.name.starts_with('+')
    }

    /// Whether the written names depend on it.
    fn varies(&self) -> bool {
        self.embedded() || self.attributes.skip || self.attributes.skip_if.is_some()
    }

    /// Go's `omitempty`, which a flag in the table says.
    fn omits(&self) -> bool {
        self.attributes.serialize_with.as_deref() == Some("omitempty")
    }
}

struct Structure {
    ident: String,
    /// `'a, 'b`, or nothing.
    generics: String,
    attributes: Attributes,
    fields: Vec<Field>,
}

fn parse(input: TokenStream) -> Result<Structure, String> {
    let mut tokens = input.into_iter().peekable();
    let attributes = attributes(&mut tokens)?;
    visibility(&mut tokens);
    match tokens.next() {
        Some(TokenTree::Ident(word)) if word.to_string() == "struct" => {}
        _ => return Err("only structures can be derived".to_owned()),
    }
    let Some(TokenTree::Ident(ident)) = tokens.next() else {
        return Err("the structure has no name".to_owned());
    };
    let mut generics = String::new();
    let body = loop {
        match tokens.next() {
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => break group,
            Some(TokenTree::Punct(p)) if matches!(p.as_char(), '<' | '>' | ',') => {
                if p.as_char() == ',' {
                    generics.push(',');
                }
            }
            Some(TokenTree::Punct(p)) if p.as_char() == '\'' => generics.push('\''),
            Some(TokenTree::Ident(word)) if generics.ends_with('\'') => {
                generics.push_str(&word.to_string());
            }
            _ => return Err("structures with named fields and lifetimes only".to_owned()),
        }
    };
    let fields = fields(body.stream(), attributes.pascal)?;
    if fields.len() > usize::from(u8::MAX) {
        return Err("too many fields".to_owned());
    }
    Ok(Structure {
        ident: ident.to_string(),
        generics,
        attributes,
        fields,
    })
}

type Tokens = std::iter::Peekable<proc_macro::token_stream::IntoIter>;

/// Passes over `pub`, `pub(super)`.
fn visibility(tokens: &mut Tokens) {
    if matches!(tokens.peek(), Some(TokenTree::Ident(word)) if word.to_string() == "pub") {
        tokens.next();
        if matches!(tokens.peek(), Some(TokenTree::Group(_))) {
            tokens.next();
        }
    }
}

fn fields(body: TokenStream, pascal: bool) -> Result<Vec<Field>, String> {
    let mut tokens = body.into_iter().peekable();
    let mut out = Vec::new();
    while tokens.peek().is_some() {
        let attributes = attributes(&mut tokens)?;
        visibility(&mut tokens);
        let Some(TokenTree::Ident(ident)) = tokens.next() else {
            return Err("a field has no name".to_owned());
        };
        // The type is the compiler's affair: pass over it, up to the comma outside its angle brackets.
        let mut depth = 0i32;
        for token in tokens.by_ref() {
            match token {
                TokenTree::Punct(p) if p.as_char() == '<' => depth += 1,
                TokenTree::Punct(p) if p.as_char() == '>' => depth -= 1,
                TokenTree::Punct(p) if p.as_char() == ',' && depth == 0 => break,
                _ => {}
            }
        }
        let ident = ident.to_string();
        let plain = ident.strip_prefix("r#").unwrap_or(&ident);
        let name = match &attributes.rename {
            Some(name) => name.clone(),
            None if pascal => to_pascal(plain),
            None => plain.to_owned(),
        };
        out.push(Field {
            ident,
            name,
            attributes,
        });
    }
    Ok(out)
}

fn to_pascal(snake: &str) -> String {
    let mut out = String::new();
    for word in snake.split('_') {
        let mut letters = word.chars();
        out.extend(letters.next().map(|c| c.to_ascii_uppercase()));
        out.push_str(letters.as_str());
    }
    out
}

/// Reads the attributes that come next, those of others included.
fn attributes(tokens: &mut Tokens) -> Result<Attributes, String> {
    let mut out = Attributes::default();
    while matches!(tokens.peek(), Some(TokenTree::Punct(p)) if p.as_char() == '#') {
        tokens.next();
        let Some(TokenTree::Group(group)) = tokens.next() else {
            return Err("an attribute has no brackets".to_owned());
        };
        let mut inner = ungrouped(group.stream()).into_iter();
        match (inner.next(), inner.next()) {
            (Some(TokenTree::Ident(word)), Some(TokenTree::Group(list)))
                if word.to_string() == "serde" =>
            {
                read_list(ungrouped(list.stream()), &mut out)?;
            }
            _ => {}
        }
    }
    Ok(out)
}

/// Without the invisible brackets that a macro puts around what it was given.
fn ungrouped(tokens: TokenStream) -> TokenStream {
    let parts = tokens.into_iter().map(|token| match token {
        TokenTree::Group(group) if group.delimiter() == Delimiter::None => {
            ungrouped(group.stream())
        }
        token => token.into(),
    });
    parts.collect()
}

/// `default, rename = "X"`.
fn read_list(list: TokenStream, out: &mut Attributes) -> Result<(), String> {
    let mut tokens = list.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let key = token.to_string();
        let mut value = None;
        if matches!(tokens.peek(), Some(TokenTree::Punct(p)) if p.as_char() == '=') {
            tokens.next();
            let literal = tokens.next().map(|t| t.to_string()).unwrap_or_default();
            let text = literal.strip_prefix('"').and_then(|t| t.strip_suffix('"'));
            value = Some(
                text.ok_or(format!("{key}: a plain text is missing"))?
                    .to_owned(),
            );
        }
        match (key.as_str(), value) {
            ("default", None) => out.default = true,
            ("rename", Some(name)) => out.rename = Some(name),
            ("rename_all", Some(rule)) if rule == "PascalCase" => out.pascal = true,
            ("alias", Some(name)) => out.aliases.push(name),
            ("serialize_with", Some(path)) => out.serialize_with = Some(path),
            ("deserialize_with", Some(path)) => out.deserialize_with = Some(path),
            ("skip_serializing", None) => out.skip = true,
            ("hidden", None) => out.hidden = true,
            ("skip_serializing_if", Some(path)) => out.skip_if = Some(path),
            (key, _) => return Err(format!("the attribute {key} is not known")),
        }
        match tokens.next() {
            None => {}
            Some(TokenTree::Punct(p)) if p.as_char() == ',' => {}
            Some(other) => return Err(format!("a comma in place of {other}")),
        }
    }
    Ok(())
}

/// The table, as a constant expression.
fn layout(of: &Structure) -> String {
    let mut fields = String::new();
    let mut aliases = String::new();
    for (at, field) in of.fields.iter().enumerate() {
        let (omit, hidden) = (field.omits(), field.attributes.hidden);
        let _ = write!(
            fields,
            "crate::codec::Field {{ name: {:?}, omit_empty: {omit}, hidden: {hidden} }},",
            field.name
        );
        for alias in &field.attributes.aliases {
            let _ = write!(aliases, "({alias:?}, {at}),");
        }
    }
    let mut order: Vec<usize> = (0..of.fields.len()).collect();
    order.sort_by_key(|at| of.fields[*at].name.as_bytes());
    // Whether the names and the number of the fields that are written are known beforehand.
    let fixed = !of.fields.iter().any(Field::varies);
    format!(
        "&const {{ crate::codec::Layout {{ name: {:?}, rust: {:?}, required: {}, fixed: {fixed}, \
         fields: &[{fields}], aliases: &[{aliases}], order: &{order:?} }} }}",
        of.attributes.rename.as_ref().unwrap_or(&of.ident),
        of.ident,
        !of.attributes.default,
    )
}

/// `impl<'a> TRAIT for NAME<'a>`.
fn header(of: &Structure, of_trait: &str) -> String {
    let Structure {
        ident, generics, ..
    } = of;
    format!("impl<{generics}> crate::codec::{of_trait} for {ident}<{generics}>")
}

const RESULT: &str = "::std::result::Result<(), crate::codec::Error>";

fn serialize_code(of: &Structure) -> String {
    let mut arms = String::new();
    for (at, field) in of.fields.iter().enumerate() {
        let ident = &field.ident;
        let mut call = match &field.attributes.serialize_with {
            Some(path) if path != "omitempty" => format!("{path}(&self.{ident}, to)"),
            _ => format!("crate::codec::Serialize::serialize(&self.{ident}, to)"),
        };
        if field.attributes.skip {
            call = "to.skip_field()".to_owned();
        } else if field.attributes.hidden {
            call = format!("if to.json() {{ to.skip_field() }} else {{ {call} }}");
        } else if let Some(path) = &field.attributes.skip_if {
            call = format!("if {path}(&self.{ident}) {{ to.skip_field() }} else {{ {call} }}");
        }
        let _ = write!(arms, "{at} => {{ {call} }}");
    }
    format!(
        "{} {{ fn serialize(&self, to: &mut crate::codec::Serializer) -> {RESULT} {{ \
             to.structure(self, {}) }} }} \
         {} {{ fn write_field(&self, at: usize, to: &mut crate::codec::Serializer) -> {RESULT} {{ \
             match at {{ {arms} _ => {{ let _ = to; Ok(()) }} }} }} }}",
        header(of, "Serialize"),
        layout(of),
        header(of, "WriteFields"),
    )
}

fn deserialize_code(of: &Structure) -> String {
    let mut arms = String::new();
    for (at, field) in of.fields.iter().enumerate() {
        let ident = &field.ident;
        let path = field.attributes.deserialize_with.as_deref();
        let path = path.unwrap_or("crate::codec::Deserialize::deserialize");
        let _ = write!(arms, "{at} => {path}(&mut self.{ident}, from),");
    }
    format!(
        "{} {{ fn deserialize(&mut self, from: &crate::codec::Deserializer<'_, '_>) -> {RESULT} {{ \
             from.structure(self, {}) }} }} \
         {} {{ fn read_field(&mut self, at: usize, from: &crate::codec::Deserializer<'_, '_>) -> {RESULT} {{ \
             match at {{ {arms} _ => {{ let _ = from; Ok(()) }} }} }} }}",
        header(of, "Deserialize"),
        layout(of),
        header(of, "ReadFields"),
    )
}
