// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

import {IDepositCollector} from "../src/interfaces/IDepositCollector.sol";
import {ChannelId} from "../src/Types.sol";
import {HostileToken} from "./HostileToken.sol";

/// @title A collector for tests: calls what it is told to, then delivers what it is told to
/// @dev Works with `HostileToken` only.
contract TestCollector is IDepositCollector {
    /// @inheritdoc IDepositCollector
    /// @param collectorData `abi.encode(uint256 delivered, address target, bytes callData)`
    function collect(address, address token, uint256, ChannelId, bytes calldata collectorData) external {
        (uint256 delivered, address target, bytes memory callData) =
            abi.decode(collectorData, (uint256, address, bytes));
        if (target != address(0)) {
            (bool ok, bytes memory answer) = target.call(callData);
            if (!ok) {
                assembly ("memory-safe") {
                    revert(add(answer, 0x20), mload(answer))
                }
            }
        }
        HostileToken(token).give(msg.sender, delivered);
    }
}
