// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

import {IERC1271} from "../src/interfaces/IERC1271.sol";
import {Signatures} from "../src/lib/Signatures.sol";

/// @title A contract account for tests: one key stands by its signatures
/// @dev Anyone may change the key.
contract TestWallet is IERC1271 {
    address public key;

    function setKey(address next) external {
        key = next;
    }

    /// @inheritdoc IERC1271
    function isValidSignature(bytes32 digest, bytes calldata signature) external view returns (bytes4) {
        return Signatures.recover(digest, signature) == key ? IERC1271.isValidSignature.selector : bytes4(0);
    }
}
