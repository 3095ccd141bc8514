// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

/// @title EIP-3009: transfers by signed authorization
/// @notice Nonces are random 32-byte values of the authorizer, each good for one use. An authorization is
/// valid strictly after `validAfter` and strictly before `validBefore`, both in seconds of block time.
/// @dev The overloads with `bytes signature` also take EIP-1271 signatures of contract accounts.
interface IERC3009 {
    event AuthorizationUsed(address indexed authorizer, bytes32 indexed nonce);
    event AuthorizationCanceled(address indexed authorizer, bytes32 indexed nonce);

    /// @notice The authorization starts later.
    error AuthorizationNotYetValid(uint256 validAfter);
    /// @notice The authorization has ended.
    error AuthorizationExpired(uint256 validBefore);
    /// @notice The nonce was used or cancelled before.
    error AuthorizationUsedOrCanceled(address authorizer, bytes32 nonce);
    /// @notice `receiveWithAuthorization` by somebody else than the payee.
    error CallerMustBePayee(address caller, address payee);
    /// @notice The signature is not the authorizer's.
    error InvalidSignature();

    function authorizationState(address authorizer, bytes32 nonce) external view returns (bool);

    /// @notice Moves `value` by `from`'s signature; anyone may relay it.
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
    ) external;

    function transferWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes calldata signature
    ) external;

    /// @notice The same, but only `to` may relay it, so that nobody can run it ahead of a deposit.
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
    ) external;

    function receiveWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes calldata signature
    ) external;

    /// @notice Uses up `nonce` without a transfer.
    function cancelAuthorization(address authorizer, bytes32 nonce, uint8 v, bytes32 r, bytes32 s) external;

    function cancelAuthorization(address authorizer, bytes32 nonce, bytes calldata signature) external;
}
