//! A connection whose reader must not stand still.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::clients::Client;

/// A stream on which a write that gets nowhere for `limit` fails.
pub struct Guarded<S> {
    stream: S,
    client: Client,
    limit: Duration,
    /// Runs while there is no room to write.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Guarded<S> {
    pub fn new(stream: S, client: Client, limit: Duration) -> Self {
        Self { stream, client, limit, stalled: None }
    }

    /// What a write came to; one that waits for too long fails.
    fn timed<T>(&mut self, context: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            if self.stalled.take().is_some() {
                self.client.awaits_reader(false);
            }
            return polled;
        }
        let (client, limit) = (&self.client, self.limit);
        let stalled = self.stalled.get_or_insert_with(|| {
            client.awaits_reader(true);
            Box::pin(tokio::time::sleep_until(Instant::now() + limit))
        });
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.timed(context, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.timed(context, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        self.timed(context, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(context);
        self.timed(context, polled)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::Read;

    use tokio::net::UnixStream;

    use super::*;
    use crate::server::clients::Clients;

    /// Writes so many bytes.
    async fn write(guarded: &mut Guarded<UnixStream>, n: usize) -> io::Result<()> {
        let mut n_left = n;
        while n_left > 0 {
            let piece = vec![0; n_left.min(4096)];
            n_left -= poll_fn(|context| Pin::new(&mut *guarded).poll_write(context, &piece)).await?;
        }
        Ok(())
    }

    #[test]
    fn a_reader_may_be_slow_but_not_stand_still() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let (near, far) = UnixStream::pair().expect("a pair");
            let mut far = far.into_std().expect("a stream");
            far.set_nonblocking(false).expect("it can block");
            let client = Clients::new(1).enter().await;
            let mut guarded = Guarded::new(near, client.clone(), Duration::from_secs(60));
            let n = 1 << 20;
            let reader = std::thread::spawn(move || far.read_exact(&mut vec![0; n]).map(|()| far));
            write(&mut guarded, n).await.expect("all of it is read");
            let _far = reader.join().expect("no panic").expect("all of it is written");
            guarded.limit = Duration::from_millis(20);
            let error = write(&mut guarded, 64 << 20).await.expect_err("nobody reads");
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        });
    }
}
