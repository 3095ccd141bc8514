// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

import {IERC721Receiver} from "../src/interfaces/IERC721.sol";

/// @title An account for tests that takes tokens, refuses them, or answers nonsense
/// @dev Also runs any call as itself, and one while it is given a token.
contract TestReceiver is IERC721Receiver {
    enum Mode {
        Takes,
        Reverts,
        Nonsense,
        Calls
    }

    Mode private _mode;
    address private _target;
    bytes private _data;

    function setMode(Mode mode, address target, bytes calldata data) external {
        _mode = mode;
        _target = target;
        _data = data;
    }

    function run(address target, bytes calldata data) external returns (bytes memory) {
        return _call(target, data);
    }

    /// @inheritdoc IERC721Receiver
    function onERC721Received(address, address, uint256, bytes calldata) external returns (bytes4) {
        if (_mode == Mode.Reverts) revert("no tokens");
        if (_mode == Mode.Nonsense) return 0xdeadbeef;
        if (_mode == Mode.Calls) _call(_target, _data);
        return IERC721Receiver.onERC721Received.selector;
    }

    function _call(address target, bytes memory data) private returns (bytes memory) {
        (bool ok, bytes memory answer) = target.call(data);
        if (!ok) {
            assembly ("memory-safe") {
                revert(add(answer, 0x20), mload(answer))
            }
        }
        return answer;
    }
}
