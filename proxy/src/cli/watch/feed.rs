//! What a running haldane tells, for as long as it runs, and again when it is back.

use std::time::Duration;

use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::sse::{Message, Parser};
use crate::cli::client::{Client, Failure, Stream};

/// How long to wait before the connection is tried again.
const COME_BACK: Duration = Duration::from_secs(1);

/// The stream says something once a second: one that says nothing for so long is lost.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// No event is longer: a status of a thousand routes has a few megabytes.
const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// So many pieces wait for a terminal that is slow.
const QUEUED_MAX: usize = 16;

/// What is told.
#[derive(Debug)]
pub(super) enum Told {
    /// The connection is there again.
    Back,
    /// An event, as JSON.
    Happened(String),
    /// There is no connection any more, and why. It is tried again.
    Lost(String),
    /// Another haldane has begun to count events anew: all of its events follow.
    Restarted,
    /// Every route, as JSON.
    Status(String),
}

/// What is told from now on. The first failure, or one that trying again does not change,
/// is the last thing that comes.
pub(super) fn listen(client: &Client, seen: u64) -> mpsc::Receiver<Result<Told, Failure>> {
    let (sender, receiver) = mpsc::channel(QUEUED_MAX);
    let feed = Feed {
        client: client.clone(),
        seen,
        sender,
    };
    tokio::spawn(feed.run());
    receiver
}

struct Feed {
    client: Client,
    /// The number of the last event that was told.
    seen: u64,
    sender: mpsc::Sender<Result<Told, Failure>>,
}

/// Why a stream is not read any further.
enum End {
    /// Its haldane knows no event with the number that was seen.
    Restarted,
    /// The connection is gone.
    Lost(String),
    /// Nobody listens.
    Unheard,
}

/// What of a status says whether numbers go on.
#[derive(Deserialize)]
struct Outline {
    seq: u64,
}

impl Feed {
    async fn run(mut self) {
        let mut is_lost = false;
        let mut is_first = true;
        loop {
            let end = match self.client.open("/v1/stream", self.seen).await {
                Ok(stream) => {
                    if std::mem::take(&mut is_lost) && !self.tell(Told::Back).await {
                        return;
                    }
                    self.read(stream).await
                }
                Err(failure) if is_first || is_final(&failure) => {
                    // Nobody may listen any more; then nobody is told.
                    drop(self.sender.send(Err(failure)).await);
                    return;
                }
                Err(failure) => End::Lost(failure.to_string()),
            };
            is_first = false;
            match end {
                End::Unheard => return,
                End::Restarted => {
                    self.seen = 0;
                    if !self.tell(Told::Restarted).await {
                        return;
                    }
                }
                End::Lost(why) => {
                    if !std::mem::replace(&mut is_lost, true) && !self.tell(Told::Lost(why)).await {
                        return;
                    }
                    sleep(COME_BACK).await;
                }
            }
        }
    }

    async fn read(&mut self, mut stream: Stream) -> End {
        let mut parser = Parser::default();
        loop {
            let piece = match timeout(SILENCE_MAX, stream.next()).await {
                Ok(Some(Ok(piece))) => piece,
                Ok(Some(Err(error))) => return End::Lost(error.to_string()),
                Ok(None) => return End::Lost("haldane has ended it".to_owned()),
                Err(_) => return End::Lost("nothing comes any more".to_owned()),
            };
            for message in parser.push(&piece) {
                if let Some(end) = self.pass(message).await {
                    return end;
                }
            }
            if parser.pending() > MESSAGE_BYTES_MAX {
                return End::Lost("it sends what is no event".to_owned());
            }
        }
    }

    async fn pass(&mut self, message: Message) -> Option<End> {
        let told = match &*message.event {
            "happened" => {
                if let Ok(seq) = message.id.parse() {
                    self.seen = seq;
                }
                Told::Happened(message.data)
            }
            "status" => {
                let outline: Option<Outline> = serde_json::from_str(&message.data).ok();
                if outline.is_some_and(|outline| outline.seq < self.seen) {
                    return Some(End::Restarted);
                }
                Told::Status(message.data)
            }
            _ => return None,
        };
        (!self.tell(told).await).then_some(End::Unheard)
    }

    /// Whether somebody still listens.
    async fn tell(&self, told: Told) -> bool {
        self.sender.send(Ok(told)).await.is_ok()
    }
}

/// Whether the answer would be the same a second later.
fn is_final(failure: &Failure) -> bool {
    match failure {
        Failure::Refused(status, _) => !status.is_server_error(),
        Failure::Request(_) => true,
        Failure::Unreachable(_) => false,
    }
}
