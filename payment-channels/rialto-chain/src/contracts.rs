//! The contracts that channels live on: addresses, Rust bindings and the code for development
//! chains.
//!
//! The bindings cover what Rialto calls; `contracts/src/interfaces` has every function with its
//! rules. Non-goals: deployment on public chains, where the canonical contracts are used.

use alloy::primitives::{Address, Bytes, U256, address, keccak256};
use alloy::sol_types::SolValue;
use serde::Deserialize;

pub use bindings::{IBatchSettlement, IErc3009, IErc3009DepositCollector};

/// The x402 batch-settlement contract, at the same address on every chain.
pub const BATCH_SETTLEMENT: Address = address!("4020074e9dF2ce1deE5A9C1b5c3f541D02a10003");
/// Its collector of EIP-3009 deposits, at the same address on every chain.
pub const ERC3009_DEPOSIT_COLLECTOR: Address = address!("4020806089470a89826cB9fB1f4059150b550004");
/// USDC on Base Sepolia, whose place the development token takes on a development chain.
pub const DEV_TOKEN: Address = address!("036CbD53842c5426634e7929541eC2318f3dCF7e");
/// The development token's EIP-712 name.
pub const DEV_TOKEN_NAME: &str = "USDC";
/// The development token's EIP-712 version.
pub const DEV_TOKEN_VERSION: &str = "2";
/// The chain id that unmodified x402 clients pair with [`DEV_TOKEN`]: Base Sepolia's.
pub const DEV_CHAIN_ID: u64 = 84_532;

/// The addresses that a client works with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The batch-settlement contract.
    pub settlement: Address,
    /// The collector of EIP-3009 deposits.
    pub collector: Address,
    /// The token that channels are funded with.
    pub token: Address,
}

impl Default for Addresses {
    /// The canonical contracts and the development token.
    fn default() -> Self {
        Self {
            settlement: BATCH_SETTLEMENT,
            collector: ERC3009_DEPOSIT_COLLECTOR,
            token: DEV_TOKEN,
        }
    }
}

/// A compiled contract as committed in `contracts/artifacts`.
#[derive(Clone, Debug, Deserialize)]
pub struct Artifact {
    /// The JSON ABI.
    pub abi: serde_json::Value,
    /// Creation code.
    pub bytecode: Bytes,
    /// Code as it stands on the chain.
    #[serde(rename = "deployedBytecode")]
    pub deployed_bytecode: Bytes,
}

impl Artifact {
    /// Our batch-settlement contract.
    ///
    /// # Errors
    /// If the committed file is damaged: a fault of the build.
    pub fn batch_settlement() -> Result<Self, serde_json::Error> {
        serde_json::from_str(include_str!(
            "../../contracts/artifacts/BatchSettlement.json"
        ))
    }

    /// Our collector of EIP-3009 deposits.
    ///
    /// # Errors
    /// If the committed file is damaged: a fault of the build.
    pub fn deposit_collector() -> Result<Self, serde_json::Error> {
        serde_json::from_str(include_str!(
            "../../contracts/artifacts/Erc3009DepositCollector.json"
        ))
    }

    /// The development token.
    ///
    /// # Errors
    /// If the committed file is damaged: a fault of the build.
    pub fn dev_token() -> Result<Self, serde_json::Error> {
        serde_json::from_str(include_str!("../../contracts/artifacts/DevToken.json"))
    }
}

/// Code and storage that a development chain starts with.
#[derive(Clone, Debug, Default)]
pub struct Placement {
    /// Contract code by address.
    pub code: Vec<(Address, Bytes)>,
    /// Storage values by address and slot.
    pub slots: Vec<(Address, U256, U256)>,
}

impl Placement {
    /// The three contracts at their addresses, and `balances` in the development token, in base
    /// units; `minter` may mint more. An account named twice gets the sum. The token's total
    /// supply is the sum of all (token invariant T1).
    ///
    /// # Errors
    /// If a committed artifact is damaged.
    pub fn development(
        balances: &[(Address, U256)],
        minter: Address,
    ) -> Result<Self, serde_json::Error> {
        let code = vec![
            (
                BATCH_SETTLEMENT,
                Artifact::batch_settlement()?.deployed_bytecode,
            ),
            (
                ERC3009_DEPOSIT_COLLECTOR,
                Artifact::deposit_collector()?.deployed_bytecode,
            ),
            (DEV_TOKEN, Artifact::dev_token()?.deployed_bytecode),
        ];
        let mut sums = std::collections::BTreeMap::<Address, U256>::new();
        let mut supply = U256::ZERO;
        for (account, balance) in balances {
            let sum = sums.entry(*account).or_default();
            *sum = sum.saturating_add(*balance);
            supply = supply.saturating_add(*balance);
        }
        let mut slots: Vec<_> = sums
            .into_iter()
            .map(|(account, balance)| (DEV_TOKEN, token_balance_slot(account), balance))
            .collect();
        slots.push((DEV_TOKEN, U256::from(TOKEN_SUPPLY_SLOT), supply));
        let minter = minter.into_word().into();
        slots.push((DEV_TOKEN, U256::from(TOKEN_MINTER_SLOT), minter));
        Ok(Self { code, slots })
    }
}

/// The storage slot of an account's balance in the development token.
#[must_use]
pub fn token_balance_slot(account: Address) -> U256 {
    keccak256((account, U256::from(TOKEN_BALANCES_SLOT)).abi_encode()).into()
}

/// The name of a custom error of our contracts, of `Error(string)` or of `Panic(uint256)`, by
/// the first four bytes of revert data.
#[must_use]
pub fn error_name(data: &[u8]) -> Option<&'static str> {
    let selector = *data.first_chunk::<4>()?;
    match selector {
        ERROR_STRING_SELECTOR => Some("Error"),
        PANIC_SELECTOR => Some("Panic"),
        _ => bindings::IBatchSettlement::IBatchSettlementErrors::name_by_selector(selector)
            .or_else(|| bindings::IErc3009::IErc3009Errors::name_by_selector(selector))
            .or_else(|| {
                bindings::IErc3009DepositCollector::IErc3009DepositCollectorErrors::name_by_selector(
                    selector,
                )
            }),
    }
}

/// `contracts/artifacts/genesis.json` lists the slots as the compiler numbers them.
const TOKEN_BALANCES_SLOT: u64 = 0;
const TOKEN_SUPPLY_SLOT: u64 = 2;
const TOKEN_MINTER_SLOT: u64 = 5;
/// `Error(string)`.
const ERROR_STRING_SELECTOR: [u8; 4] = [0x08, 0xc3, 0x79, 0xa0];
/// `Panic(uint256)`.
const PANIC_SELECTOR: [u8; 4] = [0x4e, 0x48, 0x7b, 0x71];

mod bindings {
    //! What `sol!` makes of the interfaces.

    alloy::sol! {
        /// Payment channels of the x402 `batch-settlement` scheme.
        #[derive(Debug, PartialEq, Eq)]
        interface IBatchSettlement {
            /// The terms of a channel.
            struct ChannelConfig {
                address payer;
                address payerAuthorizer;
                address receiver;
                address receiverAuthorizer;
                address token;
                uint40 withdrawDelay;
                bytes32 salt;
            }
            /// The payer's cumulative ceiling for one channel.
            struct Voucher {
                ChannelConfig channel;
                uint128 maxClaimableAmount;
            }
            /// One row of a claim.
            struct VoucherClaim {
                Voucher voucher;
                bytes signature;
                uint128 totalClaimed;
            }

            event ChannelCreated(bytes32 indexed channelId, ChannelConfig config);
            event ChannelClosed(bytes32 indexed channelId, ChannelConfig config);
            event Deposited(bytes32 indexed channelId, address indexed sender, uint128 amount, uint128 newBalance);
            event Claimed(bytes32 indexed channelId, address indexed sender, uint128 claimAmount, uint128 newTotalClaimed);
            event Settled(address indexed receiver, address indexed token, address indexed sender, uint128 amount);
            event Refunded(bytes32 indexed channelId, address indexed sender, uint128 amount);
            event WithdrawInitiated(bytes32 indexed channelId, uint128 amount, uint40 finalizeAfter);
            event WithdrawFinalized(bytes32 indexed channelId, address indexed sender, uint128 amount);

            error InvalidChannel();
            error ZeroDeposit();
            error DepositOverflow();
            error InvalidSignature();
            error NotReceiverAuthorizer();
            error NotAuthorizedToClaim();
            error NotAuthorizedToRefund();
            error ClaimExceedsCeiling();
            error ClaimExceedsBalance();
            error WithdrawalAlreadyPending();
            error WithdrawalNotPending();
            error NotAuthorizedToFinalizeWithdraw();
            error WithdrawDelayNotElapsed();
            error NothingToWithdraw();
            error WithdrawAmountExceedsAvailable();
            error WithdrawDelayOutOfRange();
            error EmptyBatch();
            error DepositCollectionFailed();
            error InvalidCollector();
            error InvalidRefundNonce();
            error ZeroRefund();
            error FailedCall();
            error ECDSAInvalidSignature();
            error ECDSAInvalidSignatureLength(uint256 length);
            error ECDSAInvalidSignatureS(bytes32 s);
            error ReentrancyGuardReentrantCall();
            error SafeERC20FailedOperation(address token);

            function deposit(ChannelConfig calldata config, uint128 amount, address collector, bytes calldata collectorData) external;
            function initiateWithdraw(ChannelConfig calldata config, uint128 amount) external;
            function finalizeWithdraw(ChannelConfig calldata config) external;
            function claim(VoucherClaim[] calldata voucherClaims) external;
            function claimWithSignature(VoucherClaim[] calldata voucherClaims, bytes calldata authorizerSignature) external;
            function settle(address receiver, address token) external;
            function refund(ChannelConfig calldata config, uint128 amount) external;
            function refundWithSignature(ChannelConfig calldata config, uint128 amount, uint256 nonce, bytes calldata receiverAuthorizerSignature) external;

            function channels(bytes32 channelId) external view returns (uint128 balance, uint128 totalClaimed);
            function pendingWithdrawals(bytes32 channelId) external view returns (uint128 amount, uint40 initiatedAt);
            function refundNonce(bytes32 channelId) external view returns (uint256);
            function receivers(address receiver, address token) external view returns (uint128 totalClaimed, uint128 totalSettled);
            function getChannelId(ChannelConfig calldata config) external view returns (bytes32);
        }

        /// A token with signed transfers (EIP-3009).
        #[derive(Debug, PartialEq, Eq)]
        interface IErc3009 {
            event Transfer(address indexed from, address indexed to, uint256 value);
            event AuthorizationUsed(address indexed authorizer, bytes32 indexed nonce);

            error AuthorizationNotYetValid(uint256 validAfter);
            error AuthorizationExpired(uint256 validBefore);
            error AuthorizationUsedOrCanceled(address authorizer, bytes32 nonce);
            error CallerMustBePayee(address caller, address payee);
            error ERC20InsufficientBalance(address sender, uint256 balance, uint256 needed);
            error ERC20InsufficientAllowance(address spender, uint256 allowance, uint256 needed);
            error ERC20InvalidReceiver(address receiver);
            error ERC20InvalidSpender(address spender);

            function balanceOf(address account) external view returns (uint256);
            function transfer(address to, uint256 value) external returns (bool);
            function authorizationState(address authorizer, bytes32 nonce) external view returns (bool);
            function transferWithAuthorization(address from, address to, uint256 value, uint256 validAfter, uint256 validBefore, bytes32 nonce, bytes calldata signature) external;
        }

        /// Pulls deposits by EIP-3009.
        #[derive(Debug, PartialEq, Eq)]
        interface IErc3009DepositCollector {
            error OnlyX402BatchSettlement();

            function x402BatchSettlement() external view returns (address);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy::json_abi::JsonAbi;

    use super::*;

    fn abi(artifact: Artifact) -> JsonAbi {
        serde_json::from_value(artifact.abi).unwrap()
    }

    #[test]
    fn every_bound_function_and_event_is_in_the_artifact() {
        use alloy::sol_types::SolInterface;
        use bindings::IBatchSettlement::{IBatchSettlementCalls, IBatchSettlementEvents};
        let settlement = abi(Artifact::batch_settlement().unwrap());
        for selector in IBatchSettlementCalls::selectors() {
            assert!(
                settlement.functions().any(|f| f.selector() == selector),
                "{:?}",
                IBatchSettlementCalls::name_by_selector(selector)
            );
        }
        for selector in IBatchSettlementEvents::SELECTORS {
            assert!(settlement.events().any(|e| e.selector().0 == *selector));
        }
        let token = abi(Artifact::dev_token().unwrap());
        for selector in bindings::IErc3009::IErc3009Calls::selectors() {
            assert!(token.functions().any(|f| f.selector() == selector));
        }
    }

    #[test]
    fn every_custom_error_of_the_artifacts_has_a_name() {
        for artifact in [
            Artifact::batch_settlement(),
            Artifact::deposit_collector(),
            Artifact::dev_token(),
        ] {
            for error in abi(artifact.unwrap()).errors() {
                let unused_by_us = [
                    "ERC2612ExpiredSignature",
                    "ERC2612InvalidSigner",
                    "OnlyMinter",
                ];
                if !unused_by_us.contains(&error.name.as_str()) {
                    let name = error_name(error.selector().as_slice());
                    assert_eq!(name, Some(error.name.as_str()));
                }
            }
        }
        assert_eq!(error_name(&[0, 1, 2, 3]), None);
        assert_eq!(error_name(&[0x08]), None);
    }
}
