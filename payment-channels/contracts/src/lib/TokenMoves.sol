// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

import {IERC20} from "../interfaces/IERC20.sol";

/// @title Token transfers that cannot fail silently
/// @notice Tokens that return nothing are accepted; a revert of the token is passed on.
library TokenMoves {
    /// @notice `token` is no contract, or answered that the transfer failed.
    error SafeERC20FailedOperation(address token);

    /// @notice Transfers what the running contract owns.
    function send(address token, address to, uint256 value) internal {
        _move(token, abi.encodeCall(IERC20.transfer, (to, value)));
    }

    /// @notice Transfers what `from` allowed the running contract to take.
    function take(address token, address from, address to, uint256 value) internal {
        _move(token, abi.encodeCall(IERC20.transferFrom, (from, to, value)));
    }

    /// @notice Transfers what the running contract owns, or says that it could not.
    function trySend(address token, address to, uint256 value) internal returns (bool) {
        (bool ok, bytes memory answer) = token.call(abi.encodeCall(IERC20.transfer, (to, value)));
        return ok && _agreed(token, answer);
    }

    function _move(address token, bytes memory data) private {
        (bool ok, bytes memory answer) = token.call(data);
        if (!ok) {
            assembly ("memory-safe") {
                revert(add(answer, 0x20), mload(answer))
            }
        }
        if (!_agreed(token, answer)) revert SafeERC20FailedOperation(token);
    }

    function _agreed(address token, bytes memory answer) private view returns (bool) {
        return answer.length == 0 ? token.code.length != 0 : uint256(bytes32(answer)) == 1;
    }
}
