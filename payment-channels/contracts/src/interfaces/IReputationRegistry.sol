// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

/// @title What clients say of agents, as ERC-8004 records it
/// @notice Anyone but the agent's own side may give feedback, as often as they like: what it is worth is for
/// readers to judge. The hash is in the log alone.
/// @dev Functions, events and reasons of reverts equal those of the deployment that public chains share. Its
/// reasons are texts, and so are these: `too many decimals`, `value too large`, `Self-feedback not allowed`,
/// `index must be > 0`, `index out of bounds`, `Already revoked`, `Empty URI`, `clientAddresses required`.
///
/// Invariants, at the end of every transaction:
/// - G1 No feedback on an agent is by somebody who was its owner, an operator or approved when giving it.
/// - G2 Feedback never changes; it is revoked once at most, and only by who gave it.
/// - G3 One client's feedback on one agent is numbered from 1 without gaps.
/// - G4 An agent's clients are listed once each, in the order of their first feedback.
/// - G5 All feedback, revocations and responses are in the log.
interface IReputationRegistry {
    /// @notice `value / 10^valueDecimals`, and what it is about. `feedbackHash` is the digest of what is at
    /// `feedbackURI`, or of whatever else it commits to.
    event NewFeedback(
        uint256 indexed agentId,
        address indexed clientAddress,
        uint64 feedbackIndex,
        int128 value,
        uint8 valueDecimals,
        string indexed indexedTag1,
        string tag1,
        string tag2,
        string endpoint,
        string feedbackURI,
        bytes32 feedbackHash
    );
    /// @notice The client takes it back.
    event FeedbackRevoked(uint256 indexed agentId, address indexed clientAddress, uint64 indexed feedbackIndex);
    /// @notice Somebody, not always the agent's side, has something to say about feedback.
    event ResponseAppended(
        uint256 indexed agentId,
        address indexed clientAddress,
        uint64 feedbackIndex,
        address indexed responder,
        string responseURI,
        bytes32 responseHash
    );

    /// @notice The registry whose agents are meant.
    function getIdentityRegistry() external view returns (address);

    /// @notice Says something of an agent. `valueDecimals` is 18 at most, and `value` at most 10^38 either way.
    function giveFeedback(
        uint256 agentId,
        int128 value,
        uint8 valueDecimals,
        string calldata tag1,
        string calldata tag2,
        string calldata endpoint,
        string calldata feedbackURI,
        bytes32 feedbackHash
    ) external;

    /// @notice Takes the caller's own feedback back.
    function revokeFeedback(uint256 agentId, uint64 feedbackIndex) external;

    /// @notice Adds to the log what is to be said about feedback.
    function appendResponse(
        uint256 agentId,
        address clientAddress,
        uint64 feedbackIndex,
        string calldata responseURI,
        bytes32 responseHash
    ) external;

    /// @notice How often the client gave feedback on the agent, which is the last one's index.
    function getLastIndex(uint256 agentId, address clientAddress) external view returns (uint64);

    function readFeedback(uint256 agentId, address clientAddress, uint64 feedbackIndex)
        external
        view
        returns (int128 value, uint8 valueDecimals, string memory tag1, string memory tag2, bool isRevoked);

    /// @notice Number and mean of what these clients say and have not revoked, with the decimals that most of
    /// it has. An empty tag stands for all. Everybody can be many clients: name those whose word counts.
    /// @param clientAddresses At least one.
    function getSummary(uint256 agentId, address[] calldata clientAddresses, string calldata tag1, string calldata tag2)
        external
        view
        returns (uint64 count, int128 summaryValue, uint8 summaryValueDecimals);

    /// @notice All feedback of these clients, or of all if none is named.
    function readAllFeedback(
        uint256 agentId,
        address[] calldata clientAddresses,
        string calldata tag1,
        string calldata tag2,
        bool includeRevoked
    )
        external
        view
        returns (
            address[] memory clients,
            uint64[] memory feedbackIndexes,
            int128[] memory values,
            uint8[] memory valueDecimals,
            string[] memory tag1s,
            string[] memory tag2s,
            bool[] memory revokedStatuses
        );

    /// @notice Everybody who gave feedback on the agent, in order.
    function getClients(uint256 agentId) external view returns (address[] memory);
}
