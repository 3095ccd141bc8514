// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

/// @title The storage of the development token, in one place
/// @notice A chain's genesis writes these slots directly; `artifacts/genesis.json` lists them as the
/// compiler numbers them. The value of key `k` of a mapping in slot `p` is at
/// `keccak256(abi.encode(k, p))`; of a nested mapping, apply the rule twice.
/// @dev Genesis must keep T1: `_totalSupply` is the sum of `_balances`.
abstract contract TokenStorage {
    /// Slot 0: account to base units.
    mapping(address => uint256) internal _balances;
    /// Slot 1: owner to spender to base units.
    mapping(address => mapping(address => uint256)) internal _allowances;
    /// Slot 2: the sum of all balances.
    uint256 internal _totalSupply;
    /// Slot 3: owner to the next permit's nonce.
    mapping(address => uint256) internal _permitNonces;
    /// Slot 4: authorizer to nonce to whether it is used up.
    mapping(address => mapping(bytes32 => bool)) internal _usedAuthorizations;
    /// Slot 5: who may mint; zero means nobody.
    address internal _minter;
}
