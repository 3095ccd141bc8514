//! The EIP-712 structures of the protocol, as Solidity writes them. Names and fields are part of
//! the hashes: changing one changes every digest.

pub(crate) mod settlement {
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

pub(crate) mod rialto {
    alloy_sol_types::sol! {
        struct Usage {
            uint64 guestTimeMicros;
            uint64 hostTimeMicros;
            uint64 memoryPeakBytes;
            uint64 hostCalls;
            uint64 inputBytes;
            uint64 outputBytes;
            uint64 tensorRuns;
        }
        struct Receipt {
            bytes32 id;
            bytes32 channelId;
            address payer;
            address provider;
            uint64 chainId;
            address token;
            string service;
            string version;
            bytes32 component;
            bytes32[] models;
            string method;
            bytes32 request;
            bytes32 response;
            Usage usage;
            uint128 price;
            uint128 before;
            uint128 charged;
            uint128 after;
            uint64 issuedAt;
            string engine;
            bool deterministic;
            bytes32 previous;
        }
    }
}

/// Receipts of calls that used a device: the same, and what of it they used.
pub(crate) mod device {
    alloy_sol_types::sol! {
        struct Usage {
            uint64 guestTimeMicros;
            uint64 hostTimeMicros;
            uint64 memoryPeakBytes;
            uint64 hostCalls;
            uint64 inputBytes;
            uint64 outputBytes;
            uint64 tensorRuns;
            uint64 deviceTimeMicros;
            uint64 multiplyAdds;
            uint64 movedBytes;
            uint64 tokensRead;
            uint64 tokensWritten;
        }
        struct Receipt {
            bytes32 id;
            bytes32 channelId;
            address payer;
            address provider;
            uint64 chainId;
            address token;
            string service;
            string version;
            bytes32 component;
            bytes32[] models;
            string method;
            bytes32 request;
            bytes32 response;
            Usage usage;
            uint128 price;
            uint128 before;
            uint128 charged;
            uint128 after;
            uint64 issuedAt;
            string engine;
            bool deterministic;
            bytes32 previous;
        }
    }
}

/// Receipts that tell all that was metered: the same, and what no price counts.
pub(crate) mod metered {
    alloy_sol_types::sol! {
        struct Usage {
            uint64 guestTimeMicros;
            uint64 hostTimeMicros;
            uint64 memoryPeakBytes;
            uint64 hostCalls;
            uint64 inputBytes;
            uint64 outputBytes;
            uint64 tensorRuns;
            uint64 deviceTimeMicros;
            uint64 multiplyAdds;
            uint64 movedBytes;
            uint64 tokensRead;
            uint64 tokensWritten;
            uint64 wallTimeMicros;
            uint64 waitedMicros;
            uint64 tablePeakElements;
            uint64 handlesPeak;
            uint64 hostBytes;
            uint64 tensorPeakBytes;
            uint64 sessionPeakBytes;
            uint64 outboundRequests;
            uint64 outboundBytes;
            uint64 stateBytes;
            uint64 logLines;
        }
        struct Receipt {
            bytes32 id;
            bytes32 channelId;
            address payer;
            address provider;
            uint64 chainId;
            address token;
            string service;
            string version;
            bytes32 component;
            bytes32[] models;
            string method;
            bytes32 request;
            bytes32 response;
            Usage usage;
            uint128 price;
            uint128 before;
            uint128 charged;
            uint128 after;
            uint64 issuedAt;
            string engine;
            bool deterministic;
            bytes32 previous;
        }
    }
}
