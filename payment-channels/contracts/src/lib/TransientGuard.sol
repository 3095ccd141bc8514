// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

/// @title Reentrancy guard in transient storage (EIP-1153)
/// @notice Needs the Cancun hard fork or later.
abstract contract TransientGuard {
    /// @notice A guarded function was entered while another one was running.
    error ReentrancyGuardReentrantCall();

    bool private transient _entered;

    modifier nonReentrant() {
        if (_entered) revert ReentrancyGuardReentrantCall();
        _entered = true;
        _;
        _entered = false;
    }
}
