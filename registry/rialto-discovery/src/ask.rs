//! Asks one peer one thing by `/rialto/reg/1`.
//!
//! Not here: whom to ask, and what the answer is worth.

use bytes::Bytes;
use libp2p::{Multiaddr, PeerId};
use tokio::time::timeout;

use crate::Key;
use crate::context::Context;
use crate::lookup::Contact;
use crate::pauses::Kind;
use crate::scores::Fault;
use crate::streams::{OpenError, Protocol};
use crate::wire::{self, Answer, Ask, Closer, Reply, Request};

/// What a peer answered.
#[derive(Debug)]
pub(crate) enum Said {
    /// It is done.
    Done,
    /// Records, not judged yet, and closer peers.
    Found {
        records: Vec<Bytes>,
        closer: Vec<Contact>,
    },
    /// Come again in so many seconds.
    Later(u32),
    /// No; with the protocol's code.
    Refused(u32),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("the connection broke")]
    Io(#[from] std::io::Error),
    #[error("no answer in time")]
    Late,
    #[error("the answer makes no sense")]
    Senseless,
}

impl Context {
    /// Asks a peer, within the time that a request may take. Who said to come again later is not asked
    /// before.
    pub(crate) async fn ask(&self, contact: &Contact, ask: Ask) -> Result<Said, AskError> {
        let kind = match &ask {
            Ask::Register(_) | Ask::Withdraw(_) => Kind::Register,
            Ask::Lookup(_) => Kind::Lookup,
        };
        let left = self.pauses.lock().left_s(contact.peer, kind, self.now_ms());
        if let Some(seconds) = left {
            return Ok(Said::Later(seconds));
        }
        let said = self.ask_now(contact, ask).await;
        if let Ok(Said::Later(seconds)) = said {
            let now_ms = self.now_ms();
            self.pauses.lock().note(contact.peer, kind, seconds, now_ms);
        }
        said
    }

    async fn ask_now(&self, contact: &Contact, ask: Ask) -> Result<Said, AskError> {
        let asking = async {
            let addresses = contact.addresses.clone();
            let mut stream = self
                .open(contact.peer, addresses, Protocol::Registration)
                .await?;
            wire::write(&mut stream, &Request { ask: Some(ask) }).await?;
            let reply = wire::read::<Reply>(&mut stream, wire::REPLY_BYTES_MAX).await?;
            Ok::<_, AskError>(reply)
        };
        let reply = timeout(self.config.periods.request, asking).await;
        let reply = match reply.map_err(|_| AskError::Late)? {
            Ok(reply) => reply,
            Err(AskError::Io(error)) if error.kind() == std::io::ErrorKind::InvalidData => {
                self.fault(contact.peer, Fault::BadMessage);
                return Err(AskError::Senseless);
            }
            Err(error) => return Err(error),
        };
        match reply.answer.ok_or(AskError::Senseless)? {
            Answer::Done(_) => Ok(Said::Done),
            Answer::Later(seconds) => Ok(Said::Later(seconds)),
            Answer::Refused(code) => Ok(Said::Refused(code)),
            Answer::Found(found) => {
                let closer = found.closer.into_iter().take(CLOSER_MAX);
                let closer = closer.filter_map(|closer| self.contact(closer)).collect();
                Ok(Said::Found {
                    records: found.records,
                    closer,
                })
            }
        }
    }

    fn contact(&self, closer: Closer) -> Option<Contact> {
        let peer = PeerId::from_bytes(&closer.peer).ok()?;
        let addresses = closer.addresses.into_iter();
        let addresses = addresses.filter_map(|bytes| Multiaddr::try_from(bytes).ok());
        let addresses = self.config.rule().filter(addresses);
        Some(Contact { peer, addresses })
    }
}

/// Asks to look up.
pub(crate) fn lookup(key: &Key, want: usize) -> Ask {
    Ask::Lookup(wire::Lookup {
        key: Bytes::copy_from_slice(key.as_bytes()),
        want: u32::try_from(want).unwrap_or(u32::MAX),
    })
}

/// Asks to register.
pub(crate) fn register(key: &Key, record: Bytes) -> Ask {
    Ask::Register(wire::Register {
        key: Bytes::copy_from_slice(key.as_bytes()),
        record,
    })
}

/// Asks to withdraw.
pub(crate) fn withdraw(key: &Key) -> Ask {
    Ask::Withdraw(wire::Withdraw {
        key: Bytes::copy_from_slice(key.as_bytes()),
    })
}

/// How many closer peers of an answer count.
const CLOSER_MAX: usize = 20;
