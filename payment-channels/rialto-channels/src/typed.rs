//! The EIP-712 structures of the protocol, as Solidity writes them. Names and fields are part of
//! the hashes: changing one changes every digest.

pub(crate) mod receipts;

pub(crate) mod settlement {
    use alloy_primitives::aliases::U40;

    alloy_sol_types::sol! {
        struct ChannelConfig {
            address payer;
            address payerAuthorizer;
            address receiver;
            address receiverAuthorizer;
            address token;
            uint40 withdrawDelay;
            bytes32 salt;
        }
        struct Voucher {
            bytes32 channelId;
            uint128 maxClaimableAmount;
        }
        struct Refund {
            bytes32 channelId;
            uint256 nonce;
            uint128 amount;
        }
        struct ClaimEntry {
            bytes32 channelId;
            uint128 maxClaimableAmount;
            uint128 totalClaimed;
        }
        struct ClaimBatch {
            ClaimEntry[] claims;
        }
    }

    impl From<&crate::ChannelConfig> for ChannelConfig {
        /// Of a delay outside `uint40`, which is outside the protocol, only what fits.
        fn from(config: &crate::ChannelConfig) -> Self {
            const U40_MASK: u64 = 0xff_ffff_ffff;
            Self {
                payer: config.payer,
                payerAuthorizer: config.payer_authorizer,
                receiver: config.receiver,
                receiverAuthorizer: config.receiver_authorizer,
                token: config.token,
                withdrawDelay: U40::from(config.withdraw_delay & U40_MASK),
                salt: config.salt,
            }
        }
    }
}

pub(crate) mod token {
    alloy_sol_types::sol! {
        struct TransferWithAuthorization {
            address from;
            address to;
            uint256 value;
            uint256 validAfter;
            uint256 validBefore;
            bytes32 nonce;
        }
        struct ReceiveWithAuthorization {
            address from;
            address to;
            uint256 value;
            uint256 validAfter;
            uint256 validBefore;
            bytes32 nonce;
        }
        struct Permit {
            address owner;
            address spender;
            uint256 value;
            uint256 nonce;
            uint256 deadline;
        }
    }
}
