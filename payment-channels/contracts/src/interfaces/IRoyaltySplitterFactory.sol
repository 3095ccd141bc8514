// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

/// @title Where splitters come from
/// @notice A splitter's address follows from publisher, provider and share alone, so that anybody can
/// compute it, check it and pay it before it exists:
/// `create2(factory, keccak256(abi.encode(publisher, provider, publisherBps)), INIT_CODE_HASH)`.
/// @dev Invariant F1: code at such an address is the splitter with these three values, because the init
/// code takes them from the factory's running `deploy` and from nowhere else.
interface IRoyaltySplitterFactory {
    /// @notice There is code at a splitter's address now.
    event SplitterDeployed(
        address indexed splitter, address indexed publisher, address indexed provider, uint16 publisherBps
    );

    /// @notice A party is the zero address, or the share is not within 1 to `BPS_MAX`.
    error InvalidShares();

    /// @notice Puts the splitter's code at its address. Anyone may call it; a second call does nothing.
    function deploy(address publisher, address provider, uint16 publisherBps) external returns (address splitter);

    /// @notice The splitter's address, whether or not it has code.
    function addressOf(address publisher, address provider, uint16 publisherBps) external view returns (address);

    /// @notice What the splitter under construction is made with; zeros otherwise.
    function parameters() external view returns (address publisher, address provider, uint16 publisherBps);

    /// @notice The hash of every splitter's init code.
    function INIT_CODE_HASH() external view returns (bytes32);
    /// @notice The largest royalty, in hundredths of a percent: half.
    function BPS_MAX() external view returns (uint16);
}
