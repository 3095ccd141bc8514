// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

/// @title A token for tests whose `transfer` misbehaves on demand
/// @dev Anyone may do anything with it.
contract HostileToken {
    error Refused(uint256 code);

    /// What `transfer` does: see `transfer`.
    enum Mode {
        Plain,
        Silent,
        AnswersFalse,
        Reverts,
        Reenters
    }

    mapping(address => uint256) public balanceOf;
    /// Whom `transfer` never pays.
    mapping(address => bool) public refuses;
    Mode public mode;
    address public target;
    bytes public call;

    function setMode(Mode next, address callTarget, bytes calldata callData) external {
        mode = next;
        target = callTarget;
        call = callData;
    }

    function setRefuses(address to, bool yes) external {
        refuses[to] = yes;
    }

    /// @notice Makes tokens out of nothing.
    function give(address to, uint256 value) external {
        balanceOf[to] += value;
    }

    function transfer(address to, uint256 value) external returns (bool) {
        if (refuses[to]) revert Refused(8);
        if (mode == Mode.AnswersFalse) return false;
        if (mode == Mode.Reverts) revert Refused(7);
        if (mode == Mode.Reenters) _reenter();
        balanceOf[msg.sender] -= value;
        balanceOf[to] += value;
        if (mode == Mode.Silent) {
            assembly {
                return(0, 0)
            }
        }
        return true;
    }

    function _reenter() private {
        (bool ok, bytes memory answer) = target.call(call);
        if (ok) return;
        assembly ("memory-safe") {
            revert(add(answer, 0x20), mload(answer))
        }
    }
}
