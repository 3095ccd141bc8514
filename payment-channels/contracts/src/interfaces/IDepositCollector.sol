// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

import {ChannelId} from "../Types.sol";

/// @title Pulls a deposit from a payer into the settlement contract
/// @dev Invariant C1: a collector acts only for the settlement contract, so nobody can spend a payer's
/// authorization on anything but the channel that the payer signed for.
interface IDepositCollector {
    /// @notice Moves exactly `amount` of `token` from `payer` to the settlement contract.
    /// @param channelId The channel that the payer's consent has to name.
    /// @param collectorData The payer's consent, in the collector's own encoding.
    function collect(address payer, address token, uint256 amount, ChannelId channelId, bytes calldata collectorData)
        external;
}
