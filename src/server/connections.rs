//! How many connections are open before a signature was verified: a flood of them costs a bounded amount of
//! memory and descriptors, and keeps no alert out.
//!
//! Where all places are taken, the connection that has been silent longest, and never brought an alert
//! whose signature holds, is closed for the new one. An alert takes a moment, a silent connection all the
//! time it is given.

use std::{
    collections::BTreeMap,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use axum_server::accept::Accept;
use http::Request;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::oneshot,
};
use tower::Service;

/// Connections that are being closed, beyond the bound.
const CLOSING: usize = 64;

/// The connections of one listener.
#[derive(Clone, Debug)]
pub struct Connections(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// All that are open, those being closed included.
    open: usize,
    opened: u64,
    /// Connections over which no signed alert came yet, the oldest first. Dropping the sender closes one.
    unknown: BTreeMap<u64, oneshot::Sender<()>>,
    known: BTreeMap<u64, oneshot::Sender<()>>,
}

/// An open connection; it leaves when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Sender(Arc<Entry>);

#[derive(Debug)]
struct Entry {
    number: u64,
    connections: Connections,
}

impl Connections {
    /// At most so many, but for those that are just being closed.
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Inner {
            most,
            state: Mutex::default(),
        }))
    }

    /// Connections that are open.
    pub fn open(&self) -> usize {
        self.lock().open
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        let state = self.0.state.lock();
        state.unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a new connection, for which an old one may be closed.
    fn enter(&self) -> Option<(Sender, oneshot::Receiver<()>)> {
        let mut state = self.lock();
        if state.unknown.len() + state.known.len() >= self.0.most {
            // Dropped here, and with it closed.
            state.unknown.pop_first()?;
        }
        if state.open >= self.0.most + CLOSING {
            return None;
        }
        let (close, closed) = oneshot::channel();
        let number = state.opened;
        state.opened += 1;
        state.open += 1;
        state.unknown.insert(number, close);
        let entry = Entry {
            number,
            connections: self.clone(),
        };
        Some((Sender(Arc::new(entry)), closed))
    }
}

impl Sender {
    /// An alert with a right signature came over this connection: it is not closed for another.
    pub fn is_known(&self) {
        let mut state = self.0.connections.lock();
        if let Some(close) = state.unknown.remove(&self.0.number) {
            state.known.insert(self.0.number, close);
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut state = self.connections.lock();
        state.open -= 1;
        state.unknown.remove(&self.number);
        state.known.remove(&self.number);
    }
}

impl<S> Accept<TcpStream, S> for Connections {
    type Stream = Bounded;
    type Service = Marked<S>;
    type Future = std::future::Ready<io::Result<(Bounded, Marked<S>)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let full = || io::Error::new(io::ErrorKind::ConnectionRefused, "too many connections");
        let entered = self.enter().ok_or_else(full);
        std::future::ready(entered.map(|(sender, closed)| {
            let stream = Bounded {
                stream,
                closed,
                _sender: sender.clone(),
            };
            (stream, Marked { service, sender })
        }))
    }
}

/// A connection that can be closed for another.
#[derive(Debug)]
pub struct Bounded {
    stream: TcpStream,
    closed: oneshot::Receiver<()>,
    _sender: Sender,
}

impl Bounded {
    /// Whether it was closed; wakes the task when it is.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match Pin::new(&mut self.closed).poll(context) {
            Poll::Pending => Ok(()),
            Poll::Ready(_) => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}

impl AsyncRead for Bounded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// A service that adds its connection to each request.
#[derive(Clone, Debug)]
pub struct Marked<S> {
    service: S,
    sender: Sender,
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for Marked<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        request.extensions_mut().insert(self.sender.clone());
        self.service.call(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_that_nobody_is_known_behind_makes_room() {
        let connections = Connections::new(2);
        let (first, mut first_closed) = connections.enter().expect("room");
        let (_second, mut second_closed) = connections.enter().expect("room");
        first.is_known();
        let (third, mut third_closed) = connections.enter().expect("room");
        let closed = |receiver: &mut oneshot::Receiver<()>| {
            receiver.try_recv() == Err(oneshot::error::TryRecvError::Closed)
        };
        assert!(!closed(&mut first_closed), "an alert came over it");
        assert!(closed(&mut second_closed) && !closed(&mut third_closed));
        third.is_known();
        assert!(connections.enter().is_none(), "all are known");
        drop(third);
        assert!(connections.enter().is_some());
    }

    #[test]
    fn those_that_do_not_close_are_bounded_too() {
        let connections = Connections::new(2);
        let kept: Vec<_> = std::iter::from_fn(|| connections.enter())
            .take(1000)
            .collect();
        assert_eq!((kept.len(), connections.open()), (2 + CLOSING, 2 + CLOSING));
        drop(kept);
        assert_eq!(connections.open(), 0);
    }
}
