//! A node on a chain of its own, behind a proxy that can be told to fail, and a payer.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use alloy_primitives::B256;
use bytes::Bytes;
use rialto_chain::client::{AnyConsent, ChainClient, ClientConfig, DepositAuthorization};
use rialto_chain::contracts::{
    DEV_CHAIN_ID, DEV_TOKEN, DEV_TOKEN_NAME, DEV_TOKEN_VERSION, ERC3009_DEPOSIT_COLLECTOR,
};
use rialto_chain::devchain::{self, DEV_ACCOUNTS, DevChain, Server};
use rialto_channels::{
    Amount, ChannelConfig, ChannelId, SigningKey, TokenDomain, TransferAuthorization, Voucher,
    digest,
};
use rialto_node::{
    Arguments, CallError, CallOutcome, CallRequest, ChainChoice, ChannelPayment, ChannelView,
    Config, Deposit, ExactPayment, Isolation, Node, Payment, Program, Progress, StartError,
};
use rialto_testkit::guests;
use rialto_testkit::proxy::Proxy;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

/// Signs transactions for the provider.
const HOST: usize = 0;
const PROVIDER: usize = 1;
pub(crate) const PAYER: usize = 5;
pub(crate) const OTHER_PAYER: usize = 6;
/// Asks the chain for the tests, so as not to disturb the host's nonces.
const ONLOOKER: usize = 7;

pub(crate) struct World {
    pub(crate) chain: DevChain,
    pub(crate) proxy: Proxy,
    pub(crate) node: Node,
    pub(crate) client: ChainClient,
    config: Config,
    dir: TempDir,
    _server: Server,
}

impl World {
    pub(crate) async fn start(change: impl FnOnce(&mut Config)) -> Self {
        let chain = DevChain::open(devchain::Config::default()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = chain.serve(listener).unwrap();
        let proxy = Proxy::before(&server.url()).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        install(&dir.path().join("services"));
        let mut config = Config::in_dir(dir.path().join("data"));
        config.services_dir = dir.path().join("services");
        config.chain = ChainChoice::Rpc {
            url: proxy.url().to_owned(),
            chain_id: DEV_CHAIN_ID,
        };
        config.payout = Some(DEV_ACCOUNTS[PROVIDER].address);
        config.payments.watch_every = Duration::from_millis(50);
        config.payments.withdraw_delay = 900;
        isolate(&mut config);
        change(&mut config);
        let key = config.data_dir.join("keys").join("host.key");
        rialto_node::keys::store(&key, &DEV_ACCOUNTS[HOST].key.0).unwrap();
        let node = started(&config).await;
        let onlooker = DEV_ACCOUNTS[ONLOOKER].key;
        let client = ClientConfig::new(server.url(), DEV_CHAIN_ID, onlooker);
        Self {
            client: ChainClient::connect(client).await.unwrap(),
            chain,
            proxy,
            node,
            config,
            dir,
            _server: server,
        }
    }

    /// Stops the node, lets `between` happen, and starts it again on the same folder.
    pub(crate) async fn restart<F: Future>(self, between: impl FnOnce(PathBuf) -> F) -> Self {
        let Self {
            chain,
            proxy,
            node,
            client,
            config,
            dir,
            _server,
        } = self;
        node.shutdown().await;
        drop(node);
        between(config.data_dir.clone()).await;
        let node = started(&config).await;
        Self {
            chain,
            proxy,
            node,
            client,
            config,
            dir,
            _server,
        }
    }

    /// Stops the node and starts it again with another configuration.
    pub(crate) async fn reconfigured(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self.restart(async |_| ()).await
    }

    pub(crate) async fn rpc(&self, method: &str, params: Value) -> Value {
        self.chain.request(method, params).await.unwrap()
    }

    /// A mark to [`reorganise`](Self::reorganise) from.
    pub(crate) async fn mark(&self) -> Value {
        self.rpc("evm_snapshot", json!([])).await
    }

    /// Takes back all blocks since the mark and puts others in their place.
    pub(crate) async fn reorganise(&self, mark: Value, blocks: u64, later_secs: u64) {
        assert_eq!(self.rpc("evm_revert", json!([mark])).await, json!(true));
        self.rpc("evm_increaseTime", json!([later_secs])).await;
        for _ in 0..blocks {
            self.rpc("evm_mine", json!([])).await;
        }
    }

    /// The terms that this node demands, told apart by `salt`.
    pub(crate) fn terms(&self, salt: u8) -> ChannelConfig {
        ChannelConfig {
            payer: DEV_ACCOUNTS[PAYER].address,
            payer_authorizer: DEV_ACCOUNTS[PAYER].address,
            receiver: DEV_ACCOUNTS[PROVIDER].address,
            receiver_authorizer: DEV_ACCOUNTS[HOST].address,
            token: DEV_TOKEN,
            withdraw_delay: 900,
            salt: B256::with_last_byte(salt),
        }
    }

    pub(crate) fn id(&self, salt: u8) -> ChannelId {
        self.terms(salt).id(&self.client.domain())
    }

    pub(crate) fn view(&self, salt: u8) -> ChannelView {
        self.node.channel(self.id(salt)).unwrap()
    }

    /// The payer's own client: it can withdraw.
    pub(crate) async fn payer(&self) -> ChainClient {
        let url = format!("http://{}", self._server.address());
        let config = ClientConfig::new(url, DEV_CHAIN_ID, DEV_ACCOUNTS[PAYER].key);
        ChainClient::connect(config).await.unwrap()
    }

    pub(crate) fn voucher(&self, salt: u8, ceiling: u128) -> rialto_channels::SignedVoucher {
        let voucher = Voucher {
            channel: self.id(salt),
            ceiling: Amount::new(ceiling),
        };
        voucher.sign(&self.client.domain(), &key(PAYER))
    }

    /// A payment on another channel than those of [`terms`](Self::terms), with its deposit.
    pub(crate) async fn payment_on(
        &self,
        (config, payer): (ChannelConfig, usize),
        ceiling: u128,
        deposit: u128,
    ) -> ChannelPayment {
        let domain = self.client.domain();
        let channel = config.id(&domain);
        let ceiling = Amount::new(ceiling);
        ChannelPayment {
            voucher: Voucher { channel, ceiling }.sign(&domain, &key(payer)),
            deposit: Some(self.deposit_into((channel, payer), deposit, 9).await),
            config,
            channel,
            payment_id: None,
        }
    }

    /// A payment of up to `ceiling` in all, perhaps with a deposit.
    pub(crate) async fn payment(
        &self,
        salt: u8,
        ceiling: u128,
        deposit: Option<u128>,
    ) -> ChannelPayment {
        let deposit = match deposit {
            Some(amount) => Some(self.deposit(salt, amount).await),
            None => None,
        };
        ChannelPayment {
            config: self.terms(salt),
            channel: self.id(salt),
            voucher: self.voucher(salt, ceiling),
            deposit,
            payment_id: None,
        }
    }

    async fn deposit(&self, salt: u8, amount: u128) -> Deposit {
        self.deposit_under(salt, amount, salt).await
    }

    /// A deposit into a channel, under a nonce of its own.
    pub(crate) async fn deposit_under(&self, salt: u8, amount: u128, nonce: u8) -> Deposit {
        self.deposit_into((self.id(salt), PAYER), amount, nonce)
            .await
    }

    async fn deposit_into(
        &self,
        (channel, payer): (ChannelId, usize),
        amount: u128,
        nonce: u8,
    ) -> Deposit {
        let amount = Amount::new(amount);
        let nonce = B256::with_last_byte(nonce);
        let message = TransferAuthorization {
            from: DEV_ACCOUNTS[payer].address,
            to: ERC3009_DEPOSIT_COLLECTOR,
            value: amount,
            valid_after: 0,
            valid_before: self.client.now().await.unwrap().get() + 600,
            nonce: digest::deposit_nonce(&channel, nonce),
        };
        let digest = digest::receive_authorization(&token(), &message);
        Deposit {
            amount,
            consent: AnyConsent::Erc3009(DepositAuthorization {
                valid_after: message.valid_after,
                valid_before: message.valid_before,
                salt: nonce,
                signature: key(payer).sign(digest).to_bytes().to_vec(),
            }),
        }
    }

    /// Calls `hostile.METHOD`, which costs 100.
    pub(crate) async fn call(
        &self,
        method: &str,
        payment: ChannelPayment,
    ) -> Result<CallOutcome, CallError> {
        self.call_at_most(method, payment, u128::MAX).await
    }

    /// The same by one who was told this price.
    pub(crate) async fn call_at_most(
        &self,
        method: &str,
        payment: ChannelPayment,
        price_max: u128,
    ) -> Result<CallOutcome, CallError> {
        let parameters = if method == "echo" {
            json!({ "text": "hello" }).to_string()
        } else {
            "{}".to_owned()
        };
        let request = CallRequest {
            price_max: Amount::new(price_max),
            service: "hostile".to_owned(),
            method: method.to_owned(),
            arguments: Arguments::Json(Bytes::from(parameters)),
            body_digest: rand::random(),
            body_bytes: 20,
            payment: Payment::Channel(Box::new(payment)),
            lineage: rialto_node::Lineage::default(),
        };
        self.node.call(request).await
    }

    /// Calls `echo` of a service that is free.
    pub(crate) async fn call_free(&self, service: &str) -> Result<CallOutcome, CallError> {
        self.call_free_method(service, "echo").await
    }

    /// Calls a method that is free.
    pub(crate) async fn call_free_method(
        &self,
        service: &str,
        method: &str,
    ) -> Result<CallOutcome, CallError> {
        let parameters = if method == "echo" {
            json!({ "text": "hello" })
        } else {
            json!({})
        };
        let request = CallRequest {
            price_max: Amount::ZERO,
            service: service.to_owned(),
            method: method.to_owned(),
            arguments: Arguments::Json(Bytes::from(parameters.to_string())),
            body_digest: rand::random(),
            body_bytes: 20,
            payment: Payment::None,
            lineage: rialto_node::Lineage::default(),
        };
        self.node.call(request).await
    }

    /// A transfer of the price by the payer, valid for ten minutes.
    pub(crate) async fn transfer(&self, nonce: u8) -> ExactPayment {
        self.transfer_of(PAYER, nonce).await
    }

    /// The same by another payer.
    pub(crate) async fn transfer_of(&self, payer: usize, nonce: u8) -> ExactPayment {
        let authorization = TransferAuthorization {
            from: DEV_ACCOUNTS[payer].address,
            to: DEV_ACCOUNTS[PROVIDER].address,
            value: Amount::new(100),
            valid_after: 0,
            valid_before: self.client.now().await.unwrap().get() + 600,
            nonce: B256::repeat_byte(nonce),
        };
        let digest = digest::transfer_authorization(&token(), &authorization);
        ExactPayment {
            authorization,
            signature: key(payer).sign(digest).to_bytes().to_vec().into(),
            payment_id: None,
        }
    }

    /// Uses up a payment's nonce for another transfer, which somebody else submits.
    pub(crate) async fn spend_nonce(&self, payment: &ExactPayment) {
        let other = TransferAuthorization {
            to: DEV_ACCOUNTS[ONLOOKER].address,
            value: Amount::new(1),
            ..payment.authorization
        };
        self.submit(PAYER, &other).await;
    }

    /// Another transfer under a payment's nonce, by the same payer: of `value`, to itself or to whom
    /// the payment is.
    pub(crate) fn signed_again(
        &self,
        payment: &ExactPayment,
        to_itself: bool,
        value: u128,
    ) -> ExactPayment {
        let mut authorization = payment.authorization;
        authorization.value = Amount::new(value);
        if to_itself {
            authorization.to = authorization.from;
        }
        let digest = digest::transfer_authorization(&token(), &authorization);
        ExactPayment {
            authorization,
            signature: key(PAYER).sign(digest).to_bytes().to_vec().into(),
            payment_id: None,
        }
    }

    /// Takes everything that the payer holds away from it; returns how much.
    pub(crate) async fn empty_purse(&self) -> Amount {
        let held = self.client.token_balance(DEV_ACCOUNTS[PAYER].address);
        let held = held.await.unwrap();
        self.give((PAYER, ONLOOKER), held).await;
        held
    }

    /// Gives it back.
    pub(crate) async fn fill_purse(&self, held: Amount) {
        self.give((ONLOOKER, PAYER), held).await;
    }

    async fn give(&self, (from, to): (usize, usize), value: Amount) {
        let transfer = TransferAuthorization {
            from: DEV_ACCOUNTS[from].address,
            to: DEV_ACCOUNTS[to].address,
            value,
            valid_after: 0,
            valid_before: u64::MAX,
            nonce: rand::random::<[u8; 32]>().into(),
        };
        self.submit(from, &transfer).await;
    }

    async fn submit(&self, signer: usize, transfer: &TransferAuthorization) {
        let digest = digest::transfer_authorization(&token(), transfer);
        let signature = key(signer).sign(digest).to_bytes();
        let made = self
            .client
            .transfer_with_authorization(transfer, &signature);
        made.await.unwrap();
    }

    pub(crate) fn data_dir(&self) -> &Path {
        &self.config.data_dir
    }

    /// What the provider holds.
    pub(crate) async fn earned(&self) -> u128 {
        let provider = DEV_ACCOUNTS[PROVIDER].address;
        self.client.token_balance(provider).await.unwrap().get()
    }

    /// One paid call that succeeds.
    pub(crate) async fn pay(&self, salt: u8, ceiling: u128, deposit: Option<u128>) -> CallOutcome {
        let payment = self.payment(salt, ceiling, deposit).await;
        self.call("echo", payment).await.unwrap()
    }

    /// Transactions of the host that were mined.
    pub(crate) async fn host_nonce(&self) -> u64 {
        let params = json!([DEV_ACCOUNTS[HOST].address, "latest"]);
        let count = self.rpc("eth_getTransactionCount", params).await;
        let digits = count.as_str().unwrap().trim_start_matches("0x");
        u64::from_str_radix(digits, 16).unwrap()
    }

    /// How much is begun on the chain and not over.
    pub(crate) fn left_behind(&self) -> usize {
        std::fs::read_dir(self.config.data_dir.join("pending"))
            .unwrap()
            .count()
    }

    /// How many deposits can be made again.
    pub(crate) fn kept_deposits(&self) -> usize {
        let folder = self.config.data_dir.join("deposits");
        std::fs::read_dir(folder).unwrap().count()
    }

    pub(crate) fn ledger_folder(&self) -> PathBuf {
        self.config.data_dir.join("ledger")
    }

    /// Lets go of everything but the folder. The node was shut down before.
    pub(crate) fn close(self) -> TempDir {
        self.dir
    }

    /// Waits until something is so; it has to come by itself.
    pub(crate) async fn until(&self, what: &str, so: impl AsyncFn() -> bool) {
        let give_up = Instant::now() + Duration::from_secs(30);
        while !so().await {
            assert!(Instant::now() < give_up, "never: {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A node on the folder, once the one before has let go of it: its last tasks may still end.
async fn started(config: &Config) -> Node {
    let give_up = Instant::now() + Duration::from_secs(30);
    loop {
        match Node::start(config.clone(), &Progress::silent()).await {
            Err(StartError::InUse { .. } | StartError::State(_)) if Instant::now() < give_up => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            started => return started.unwrap(),
        }
    }
}

/// The ledger of a node that was closed, once its last tasks have let go of it.
pub(crate) async fn at_rest(folder: &Path) -> rialto_ledger::Ledger {
    let give_up = Instant::now() + Duration::from_secs(30);
    loop {
        match rialto_ledger::Ledger::open(folder, rialto_ledger::Config::default()) {
            Err(_) if Instant::now() < give_up => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            opened => return opened.unwrap(),
        }
    }
}

fn token() -> TokenDomain {
    TokenDomain {
        chain_id: DEV_CHAIN_ID,
        token: DEV_TOKEN,
        name: DEV_TOKEN_NAME.to_owned(),
        version: DEV_TOKEN_VERSION.to_owned(),
    }
}

fn key(index: usize) -> SigningKey {
    SigningKey::from_bytes(&DEV_ACCOUNTS[index].key.0).unwrap()
}

/// Where services run: this file is a part of two programs, and in `cells` each has a process of its own,
/// which is that program again with one of its tests to do.
fn isolate(config: &mut Config) {
    if env!("CARGO_CRATE_NAME") != "cells" {
        return;
    }
    config.sandbox.isolation = Isolation::Process;
    config.sandbox.cell = Some(Program {
        file: std::env::current_exe().unwrap(),
        arguments: [CELL_TEST, "--exact", "--nocapture"]
            .map(Into::into)
            .to_vec(),
        environment: vec![(CELL_MODE.into(), "serve".into())],
    });
}

pub(crate) const CELL_MODE: &str = "RIALTO_TEST_CELL";
pub(crate) const CELL_TEST: &str = "serves_as_a_cell";

fn install(services: &Path) {
    let prices = "[prices.echo]\ncall = \"100\"\n[prices.trap]\ncall = \"100\"\n";
    install_as(&services.join("hostile"), "hostile", "0.1.0", prices);
}

/// The hostile guest as a service; each name and version has a component of its own.
pub(crate) fn install_as(folder: &Path, name: &str, version: &str, prices: &str) {
    std::fs::create_dir_all(folder).unwrap();
    let mut component = guests::component(guests::HOSTILE).unwrap();
    // A custom section, which changes the digest and nothing else.
    let label = format!("{name} {version}");
    let bytes = u8::try_from(label.len()).unwrap();
    component.extend([0, bytes + 1, bytes]);
    component.extend(label.as_bytes());
    std::fs::write(folder.join("component.wasm"), component).unwrap();
    let manifest = format!(
        "name = \"{name}\"\nversion = \"{version}\"\ndescription = \"A guest for tests.\"\n\
         license = \"Apache-2.0\"\n[limits]\ntime_ms_max = 1500\n{prices}"
    );
    std::fs::write(folder.join("service.toml"), manifest).unwrap();
}
