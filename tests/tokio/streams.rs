//! Bytes by `AsyncRead` and `AsyncWrite`, messages by `Stream` and `Sink`.

use futures_util::{SinkExt, StreamExt};
use shmpipe::Backend;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{on_both_backends, pattern};
use crate::{LARGE, open_async, run};

on_both_backends! {
    the_byte_streams_carry_everything,
    stream_and_sink_carry_whole_messages,
}

fn the_byte_streams_carry_everything(backend: Backend) {
    const BYTES: usize = 4 << 20;
    run(async {
        let (mut rx, mut tx) = open_async(backend);
        let data: Vec<u8> = (0..BYTES).map(|at| (at % 251) as u8).collect();
        let expected = data.clone();
        let writer = tokio::spawn(async move {
            tx.write_all(&data).await.unwrap();
            AsyncWriteExt::flush(&mut tx).await.unwrap();
            tx.shutdown().await.unwrap();
        });
        let mut received = Vec::new();
        rx.read_to_end(&mut received).await.unwrap();
        assert!(received == expected);
        writer.await.unwrap();
    });
}

fn stream_and_sink_carry_whole_messages(backend: Backend) {
    run(async {
        let (rx, mut tx) = open_async(backend);
        let receiver = tokio::spawn(rx.map(Result::unwrap).collect::<Vec<_>>());
        let messages: Vec<_> = (0..200)
            .map(|number| pattern(1, number, if number % 50 == 0 { LARGE } else { 1000 }))
            .collect();
        for message in &messages {
            tx.feed(message.clone()).await.unwrap();
        }
        SinkExt::<Vec<u8>>::flush(&mut tx).await.unwrap();
        tx.send(b"last").await.unwrap();
        drop(tx);
        let received = receiver.await.unwrap();
        assert_eq!(received.len(), 201);
        assert!(received[..200] == messages[..] && received[200] == b"last");
    });
}
