// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

/// @notice Names a channel: the EIP-712 digest of its `ChannelConfig`. A plain `bytes32` in the ABI.
type ChannelId is bytes32;

/// @notice Everything that is fixed for the life of a channel.
/// @dev The field order is the order of the EIP-712 type and must not change.
struct ChannelConfig {
    /// Owns the escrow: deposits come from here, refunds and withdrawals go back here.
    address payer;
    /// Signs vouchers (a session key). Zero: the payer itself signs, by EIP-1271 when it is a contract.
    address payerAuthorizer;
    /// Is paid by `settle`, and nobody else ever is.
    address receiver;
    /// Signs claim batches and refunds for the receiver.
    address receiverAuthorizer;
    /// The ERC-20 held in escrow.
    address token;
    /// Seconds between the start and the end of a withdrawal.
    uint40 withdrawDelay;
    /// Tells apart channels that are otherwise equal.
    bytes32 salt;
}

/// @notice What a channel holds, in base units of its token.
struct ChannelState {
    /// All that was deposited, less refunds and withdrawals. A claim does not lower it.
    uint128 balance;
    /// The part of `balance` that belongs to the receiver.
    uint128 totalClaimed;
}

/// @notice A withdrawal that waits for its delay.
struct WithdrawalState {
    /// Asked for, in base units; what is available at the end caps it.
    uint128 amount;
    /// Block time of the start, in seconds; zero when none is pending.
    uint40 initiatedAt;
}

/// @notice What one receiver earned in one token over all of its channels, in base units.
struct ReceiverState {
    uint128 totalClaimed;
    uint128 totalSettled;
}

/// @notice The payer's cumulative ceiling for one channel.
struct Voucher {
    ChannelConfig channel;
    uint128 maxClaimableAmount;
}

/// @notice One row of a claim: a signed voucher and the cumulative amount taken under it.
struct VoucherClaim {
    Voucher voucher;
    bytes signature;
    uint128 totalClaimed;
}
