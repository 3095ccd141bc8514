//! Hosts that mean no good, as a payer meets them: answers without end, charges that no answer tells
//! of, claims that were never signed for, prices that change afterwards. Each costs a bounded sum.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, StatusCode};
use rialto_channels::payer::policy::OverBudget;
use rialto_channels::{Amount, SigningKey};
use rialto_gateway::client::{
    self, Budget, ClientError, PayingClient, ReceiptFault, stored_channels,
};
use rialto_gateway::x402::header::{
    self, PAYMENT_REQUIRED, PAYMENT_RESPONSE, PAYMENT_SIGNATURE, RIALTO_RECEIPT,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::mesh::{Mesh, addition};

const PRICE: u128 = 100;
/// Far less than it takes to fill a memory.
const PATIENCE: Duration = Duration::from_secs(30);

/// An honest gateway's answer, and what was asked.
struct Answered {
    path: String,
    payment: Option<Value>,
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answered {
    fn honest(self) -> Response {
        (self.status, self.headers, self.body).into_response()
    }

    /// The same head, and a body without end.
    fn endless(self) -> Response {
        let spaces = || Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; 0x4000]));
        let body = Body::from_stream(futures_util::stream::repeat_with(spaces));
        (self.status, self.headers, body).into_response()
    }

    fn is_paid(&self) -> bool {
        self.payment.is_some()
    }
}

type Tamper = Arc<dyn Fn(Answered) -> Response + Send + Sync>;

/// A gateway that passes everything on and answers what it likes, once it is told to.
#[derive(Clone)]
struct Liar {
    target: String,
    lying: Arc<AtomicBool>,
    tamper: Tamper,
    /// The ceilings of all vouchers that it was sent.
    ceilings: Arc<Mutex<Vec<u128>>>,
}

impl Liar {
    async fn start(
        mesh: &Mesh,
        tamper: impl Fn(Answered) -> Response + Send + Sync + 'static,
    ) -> (Self, String) {
        let liar = Self {
            target: mesh.url.clone(),
            lying: Arc::default(),
            tamper: Arc::new(tamper),
            ceilings: Arc::default(),
        };
        let url = serve(Router::new().fallback(pass_on).with_state(liar.clone())).await;
        (liar, url)
    }

    fn lie(&self, lying: bool) {
        self.lying.store(lying, Ordering::SeqCst);
    }

    fn highest(&self) -> u128 {
        self.ceilings.lock().unwrap().iter().copied().max().unwrap()
    }
}

async fn pass_on(State(liar): State<Liar>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let payment: Option<Value> = parts
        .headers
        .get(PAYMENT_SIGNATURE)
        .map(|payment| header::decode(payment.as_bytes()).unwrap());
    if let Some(payment) = &payment {
        let ceiling = payment.pointer("/payload/voucher/maxClaimableAmount");
        let ceiling = ceiling.and_then(Value::as_str).unwrap().parse().unwrap();
        liar.ceilings.lock().unwrap().push(ceiling);
    }
    let mut headers = parts.headers;
    headers.remove("host");
    let answer = reqwest::Client::new()
        .request(parts.method, format!("{}{}", liar.target, parts.uri))
        .headers(headers)
        .body(body)
        .send()
        .await
        .unwrap();
    let mut headers = answer.headers().clone();
    headers.remove("content-length");
    headers.remove("transfer-encoding");
    let answered = Answered {
        path: parts.uri.path().to_owned(),
        payment,
        status: answer.status(),
        headers,
        body: answer.bytes().await.unwrap(),
    };
    if liar.lying.load(Ordering::SeqCst) {
        (liar.tamper)(answered)
    } else {
        answered.honest()
    }
}

async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

fn payer(config: &client::Config, key: SigningKey) -> PayingClient {
    PayingClient::with_wallet(config.clone(), Arc::new(key)).unwrap()
}

/// Pays until a call is refused for another reason than the host's pretended failures.
async fn until_stopped(client: &PayingClient, quote: &client::Quote) -> ClientError {
    for number in 0..60 {
        match client.call(quote, &addition(number, 7)).await {
            Ok(_) | Err(ClientError::Refused { status: 502, .. }) => {}
            Err(error) => return error,
        }
    }
    panic!("nobody stopped it")
}

/// The host does the work, keeps the charge and says that the service crashed.
fn pretends_to_fail(answered: Answered) -> Response {
    if !answered.is_paid() || answered.status != StatusCode::OK {
        return answered.honest();
    }
    let body = json!({"error": {"code": "service_crashed", "message": "what a pity"}});
    (StatusCode::BAD_GATEWAY, axum::Json(body)).into_response()
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_without_end_are_given_up_and_what_they_cost_is_found() {
    let mesh = Mesh::start().await;
    let (liar, url) = Liar::start(&mesh, Answered::endless).await;
    let mut config = client::Config::new(url);
    config.answer_bytes_max = 1 << 20;
    config.rpc_url = Some(mesh.node.chain().rpc_url.clone());
    let client = payer(&config, mesh.key(0));
    let quote = client.quote("types", "add", &addition(1, 1)).await.unwrap();
    client.call(&quote, &addition(1, 1)).await.unwrap();

    liar.lie(true);
    let body = addition(2, 2);
    let call = client.call(&quote, &body);
    match tokio::time::timeout(PATIENCE, call).await.unwrap() {
        Err(error @ ClientError::AnswerTooLong { limit: 0x10_0000 }) => {
            assert!(error.to_string().contains("1048576"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    // Documents: the quote's 402, the listing that a refund begins with.
    let quoted = client.quote("types", "add", &body);
    let refund = client.refund(None);
    for refused in [
        tokio::time::timeout(PATIENCE, quoted).await.unwrap().err(),
        tokio::time::timeout(PATIENCE, refund).await.unwrap().err(),
    ] {
        assert!(
            matches!(refused, Some(ClientError::DocumentTooLong { .. })),
            "{refused:?}"
        );
    }
    liar.lie(false);
    let answer = client.call(&quote, &addition(3, 3)).await.unwrap();
    assert_eq!(answer.receipt_fault, None);
    assert_eq!(mesh.charged(), Amount::new(3 * PRICE));
    assert_eq!(answer.channel.unwrap().charged, mesh.charged());
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn charges_that_no_answer_told_of_are_forgiven_up_to_a_limit_over_programs() {
    let mesh = Mesh::start().await;
    let dir = tempfile::tempdir().unwrap();
    let (liar, url) = Liar::start(&mesh, pretends_to_fail).await;
    let mut config = client::Config::new(url);
    config.store = Some(dir.path().to_owned());
    config.unexplained_max = Amount::new(15 * PRICE);
    config.rpc_url = Some(mesh.node.chain().rpc_url.clone());
    let first = payer(&config, mesh.key(0));
    let quote = first.quote("types", "add", &addition(1, 1)).await.unwrap();
    first.call(&quote, &addition(1, 1)).await.unwrap();

    // As much as the headroom hides, until the host itself asks for more.
    let round = async |client: &PayingClient| {
        liar.lie(true);
        for number in 0..9 {
            let failed = client.call(&quote, &addition(number, 7)).await;
            let crashed = matches!(failed, Err(ClientError::Refused { status: 502, .. }));
            assert!(crashed, "{failed:?}");
        }
        liar.lie(false);
        client.call(&quote, &addition(1, 1)).await
    };
    let told = round(&first).await.unwrap();
    assert_eq!(told.receipt_fault, None);
    drop(first);
    let kept = stored_channels(dir.path()).unwrap().remove(0);
    assert_eq!(kept.unexplained, Amount::new(9 * PRICE));

    let second = payer(&config, mesh.key(0));
    let told = round(&second).await.unwrap();
    assert_eq!(
        told.receipt_fault,
        Some(ReceiptFault::Unexplained {
            unexplained: Amount::new(18 * PRICE),
            forgiven: Amount::new(15 * PRICE),
        })
    );
    let charged = mesh.charged();
    drop(second);
    let third = payer(&config, mesh.key(0));
    match third.call(&quote, &addition(1, 1)).await {
        Err(ClientError::Broken { channel, fault }) => {
            assert_eq!(channel, kept.snapshot.id);
            assert!(fault.contains("1800") && fault.contains("1500"), "{fault}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(mesh.charged(), charged);
    assert!(dir.path().join("evidence").exists());
    // The money comes back, and other channels are another matter.
    let back = third.refund_channel(kept.snapshot.id, None).await.unwrap();
    assert!(!back.amount.is_zero());
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_knows_charges_that_no_answer_told_of() {
    let mesh = Mesh::start().await;
    let (liar, url) = Liar::start(&mesh, pretends_to_fail).await;
    let mut config = client::Config::new(url);
    config.unexplained_max = Amount::MAX;
    config.budget = Budget {
        day_max: Some(Amount::new(15 * PRICE)),
        ..Budget::default()
    };
    let client = payer(&config, mesh.key(0));
    let quote = client.quote("types", "add", &addition(1, 1)).await.unwrap();
    liar.lie(true);
    let stopped = until_stopped(&client, &quote).await;
    let ClientError::Budget(OverBudget::Day { spent, .. }) = stopped else {
        panic!("{stopped:?}");
    };
    assert!(spent > Amount::new(14 * PRICE), "{spent}");
    // What was signed for one call, at most, beyond the budget.
    let charged = mesh.charged().get();
    assert!(charged <= 15 * PRICE + quote.ceiling.get(), "{charged}");
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hosts_word_for_claims_is_not_signed_for() {
    let mesh = Mesh::start().await;
    let required = mesh.http.get(mesh.path("/services/types/add"));
    let required = required.send().await.unwrap();
    let required = required.headers()[PAYMENT_REQUIRED].clone();
    let required: Value = header::decode(required.as_bytes()).unwrap();
    let (liar, url) = Liar::start(&mesh, move |answered| match &answered.payment {
        Some(payment) => {
            let mut required = required.clone();
            required["error"] = json!("invalid_batch_settlement_evm_cumulative_below_claimed");
            required["accepts"][0]["extra"]["channelState"] = json!({
                "channelId": payment["payload"]["voucher"]["channelId"],
                "balance": "10000", "totalClaimed": "9000",
                "withdrawRequestedAt": 0, "refundNonce": "0",
            });
            let header = header::encode(&required).unwrap();
            (StatusCode::PAYMENT_REQUIRED, [(PAYMENT_REQUIRED, header)]).into_response()
        }
        // Nobody answers at the endpoint that it names.
        None if answered.path == "/node" => {
            let mut node: Value = serde_json::from_slice(&answered.body).unwrap();
            node["rpc_url"] = json!("http://127.0.0.1:1");
            axum::Json(node).into_response()
        }
        None => answered.honest(),
    })
    .await;
    let client = payer(&client::Config::new(url), mesh.key(0));
    let quote = client.quote("types", "add", &addition(1, 1)).await.unwrap();
    // The first deposit's clock would be the endpoint's.
    liar.lie(true);
    match client.call(&quote, &addition(1, 1)).await {
        Err(ClientError::Unproven { claimed, signed }) => {
            assert_eq!((claimed.get(), signed), (9000, quote.ceiling));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(liar.highest(), quote.ceiling.get());
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_the_host_names_cannot_have_us_sign_for_more() {
    let mesh = Mesh::start().await;
    let endpoint = lying_endpoint(mesh.node.chain().rpc_url.clone()).await;
    let (liar, url) = Liar::start(&mesh, move |answered| {
        if answered.is_paid() {
            let error = "invalid_batch_settlement_evm_cumulative_exceeds_balance";
            let required = json!({
                "x402Version": 2, "error": error, "accepts": [],
                "resource": {"url": "http://h/"},
            });
            let header = header::encode(&required).unwrap();
            (StatusCode::PAYMENT_REQUIRED, [(PAYMENT_REQUIRED, header)]).into_response()
        } else if answered.path == "/node" {
            let mut node: Value = serde_json::from_slice(&answered.body).unwrap();
            node["rpc_url"] = json!(endpoint);
            axum::Json(node).into_response()
        } else {
            answered.honest()
        }
    })
    .await;
    let mut config = client::Config::new(url);
    config.unexplained_max = Amount::new(5 * PRICE);
    let client = payer(&config, mesh.key(0));
    liar.lie(true);
    let quote = client.quote("types", "add", &addition(1, 1)).await.unwrap();
    match client.call(&quote, &addition(1, 1)).await {
        Err(ClientError::Broken { fault, .. }) => assert!(fault.contains("500"), "{fault}"),
        other => panic!("{other:?}"),
    }
    let asked = quote.ceiling.get();
    assert_eq!(liar.highest(), asked, "signed for a claim of nobody's");
    mesh.end().await;
}

/// Passes calls on to the chain, and says that all of a channel was claimed.
async fn lying_endpoint(chain: String) -> String {
    let lie = move |axum::Json(asked): axum::Json<Value>| {
        let chain = chain.clone();
        async move {
            let data = asked.pointer("/params/0/data").and_then(Value::as_str);
            let is_sums = data.is_some_and(|data| data.starts_with("0x7a7ebd7b"));
            let answer = reqwest::Client::new().post(&chain).json(&asked);
            let mut answer: Value = answer.send().await.unwrap().json().await.unwrap();
            if is_sums {
                let claimed = format!("0x{0:064x}{0:064x}", 10_000);
                answer["result"] = json!(claimed);
            }
            axum::Json(answer)
        }
    };
    serve(Router::new().fallback(axum::routing::post(lie))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_above_the_quote_is_a_breach_with_or_without_a_receipt() {
    let mesh = Mesh::start().await;
    let (liar, url) = Liar::start(&mesh, |mut answered| {
        if let Some(settlement) = answered.headers.get(PAYMENT_RESPONSE) {
            let mut settlement: Value = header::decode(settlement.as_bytes()).unwrap();
            settlement["extra"]["chargedAmount"] = json!("900");
            let state = settlement["extra"]["channelState"].as_object_mut();
            state.unwrap().remove("chargedCumulativeAmount");
            let dearer: HeaderValue = header::encode(&settlement).unwrap();
            answered.headers.insert(PAYMENT_RESPONSE, dearer);
            answered.headers.remove(RIALTO_RECEIPT);
        }
        answered.honest()
    })
    .await;
    let client = payer(&client::Config::new(url), mesh.key(0));
    let quote = client.quote("types", "add", &addition(1, 1)).await.unwrap();
    client.call(&quote, &addition(1, 1)).await.unwrap();
    liar.lie(true);
    let dear = client.call(&quote, &addition(2, 2)).await.unwrap();
    assert_eq!(
        dear.receipt_fault,
        Some(ReceiptFault::AboveQuote {
            quoted: Amount::new(PRICE),
            charged: Amount::new(900),
        })
    );
    let next = client.call(&quote, &addition(3, 3)).await;
    assert!(matches!(next, Err(ClientError::Broken { .. })), "{next:?}");
    mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_that_start_at_once_open_no_more_lanes_than_one_may() {
    let mesh = Mesh::start().await;
    let dir = tempfile::tempdir().unwrap();
    let mut config = client::Config::new(&mesh.url);
    config.store = Some(dir.path().to_owned());
    config.lanes_max = 2;
    let quote = payer(&config, mesh.key(0));
    let quote = quote.quote("types", "add", &addition(1, 1)).await.unwrap();
    let programs: Vec<_> = (0..6)
        .map(|number| {
            let (client, quote) = (payer(&config, mesh.key(0)), quote.clone());
            tokio::spawn(async move { client.call(&quote, &addition(number, 1)).await.map(drop) })
        })
        .collect();
    for program in programs {
        program.await.unwrap().unwrap();
    }
    assert_eq!(mesh.charged(), Amount::new(6 * PRICE));
    assert!(mesh.node.channels().len() <= 2, "too many lanes");
    mesh.end().await;
}
