// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

/// @title EIP-1271: signatures of contract accounts
interface IERC1271 {
    /// @return magic `0x1626ba7e` when the account stands by `signature` over `digest`.
    function isValidSignature(bytes32 digest, bytes calldata signature) external view returns (bytes4 magic);
}
