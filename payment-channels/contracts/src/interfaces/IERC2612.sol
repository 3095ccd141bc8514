// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

/// @title EIP-2612: allowances by signature
interface IERC2612 {
    /// @notice The permit's deadline, in seconds of block time, has passed.
    error ERC2612ExpiredSignature(uint256 deadline);
    /// @notice The permit is not signed by `owner` for its current nonce.
    error ERC2612InvalidSigner(address owner);

    function DOMAIN_SEPARATOR() external view returns (bytes32);
    function nonces(address owner) external view returns (uint256);
    function permit(address owner, address spender, uint256 value, uint256 deadline, uint8 v, bytes32 r, bytes32 s)
        external;
    /// @notice The same for any signature, EIP-1271 included.
    function permit(address owner, address spender, uint256 value, uint256 deadline, bytes calldata signature)
        external;
}
