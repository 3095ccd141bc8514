// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

import {ChannelConfig, ChannelId, VoucherClaim} from "../Types.sol";

/// @title Payment channels of the x402 `batch-settlement` scheme
/// @notice One-way channels from a payer to a receiver. The payer escrows tokens and signs vouchers off
/// chain, each a cumulative ceiling; the receiver's side claims what was charged, in batches, and sweeps
/// the claims of all its channels at once.
/// @dev Functions, events, errors and digests equal those of the canonical x402 deployment, so that every
/// unmodified client and facilitator works with either. (Its constructor-only errors have no counterpart:
/// this code runs no constructor.)
///
/// Invariants, at the end of every transaction:
/// - I1 (solvent) For each token, what this contract owns is at least the sum over channels of
///   `balance - totalClaimed` plus the sum over receivers of `totalClaimed - totalSettled`. It is equal
///   as long as nobody sends tokens here outside `deposit`.
/// - I2 `totalClaimed <= balance` for every channel.
/// - I3 `totalClaimed` (channel and receiver), `totalSettled` and `refundNonce` never fall.
/// - I4 A channel's `totalClaimed` grows only with a voucher of the payer's side whose ceiling is not
///   below the new value, and only with the assent of the receiver's side.
/// - I5 A receiver's `totalClaimed` in a token is the sum of `totalClaimed` of its channels in that
///   token, and `totalSettled <= totalClaimed`.
/// - I6 Escrow leaves only to the channel's payer (refund, withdrawal) or to its receiver (settlement),
///   whoever sends the transaction.
/// - I7 Each refund uses up one nonce, so a signed refund runs at most once.
/// - I8 A withdrawal pays nothing before `initiatedAt + withdrawDelay` and never touches what has been
///   claimed by then.
/// - I9 A deposit credits exactly what arrived, or reverts.
/// - I10 No function that moves money or changes state is entered while another one is running.
/// - I11 All state hangs on the channel id, which binds every field of the config, the chain and this
///   contract.
interface IBatchSettlement {
    // ---------------------------------------------------------------- events

    /// @notice An empty channel got its first tokens.
    event ChannelCreated(ChannelId indexed channelId, ChannelConfig config);
    /// @notice A channel from which nothing was ever claimed was emptied.
    event ChannelClosed(ChannelId indexed channelId, ChannelConfig config);
    /// @notice `amount` entered the escrow, which now holds `newBalance`.
    event Deposited(ChannelId indexed channelId, address indexed sender, uint128 amount, uint128 newBalance);
    /// @notice `claimAmount` more belongs to the receiver, `newTotalClaimed` in all.
    event Claimed(ChannelId indexed channelId, address indexed sender, uint128 claimAmount, uint128 newTotalClaimed);
    /// @notice `amount` was paid out to the receiver.
    event Settled(address indexed receiver, address indexed token, address indexed sender, uint128 amount);
    /// @notice `amount` went back to the payer by agreement.
    event Refunded(ChannelId indexed channelId, address indexed sender, uint128 amount);
    /// @notice The payer's side asked for `amount`; it can take it once block time reaches `finalizeAfter`.
    event WithdrawInitiated(ChannelId indexed channelId, uint128 amount, uint40 finalizeAfter);
    /// @notice A withdrawal ended and paid `amount` to the payer.
    event WithdrawFinalized(ChannelId indexed channelId, address indexed sender, uint128 amount);

    // ---------------------------------------------------------------- errors

    /// @notice A party or the token is the zero address, or the caller is not the payer's side of the channel.
    error InvalidChannel();
    /// @notice A deposit of nothing.
    error ZeroDeposit();
    /// @notice The channel's balance would not fit 128 bits.
    error DepositOverflow();
    /// @notice The signature is not by the party that has to sign.
    error InvalidSignature();
    /// @notice The rows of one signed batch name different receiver authorizers.
    error NotReceiverAuthorizer();
    /// @notice The caller is not on the receiver's side of a row.
    error NotAuthorizedToClaim();
    /// @notice The caller is not on the receiver's side of the channel.
    error NotAuthorizedToRefund();
    /// @notice A row takes more than its voucher allows (I4).
    error ClaimExceedsCeiling();
    /// @notice A row takes more than the channel holds (I2).
    error ClaimExceedsBalance();
    /// @notice A withdrawal is already pending.
    error WithdrawalAlreadyPending();
    /// @notice No withdrawal is pending.
    error WithdrawalNotPending();
    /// @notice The caller is not on the payer's side of the channel.
    error NotAuthorizedToFinalizeWithdraw();
    /// @notice The withdrawal's delay is not over (I8).
    error WithdrawDelayNotElapsed();
    /// @notice A withdrawal of nothing.
    error NothingToWithdraw();
    /// @notice A withdrawal of more than the unclaimed escrow.
    error WithdrawAmountExceedsAvailable();
    /// @notice `withdrawDelay` is outside `MIN_WITHDRAW_DELAY..=MAX_WITHDRAW_DELAY`.
    error WithdrawDelayOutOfRange();
    /// @notice A claim without rows.
    error EmptyBatch();
    /// @notice The collector delivered another amount than it was asked for (I9).
    error DepositCollectionFailed();
    /// @notice The collector is the zero address.
    error InvalidCollector();
    /// @notice The signed refund is not for the channel's current nonce (I7).
    error InvalidRefundNonce();
    /// @notice A refund of nothing.
    error ZeroRefund();

    // ---------------------------------------------------------------- payer

    /// @notice Moves `amount` from the payer into the channel. Anyone may relay it.
    /// @param collector Pulls the tokens; it checks the payer's consent.
    /// @param collectorData For the collector: the payer's signature and what it covers.
    function deposit(ChannelConfig calldata config, uint128 amount, address collector, bytes calldata collectorData)
        external;

    /// @notice Starts to take `amount` of unclaimed escrow back without the receiver's help.
    /// @dev Only `payer` or `payerAuthorizer`. The receiver's side has `withdrawDelay` seconds to claim.
    function initiateWithdraw(ChannelConfig calldata config, uint128 amount) external;

    /// @notice Ends a withdrawal whose delay is over; pays at most what is unclaimed by then.
    /// @dev Only `payer` or `payerAuthorizer`; the money goes to `payer` in either case (I6).
    function finalizeWithdraw(ChannelConfig calldata config) external;

    // ---------------------------------------------------------------- receiver

    /// @notice Claims rows whose receiver or receiver authorizer is the caller.
    /// @dev A row that takes no more than was claimed before is skipped; any other bad row reverts all.
    function claim(VoucherClaim[] calldata voucherClaims) external;

    /// @notice Claims rows that share one receiver authorizer, who signed `getClaimBatchDigest`.
    /// Anyone may relay it, and the receivers may differ.
    function claimWithSignature(VoucherClaim[] calldata voucherClaims, bytes calldata authorizerSignature) external;

    /// @notice Pays a receiver all that it claimed and has not been paid in `token`. Anyone may call it.
    /// @dev Does nothing when nothing is due.
    function settle(address receiver, address token) external;

    /// @notice Gives `amount`, at most what is unclaimed, back to the payer. Only the receiver's side.
    /// @dev Lowers a pending withdrawal by as much. Uses up a refund nonce even when nothing is left to give.
    function refund(ChannelConfig calldata config, uint128 amount) external;

    /// @notice `refund` by the receiver authorizer's signature over `getRefundDigest`. Anyone may relay it.
    function refundWithSignature(
        ChannelConfig calldata config,
        uint128 amount,
        uint256 nonce,
        bytes calldata receiverAuthorizerSignature
    ) external;

    /// @notice Runs several calls of this contract in one transaction, all or none.
    function multicall(bytes[] calldata data) external returns (bytes[] memory results);

    // ---------------------------------------------------------------- views

    function channels(ChannelId channelId) external view returns (uint128 balance, uint128 totalClaimed);
    function pendingWithdrawals(ChannelId channelId) external view returns (uint128 amount, uint40 initiatedAt);
    function refundNonce(ChannelId channelId) external view returns (uint256);
    function receivers(address receiver, address token)
        external
        view
        returns (uint128 totalClaimed, uint128 totalSettled);

    /// @notice The id of the channel with this config, on this chain and contract (I11).
    function getChannelId(ChannelConfig calldata config) external view returns (ChannelId);
    /// @notice What the payer's side signs.
    function getVoucherDigest(ChannelId channelId, uint128 maxClaimableAmount) external view returns (bytes32);
    /// @notice What the receiver authorizer signs for a refund.
    function getRefundDigest(ChannelId channelId, uint256 nonce, uint128 amount) external view returns (bytes32);
    /// @notice What the receiver authorizer signs for a batch of claims.
    function getClaimBatchDigest(VoucherClaim[] calldata voucherClaims) external view returns (bytes32);

    /// @notice Shortest withdrawal delay, in seconds.
    function MIN_WITHDRAW_DELAY() external view returns (uint40);
    /// @notice Longest withdrawal delay, in seconds.
    function MAX_WITHDRAW_DELAY() external view returns (uint40);
    function CHANNEL_CONFIG_TYPEHASH() external view returns (bytes32);
    function VOUCHER_TYPEHASH() external view returns (bytes32);
    function REFUND_TYPEHASH() external view returns (bytes32);
    function CLAIM_ENTRY_TYPEHASH() external view returns (bytes32);
    function CLAIM_BATCH_TYPEHASH() external view returns (bytes32);

    /// @notice The EIP-712 domain, as EIP-5267 describes it.
    function eip712Domain()
        external
        view
        returns (
            bytes1 fields,
            string memory name,
            string memory version,
            uint256 chainId,
            address verifyingContract,
            bytes32 salt,
            uint256[] memory extensions
        );
}
