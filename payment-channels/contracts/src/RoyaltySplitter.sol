// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

import {IERC20} from "./interfaces/IERC20.sol";
import {IRoyaltySplitter} from "./interfaces/IRoyaltySplitter.sol";
import {IRoyaltySplitterFactory} from "./interfaces/IRoyaltySplitterFactory.sol";
import {TokenMoves} from "./lib/TokenMoves.sol";
import {TransientGuard} from "./lib/TransientGuard.sol";

/// @title Splits what it receives between a publisher and a provider
/// @notice See `IRoyaltySplitter` for the rules and the invariants R1 to R4.
contract RoyaltySplitter is IRoyaltySplitter, TransientGuard {
    struct Paid {
        uint128 publisher;
        uint128 provider;
    }

    uint256 private constant WHOLE_BPS = 10_000;

    /// @inheritdoc IRoyaltySplitter
    address public immutable publisher;
    /// @inheritdoc IRoyaltySplitter
    address public immutable provider;
    /// @inheritdoc IRoyaltySplitter
    uint16 public immutable publisherBps;

    mapping(address token => Paid) private _paid;

    /// @dev Without arguments, so that the init code, and with it the address, is the same for all (F1).
    constructor() {
        (publisher, provider, publisherBps) = IRoyaltySplitterFactory(msg.sender).parameters();
    }

    /// @inheritdoc IRoyaltySplitter
    function release(address token) external nonReentrant returns (uint256 toPublisher, uint256 toProvider) {
        Paid memory before = _paid[token];
        (toPublisher, toProvider) = _due(token, before);
        if (toPublisher == 0 && toProvider == 0) return (0, 0);
        if (toPublisher != 0 && !TokenMoves.trySend(token, publisher, toPublisher)) toPublisher = 0;
        if (toProvider != 0 && !TokenMoves.trySend(token, provider, toProvider)) toProvider = 0;
        if (toPublisher == 0 && toProvider == 0) revert NothingReleased();
        // No overflow: `_due` bounds the sums. The guard keeps a token that calls back from seeing the
        // state between the transfers.
        _paid[token] = Paid(before.publisher + uint128(toPublisher), before.provider + uint128(toProvider));
        emit Released(token, toPublisher, toProvider);
    }

    /// @inheritdoc IRoyaltySplitter
    function due(address token) external view returns (uint256 toPublisher, uint256 toProvider) {
        return _due(token, _paid[token]);
    }

    /// @inheritdoc IRoyaltySplitter
    function paid(address token) external view returns (uint128 toPublisher, uint128 toProvider) {
        Paid memory so = _paid[token];
        return (so.publisher, so.provider);
    }

    /// @dev Both parts are reckoned from all that ever arrived (R1), so each is at least what was paid of it.
    function _due(address token, Paid memory before) private view returns (uint256 toPublisher, uint256 toProvider) {
        uint256 held = IERC20(token).balanceOf(address(this));
        if (held > type(uint128).max) revert TooMuch();
        uint256 arrived = held + before.publisher + before.provider;
        if (arrived > type(uint128).max) revert TooMuch();
        uint256 ofPublisher = arrived * publisherBps / WHOLE_BPS;
        return (ofPublisher - before.publisher, arrived - ofPublisher - before.provider);
    }
}
