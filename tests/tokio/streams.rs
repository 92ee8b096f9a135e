//! Bytes by `AsyncRead` and `AsyncWrite`, messages by `Stream` and `Sink`.

use std::io::IoSlice;

use futures_util::{SinkExt, StreamExt};
use shmpipe::{Backend, PipeOptions};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::support::{on_both_backends, pattern};
use crate::{LARGE, open_async, run};

on_both_backends! {
    the_byte_streams_carry_everything,
    stream_and_sink_carry_whole_messages,
    a_vectored_write_is_one_message,
    vectored_writes_carry_everything,
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

fn a_vectored_write_is_one_message(backend: Backend) {
    run(async {
        let (mut rx, mut tx) = open_async(backend);
        assert!(tx.is_write_vectored());
        let pieces = [b"head: ".as_slice(), b"", b"body", b""].map(IoSlice::new);
        assert_eq!(tx.write_vectored(&pieces).await.unwrap(), 10);
        assert_eq!(&*rx.recv().await.unwrap(), b"head: body");
        assert_eq!(tx.write_vectored(&[IoSlice::new(b"")]).await.unwrap(), 0);
        assert_eq!(tx.write_vectored(&[]).await.unwrap(), 0);
        tx.send(b"nothing was sent for nothing").await.unwrap();
        assert_eq!(rx.recv().await.unwrap().len(), 28);

        let options = PipeOptions::new().backend(backend).max_message(8);
        let (near, mut far) = options.duplex().unwrap();
        let mut near = shmpipe::tokio::Connection::from_blocking(near).unwrap();
        assert!(near.is_write_vectored());
        assert_eq!(near.write_vectored(&pieces).await.unwrap(), 8);
        assert_eq!(&*far.recv().unwrap(), b"head: bo");
    });
}

fn vectored_writes_carry_everything(backend: Backend) {
    const PIECES: usize = 3000;
    run(async {
        let (mut rx, mut tx) = open_async(backend);
        let data: Vec<Vec<u8>> = (0..PIECES).map(|at| vec![at as u8; at % 700]).collect();
        let expected = data.concat();
        let writer = tokio::spawn(async move {
            let mut slices: Vec<IoSlice<'_>> =
                data.iter().map(|piece| IoSlice::new(piece)).collect();
            let mut left = &mut slices[..];
            while left.iter().any(|piece| !piece.is_empty()) {
                let written = tx.write_vectored(left).await.unwrap();
                assert!(written > 0);
                IoSlice::advance_slices(&mut left, written);
            }
        });
        let mut received = Vec::new();
        rx.read_to_end(&mut received).await.unwrap();
        assert!(received == expected);
        writer.await.unwrap();
    });
}
