//! Bindings of the compiled contracts, made from the artifacts themselves.

use alloy::sol;

sol! {
    #[sol(rpc)]
    #[derive(Debug, PartialEq, Eq)]
    BatchSettlement,
    "../contracts/artifacts/BatchSettlement.json"
}
sol! {
    #[sol(rpc)]
    #[derive(Debug, PartialEq, Eq)]
    Erc3009DepositCollector,
    "../contracts/artifacts/Erc3009DepositCollector.json"
}
sol! {
    #[sol(rpc)]
    #[derive(Debug, PartialEq, Eq)]
    Permit2DepositCollector,
    "../contracts/artifacts/Permit2DepositCollector.json"
}
sol! {
    #[sol(rpc)]
    #[derive(Debug, PartialEq, Eq)]
    DevPermit2,
    "../contracts/artifacts/DevPermit2.json"
}
sol! {
    #[sol(rpc)]
    #[derive(Debug, PartialEq, Eq)]
    RoyaltySplitter,
    "../contracts/artifacts/RoyaltySplitter.json"
}
sol! {
    #[sol(rpc)]
    #[derive(Debug, PartialEq, Eq)]
    RoyaltySplitterFactory,
    "../contracts/artifacts/RoyaltySplitterFactory.json"
}
sol! {
    #[sol(rpc)]
    #[derive(Debug, PartialEq, Eq)]
    IdentityRegistry,
    "../contracts/artifacts/IdentityRegistry.json"
}
sol! {
    #[sol(rpc)]
    #[derive(Debug, PartialEq, Eq)]
    ReputationRegistry,
    "../contracts/artifacts/ReputationRegistry.json"
}
sol! {
    #[sol(rpc)]
    #[derive(Debug, PartialEq, Eq)]
    DevToken,
    "../contracts/artifacts/DevToken.json"
}
sol! {
    #[sol(rpc)]
    #[derive(Debug, PartialEq, Eq)]
    HostileToken,
    "../contracts/artifacts/test/HostileToken.json"
}
sol! {
    #[sol(rpc)]
    #[derive(Debug, PartialEq, Eq)]
    TestCollector,
    "../contracts/artifacts/test/TestCollector.json"
}
sol! {
    #[sol(rpc)]
    #[derive(Debug, PartialEq, Eq)]
    TestWallet,
    "../contracts/artifacts/test/TestWallet.json"
}
sol! {
    #[sol(rpc)]
    #[derive(Debug, PartialEq, Eq)]
    TestReceiver,
    "../contracts/artifacts/test/TestReceiver.json"
}

/// The EIP-712 types once more, hashed by alloy: a second opinion on every digest.
pub(crate) mod typed {
    use alloy::sol;

    sol! {
        struct Voucher { bytes32 channelId; uint128 maxClaimableAmount; }
        struct Refund { bytes32 channelId; uint256 nonce; uint128 amount; }
        struct ClaimEntry { bytes32 channelId; uint128 maxClaimableAmount; uint128 totalClaimed; }
        struct ClaimBatch { ClaimEntry[] claims; }
        struct ChannelConfig {
            address payer; address payerAuthorizer; address receiver; address receiverAuthorizer;
            address token; uint40 withdrawDelay; bytes32 salt;
        }
        struct TransferWithAuthorization {
            address from; address to; uint256 value; uint256 validAfter; uint256 validBefore; bytes32 nonce;
        }
        struct ReceiveWithAuthorization {
            address from; address to; uint256 value; uint256 validAfter; uint256 validBefore; bytes32 nonce;
        }
        struct AgentWalletSet { uint256 agentId; address newWallet; address owner; uint256 deadline; }
        struct CancelAuthorization { address authorizer; bytes32 nonce; }
        struct Permit { address owner; address spender; uint256 value; uint256 nonce; uint256 deadline; }
        struct TokenPermissions { address token; uint256 amount; }
        struct DepositWitness { bytes32 channelId; }
        struct PermitWitnessTransferFrom {
            TokenPermissions permitted; address spender; uint256 nonce; uint256 deadline;
            DepositWitness witness;
        }
    }
}
