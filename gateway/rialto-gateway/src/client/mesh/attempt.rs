//! One request to one provider, and the client that each is asked with.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rialto_channels::Amount;
use rialto_registry::router::{Attempt, Outcome};

use super::super::call::{Course, payment_name};
use super::super::listen::Listener;
use super::super::order::Placing;
use super::super::send::Request;
use super::super::{Answer, ClientError, Config, Heard, Order, PayingClient, Quote};
use super::quotes::Asked;
use super::{Ask, Each, Ended, MeshClient, Provider, outcome};

impl MeshClient {
    /// Makes a call at one gateway that needs no finding: this machine's own.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn call_at(
        &self,
        gateway: &str,
        ask: &Ask,
        each: Option<Each<'_>>,
    ) -> Result<Answer, ClientError> {
        let client = self.client(gateway, false)?;
        let mut course = Course::default();
        let asking = self.ask_one(&client, (ask, each), None, &mut course);
        tokio::time::timeout(ask.time_max, asking)
            .await
            .unwrap_or(Err(ClientError::Unfinished))
    }

    /// Lets go of channels with providers that nobody called for so long: other programs of the same wallet may
    /// use or close them meanwhile.
    pub fn rest(&self, idle: Duration) {
        let is_used = |client: &PayingClient| Arc::strong_count(&client.inner) > 1;
        self.clients()
            .retain(|_, (client, used)| used.elapsed() < idle || is_used(client));
    }

    pub(super) async fn attempt(
        &self,
        (ask, each): (&Ask, Option<Each<'_>>),
        providers: &[Provider],
        attempt: Attempt,
    ) -> Ended {
        let mut course = Course::default();
        let was_placed = ask.order.as_ref().is_some_and(Order::is_in_doubt);
        // A little before the router gives the attempt up, which then knows how it ended.
        let left = Duration::from_millis(attempt.timeout_at.since(self.now()).0);
        let left = left.saturating_sub(left / 32);
        let heard = AtomicBool::new(false);
        let hear = |part: Heard<'_>| {
            heard.store(true, Ordering::Relaxed);
            if let Some(each) = each {
                each(part);
            }
        };
        let hear: Option<Each<'_>> = each.map(|_| &hear as Each<'_>);
        let asked = providers.iter().find(|it| *it.id() == attempt.provider);
        let answer = match asked {
            Some(provider) => {
                let known = Some((provider, left / 2));
                let asking = async {
                    let client = self.client(&provider.base, provider.public_only)?;
                    self.ask_one(&client, (ask, hear), known, &mut course).await
                };
                tokio::time::timeout(left, asking)
                    .await
                    .unwrap_or(Err(ClientError::Unfinished))
            }
            // The router names candidates alone.
            None => Err(ClientError::Unfinished),
        };
        let mut outcome = outcome::of(&answer, &course);
        if matches!(outcome, Outcome::NotStarted(_)) && heard.load(Ordering::Relaxed) {
            // Somebody else would begin anew what was heard in part.
            outcome = Outcome::ServiceFault { executed: true };
        }
        if let Some(order) = &ask.order
            && !was_placed
            && !matches!(outcome, Outcome::Answered | Outcome::Unknown)
        {
            order.forget();
        }
        Ended {
            attempt: attempt.id,
            provider: attempt.provider,
            outcome,
            answer,
        }
    }

    /// Quotes and calls. Of a provider that was found, the terms are held against its offer, and it may take so
    /// long to name its price.
    async fn ask_one(
        &self,
        client: &PayingClient,
        (ask, each): (&Ask, Option<Each<'_>>),
        found: Option<(&Provider, Duration)>,
        course: &mut Course,
    ) -> Result<Answer, ClientError> {
        let known = self.known(client, ask, found);
        if let Some((asked, quote)) = known {
            let answer = self
                .ask_for(&quote, client, (ask, each), found, course)
                .await;
            let Err(error) = &answer else {
                return answer;
            };
            self.0.quotes.forget(&asked);
            let is_dated = course.is_not_for_that() || matches!(error, ClientError::TooDear { .. });
            if !is_dated {
                return answer;
            }
            // The price may be another one by now; nothing was carried out.
        }
        let bytes = u64::try_from(ask.body.bytes.len()).unwrap_or(u64::MAX);
        let quote = quote(client, ask, bytes, found).await?;
        if found.is_some() {
            self.0.quotes.put(asked(client, ask), quote.clone());
        }
        self.ask_for(&quote, client, (ask, each), found, course)
            .await
    }

    /// What a provider that was found wanted a moment ago, where its offer still says the same.
    fn known(
        &self,
        client: &PayingClient,
        ask: &Ask,
        found: Option<(&Provider, Duration)>,
    ) -> Option<(Asked, Quote)> {
        let (provider, _) = found?;
        let asked = asked(client, ask);
        let quote = self.0.quotes.get(&asked)?;
        provider.check(&quote).ok()?;
        Some((asked, quote))
    }

    async fn ask_for(
        &self,
        quote: &Quote,
        client: &PayingClient,
        (ask, each): (&Ask, Option<Each<'_>>),
        found: Option<(&Provider, Duration)>,
        course: &mut Course,
    ) -> Result<Answer, ClientError> {
        if let Some(limit) = ask.price_max
            && quote.price > limit
        {
            let price = quote.price;
            return Err(ClientError::TooDear { price, limit });
        }
        let mut hear = |part: Heard<'_>| {
            if let Some(each) = each {
                each(part);
            }
        };
        let order = ask.order.as_ref().zip(found);
        let request = Request {
            listener: each.map(|_| Listener::new(&mut hear).leaving(ask.leave.clone())),
            allowance: ask.allowance.as_ref(),
            order: order.map(|(order, (provider, _))| Placing {
                order,
                provider: provider.id().as_str(),
            }),
            ..Request::whole(&ask.body)
        };
        let name = match order {
            Some((order, _)) => order.name.clone(),
            None => payment_name(),
        };
        client.call_with(quote, request, &name, course).await
    }

    /// What the provider of an attempt wants for a body of so many bytes.
    pub(super) async fn price_of(
        &self,
        (ask, bytes): (&Ask, u64),
        providers: &[Provider],
        attempt: &Attempt,
    ) -> Result<Amount, ClientError> {
        let asked = providers.iter().find(|it| *it.id() == attempt.provider);
        // The router names candidates alone.
        let provider = asked.ok_or(ClientError::Unfinished)?;
        let client = self.client(&provider.base, provider.public_only)?;
        let left = Duration::from_millis(attempt.timeout_at.since(self.now()).0);
        let quote = quote(&client, ask, bytes, Some((provider, left))).await?;
        Ok(quote.price)
    }

    /// The client of a gateway.
    fn client(&self, base: &str, public_only: bool) -> Result<PayingClient, ClientError> {
        let mut clients = self.clients();
        let now = Instant::now();
        if let Some((client, used)) = clients.get_mut(base) {
            *used = now;
            return Ok(client.clone());
        }
        if clients.len() >= CLIENTS_MAX {
            // Channels are on the disk: who is used again comes back at once.
            let idle = clients.iter().min_by_key(|(_, (_, used))| *used);
            if let Some(base) = idle.map(|(base, _)| base.clone()) {
                clients.remove(&base);
            }
        }
        let known = self.0.config.rpc_url.clone();
        let config = Config {
            rpc_url: known.or_else(|| self.0.directory.rpc()),
            gateway: base.to_owned(),
            public_only,
            ..self.0.config.clone()
        };
        let client = PayingClient::with_wallet(config, Arc::clone(&self.0.wallet))?;
        clients.insert(base.to_owned(), (client.clone(), now));
        Ok(client)
    }
}

fn asked(client: &PayingClient, ask: &Ask) -> Asked {
    Asked {
        gateway: client.inner.config.gateway.clone(),
        service: ask.service.to_string(),
        method: ask.method.clone(),
        bytes: u64::try_from(ask.body.bytes.len()).unwrap_or(u64::MAX),
    }
}

/// Asks what a body of so many bytes costs. Of a provider that was found, the terms are held against its offer, and
/// it may take so long.
async fn quote(
    client: &PayingClient,
    ask: &Ask,
    bytes: u64,
    found: Option<(&Provider, Duration)>,
) -> Result<Quote, ClientError> {
    let patience = found.map_or(QUOTE_TIME_MAX, |(_, patience)| patience);
    let quoting = client.quote_sized(ask.service.as_str(), &ask.method, bytes);
    let quote = tokio::time::timeout(patience.min(QUOTE_TIME_MAX), quoting).await;
    let quote = quote.map_err(|_| ClientError::Unfinished)??;
    if let Some((provider, _)) = found {
        provider.check(&quote)?;
    }
    Ok(quote)
}

/// The longest that a provider may take to name its price.
const QUOTE_TIME_MAX: Duration = Duration::from_secs(10);
/// Clients that are kept; each has a pool of connections.
const CLIENTS_MAX: usize = 256;
