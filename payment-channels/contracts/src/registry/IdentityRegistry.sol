// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

import {IERC721Metadata} from "../interfaces/IERC721.sol";
import {IIdentityRegistry} from "../interfaces/IIdentityRegistry.sol";
import {Digests} from "../lib/Digests.sol";
import {Signatures} from "../lib/Signatures.sol";
import {Erc721} from "./Erc721.sol";

/// @title An ERC-8004 identity registry for development chains
/// @notice See `IIdentityRegistry` for the rules and the invariants A1 to A6.
/// @dev Made to be genesis code: no constructor, no immutables, all storage starts at zero.
contract IdentityRegistry is Erc721, IIdentityRegistry {
    string private constant DOMAIN_NAME = "ERC8004IdentityRegistry";
    string private constant DOMAIN_VERSION = "1";
    bytes32 private constant AGENT_WALLET_SET =
        keccak256("AgentWalletSet(uint256 agentId,address newWallet,address owner,uint256 deadline)");
    /// The one key that `setMetadata` does not set (A4).
    string private constant WALLET_KEY = "agentWallet";
    uint256 private constant DEADLINE_MAX = 5 minutes;

    uint256 private _nextId;
    mapping(uint256 agentId => string) private _uris;
    mapping(uint256 agentId => mapping(string key => bytes)) private _metadata;

    // ---------------------------------------------------------------- agents

    /// @inheritdoc IIdentityRegistry
    function register() external returns (uint256 agentId) {
        agentId = _create("");
        _checkReceiver(address(0), msg.sender, agentId, "");
    }

    /// @inheritdoc IIdentityRegistry
    function register(string calldata agentURI) external returns (uint256 agentId) {
        agentId = _create(agentURI);
        _checkReceiver(address(0), msg.sender, agentId, "");
    }

    /// @inheritdoc IIdentityRegistry
    function register(string calldata agentURI, MetadataEntry[] calldata metadata)
        external
        returns (uint256 agentId)
    {
        agentId = _create(agentURI);
        for (uint256 i = 0; i < metadata.length; ++i) {
            _setFree(agentId, metadata[i].metadataKey, metadata[i].metadataValue);
        }
        _checkReceiver(address(0), msg.sender, agentId, "");
    }

    /// @inheritdoc IIdentityRegistry
    function setAgentURI(uint256 agentId, string calldata newURI) external {
        _onlyAuthorized(agentId);
        _uris[agentId] = newURI;
        emit URIUpdated(agentId, newURI, msg.sender);
    }

    /// @inheritdoc IIdentityRegistry
    function setMetadata(uint256 agentId, string calldata key, bytes calldata value) external {
        _onlyAuthorized(agentId);
        _setFree(agentId, key, value);
    }

    // ---------------------------------------------------------------- wallet

    /// @inheritdoc IIdentityRegistry
    function setAgentWallet(uint256 agentId, address newWallet, uint256 deadline, bytes calldata signature) external {
        address owner = _onlyAuthorized(agentId);
        require(newWallet != address(0), "bad wallet");
        require(block.timestamp <= deadline, "expired");
        require(deadline <= block.timestamp + DEADLINE_MAX, "deadline too far");
        bytes32 structHash = keccak256(abi.encode(AGENT_WALLET_SET, agentId, newWallet, owner, deadline));
        bytes32 digest = Digests.digest(DOMAIN_SEPARATOR(), structHash);
        require(Signatures.isValid(newWallet, digest, signature), "invalid wallet sig");
        _set(agentId, WALLET_KEY, abi.encodePacked(newWallet));
    }

    /// @inheritdoc IIdentityRegistry
    function unsetAgentWallet(uint256 agentId) external {
        _onlyAuthorized(agentId);
        _set(agentId, WALLET_KEY, "");
    }

    // ---------------------------------------------------------------- views

    /// @inheritdoc IERC721Metadata
    function name() external pure returns (string memory) {
        return "AgentIdentity";
    }

    /// @inheritdoc IERC721Metadata
    function symbol() external pure returns (string memory) {
        return "AGENT";
    }

    /// @inheritdoc IERC721Metadata
    function tokenURI(uint256 agentId) external view returns (string memory) {
        ownerOf(agentId);
        return _uris[agentId];
    }

    /// @inheritdoc IIdentityRegistry
    function getMetadata(uint256 agentId, string calldata key) external view returns (bytes memory) {
        return _metadata[agentId][key];
    }

    /// @inheritdoc IIdentityRegistry
    function getAgentWallet(uint256 agentId) external view returns (address) {
        ownerOf(agentId);
        // Twenty bytes or none (A4); the conversion pads what is missing with zeros.
        return address(bytes20(_metadata[agentId][WALLET_KEY]));
    }

    /// @inheritdoc IIdentityRegistry
    function isAuthorizedOrOwner(address spender, uint256 agentId) external view returns (bool) {
        return _isAuthorized(ownerOf(agentId), spender, agentId);
    }

    /// @inheritdoc IIdentityRegistry
    function DOMAIN_SEPARATOR() public view returns (bytes32) {
        return Digests.separator(DOMAIN_NAME, DOMAIN_VERSION);
    }

    /// @inheritdoc IIdentityRegistry
    function eip712Domain()
        external
        view
        returns (
            bytes1 fields,
            string memory domainName,
            string memory version,
            uint256 chainId,
            address verifyingContract,
            bytes32 salt,
            uint256[] memory extensions
        )
    {
        // Bits 0 to 3: name, version, chainId, verifyingContract.
        return (0x0f, DOMAIN_NAME, DOMAIN_VERSION, block.chainid, address(this), 0, new uint256[](0));
    }

    // ---------------------------------------------------------------- inside

    /// @dev An agent of the caller's, whose wallet is the caller (A1, A4).
    function _create(string memory agentURI) private returns (uint256 agentId) {
        agentId = _nextId++;
        _mint(msg.sender, agentId);
        _uris[agentId] = agentURI;
        emit Registered(agentId, agentURI, msg.sender);
        _set(agentId, WALLET_KEY, abi.encodePacked(msg.sender));
    }

    /// @dev A value under a key that is free to use.
    function _setFree(uint256 agentId, string memory key, bytes memory value) private {
        require(keccak256(bytes(key)) != keccak256(bytes(WALLET_KEY)), "reserved key");
        _set(agentId, key, value);
    }

    function _set(uint256 agentId, string memory key, bytes memory value) private {
        _metadata[agentId][key] = value;
        emit MetadataSet(agentId, key, key, value);
    }

    /// @dev The next owner has not agreed to the wallet, nor the wallet to the next owner (A4).
    function _afterTransfer(uint256 agentId) internal override {
        _set(agentId, WALLET_KEY, "");
    }

    function _onlyAuthorized(uint256 agentId) private view returns (address owner) {
        owner = ownerOf(agentId);
        require(_isAuthorized(owner, msg.sender, agentId), "Not authorized");
    }
}
