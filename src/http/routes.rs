//! The table of routes: which path with which methods goes to which handler.
//!
//! Holds true: a path that ends in `/` stands for everything below it, any other for itself only; the
//! longest match counts. Each family of endpoints brings its own table.
//! Source: `docs/reference/http-1.md` sections 1.1 and 1.2.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;

use super::context::Ctx;
use super::error::HttpError;
use super::request::Request;
use super::response::Response;
use crate::sorted;

/// What a handler gives back, later.
pub type Answer<'a> = Pin<Box<dyn Future<Output = Result<Response, HttpError>> + Send + 'a>>;
/// A handler: `async fn(&Ctx, &mut Request) -> Result<Response, HttpError>`, boxed by [`routes!`].
pub type Handler = for<'a> fn(&'a Ctx, &'a mut Request) -> Answer<'a>;

/// One line of the table.
pub struct Route {
    /// An exact path, or a prefix when it ends in `/`.
    pub path: &'static str,
    /// The value of `Allow`: `OPTIONS` and the methods.
    pub allow: &'static str,
    /// Who answers.
    pub handler: Handler,
}

impl Route {
    /// Whether the method is declared; `OPTIONS` is not asked.
    pub fn allows(&self, method: &str) -> bool {
        self.allow.split(',').skip(1).any(|m| m == method)
    }
}

/// Builds a table: `"/v1/kv/" [GET PUT DELETE] endpoint;`.
macro_rules! routes {
    ($($path:literal [$($method:ident)+] $handler:expr;)*) => {
        &[$($crate::http::routes::Route {
            path: $path,
            allow: concat!("OPTIONS", $(",", stringify!($method)),+),
            handler: |ctx, req| Box::pin($handler(ctx, req)),
        }),*]
    };
}
pub(crate) use routes;

/// Where a path leads.
pub enum Found<'a> {
    /// To a route.
    Route(&'a Route),
    /// To the same path with a slash at its end.
    Slash,
    /// Nowhere.
    Nothing,
}

/// All tables, ready for looking up.
pub struct Router {
    exact: HashMap<&'static str, &'static Route>,
    /// Longest first.
    prefixes: Vec<&'static Route>,
    kv: Option<&'static Route>,
}

/// No other route lies below it, and it is the one that is asked most.
const KV: &str = "/v1/kv/";

impl Router {
    /// Puts tables together.
    pub fn new(tables: &[&'static [Route]]) -> Router {
        let routes = || tables.iter().flat_map(|table| table.iter());
        let mut prefixes: Vec<_> = routes().filter(|r| r.path.ends_with('/')).collect();
        sorted::sort_by_key(&mut prefixes, |r| std::cmp::Reverse(r.path.len()));
        Router {
            exact: routes()
                .filter(|r| !r.path.ends_with('/'))
                .map(|r| (r.path, r))
                .collect(),
            kv: prefixes.iter().find(|r| r.path == KV).copied(),
            prefixes,
        }
    }

    /// Looks up a clean path.
    pub fn find(&self, path: &str) -> Found<'_> {
        if path.starts_with(KV)
            && let Some(kv) = self.kv
        {
            return Found::Route(kv);
        }
        if let Some(route) = self.exact.get(path) {
            return Found::Route(route);
        }
        let with_slash = |r: &&&Route| r.path.strip_suffix('/') == Some(path);
        if self.prefixes.iter().find(with_slash).is_some() {
            return Found::Slash;
        }
        match self.prefixes.iter().find(|r| path.starts_with(r.path)) {
            Some(route) => Found::Route(route),
            None => Found::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn nothing(_: &Ctx, _: &mut Request) -> Result<Response, HttpError> {
        Ok(Response::empty())
    }

    const TABLE: &[Route] = routes! {
        "/v1/kv/" [GET PUT DELETE] nothing;
        "/v1/query" [GET POST] nothing;
        "/v1/query/" [GET] nothing;
        "/v1/session/list" [GET] nothing;
        "/v1/query/xyz/" [GET] nothing;
    };

    #[test]
    fn finding() {
        let router = Router::new(&[TABLE]);
        let found = |path: &str| match router.find(path) {
            Found::Route(route) => route.path,
            Found::Slash => "slash",
            Found::Nothing => "nothing",
        };
        for (path, want) in [
            ("/v1/kv/a/b", "/v1/kv/"),
            ("/v1/kv", "slash"),
            ("/v1/query", "/v1/query"),
            ("/v1/query/", "/v1/query/"),
            ("/v1/query/xyz", "slash"),
            ("/v1/query/xyz/a", "/v1/query/xyz/"),
            ("/v1/session/list/", "nothing"),
            ("/v1", "nothing"),
        ] {
            assert_eq!(found(path), want, "{path}");
        }
    }

    #[test]
    fn methods() {
        assert_eq!(TABLE[0].allow, "OPTIONS,GET,PUT,DELETE");
        assert!(TABLE[0].allows("PUT"));
        assert!(!TABLE[0].allows("POST"));
        assert!(!TABLE[0].allows("HEAD"));
    }
}
