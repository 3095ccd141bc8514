// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

import {IERC20} from "./interfaces/IERC20.sol";
import {Authorizations} from "./token/Authorizations.sol";

/// @title A token for development chains, worth nothing
/// @notice Stands where unmodified x402 clients expect the test network's USDC, with the same name,
/// version, decimals and signed transfers. Never deploy it to a public chain.
/// @dev Invariants: T1 `totalSupply` is the sum of all balances. T2, T3: see `Authorizations`. T4 only the
/// minter mints, and only the minter names another one. Genesis may set any slot of `TokenStorage`.
contract DevToken is Authorizations {
    /// @notice Somebody else than the minter tried to mint or to name a minter.
    error OnlyMinter(address caller);
    /// @notice `to` holds `value` new tokens.
    event Mint(address indexed minter, address indexed to, uint256 value);
    /// @notice `next` may mint from now on.
    event MinterChanged(address indexed previous, address indexed next);

    /// @notice The account that may mint; zero means nobody can.
    function minter() external view returns (address) {
        return _minter;
    }

    /// @inheritdoc IERC20
    function name() external pure returns (string memory) {
        return NAME;
    }

    /// @notice The EIP-712 domain's version.
    function version() external pure returns (string memory) {
        return VERSION;
    }

    /// @inheritdoc IERC20
    function symbol() external pure returns (string memory) {
        return "USDC";
    }

    /// @inheritdoc IERC20
    function decimals() external pure returns (uint8) {
        return 6;
    }

    /// @notice Makes `value` new base units for `to`.
    function mint(address to, uint256 value) external returns (bool) {
        _onlyMinter();
        if (to == address(0)) revert ERC20InvalidReceiver(to);
        _totalSupply += value;
        unchecked {
            // No balance exceeds the supply (T1).
            _balances[to] += value;
        }
        emit Mint(msg.sender, to, value);
        emit Transfer(address(0), to, value);
        return true;
    }

    /// @notice Hands the right to mint to `next`; zero ends minting.
    function setMinter(address next) external {
        _onlyMinter();
        emit MinterChanged(_minter, next);
        _minter = next;
    }

    function _onlyMinter() private view {
        if (msg.sender != _minter) revert OnlyMinter(msg.sender);
    }
}
