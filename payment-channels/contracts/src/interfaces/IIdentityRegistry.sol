// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

import {IERC721Metadata} from "./IERC721.sol";

/// @title Agents, as ERC-8004 registers them
/// @notice An agent is an ERC-721 token with a URI (of its registration file), metadata by key, and a wallet
/// that is paid for it. Whoever owns the token speaks for the agent, and so do the owner's operators and who is
/// approved for the token: they are its authorized.
/// @dev Functions, events and reasons of reverts equal those of the deployment that public chains share, so
/// that every client works with either. (That one can be upgraded by an owner of its own; this one has none.)
/// Its reasons are texts, and so are these: `Not authorized`, `reserved key`, `bad wallet`, `expired`,
/// `deadline too far`, `invalid wallet sig`.
///
/// Invariants, at the end of every transaction:
/// - A1 Agents are numbered from 0 in the order of their registration; none ever ends.
/// - A2 Every agent has one owner, and an account's balance is the number of agents that it owns.
/// - A3 An agent moves, and its URI, metadata or wallet change, only by one of its authorized.
/// - A4 An agent's wallet is none, or one that agreed to it: who registered the agent, or the signer of
///   `AgentWalletSet`. A transfer leaves none. No other metadata is under the key `agentWallet`.
/// - A5 A transfer ends the approval for that agent.
/// - A6 Every change of URI, metadata, wallet and owner is in the log: who reads it from the beginning knows
///   the state.
interface IIdentityRegistry is IERC721Metadata {
    /// @notice One value that an agent begins with.
    struct MetadataEntry {
        string metadataKey;
        bytes metadataValue;
    }

    /// @notice A new agent.
    event Registered(uint256 indexed agentId, string agentURI, address indexed owner);
    /// @notice The agent's registration file is elsewhere.
    event URIUpdated(uint256 indexed agentId, string newURI, address indexed updatedBy);
    /// @notice A value, under its key's hash to search for and under the key itself to read.
    event MetadataSet(
        uint256 indexed agentId, string indexed indexedMetadataKey, string metadataKey, bytes metadataValue
    );

    /// @notice Makes an agent that the caller owns, with the caller as its wallet.
    /// @dev A contract that calls must accept ERC-721 tokens.
    function register() external returns (uint256 agentId);
    function register(string calldata agentURI) external returns (uint256 agentId);
    function register(string calldata agentURI, MetadataEntry[] calldata metadata) external returns (uint256 agentId);

    /// @notice Says where the agent's registration file is. Only its authorized.
    function setAgentURI(uint256 agentId, string calldata newURI) external;

    /// @notice The value under a key; empty if there is none.
    function getMetadata(uint256 agentId, string calldata key) external view returns (bytes memory);
    /// @notice Sets the value under a key, any but `agentWallet`. Only the agent's authorized.
    function setMetadata(uint256 agentId, string calldata key, bytes calldata value) external;

    /// @notice Who is paid for the agent; the zero address if nobody is named.
    function getAgentWallet(uint256 agentId) external view returns (address);
    /// @notice Names who is paid for the agent, by that account's own signature. Only the agent's authorized.
    /// @param deadline When the signature ends, in seconds of block time: at most five minutes from now.
    /// @param signature `newWallet`'s over `AgentWalletSet(uint256 agentId,address newWallet,address
    /// owner,uint256 deadline)`, where `owner` is the agent's; by EIP-1271 if the wallet is a contract.
    function setAgentWallet(uint256 agentId, address newWallet, uint256 deadline, bytes calldata signature) external;
    /// @notice Leaves the agent without a wallet. Only its authorized.
    function unsetAgentWallet(uint256 agentId) external;

    /// @notice Whether `spender` is one of the agent's authorized. Reverts if there is no such agent.
    function isAuthorizedOrOwner(address spender, uint256 agentId) external view returns (bool);

    /// @notice The EIP-712 separator of the domain `ERC8004IdentityRegistry`, version 1.
    function DOMAIN_SEPARATOR() external view returns (bytes32);
    /// @notice The EIP-712 domain, as EIP-5267 describes it.
    function eip712Domain()
        external
        view
        returns (
            bytes1 fields,
            string memory name,
            string memory version,
            uint256 chainId,
            address verifyingContract,
            bytes32 salt,
            uint256[] memory extensions
        );
}
