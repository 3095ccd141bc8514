//! Gossip: what is said to all who listen to a topic, and who is believed.
//!
//! A message is one record. It is judged before it is passed on; its author must be the record's
//! publisher; old news and too frequent ones are dropped here and go no further.
//!
//! Not here: the swarm's side of it, or judging.

use std::collections::HashMap;
use std::time::Duration;

use libp2p::gossipsub::{
    self, CallbackSubscriptionFilter, ConfigBuilder, IdentityTransform, MaxCountSubscriptionFilter,
    MessageAuthenticity, PeerScoreParams, PeerScoreThresholds, TopicHash, TopicScoreParams,
    ValidationMode,
};

use crate::config::Config;
use crate::judge::{RECORD_BYTES_MAX, Subject};
use crate::rates::{Rate, Rates};

type Filter = MaxCountSubscriptionFilter<CallbackSubscriptionFilter<fn(&TopicHash) -> bool>>;

/// The library's gossip with this crate's filter of topics.
pub(crate) type Gossip = gossipsub::Behaviour<IdentityTransform, Filter>;

/// What a group of peers talks about: one interface in one region.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(String);

impl Topic {
    /// The topic of an interface in a region.
    ///
    /// # Errors
    /// A name is empty, longer than 64 bytes, or has a character other than letters, digits and `.-_:@+`;
    /// an interface may have `/` too.
    pub fn new(interface: &str, region: &str) -> Result<Self, BadTopic> {
        let fits = |text: &str, slash: bool| {
            !text.is_empty()
                && text.len() <= NAME_BYTES_MAX
                && text.chars().all(|c| {
                    c.is_ascii_alphanumeric() || ".-_:@+".contains(c) || (slash && c == '/')
                })
        };
        if fits(interface, true) && fits(region, false) {
            Ok(Self(format!("{TOPIC_HEAD}{interface}/{region}")))
        } else {
            Err(BadTopic)
        }
    }

    /// The topic's name on the network.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }

    pub(crate) fn hash(&self) -> TopicHash {
        TopicHash::from_raw(self.0.clone())
    }

    pub(crate) fn of(hash: &TopicHash) -> Option<Self> {
        is_ours(hash).then(|| Self(hash.as_str().to_owned()))
    }
}

/// An interface or region that no topic can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a topic's interface and region have 1 to 64 letters, digits or .-_:@+")]
pub struct BadTopic;

/// The newest that was heard of each subject, in bounded memory.
#[derive(Debug)]
pub(crate) struct Heard {
    subjects_max: usize,
    newest: HashMap<Subject, Newest>,
    rates: Rates<Subject>,
}

#[derive(Debug)]
struct Newest {
    seq: u64,
    expires: u64,
}

/// What to do with a good record that was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// Tell and pass on.
    New,
    /// Known already, or older than what is known.
    Old,
    /// Its subject talks too much.
    TooOften,
}

impl Heard {
    pub(crate) fn new(subjects_max: usize, rate: Rate) -> Self {
        Self {
            subjects_max,
            newest: HashMap::new(),
            rates: Rates::new(rate, subjects_max),
        }
    }

    /// Notes a good record.
    pub(crate) fn hear(
        &mut self,
        subject: Subject,
        seq: u64,
        expires: u64,
        now_s: u64,
        now_ms: u64,
    ) -> News {
        if self
            .newest
            .get(&subject)
            .is_some_and(|newest| seq <= newest.seq)
        {
            return News::Old;
        }
        if self.rates.take(subject, now_ms).is_err() {
            return News::TooOften;
        }
        if self.newest.len() >= self.subjects_max && !self.newest.contains_key(&subject) {
            self.make_room(now_s);
        }
        self.newest.insert(subject, Newest { seq, expires });
        News::New
    }

    fn make_room(&mut self, now_s: u64) {
        self.newest.retain(|_, newest| newest.expires > now_s);
        if self.newest.len() >= self.subjects_max {
            let first = self.newest.iter().min_by_key(|(_, newest)| newest.expires);
            if let Some(first) = first.map(|(subject, _)| *subject) {
                self.newest.remove(&first);
            }
        }
    }
}

/// Makes the gossip behaviour.
pub(crate) fn behaviour(config: &Config) -> Result<Gossip, String> {
    let settings = ConfigBuilder::default()
        .protocol_id_prefix("/rialto/gossip/1")
        .validation_mode(ValidationMode::Strict)
        .validate_messages()
        .flood_publish(false)
        .max_transmit_size(RECORD_BYTES_MAX + ENVELOPE_BYTES)
        .max_publish_messages(MESSAGES_PER_FRAME)
        .max_ihave_messages_heartbeat(MESSAGES_PER_FRAME)
        .connection_handler_queue_len(QUEUE)
        .build()
        .map_err(|error| error.to_string())?;
    let filter = MaxCountSubscriptionFilter {
        filter: CallbackSubscriptionFilter(is_ours as fn(&TopicHash) -> bool),
        max_subscribed_topics: config.limits.topics.saturating_mul(4),
        max_subscriptions_per_request: config.limits.topics.saturating_mul(4),
    };
    let author = MessageAuthenticity::Signed(config.identity.keypair().clone());
    let mut gossip =
        Gossip::new_with_subscription_filter(author, settings, filter).map_err(str::to_owned)?;
    gossip.with_peer_score(score(config), thresholds())?;
    Ok(gossip)
}

/// How one topic's messages weigh: only what is certainly the sender's fault counts against it, as topics
/// here are quiet and a peer that delivers little may simply have little to say.
pub(crate) fn topic_score() -> TopicScoreParams {
    TopicScoreParams {
        topic_weight: 1.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: -10.0,
        ..TopicScoreParams::default()
    }
}

fn score(config: &Config) -> PeerScoreParams {
    PeerScoreParams {
        // On a local mesh everybody shares an address.
        ip_colocation_factor_weight: if config.private_addresses { 0.0 } else { -10.0 },
        ..PeerScoreParams::default()
    }
}

fn thresholds() -> PeerScoreThresholds {
    PeerScoreThresholds {
        gossip_threshold: -20.0,
        publish_threshold: -50.0,
        graylist_threshold: -80.0,
        ..PeerScoreThresholds::default()
    }
}

fn is_ours(topic: &TopicHash) -> bool {
    topic.as_str().starts_with(TOPIC_HEAD) && topic.as_str().len() <= TOPIC_BYTES_MAX
}

/// The least time between two announcements that the swarm sends.
pub(crate) const fn pause(config: &Config) -> Duration {
    config.periods.announce
}

/// What all topics' names begin with.
const TOPIC_HEAD: &str = "rialto/1/";
/// The longest name of an interface or a region.
const NAME_BYTES_MAX: usize = 64;
/// The longest name of a topic.
const TOPIC_BYTES_MAX: usize = 2 * NAME_BYTES_MAX + TOPIC_HEAD.len() + 1;
/// What a message has around its record: author, number, topic, signature.
const ENVELOPE_BYTES: usize = 512;
/// How many messages or ids of messages one frame may bring.
const MESSAGES_PER_FRAME: usize = 64;
/// How many messages wait for one slow peer.
const QUEUE: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_have_plain_names() {
        let topic = Topic::new("rialto:ai/chat@1.0.0", "eu-west").unwrap();
        assert_eq!(topic.name(), "rialto/1/rialto:ai/chat@1.0.0/eu-west");
        assert_eq!(Topic::of(&topic.hash()), Some(topic));
        for (interface, region) in [
            ("", "eu"),
            ("a", ""),
            ("a b", "eu"),
            ("a", "e/u"),
            ("ä", "eu"),
        ] {
            assert_eq!(
                Topic::new(interface, region),
                Err(BadTopic),
                "{interface} {region}"
            );
        }
        assert_eq!(Topic::new(&"a".repeat(65), "eu"), Err(BadTopic));
        assert_eq!(Topic::of(&TopicHash::from_raw("eth2/block")), None);
    }

    #[test]
    fn old_news_and_frequent_ones_go_no_further() {
        let mut heard = Heard::new(
            8,
            Rate {
                burst: 2,
                per_minute: 6,
            },
        );
        let subject = Subject([1; 32]);
        assert_eq!(heard.hear(subject, 5, 900, 100, 0), News::New);
        assert_eq!(heard.hear(subject, 5, 900, 100, 0), News::Old);
        assert_eq!(heard.hear(subject, 4, 900, 100, 0), News::Old);
        assert_eq!(heard.hear(subject, 6, 900, 100, 0), News::New);
        assert_eq!(heard.hear(subject, 7, 900, 100, 0), News::TooOften);
        assert_eq!(heard.hear(subject, 7, 900, 110, 10_000), News::New);
        assert_eq!(heard.hear(Subject([2; 32]), 1, 900, 110, 10_000), News::New);
    }

    #[test]
    fn memory_is_bounded() {
        let mut heard = Heard::new(
            8,
            Rate {
                burst: 2,
                per_minute: 60_000,
            },
        );
        for number in 0..100_u8 {
            let now_ms = u64::from(number) * 5000;
            heard.hear(Subject([number; 32]), 1, 900, 100, now_ms);
        }
        assert_eq!(heard.newest.len(), 8);
        assert!(heard.rates.len() <= 8);
    }

    #[test]
    fn the_settings_are_accepted() {
        let config = Config::new(crate::Identity::from_seed([1; 32]));
        assert!(behaviour(&config).is_ok());
        assert!(topic_score().validate().is_ok());
    }
}
