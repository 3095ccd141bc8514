// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

import {IERC20} from "../interfaces/IERC20.sol";

/// @title Token transfers that cannot fail silently
library TokenMoves {
    /// @notice `token` is no contract, or answered that the transfer failed.
    error SafeERC20FailedOperation(address token);

    /// @notice Transfers, accepting tokens that return nothing; a revert of the token is passed on.
    function send(address token, address to, uint256 value) internal {
        (bool ok, bytes memory answer) = token.call(abi.encodeCall(IERC20.transfer, (to, value)));
        if (!ok) {
            assembly ("memory-safe") {
                revert(add(answer, 0x20), mload(answer))
            }
        }
        bool said = answer.length == 0 ? token.code.length != 0 : uint256(bytes32(answer)) == 1;
        if (!said) revert SafeERC20FailedOperation(token);
    }
}
