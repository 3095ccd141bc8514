// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

import {IERC2612} from "../interfaces/IERC2612.sol";
import {IERC3009} from "../interfaces/IERC3009.sol";
import {Digests} from "../lib/Digests.sol";
import {Signatures} from "../lib/Signatures.sol";
import {Erc20} from "./Erc20.sol";

/// @title Signed transfers (EIP-3009) and signed allowances (EIP-2612)
/// @dev Invariants: T2 an authorization or a permit is used at most once. T3 only its signer's tokens
/// move, or its signer's allowance changes.
abstract contract Authorizations is Erc20, IERC3009, IERC2612 {
    bytes32 public constant TRANSFER_WITH_AUTHORIZATION_TYPEHASH = keccak256(
        "TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,"
        "bytes32 nonce)"
    );
    bytes32 public constant RECEIVE_WITH_AUTHORIZATION_TYPEHASH = keccak256(
        "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,"
        "bytes32 nonce)"
    );
    bytes32 public constant CANCEL_AUTHORIZATION_TYPEHASH =
        keccak256("CancelAuthorization(address authorizer,bytes32 nonce)");
    bytes32 public constant PERMIT_TYPEHASH =
        keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");

    string internal constant NAME = "USDC";
    string internal constant VERSION = "2";

    struct Authorization {
        address from;
        address to;
        uint256 value;
        uint256 validAfter;
        uint256 validBefore;
        bytes32 nonce;
    }

    /// @inheritdoc IERC2612
    function DOMAIN_SEPARATOR() public view returns (bytes32) {
        return Digests.separator(NAME, VERSION);
    }

    /// @inheritdoc IERC2612
    function nonces(address owner) external view returns (uint256) {
        return _permitNonces[owner];
    }

    /// @inheritdoc IERC3009
    function authorizationState(address authorizer, bytes32 nonce) external view returns (bool) {
        return _usedAuthorizations[authorizer][nonce];
    }

    /// @inheritdoc IERC3009
    function transferWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external {
        _run(
            TRANSFER_WITH_AUTHORIZATION_TYPEHASH,
            Authorization(from, to, value, validAfter, validBefore, nonce),
            abi.encodePacked(r, s, v)
        );
    }

    /// @inheritdoc IERC3009
    function transferWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes calldata signature
    ) external {
        _run(
            TRANSFER_WITH_AUTHORIZATION_TYPEHASH,
            Authorization(from, to, value, validAfter, validBefore, nonce),
            signature
        );
    }

    /// @inheritdoc IERC3009
    function receiveWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external {
        _receive(Authorization(from, to, value, validAfter, validBefore, nonce), abi.encodePacked(r, s, v));
    }

    /// @inheritdoc IERC3009
    function receiveWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes calldata signature
    ) external {
        _receive(Authorization(from, to, value, validAfter, validBefore, nonce), signature);
    }

    /// @inheritdoc IERC3009
    function cancelAuthorization(address authorizer, bytes32 nonce, uint8 v, bytes32 r, bytes32 s) external {
        _cancel(authorizer, nonce, abi.encodePacked(r, s, v));
    }

    /// @inheritdoc IERC3009
    function cancelAuthorization(address authorizer, bytes32 nonce, bytes calldata signature) external {
        _cancel(authorizer, nonce, signature);
    }

    /// @inheritdoc IERC2612
    function permit(address owner, address spender, uint256 value, uint256 deadline, uint8 v, bytes32 r, bytes32 s)
        external
    {
        _permit(owner, spender, value, deadline, abi.encodePacked(r, s, v));
    }

    /// @inheritdoc IERC2612
    function permit(address owner, address spender, uint256 value, uint256 deadline, bytes calldata signature)
        external
    {
        _permit(owner, spender, value, deadline, signature);
    }

    function _receive(Authorization memory a, bytes memory signature) private {
        if (msg.sender != a.to) revert CallerMustBePayee(msg.sender, a.to);
        _run(RECEIVE_WITH_AUTHORIZATION_TYPEHASH, a, signature);
    }

    function _run(bytes32 typeHash, Authorization memory a, bytes memory signature) private {
        if (block.timestamp <= a.validAfter) revert AuthorizationNotYetValid(a.validAfter);
        if (block.timestamp >= a.validBefore) revert AuthorizationExpired(a.validBefore);
        _use(a.from, a.nonce, keccak256(abi.encode(typeHash, a)), signature);
        emit AuthorizationUsed(a.from, a.nonce);
        _transfer(a.from, a.to, a.value);
    }

    function _cancel(address authorizer, bytes32 nonce, bytes memory signature) private {
        _use(authorizer, nonce, keccak256(abi.encode(CANCEL_AUTHORIZATION_TYPEHASH, authorizer, nonce)), signature);
        emit AuthorizationCanceled(authorizer, nonce);
    }

    /// @dev Uses up the nonce by the authorizer's signature over `structHash` (T2).
    function _use(address authorizer, bytes32 nonce, bytes32 structHash, bytes memory signature) private {
        if (_usedAuthorizations[authorizer][nonce]) revert AuthorizationUsedOrCanceled(authorizer, nonce);
        if (!_signed(authorizer, structHash, signature)) revert InvalidSignature();
        _usedAuthorizations[authorizer][nonce] = true;
    }

    function _permit(address owner, address spender, uint256 value, uint256 deadline, bytes memory signature)
        private
    {
        if (block.timestamp > deadline) revert ERC2612ExpiredSignature(deadline);
        uint256 nonce = _permitNonces[owner];
        bytes32 structHash = keccak256(abi.encode(PERMIT_TYPEHASH, owner, spender, value, nonce, deadline));
        if (!_signed(owner, structHash, signature)) revert ERC2612InvalidSigner(owner);
        _permitNonces[owner] = nonce + 1;
        _approve(owner, spender, value);
    }

    function _signed(address account, bytes32 structHash, bytes memory signature) private view returns (bool) {
        return Signatures.isValid(account, Digests.digest(DOMAIN_SEPARATOR(), structHash), signature);
    }
}
