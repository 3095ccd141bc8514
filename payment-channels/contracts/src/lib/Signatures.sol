// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

import {IERC1271} from "../interfaces/IERC1271.sol";

/// @title Checking signatures
/// @notice ECDSA signatures are exactly 65 bytes `r || s || v` with `s` in the lower half of the curve's
/// order and `v` 27 or 28, so that no signature has a second valid form.
library Signatures {
    /// @notice No key has this signature.
    error ECDSAInvalidSignature();
    /// @notice The signature does not have 65 bytes.
    error ECDSAInvalidSignatureLength(uint256 length);
    /// @notice `s` is in the upper half of the curve's order.
    error ECDSAInvalidSignatureS(bytes32 s);

    /// Half of the order of secp256k1, rounded down.
    uint256 private constant HALF_ORDER = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;

    /// @notice The signer of `digest`; reverts when the signature has no valid form.
    function recover(bytes32 digest, bytes calldata signature) internal pure returns (address signer) {
        if (signature.length != 65) revert ECDSAInvalidSignatureLength(signature.length);
        bytes32 r;
        bytes32 s;
        uint8 v;
        assembly ("memory-safe") {
            r := calldataload(signature.offset)
            s := calldataload(add(signature.offset, 0x20))
            v := byte(0, calldataload(add(signature.offset, 0x40)))
        }
        if (uint256(s) > HALF_ORDER) revert ECDSAInvalidSignatureS(s);
        signer = ecrecover(digest, v, r, s);
        if (signer == address(0)) revert ECDSAInvalidSignature();
    }

    /// @notice Whether `account` signed `digest`: by its code (EIP-1271) if it has any, else by its key.
    function isValid(address account, bytes32 digest, bytes memory signature) internal view returns (bool) {
        if (account.code.length != 0) return _isValid1271(account, digest, signature);
        return _isValidKey(account, digest, signature);
    }

    function _isValid1271(address account, bytes32 digest, bytes memory signature) private view returns (bool) {
        (bool ok, bytes memory answer) =
            account.staticcall(abi.encodeCall(IERC1271.isValidSignature, (digest, signature)));
        return ok && answer.length >= 32 && bytes32(answer) == bytes32(IERC1271.isValidSignature.selector);
    }

    function _isValidKey(address account, bytes32 digest, bytes memory signature) private pure returns (bool) {
        if (signature.length != 65) return false;
        bytes32 r;
        bytes32 s;
        uint8 v;
        assembly ("memory-safe") {
            r := mload(add(signature, 0x20))
            s := mload(add(signature, 0x40))
            v := byte(0, mload(add(signature, 0x60)))
        }
        if (uint256(s) > HALF_ORDER) return false;
        address signer = ecrecover(digest, v, r, s);
        return signer != address(0) && signer == account;
    }
}
