// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

import {IERC1271} from "../src/interfaces/IERC1271.sol";
import {Signatures} from "../src/lib/Signatures.sol";

/// @title A contract account for tests: one key stands by its signatures
/// @dev The key's address is in slot 0, so that a test can set it without a constructor.
contract TestWallet is IERC1271 {
    address public key;

    /// @inheritdoc IERC1271
    function isValidSignature(bytes32 digest, bytes calldata signature) external view returns (bytes4) {
        return Signatures.recover(digest, signature) == key ? IERC1271.isValidSignature.selector : bytes4(0);
    }
}
