// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

import {IRoyaltySplitterFactory} from "./interfaces/IRoyaltySplitterFactory.sol";
import {RoyaltySplitter} from "./RoyaltySplitter.sol";

/// @title Puts royalty splitters at their computed addresses
/// @notice See `IRoyaltySplitterFactory` for the rules and the invariant F1. It owns nothing, and nobody
/// owns it.
/// @dev No constructor, no immutables: genesis code of a development chain, and on public chains deployed
/// through the CREATE2 deployer at 0x4e59b44847b379578588920cA78FbF26c0B4956C with salt 0, which gives the
/// same address everywhere.
contract RoyaltySplitterFactory is IRoyaltySplitterFactory {
    /// @inheritdoc IRoyaltySplitterFactory
    uint16 public constant BPS_MAX = 5_000;

    address private transient _publisher;
    address private transient _provider;
    uint16 private transient _publisherBps;

    /// @inheritdoc IRoyaltySplitterFactory
    function deploy(address publisher, address provider, uint16 publisherBps) external returns (address splitter) {
        splitter = addressOf(publisher, provider, publisherBps);
        if (splitter.code.length != 0) return splitter;
        (_publisher, _provider, _publisherBps) = (publisher, provider, publisherBps);
        // The address is the computed one: both come from this salt and this init code.
        new RoyaltySplitter{salt: _salt(publisher, provider, publisherBps)}();
        (_publisher, _provider, _publisherBps) = (address(0), address(0), 0);
        emit SplitterDeployed(splitter, publisher, provider, publisherBps);
    }

    /// @inheritdoc IRoyaltySplitterFactory
    function parameters() external view returns (address, address, uint16) {
        return (_publisher, _provider, _publisherBps);
    }

    /// @inheritdoc IRoyaltySplitterFactory
    function INIT_CODE_HASH() public pure returns (bytes32) {
        return keccak256(type(RoyaltySplitter).creationCode);
    }

    /// @inheritdoc IRoyaltySplitterFactory
    function addressOf(address publisher, address provider, uint16 publisherBps) public view returns (address) {
        if (publisher == address(0) || provider == address(0)) revert InvalidShares();
        if (publisherBps == 0 || publisherBps > BPS_MAX) revert InvalidShares();
        bytes32 salt = _salt(publisher, provider, publisherBps);
        bytes32 hash = keccak256(abi.encodePacked(hex"ff", address(this), salt, INIT_CODE_HASH()));
        return address(uint160(uint256(hash)));
    }

    function _salt(address publisher, address provider, uint16 publisherBps) private pure returns (bytes32) {
        return keccak256(abi.encode(publisher, provider, publisherBps));
    }
}
