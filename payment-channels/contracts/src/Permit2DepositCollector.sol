// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

import {IDepositCollector} from "./interfaces/IDepositCollector.sol";
import {IERC2612} from "./interfaces/IERC2612.sol";
import {IPermit2} from "./interfaces/IPermit2.sol";
import {ChannelId} from "./Types.sol";

/// @title Deposits by Permit2: for tokens without EIP-3009
/// @notice The payer signs a Permit2 transfer for this spender, with the channel as its witness. The
/// witness binds the money to one channel: to its receiver, session key, token and delay. A payer that has
/// given Permit2 no allowance yet adds an EIP-2612 permit, and needs no gas either.
/// @dev Invariants: C1 (see `IDepositCollector`). C2: it holds no tokens, not even within a transaction:
/// Permit2 moves them from the payer to the settlement contract.
contract Permit2DepositCollector is IDepositCollector {
    /// @notice Somebody else than the settlement contract called `collect`.
    error OnlyX402BatchSettlement();

    /// @notice The settlement contract. A constant, at the address that all x402 clients know, because
    /// genesis code has no constructor.
    address public constant x402BatchSettlement = 0x4020074e9dF2ce1deE5A9C1b5c3f541D02a10003;
    /// @notice Permit2, at the address that it has on every chain.
    IPermit2 public constant PERMIT2 = IPermit2(0x000000000022D473030F116dDEE9F6B43aC78BA3);

    bytes32 private constant WITNESS = keccak256("DepositWitness(bytes32 channelId)");
    string private constant WITNESS_TAIL =
        "DepositWitness witness)DepositWitness(bytes32 channelId)TokenPermissions(address token,uint256 amount)";

    /// @inheritdoc IDepositCollector
    /// @param collectorData `abi.encode(uint256 nonce, uint256 deadline, bytes permit2Signature, bytes eip2612Permit)`;
    /// the last is empty or `abi.encode(uint256 value, uint256 deadline, uint8 v, bytes32 r, bytes32 s)`
    function collect(address payer, address token, uint256 amount, ChannelId channelId, bytes calldata collectorData)
        external
    {
        if (msg.sender != x402BatchSettlement) revert OnlyX402BatchSettlement();
        (uint256 nonce, uint256 deadline, bytes memory signature, bytes memory eip2612Permit) =
            abi.decode(collectorData, (uint256, uint256, bytes, bytes));
        if (eip2612Permit.length != 0) _allow(payer, token, eip2612Permit);
        PERMIT2.permitWitnessTransferFrom(
            IPermit2.PermitTransferFrom(IPermit2.TokenPermissions(token, amount), nonce, deadline),
            IPermit2.SignatureTransferDetails(x402BatchSettlement, amount),
            payer,
            keccak256(abi.encode(WITNESS, channelId)),
            WITNESS_TAIL,
            signature
        );
    }

    /// @dev Anyone may run a permit that is waiting to be mined, which uses up its nonce: a permit that
    /// fails is no failure as long as the allowance is there, and the transfer finds that out.
    function _allow(address payer, address token, bytes memory eip2612Permit) private {
        (uint256 value, uint256 deadline, uint8 v, bytes32 r, bytes32 s) =
            abi.decode(eip2612Permit, (uint256, uint256, uint8, bytes32, bytes32));
        try IERC2612(token).permit(payer, address(PERMIT2), value, deadline, v, r, s) {} catch {}
    }
}
