//! Gossip: what is said to all who listen to a topic, and who is believed.
//!
//! A message is one record. It is judged before it is passed on; its author must be the record's
//! publisher; old news and too frequent ones are dropped here and go no further.
//!
//! Not here: the swarm's side of it, or judging.

use std::collections::HashMap;
use std::time::Duration;

use libp2p::PeerId;
use libp2p::gossipsub::{
    self, CallbackSubscriptionFilter, ConfigBuilder, IdentityTransform, MaxCountSubscriptionFilter,
    MessageAuthenticity, PeerScoreParams, PeerScoreThresholds, TopicHash, TopicScoreParams,
    ValidationMode,
};

use crate::config::Config;
use crate::judge::{Judged, Subject, UnixSeconds};
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

/// The newest that was heard of each subject on each topic, in bounded memory: what is said to those who
/// listen for one interface is news to those who listen for another.
#[derive(Debug)]
pub(crate) struct Heard {
    subjects_max: usize,
    newest: HashMap<Turn, Newest>,
    rates: Rates<Turn>,
    authors: Rates<PeerId>,
}

/// What takes turns: a subject on a topic.
pub(crate) type Turn = (Subject, Topic);

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
            authors: Rates::new(AUTHORS, subjects_max),
        }
    }

    /// Notes a good record that its author said.
    ///
    /// What is old counts too: the same news in ever new messages would be a flood all the same.
    pub(crate) fn hear(
        &mut self,
        author: PeerId,
        topic: &Topic,
        said: &Judged,
        now: UnixSeconds,
        now_ms: u64,
    ) -> News {
        let turn = (said.subject, topic.clone());
        if self.rates.take(turn.clone(), now_ms).is_err()
            || self.authors.take(author, now_ms).is_err()
        {
            return News::TooOften;
        }
        if self
            .newest
            .get(&turn)
            .is_some_and(|newest| said.seq <= newest.seq)
        {
            return News::Old;
        }
        if self.newest.len() >= self.subjects_max && !self.newest.contains_key(&turn) {
            self.make_room(now.0);
        }
        let newest = Newest {
            seq: said.seq,
            expires: said.expires.0,
        };
        self.newest.insert(turn, newest);
        News::New
    }

    fn make_room(&mut self, now_s: u64) {
        self.newest.retain(|_, newest| newest.expires > now_s);
        if self.newest.len() >= self.subjects_max {
            let first = self.newest.iter().min_by_key(|(_, newest)| newest.expires);
            if let Some(first) = first.map(|(turn, _)| turn.clone()) {
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
        .max_transmit_size(FRAME_BYTES_MAX)
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

/// How often one author may say anything: thirty services of four interfaces each, at once and every half
/// minute.
const AUTHORS: Rate = Rate {
    burst: 128,
    per_minute: 240,
};
/// What all topics' names begin with.
const TOPIC_HEAD: &str = "rialto/1/";
/// The longest name of an interface or a region.
const NAME_BYTES_MAX: usize = 64;
/// The longest name of a topic.
const TOPIC_BYTES_MAX: usize = 2 * NAME_BYTES_MAX + TOPIC_HEAD.len() + 1;
/// The longest frame. The library (0.50.1) holds everything it has received so far against this, also
/// what belongs to the frames behind, and drops the stream for good after a few times: a limit near the
/// length of one message would cut off whoever says several at once. A record's own limit is checked when
/// it is heard.
const FRAME_BYTES_MAX: usize = 64 * 1024;
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

    fn topic(interface: &str) -> Topic {
        Topic::new(interface, "eu").unwrap()
    }

    #[test]
    fn what_was_heard_on_one_topic_is_news_on_another() {
        let rate = Rate {
            burst: 1,
            per_minute: 1,
        };
        let (mut heard, author) = (Heard::new(8, rate), PeerId::random());
        let now = UnixSeconds(100);
        for (interface, news) in [("a", News::New), ("b", News::New), ("a", News::TooOften)] {
            let said = said(1, 5);
            let told = heard.hear(author, &topic(interface), &said, now, 0);
            assert_eq!(told, news, "{interface}");
        }
    }

    fn said(subject: u8, seq: u64) -> Judged {
        Judged {
            keys: Vec::new(),
            publisher: crate::Identity::from_seed([1; 32]).peer(),
            subject: Subject([subject; 32]),
            seq,
            expires: UnixSeconds(900),
            addresses: Vec::new(),
        }
    }

    #[test]
    fn old_news_and_frequent_ones_go_no_further() {
        let mut heard = Heard::new(
            8,
            Rate {
                burst: 3,
                per_minute: 6,
            },
        );
        let author = PeerId::random();
        for (subject, seq, now_ms, news) in [
            (1, 5, 0, News::New),
            (1, 5, 0, News::Old),
            (1, 6, 0, News::New),
            (1, 7, 0, News::TooOften),
            (1, 5, 0, News::TooOften),
            (2, 1, 0, News::New),
            (1, 7, 10_000, News::New),
            (1, 8, 10_000, News::TooOften),
        ] {
            let now = UnixSeconds(100);
            let what = format!("{subject} {seq} at {now_ms}");
            assert_eq!(
                heard.hear(author, &topic("a"), &said(subject, seq), now, now_ms),
                news,
                "{what}"
            );
        }
    }

    #[test]
    fn an_author_with_many_subjects_is_limited_too() {
        let mut heard = Heard::new(
            512,
            Rate {
                burst: 3,
                per_minute: 6,
            },
        );
        let author = PeerId::random();
        let hear = |heard: &mut Heard, author, subject| {
            heard.hear(author, &topic("a"), &said(subject, 1), UnixSeconds(100), 0) == News::New
        };
        let heard_of = (0..200)
            .filter(|subject| hear(&mut heard, author, *subject))
            .count();
        assert_eq!(heard_of, 128);
        assert!(hear(&mut heard, PeerId::random(), 201));
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
            let author = PeerId::random();
            heard.hear(
                author,
                &topic("a"),
                &said(number, 1),
                UnixSeconds(100),
                now_ms,
            );
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
