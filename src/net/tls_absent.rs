//! TLS in a build without the Cargo feature `tls`: whatever would need it is refused with a reason.
//!
//! Holds true: nothing that was to be encrypted goes out or is served in the clear: a configuration for TLS cannot
//! be made, and without one there is no connection either, which the compiler checks.

use std::io;

/// There is no value of this type.
#[derive(Clone, Debug)]
pub enum Never {}

fn absent() -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        "this build has no TLS (Cargo feature \"tls\")",
    )
}

/// In place of `tls`.
pub mod tls {
    use std::io;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::task::{Context, Poll};

    use smol::io::{AsyncRead, AsyncWrite};

    pub use super::Never as ServerConfig;
    pub use crate::net::tls_options::ServerFiles;

    /// Refuses.
    ///
    /// # Errors
    /// Always.
    pub fn server_config(_: &ServerFiles) -> io::Result<Arc<ServerConfig>> {
        Err(super::absent())
    }

    /// Never there.
    #[derive(Clone)]
    pub struct TlsAcceptor(Arc<ServerConfig>);

    impl From<Arc<ServerConfig>> for TlsAcceptor {
        fn from(config: Arc<ServerConfig>) -> Self {
            Self(config)
        }
    }

    impl TlsAcceptor {
        /// Never called.
        ///
        /// # Errors
        /// None.
        pub async fn accept<S>(&self, _: S) -> io::Result<TlsStream<S>> {
            match *self.0 {}
        }
    }

    /// Never there.
    #[derive(Debug)]
    pub struct TlsStream<S>(super::Never, S);

    impl<S> TlsStream<S> {
        /// Never called.
        pub fn get_ref(&self) -> (&S, ()) {
            match self.0 {}
        }
    }

    impl<S: Unpin> AsyncRead for TlsStream<S> {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            match self.0 {}
        }
    }

    impl<S: Unpin> AsyncWrite for TlsStream<S> {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &[u8],
        ) -> Poll<io::Result<usize>> {
            match self.0 {}
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            match self.0 {}
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            match self.0 {}
        }
    }
}

/// In place of `tls_client`.
pub mod tls_client {
    use std::io;
    use std::sync::Arc;

    pub use super::Never as ClientConfig;
    pub use super::tls::TlsStream;
    pub use crate::net::tls_options::{ClientTls, NOT_TLS};
    use crate::structs::Result;

    /// Refuses.
    ///
    /// # Errors
    /// Always.
    pub fn client_config(_: &ClientTls) -> io::Result<Arc<ClientConfig>> {
        Err(super::absent())
    }

    /// Never called.
    ///
    /// # Errors
    /// None.
    pub async fn connect<S>(config: Arc<ClientConfig>, _: &str, _: S) -> Result<TlsStream<S>> {
        match *config {}
    }
}
