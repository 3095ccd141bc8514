// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

import {IBatchSettlement} from "./interfaces/IBatchSettlement.sol";
import {IDepositCollector} from "./interfaces/IDepositCollector.sol";
import {IERC20} from "./interfaces/IERC20.sol";
import {Digests} from "./lib/Digests.sol";
import {Signatures} from "./lib/Signatures.sol";
import {TokenMoves} from "./lib/TokenMoves.sol";
import {TransientGuard} from "./lib/TransientGuard.sol";
import {ChannelConfig, ChannelId, ChannelState, ReceiverState, VoucherClaim, WithdrawalState} from "./Types.sol";

/// @title x402 `batch-settlement` channels
/// @notice See `IBatchSettlement` for the rules and the invariants I1 to I11.
/// @dev Made to be genesis code: no constructor, no immutables, all storage starts at zero.
contract BatchSettlement is IBatchSettlement, TransientGuard {
    /// @notice A call of `multicall` failed without a reason.
    error FailedCall();

    uint40 public constant MIN_WITHDRAW_DELAY = 15 minutes;
    uint40 public constant MAX_WITHDRAW_DELAY = 30 days;
    bytes32 public constant CHANNEL_CONFIG_TYPEHASH = Digests.CHANNEL_CONFIG;
    bytes32 public constant VOUCHER_TYPEHASH = Digests.VOUCHER;
    bytes32 public constant REFUND_TYPEHASH = Digests.REFUND;
    bytes32 public constant CLAIM_ENTRY_TYPEHASH = Digests.CLAIM_ENTRY;
    bytes32 public constant CLAIM_BATCH_TYPEHASH = Digests.CLAIM_BATCH;

    mapping(ChannelId channelId => ChannelState) public channels;
    mapping(ChannelId channelId => uint256) public refundNonce;
    mapping(ChannelId channelId => WithdrawalState) public pendingWithdrawals;
    mapping(address receiver => mapping(address token => ReceiverState)) public receivers;

    // ---------------------------------------------------------------- payer

    /// @inheritdoc IBatchSettlement
    function deposit(ChannelConfig calldata config, uint128 amount, address collector, bytes calldata collectorData)
        external
        nonReentrant
    {
        _checkConfig(config);
        if (amount == 0) revert ZeroDeposit();
        if (collector == address(0)) revert InvalidCollector();

        ChannelId id = Digests.channelId(Digests.settlement(), config);
        ChannelState storage channel = channels[id];
        uint128 before = channel.balance;
        if (amount > type(uint128).max - before) revert DepositOverflow();
        uint128 newBalance = before + amount;
        channel.balance = newBalance;
        // By I2, nothing was ever claimed from a channel without a balance.
        if (before == 0) emit ChannelCreated(id, config);
        emit Deposited(id, msg.sender, amount, newBalance);

        // I9: trust the token's books, not the collector's word.
        uint256 held = IERC20(config.token).balanceOf(address(this));
        IDepositCollector(collector).collect(config.payer, config.token, amount, id, collectorData);
        if (IERC20(config.token).balanceOf(address(this)) != held + amount) revert DepositCollectionFailed();
    }

    /// @inheritdoc IBatchSettlement
    function initiateWithdraw(ChannelConfig calldata config, uint128 amount) external nonReentrant {
        if (!_isPayerSide(config)) revert InvalidChannel();
        if (amount == 0) revert NothingToWithdraw();
        ChannelId id = Digests.channelId(Digests.settlement(), config);
        WithdrawalState storage pending = pendingWithdrawals[id];
        if (pending.initiatedAt != 0) revert WithdrawalAlreadyPending();
        if (amount > _unclaimed(channels[id])) revert WithdrawAmountExceedsAvailable();

        uint40 start = uint40(block.timestamp);
        pending.amount = amount;
        pending.initiatedAt = start;
        emit WithdrawInitiated(id, amount, start + config.withdrawDelay);
    }

    /// @inheritdoc IBatchSettlement
    function finalizeWithdraw(ChannelConfig calldata config) external nonReentrant {
        if (!_isPayerSide(config)) revert NotAuthorizedToFinalizeWithdraw();
        ChannelId id = Digests.channelId(Digests.settlement(), config);
        WithdrawalState memory pending = pendingWithdrawals[id];
        if (pending.initiatedAt == 0) revert WithdrawalNotPending();
        if (block.timestamp < uint256(pending.initiatedAt) + config.withdrawDelay) revert WithdrawDelayNotElapsed();

        delete pendingWithdrawals[id];
        ChannelState storage channel = channels[id];
        uint128 amount = _min(pending.amount, _unclaimed(channel));
        channel.balance -= amount;
        emit WithdrawFinalized(id, msg.sender, amount);
        _payBack(id, channel.balance, config, amount);
    }

    // ---------------------------------------------------------------- receiver

    /// @inheritdoc IBatchSettlement
    function claim(VoucherClaim[] calldata voucherClaims) external nonReentrant {
        if (voucherClaims.length == 0) revert EmptyBatch();
        bytes32 domain = Digests.settlement();
        for (uint256 i = 0; i < voucherClaims.length; ++i) {
            VoucherClaim calldata row = voucherClaims[i];
            if (!_isReceiverSide(row.voucher.channel)) revert NotAuthorizedToClaim();
            _claim(domain, row);
        }
    }

    /// @inheritdoc IBatchSettlement
    function claimWithSignature(VoucherClaim[] calldata voucherClaims, bytes calldata authorizerSignature)
        external
        nonReentrant
    {
        if (voucherClaims.length == 0) revert EmptyBatch();
        bytes32 domain = Digests.settlement();
        address authorizer = voucherClaims[0].voucher.channel.receiverAuthorizer;
        if (!Signatures.isValid(authorizer, Digests.claimBatch(domain, voucherClaims), authorizerSignature)) {
            revert InvalidSignature();
        }
        for (uint256 i = 0; i < voucherClaims.length; ++i) {
            VoucherClaim calldata row = voucherClaims[i];
            if (row.voucher.channel.receiverAuthorizer != authorizer) revert NotReceiverAuthorizer();
            _claim(domain, row);
        }
    }

    /// @inheritdoc IBatchSettlement
    function settle(address receiver, address token) external nonReentrant {
        ReceiverState storage due = receivers[receiver][token];
        uint128 total = due.totalClaimed;
        uint128 amount = total - due.totalSettled;
        if (amount == 0) return;
        due.totalSettled = total;
        emit Settled(receiver, token, msg.sender, amount);
        TokenMoves.send(token, receiver, amount);
    }

    /// @inheritdoc IBatchSettlement
    function refund(ChannelConfig calldata config, uint128 amount) external nonReentrant {
        if (!_isReceiverSide(config)) revert NotAuthorizedToRefund();
        _refund(Digests.channelId(Digests.settlement(), config), config, amount);
    }

    /// @inheritdoc IBatchSettlement
    function refundWithSignature(
        ChannelConfig calldata config,
        uint128 amount,
        uint256 nonce,
        bytes calldata receiverAuthorizerSignature
    ) external nonReentrant {
        bytes32 domain = Digests.settlement();
        ChannelId id = Digests.channelId(domain, config);
        if (nonce != refundNonce[id]) revert InvalidRefundNonce();
        bytes32 digest = Digests.refund(domain, id, nonce, amount);
        if (!Signatures.isValid(config.receiverAuthorizer, digest, receiverAuthorizerSignature)) {
            revert InvalidSignature();
        }
        _refund(id, config, amount);
    }

    /// @inheritdoc IBatchSettlement
    function multicall(bytes[] calldata data) external returns (bytes[] memory results) {
        results = new bytes[](data.length);
        for (uint256 i = 0; i < data.length; ++i) {
            // Each call enters and leaves the guard by itself; the sender stays the same.
            (bool ok, bytes memory answer) = address(this).delegatecall(data[i]);
            if (!ok) {
                if (answer.length == 0) revert FailedCall();
                assembly ("memory-safe") {
                    revert(add(answer, 0x20), mload(answer))
                }
            }
            results[i] = answer;
        }
    }

    // ---------------------------------------------------------------- views

    /// @inheritdoc IBatchSettlement
    function getChannelId(ChannelConfig calldata config) external view returns (ChannelId) {
        return Digests.channelId(Digests.settlement(), config);
    }

    /// @inheritdoc IBatchSettlement
    function getVoucherDigest(ChannelId channelId, uint128 maxClaimableAmount) external view returns (bytes32) {
        return Digests.voucher(Digests.settlement(), channelId, maxClaimableAmount);
    }

    /// @inheritdoc IBatchSettlement
    function getRefundDigest(ChannelId channelId, uint256 nonce, uint128 amount) external view returns (bytes32) {
        return Digests.refund(Digests.settlement(), channelId, nonce, amount);
    }

    /// @inheritdoc IBatchSettlement
    function getClaimBatchDigest(VoucherClaim[] calldata voucherClaims) external view returns (bytes32) {
        return Digests.claimBatch(Digests.settlement(), voucherClaims);
    }

    /// @inheritdoc IBatchSettlement
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
        )
    {
        // Bits 0 to 3: name, version, chainId, verifyingContract.
        return (0x0f, Digests.NAME, Digests.VERSION, block.chainid, address(this), 0, new uint256[](0));
    }

    // ---------------------------------------------------------------- inside

    function _checkConfig(ChannelConfig calldata config) private pure {
        bool complete = config.payer != address(0) && config.receiver != address(0)
            && config.receiverAuthorizer != address(0) && config.token != address(0);
        if (!complete) revert InvalidChannel();
        if (config.withdrawDelay < MIN_WITHDRAW_DELAY || config.withdrawDelay > MAX_WITHDRAW_DELAY) {
            revert WithdrawDelayOutOfRange();
        }
    }

    /// @dev One row. Upholds I2, I4 and I5.
    function _claim(bytes32 domain, VoucherClaim calldata row) private {
        ChannelConfig calldata config = row.voucher.channel;
        ChannelId id = Digests.channelId(domain, config);
        ChannelState storage channel = channels[id];
        uint128 before = channel.totalClaimed;
        if (row.totalClaimed <= before) return;
        if (row.totalClaimed > row.voucher.maxClaimableAmount) revert ClaimExceedsCeiling();
        if (row.totalClaimed > channel.balance) revert ClaimExceedsBalance();
        _checkVoucher(config, Digests.voucher(domain, id, row.voucher.maxClaimableAmount), row.signature);

        uint128 more = row.totalClaimed - before;
        channel.totalClaimed = row.totalClaimed;
        receivers[config.receiver][config.token].totalClaimed += more;
        emit Claimed(id, msg.sender, more, row.totalClaimed);
    }

    /// @dev A session key is always a plain key; without one the payer signs, key or contract.
    function _checkVoucher(ChannelConfig calldata config, bytes32 digest, bytes calldata signature) private view {
        bool good = config.payerAuthorizer == address(0)
            ? Signatures.isValid(config.payer, digest, signature)
            : Signatures.recover(digest, signature) == config.payerAuthorizer;
        if (!good) revert InvalidSignature();
    }

    function _refund(ChannelId id, ChannelConfig calldata config, uint128 asked) private {
        if (asked == 0) revert ZeroRefund();
        refundNonce[id] += 1;
        ChannelState storage channel = channels[id];
        uint128 amount = _min(asked, _unclaimed(channel));
        if (amount == 0) return;
        channel.balance -= amount;

        WithdrawalState storage pending = pendingWithdrawals[id];
        if (pending.amount > amount) pending.amount -= amount;
        else delete pendingWithdrawals[id];
        emit Refunded(id, msg.sender, amount);
        _payBack(id, channel.balance, config, amount);
    }

    /// @dev The last step of every way back: state is final, then the tokens move. By I2, a channel that
    /// was claimed from never gets to zero.
    function _payBack(ChannelId id, uint128 left, ChannelConfig calldata config, uint128 amount) private {
        if (left == 0) emit ChannelClosed(id, config);
        if (amount != 0) TokenMoves.send(config.token, config.payer, amount);
    }

    function _isPayerSide(ChannelConfig calldata config) private view returns (bool) {
        return msg.sender == config.payer || msg.sender == config.payerAuthorizer;
    }

    function _isReceiverSide(ChannelConfig calldata config) private view returns (bool) {
        return msg.sender == config.receiver || msg.sender == config.receiverAuthorizer;
    }

    /// @dev Cannot underflow, by I2.
    function _unclaimed(ChannelState storage channel) private view returns (uint128) {
        return channel.balance - channel.totalClaimed;
    }

    function _min(uint128 a, uint128 b) private pure returns (uint128) {
        return a < b ? a : b;
    }
}
