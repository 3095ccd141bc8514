// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

/// @title Royalties without trust: what arrives here is split between two parties
/// @notice A channel's receiver, or the target of any transfer. It has no owner, no upgrade, and no way out
/// but `release`. Tokens may arrive before there is code at its address.
/// @dev Invariants, for each token that keeps to ERC-20:
/// - R1 Of all that has arrived, `floor(arrived * publisherBps / 10,000)` is the publisher's and the rest
///   is the provider's, however many releases it is paid in: dust of one release counts in the next.
/// - R2 Nobody but the publisher and the provider is ever paid.
/// - R3 A party whose transfer fails keeps its part due, and keeps the other from nothing.
/// - R4 The address binds publisher, provider and share: see `IRoyaltySplitterFactory`.
interface IRoyaltySplitter {
    /// @notice `toPublisher` and `toProvider` base units of `token` were paid out.
    event Released(address indexed token, uint256 toPublisher, uint256 toProvider);

    /// @notice Something is due, and no transfer of it succeeds.
    error NothingReleased();
    /// @notice More than 2^128 - 1 base units have arrived in all.
    error TooMuch();

    /// @notice Pays both parties what is due to them in `token`. Anyone may call it.
    /// @dev Does nothing when nothing is due. Not for tokens whose balances change without transfers.
    function release(address token) external returns (uint256 toPublisher, uint256 toProvider);

    /// @notice What `release` would pay now, if both transfers succeed.
    function due(address token) external view returns (uint256 toPublisher, uint256 toProvider);

    /// @notice What has been paid of `token` so far.
    function paid(address token) external view returns (uint128 toPublisher, uint128 toProvider);

    /// @notice Is paid the royalty.
    function publisher() external view returns (address);
    /// @notice Is paid the rest.
    function provider() external view returns (address);
    /// @notice The royalty, in hundredths of a percent.
    function publisherBps() external view returns (uint16);
}
