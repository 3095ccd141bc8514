// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

import {IDepositCollector} from "./interfaces/IDepositCollector.sol";
import {IERC3009} from "./interfaces/IERC3009.sol";
import {TokenMoves} from "./lib/TokenMoves.sol";
import {ChannelId} from "./Types.sol";

/// @title Deposits by EIP-3009: the payer signs once and needs no gas
/// @notice The payer authorizes this contract to receive tokens, with the nonce
/// `keccak256(abi.encode(channelId, salt))`. The nonce binds the money to one channel: to its receiver,
/// session key, token and delay.
/// @dev Invariants: C1 (see `IDepositCollector`). C2: it holds no tokens between transactions.
contract Erc3009DepositCollector is IDepositCollector {
    /// @notice Somebody else than the settlement contract called `collect`.
    error OnlyX402BatchSettlement();

    /// @notice The settlement contract. A constant, at the address that all x402 clients know, because
    /// genesis code has no constructor.
    address public constant x402BatchSettlement = 0x4020074e9dF2ce1deE5A9C1b5c3f541D02a10003;

    /// @inheritdoc IDepositCollector
    /// @param collectorData `abi.encode(uint256 validAfter, uint256 validBefore, uint256 salt, bytes signature)`
    function collect(address payer, address token, uint256 amount, ChannelId channelId, bytes calldata collectorData)
        external
    {
        if (msg.sender != x402BatchSettlement) revert OnlyX402BatchSettlement();
        (uint256 validAfter, uint256 validBefore, uint256 salt, bytes memory signature) =
            abi.decode(collectorData, (uint256, uint256, uint256, bytes));
        bytes32 nonce = keccak256(abi.encode(channelId, salt));
        IERC3009(token).receiveWithAuthorization(
            payer, address(this), amount, validAfter, validBefore, nonce, signature
        );
        TokenMoves.send(token, x402BatchSettlement, amount);
    }
}
