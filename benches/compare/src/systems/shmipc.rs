//! shmipc's stream in its mode for short messages, with a runtime of one thread on either side.
//!
//! Bytes whose reader knows how many to wait for. The sender is the client, and the receiver the server.

use std::io;
use std::os::unix::net::SocketAddr;
use std::thread::{self, JoinHandle};

use shmipc::buffer::BufferReader;
use shmipc::config::{Config, SizePercentPair};
use shmipc::session::{SessionManager, SessionManagerConfig};
use shmipc::stream::Stream;
use shmipc::transport::{DefaultUnixConnect, DefaultUnixListen};
use shmipc::{Error, Listener};
use tokio::runtime::{Builder, Runtime};

use shmpipe_measure::wire::{Plan, Rx, Tx, Wire, attach, foreign};

/// Most messages in the queue, as in the library's benchmark: a sender that finds it full sleeps for 10 ms.
const MOST_MESSAGES: usize = 65_536;

/// Bytes in all buffers, likewise: a sender that finds none uses the socket from then on.
const BYTES: usize = 256 << 20;

/// The same for messages of 4 MiB.
const BYTES_FOR_LARGE: usize = 1 << 30;

/// What a buffer takes beside its bytes, as in the library's benchmark.
const AROUND: usize = 256;

/// Bytes of the client's first message, without which the server has no stream.
const HELLO: [u8; 8] = [0; 8];

/// A session, by the path of its socket.
pub(crate) struct Shmipc(String);

/// A stream, and what keeps it alive.
pub(crate) struct Connected {
    runtime: Runtime,
    stream: Stream,
    /// The client's sessions; `None` in the server.
    _client: Option<SessionManager<DefaultUnixConnect>>,
    /// The server's sessions; `None` in the client.
    _server: Option<Listener>,
}

/// The sending end, which connects in a thread of its own.
pub(crate) struct Sending {
    connected: Option<Connected>,
    connecting: Option<JoinHandle<io::Result<Connected>>>,
}

fn config(plan: &Plan) -> Config {
    let size = plan.len() + AROUND;
    let bytes = if plan.len() >= 4 << 20 {
        BYTES_FOR_LARGE
    } else {
        BYTES
    };
    // So that the queue is full before the buffers are out: one is being written and one being read.
    let messages = (bytes / (2 * size)).min(MOST_MESSAGES);
    let mut config = Config::default().with_v4_eventfd();
    config.queue_cap = messages as u32;
    config.share_memory_buffer_cap = bytes as u32;
    config.buffer_slice_sizes = vec![SizePercentPair {
        size: size as u32,
        percent: 100,
    }];
    config.share_memory_path_prefix = plan.path("buffers");
    config.queue_path = plan.path("queue");
    config
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

impl Wire for Shmipc {
    type Tx = Sending;
    type Rx = Connected;

    /// Its documentation asks for an acknowledgement of the last message.
    const LINGERS: bool = true;

    fn open(plan: &Plan, way: &str) -> io::Result<Self> {
        Ok(Self(plan.path(way)))
    }

    fn tx(&self, plan: &Plan) -> io::Result<Sending> {
        let (path, config) = (self.0.clone(), config(plan));
        let connect = move || {
            let runtime = runtime()?;
            let config = SessionManagerConfig::new()
                .with_config(config)
                .with_session_num(1);
            let client = attach(|| {
                let address = SocketAddr::from_pathname(&path)?;
                let client = SessionManager::new(config.clone(), DefaultUnixConnect, address);
                runtime.block_on(client).map_err(io::Error::other)
            })?;
            let mut stream = client.get_stream().map_err(foreign)?;
            stream.write_bytes(&HELLO).map_err(foreign)?;
            runtime.block_on(stream.flush(false)).map_err(foreign)?;
            Ok(Connected {
                runtime,
                stream,
                _client: Some(client),
                _server: None,
            })
        };
        Ok(Sending {
            connected: None,
            connecting: Some(thread::spawn(connect)),
        })
    }

    fn rx(&self, plan: &Plan) -> io::Result<Connected> {
        let runtime = runtime()?;
        let (server, stream) = runtime.block_on(async {
            let address = SocketAddr::from_pathname(&self.0)?;
            let mut server = Listener::new(DefaultUnixListen, address, config(plan)).await?;
            let stream = server.accept().await?;
            Ok::<_, io::Error>((server, stream))
        })?;
        let mut end = Connected {
            runtime,
            stream,
            _client: None,
            _server: Some(server),
        };
        end.read(&mut HELLO.to_vec())?;
        Ok(end)
    }
}

impl Connected {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<()> {
        let bytes = self.stream.read_exact_bytes(buf.len());
        match self.runtime.block_on(bytes) {
            Ok(bytes) => buf.copy_from_slice(&bytes),
            Err(Error::EndOfStream | Error::StreamClosed) => {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Err(error) => return Err(foreign(error)),
        }
        self.stream.recv_buf().release_previous_read();
        Ok(())
    }
}

impl Sending {
    fn connected(&mut self) -> io::Result<&mut Connected> {
        if let Some(connecting) = self.connecting.take() {
            let connected = connecting.join().map_err(|_| io::ErrorKind::Other)?;
            self.connected = Some(connected?);
        }
        self.connected
            .as_mut()
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Tx for Sending {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let end = self.connected()?;
        end.stream.write_bytes(message).map_err(foreign)?;
        loop {
            match end.runtime.block_on(end.stream.flush(false)) {
                Err(Error::QueueFull) => thread::yield_now(),
                done => return done.map_err(foreign),
            }
        }
    }
}

impl Rx for Connected {
    fn recv(&mut self, buf: &mut Vec<u8>) -> io::Result<()> {
        self.read(buf)
    }
}
