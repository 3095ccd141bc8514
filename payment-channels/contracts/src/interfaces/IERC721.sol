// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

/// @title ERC-165: which interfaces a contract has
interface IERC165 {
    function supportsInterface(bytes4 interfaceId) external view returns (bool);
}

/// @title ERC-721: tokens of which each has one owner
interface IERC721 is IERC165 {
    /// @notice `tokenId` went from `from` to `to`; from the zero address when it is made.
    event Transfer(address indexed from, address indexed to, uint256 indexed tokenId);
    /// @notice `approved` may move this one token; the zero address stands for nobody.
    event Approval(address indexed owner, address indexed approved, uint256 indexed tokenId);
    /// @notice `operator` may act for all tokens of `owner`, or may not any more.
    event ApprovalForAll(address indexed owner, address indexed operator, bool approved);

    function balanceOf(address owner) external view returns (uint256);
    function ownerOf(uint256 tokenId) external view returns (address);
    function getApproved(uint256 tokenId) external view returns (address);
    function isApprovedForAll(address owner, address operator) external view returns (bool);

    /// @notice Names who may move one token; only its owner or the owner's operators.
    function approve(address to, uint256 tokenId) external;
    /// @notice Names, or dismisses, an operator for all tokens of the caller.
    function setApprovalForAll(address operator, bool approved) external;
    /// @notice Moves a token, whether or not `to` knows what to do with it.
    function transferFrom(address from, address to, uint256 tokenId) external;
    /// @notice Moves a token; a contract at `to` must accept it.
    function safeTransferFrom(address from, address to, uint256 tokenId) external;
    function safeTransferFrom(address from, address to, uint256 tokenId, bytes calldata data) external;
}

/// @title ERC-721's optional metadata
interface IERC721Metadata is IERC721 {
    function name() external view returns (string memory);
    function symbol() external view returns (string memory);
    function tokenURI(uint256 tokenId) external view returns (string memory);
}

/// @title What a contract needs to be given tokens safely
interface IERC721Receiver {
    /// @return accepted This function's selector, `0x150b7a02`.
    function onERC721Received(address operator, address from, uint256 tokenId, bytes calldata data)
        external
        returns (bytes4 accepted);
}
