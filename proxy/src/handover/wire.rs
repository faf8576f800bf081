//! Messages as JSON behind their length, and file descriptors in between.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as BlockingStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest};
use tokio::net::UnixStream;

use super::Message;

/// A thousand routes take a few hundred kilobytes.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Descriptors at once; the kernel takes up to 253.
const DESCRIPTORS_MAX: usize = 64;

/// What descriptors travel with: a message of a stream has at least a byte.
const CARRIER: [u8; 1] = [b'F'];

pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Message> {
    let length = length_of(stream.read_u32().await?)?;
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    parse(&bytes)
}

pub(crate) async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    message: &Message,
) -> io::Result<()> {
    stream.write_all(&framed(message)?).await
}

/// [`read`] for a stream that blocks.
pub(super) fn read_blocking(mut stream: &BlockingStream) -> io::Result<Message> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut bytes = vec![0; length_of(u32::from_be_bytes(length))?];
    stream.read_exact(&mut bytes)?;
    parse(&bytes)
}

/// [`write`] for a stream that blocks.
pub(super) fn write_blocking(mut stream: &BlockingStream, message: &Message) -> io::Result<()> {
    stream.write_all(&framed(message)?)
}

/// Sends duplicates of descriptors.
pub(super) async fn send_descriptors(stream: &UnixStream, all: &[OwnedFd]) -> io::Result<()> {
    for some in all.chunks(DESCRIPTORS_MAX) {
        let borrowed: Vec<BorrowedFd<'_>> = some.iter().map(AsFd::as_fd).collect();
        stream
            .async_io(Interest::WRITABLE, || {
                let mut space =
                    [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
                let mut control = SendAncillaryBuffer::new(&mut space);
                if !control.push(SendAncillaryMessage::ScmRights(&borrowed)) {
                    return Err(io::Error::other("too many descriptors at once"));
                }
                let data = [IoSlice::new(&CARRIER)];
                sendmsg(stream, &data, &mut control, SendFlags::NOSIGNAL)?;
                Ok(())
            })
            .await?;
    }
    Ok(())
}

/// Receives this many descriptors.
pub(super) fn receive_descriptors(
    stream: &BlockingStream,
    expected: usize,
) -> io::Result<Vec<OwnedFd>> {
    let mut all = Vec::new();
    while all.len() < expected {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut carrier = [0; CARRIER.len()];
        let mut data = [IoSliceMut::new(&mut carrier)];
        let received = recvmsg(stream, &mut data, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        let known = all.len();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                all.extend(descriptors);
            }
        }
        if received.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if all.len() == known || carrier != CARRIER {
            return Err(io::Error::other("no descriptors came"));
        }
    }
    if all.len() > expected {
        return Err(io::Error::other(
            "more descriptors came than were announced",
        ));
    }
    Ok(all)
}

fn framed(message: &Message) -> io::Result<Vec<u8>> {
    let text = serde_json::to_vec(message)?;
    let length = u32::try_from(text.len()).map_err(io::Error::other)?;
    Ok([&length.to_be_bytes()[..], &text].concat())
}

fn length_of(told: u32) -> io::Result<usize> {
    let length = usize::try_from(told).map_err(io::Error::other)?;
    if length > MESSAGE_BYTES_MAX {
        return Err(io::Error::other("a message that is too long"));
    }
    Ok(length)
}

fn parse(bytes: &[u8]) -> io::Result<Message> {
    serde_json::from_slice(bytes).map_err(io::Error::from)
}
